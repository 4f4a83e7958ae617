"""`castray nodes` and `castray node`."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.cli.commands import node_commands
from castray_desktop.cli.commands.node_commands import print_nodes
from castray_desktop.cli.session import Session
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import make_node

K = FailureKind


def test_the_failure_of_a_node_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure(K.INBOX_SILENT, {"node": "node_1", "path": "/mnt/in"})
    print_nodes([make_node("node_1", failure=failure)])
    assert "its inbox does not respond: /mnt/in" in capsys.readouterr().err


async def test_an_engine_that_ends_while_facts_are_awaited(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_commands, "REPORT_SECONDS", 600.0)
    async with Session(start=False) as session:
        await session.ready("local")
        asking = asyncio.create_task(node_commands.wait_for_reports(session))
        await session.client.request(messages.StopEngine(), messages.Done)
        async with asyncio.timeout(PATIENCE):
            await asking
    await engine_home.ended()


async def test_a_node_is_removed_from_the_cluster_that_was_named(engine_home: EngineHome) -> None:
    async with Session(start=False) as session:
        await session.ready("local")
        await session.ready("10.0.0.1:6379")
        with pytest.raises(CastRayError) as caught:
            await run_words("node", "remove", "node_1", "--cluster", "local")
    assert caught.value.failure.kind is FailureKind.NODE_NOT_REMOVABLE
