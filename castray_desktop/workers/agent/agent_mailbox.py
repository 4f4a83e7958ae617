"""Calls to an agent that is not an actor: a mailbox actor queues them until the agent fetches them.

A computer outside the cluster runs its agent itself, so no actor in the cluster could call it. The
mailbox is an actor with the agent's name and takes the calls that tunnels make; the agent's process polls
for them and returns the results.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

WAIT_SECONDS = 2.0

METHODS = ("open_tunnel", "put_into_tunnel", "get_from_tunnel")

MailboxCall = tuple[int, str, tuple[Any, ...]]
"""Call number, method name of the agent, arguments."""


class AgentMailbox:
    """The actor. `next_calls` and `answer` are called by the agent's process, the others by agents of the
    cluster."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._letters: list[MailboxCall] = []
        self._answers: dict[int, asyncio.Future[bytes]] = {}
        self._news = asyncio.Event()

    async def open_tunnel(self, tunnel: str) -> bytes:
        """See `NodeAgent.open_tunnel`. Raises ConnectionError."""
        return await self._ask("open_tunnel", tunnel)

    async def put_into_tunnel(self, tunnel: str, data: bytes) -> bytes:
        """See `NodeAgent.put_into_tunnel`. Raises ConnectionError."""
        return await self._ask("put_into_tunnel", tunnel, data)

    async def get_from_tunnel(self, tunnel: str, number: int) -> bytes:
        """See `NodeAgent.get_from_tunnel`. Raises ConnectionError."""
        return await self._ask("get_from_tunnel", tunnel, number)

    async def _ask(self, method: str, *arguments: Any) -> bytes:
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._letters.append((number, method, arguments))
        self._news.set()
        try:
            return await answer
        finally:
            del self._answers[number]

    async def next_calls(self) -> list[MailboxCall]:
        """The pending calls; waits up to two seconds for some."""
        try:
            await asyncio.wait_for(self._news.wait(), WAIT_SECONDS)
        except asyncio.TimeoutError:
            return []
        self._news.clear()
        letters, self._letters = self._letters, []
        return letters

    async def answer(self, number: int, data: bytes, error: str) -> None:
        """Deliver the result or the error of a call."""
        waiting = self._answers.get(number)
        if waiting is None or waiting.done():
            return
        if error:
            waiting.set_exception(ConnectionResetError(error))
        else:
            waiting.set_result(data)


async def carry_out(agent: Any, letter: MailboxCall) -> tuple[int, bytes, str]:
    """Carry out a tunnel call on the agent. Returns the arguments of `answer`."""
    number, method, arguments = letter
    if method not in METHODS:
        return number, b"", f"{method} can't be called from here"
    try:
        data = await getattr(agent, method)(*arguments)
    except OSError as error:
        return number, b"", str(error) or type(error).__name__
    return number, data or b"", ""
