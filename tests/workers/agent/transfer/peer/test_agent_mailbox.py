"""Calls through a mailbox to an agent that is not an actor."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.workers.agent.transfer.peer import tunnel
from castray_desktop.workers.agent.transfer.peer.tunnel import AgentMailbox, carry_out
from tests.helpers.patience import PATIENCE


class Agent:
    """The methods that tunnels call."""

    def __init__(self) -> None:
        self.got: list[tuple[object, ...]] = []

    async def open_tunnel(self, tunnel: str) -> None:
        self.got.append(("open", tunnel))

    async def put_into_tunnel(self, tunnel: str, data: bytes) -> None:
        self.got.append(("put", tunnel, data))

    async def get_from_tunnel(self, tunnel: str, number: int) -> bytes:
        if number > 1:
            raise ConnectionResetError("it is closed")
        return b"x" * number


async def serve(mailbox: AgentMailbox, agent: Agent) -> None:
    while True:
        for letter in await mailbox.next_calls():
            await mailbox.answer(*await carry_out(agent, letter))


async def test_calls_are_carried_out_by_the_agent() -> None:
    mailbox, agent = AgentMailbox(), Agent()
    serving = asyncio.create_task(serve(mailbox, agent))
    async with asyncio.timeout(PATIENCE):
        await mailbox.open_tunnel("t")
        await mailbox.put_into_tunnel("t", b"data")
        assert await asyncio.gather(mailbox.get_from_tunnel("t", 0), mailbox.get_from_tunnel("t", 1)) == [
            b"",
            b"x",
        ]
        with pytest.raises(ConnectionResetError, match="it is closed"):
            await mailbox.get_from_tunnel("t", 2)
    assert agent.got == [("open", "t"), ("put", "t", b"data")]
    serving.cancel()


async def test_nothing_but_tunnels_is_called() -> None:
    class Whole(Agent):
        async def order(self, text: bytes) -> bytes:
            raise AssertionError("an order from the cluster")

    assert await carry_out(Whole(), (7, "order", (b"{}",))) == (7, b"", "order can't be called from here")


async def test_a_caller_that_has_given_up_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = AgentMailbox()
    call = asyncio.create_task(mailbox.open_tunnel("t"))
    (letter,) = await mailbox.next_calls()
    call.cancel()
    await asyncio.wait([call])
    await mailbox.answer(letter[0], b"", "")
    monkeypatch.setattr(tunnel, "MAILBOX_SECONDS", 0.01)
    assert await mailbox.next_calls() == []
