"""How long an agent has to answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.casts.agent_directory import SUSPENDED_SECONDS, answer_within


async def test_an_agent_that_does_not_answer_is_silent() -> None:
    with pytest.raises(CastRayError) as raised:
        async with answer_within("a", 0.01):
            await asyncio.Event().wait()
    assert raised.value.failure.kind is FailureKind.NODE_SILENT
    assert raised.value.failure.values == {"node": "a", "seconds": "0"}


async def test_an_answer_in_time_ends_the_bound() -> None:
    async with answer_within("a", 0.01):
        pass
    await asyncio.sleep(0.02)


async def test_an_answer_that_came_while_this_process_was_suspended_counts() -> None:
    agent, engine = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=engine)

    def suspend() -> None:
        agent.send(b"answer")
        time.sleep(SUSPENDED_SECONDS + 0.2)

    with agent, contextlib.closing(writer):
        asyncio.get_running_loop().call_soon(suspend)
        async with answer_within("a", 0.05):
            assert await reader.readexactly(6) == b"answer"
    await writer.wait_closed()
