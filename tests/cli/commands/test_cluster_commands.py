"""`castray cluster`."""

from __future__ import annotations

import pytest

from castray_desktop.cli.command_line import (
    parse_command,
)
from castray_desktop.cli.commands.cluster_commands import share as share_command
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.base.paths import Paths
from tests.helpers.engine_home import EngineHome
from tests.helpers.fake_driver import FakeDriver


async def share(engine_home: EngineHome, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    engine_home.script = FakeDriver.come_up
    assert await share_command(parse_command(["cluster", "share", *options])) == 0
    return capsys.readouterr().out


async def test_sharing_warns_about_an_unencrypted_network(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await share(engine_home, capsys)
    assert "the token and the secret of each cast cross the network unencrypted" in said
    monkeypatch.setenv("RAY_USE_TLS", "1")
    said = await share(engine_home, capsys)
    assert "unencrypted" not in said
    assert "RAY_USE_TLS=1" in said


async def test_a_new_token_is_for_a_cluster_that_is_started_again(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str], paths: Paths
) -> None:
    first = await share(engine_home, capsys)
    token = (paths.home / "share-token").read_text()
    assert token in first
    assert await share(engine_home, capsys) == first
    assert len(engine_home.drivers) == 1
    again = await share(engine_home, capsys, "--new-token")
    assert token not in again
    assert (paths.home / "share-token").read_text() in again
    assert [driver.stopped for driver in engine_home.drivers] == [1, 0]


async def test_a_token_that_others_can_read_is_a_reason(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str], paths: Paths
) -> None:
    await share(engine_home, capsys)
    (paths.home / "share-token").chmod(0o644)
    with pytest.raises(CastRayError) as caught:
        await share(engine_home, capsys)
    assert caught.value.failure.kind is FailureKind.TOKEN_EXPOSED
    assert "ray start" in await share(engine_home, capsys, "--new-token")
