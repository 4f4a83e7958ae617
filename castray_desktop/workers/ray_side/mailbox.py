"""A way to an agent that is no actor: what others call lies here until the agent comes for it.

A computer outside the cluster runs its agent itself, so nobody in the cluster could call it. The mailbox
is an actor with the agent's name and takes the calls that tunnels make; the agent's process asks for them
and returns what they gave.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

WAIT_SECONDS = 2.0

METHODS = ("open_tunnel", "put_into_tunnel", "get_from_tunnel")

Letter = tuple[int, str, tuple[Any, ...]]
"""A number, and which method of the agent is called with what."""


class Mailbox:
    """The actor. `take` and `answer` are for the agent's process, the others for agents of the cluster."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._letters: list[Letter] = []
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

    async def take(self) -> list[Letter]:
        """The calls that have come; waits for some, two seconds at most."""
        try:
            await asyncio.wait_for(self._news.wait(), WAIT_SECONDS)
        except asyncio.TimeoutError:
            return []
        self._news.clear()
        letters, self._letters = self._letters, []
        return letters

    async def answer(self, number: int, data: bytes, error: str) -> None:
        """What a call gave, or why it could not be carried out."""
        waiting = self._answers.get(number)
        if waiting is None or waiting.done():
            return
        if error:
            waiting.set_exception(ConnectionResetError(error))
        else:
            waiting.set_result(data)


async def carry_out(agent: Any, letter: Letter) -> tuple[int, bytes, str]:
    """Have the agent do what a call asks for, about a tunnel. Returns the arguments of `answer`."""
    number, method, arguments = letter
    if method not in METHODS:
        return number, b"", f"{method} can't be called from here"
    try:
        data = await getattr(agent, method)(*arguments)
    except OSError as error:
        return number, b"", str(error) or type(error).__name__
    return number, data or b"", ""
