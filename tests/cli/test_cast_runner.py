"""The exit status of a cast that a command waits for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from castray_desktop.cli.cast_runner import result_status
from castray_desktop.cli.command_line import (
    parse_command,
)
from castray_desktop.cli.commands.send_command import send
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState
from castray_desktop.core.protocol.nodes import driver_protocol
from tests.cli.examples import ended
from tests.helpers.engine_home import EngineHome

K = FailureKind


@pytest.mark.parametrize(
    ("state", "status"),
    [(CastState.COMPLETED, 0), (CastState.PARTLY_FAILED, 1), (CastState.FAILED, 1), (CastState.CANCELLED, 1)],
)
def test_the_status_of_a_cast(state: CastState, status: int) -> None:
    assert result_status(ended(state)) == status


def test_a_cast_that_never_started_ends_with_its_reason() -> None:
    failure = Failure(K.NO_SUCH_FILE, {"path": "/x"})
    with pytest.raises(CastRayError) as caught:
        result_status(ended(CastState.FAILED, failure=failure, chain=()))
    assert caught.value.failure == failure


async def test_a_command_that_is_interrupted_cancels_what_it_has_just_sent(
    house: EngineHome, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("x")
    sending = asyncio.create_task(send(parse_command(["send", str(tmp_path / "x"), "--to", "node_1"])))
    async with asyncio.timeout(5):
        while not house.drivers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    await house.drivers[0].wait_for(driver_protocol.AgentCall)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    client = await house.connect()
    assert [cast.state for cast in client.welcome.casts] == [messages.CastState.CANCELLED]
    await client.close()
