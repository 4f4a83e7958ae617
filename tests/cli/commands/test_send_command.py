"""`castray send`, with a running engine."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest

from castray_desktop.cli.command_line import (
    parse_command,
)
from castray_desktop.cli.commands.send_command import print_preflight, send
from castray_desktop.cli.session import Session
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES, sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.nodes import driver_protocol
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.fake_driver import RAY_NODE, FakeDriver

K = FailureKind


def test_a_preflight_names_unsent_files(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = messages.UnsentFile("top/pipe", Failure(K.NOT_SENDABLE, {"path": "top/pipe", "what": "a socket"}))
    print_preflight(messages.PreflightReport(3, 10, ("node_1",), left_out=(pipe,), left_out_count=2))
    told = capsys.readouterr()
    assert "All recipients can receive the files" not in told.out
    assert "top/pipe is a socket and can't be sent." in told.err
    assert "1 more" in told.err


def test_nothing_is_said_to_have_arrived_where_nothing_did() -> None:
    values = {"count": "3", "total": "3", "because": "not_readable", "path": "a", "user": "me"}
    assert sentence(Failure(K.NO_FILE_DELIVERED, values)) == (
        "No file was delivered. me does not have permission to read a."
        " Change its permissions, or send it as a user who can read it."
    )


async def test_a_home_that_has_used_another_cluster_never_falls_back_to_the_demo(
    engine_home: EngineHome, tmp_path: Path
) -> None:
    async with Session(start=False) as session:
        await session.ready("10.0.0.1:6379")
        await session.client.request(messages.LeaveCluster(), messages.Done)
    (tmp_path / "x").write_text("x")
    options = parse_command(["send", str(tmp_path / "x"), "--to", "all"])
    with pytest.raises(CastRayError) as caught:
        await send(options)
    said = sentence(caught.value.failure)
    assert "10.0.0.1:6379" in said
    assert "--cluster local" in said
    assert TEMPLATES[caught.value.failure.kind].status.exit == 3
    assert len(engine_home.drivers) == 1
    async with Session(start=False) as session:
        await session.ready("local")  # its name selects it
    client = await engine_home.connect()
    await client.request(messages.ForgetCluster("10.0.0.1:6379"), messages.Done)
    await client.request(messages.LeaveCluster(), messages.Done)
    await client.close()
    with pytest.raises(CastRayError) as caught:
        await send(options)
    assert "that was removed" in sentence(caught.value.failure)


@pytest.mark.parametrize(
    ("target", "cluster", "words"),
    [
        ("local", {"address": "127.0.0.1:6379", "local": True}, "Cluster: the demo on this computer"),
        ("10.0.0.1:6379", {"address": "127.0.0.1:6379", "local": False}, "Cluster: 127.0.0.1:6379"),
    ],
)
async def test_every_result_names_its_cluster(
    engine_home: EngineHome,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    cluster: dict[str, object],
    words: str,
) -> None:
    (tmp_path / "x").write_text("x")
    second = dataclasses.replace(RAY_NODE, node_id="cd" * 28, hostname="second", head=False, mine=False)
    engine_home.script = lambda driver: driver.come_up(RAY_NODE, second)
    sending = asyncio.create_task(
        run_words("send", str(tmp_path / "x"), "--to", "all", "--json", "--cluster", target)
    )
    await engine_home.agent_called()
    client = await engine_home.connect()
    (cast,) = client.welcome.casts
    await client.request(messages.Cancel(cast.cast), messages.Done)
    await client.close()
    assert await sending == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cluster"] == cluster
    assert await run_words("history", cast.cast, "--json") == 0
    assert json.loads(capsys.readouterr().out)["cluster"] == cluster
    assert await run_words("history", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["cluster"] == cluster
    assert await run_words("casts", "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["cluster"] == cluster
    assert await run_words("history", cast.cast) == 0
    assert words in capsys.readouterr().out.splitlines()


def without_agents(driver: FakeDriver) -> None:
    """Ray is ready, and the agent of every node dies."""
    driver.say(
        driver.up(
            RAY_NODE,
            dataclasses.replace(RAY_NODE, node_id="cd" * 28, hostname="second", head=False, mine=False),
        )
    )
    driver.say(driver_protocol.AgentLost("head", "ActorDiedError: the worker has died"))
    driver.say(driver_protocol.AgentLost("second", "RuntimeEnvSetupError: No space left on device"))


async def test_a_failed_placement_prints_the_error_of_ray_for_each_node(
    engine_home: EngineHome, tmp_path: Path
) -> None:
    engine_home.script = without_agents
    (tmp_path / "f").write_text("f")
    options = parse_command(["send", str(tmp_path / "f"), "--to", "all", "--cluster", "10.0.0.1:6379"])
    with pytest.raises(CastRayError) as caught:
        await send(options)
    failure = caught.value.failure
    assert failure.kind is FailureKind.NO_AGENT
    assert failure.values["target"] == "10.0.0.1:6379"
    assert "head: ActorDiedError: the worker has died" in failure.values["reasons"]
    assert "second: RuntimeEnvSetupError: No space left on device" in failure.values["reasons"]
    assert TEMPLATES[failure.kind].status.exit == 3
