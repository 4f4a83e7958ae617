"""Casts that code inside Ray asks a node's agent for: handed to the engine, which answers with the id."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Callable, Union

from castray_desktop.workers.ray_side import protocol

ANSWER_SECONDS = 15.0
MODES = ("unicast", "multicast", "broadcast", "udp")

Names = Union[str, Sequence[str]]


class TransferRequests:
    """Those that wait for the next report, or for the engine's answer. For one event loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` has the next report leave at once."""
        self._wake = wake
        self._numbers = itertools.count(1)
        self._waiting: list[protocol.TransferRequest] = []
        self._asked: dict[int, asyncio.Future[str]] = {}

    async def ask(self, paths: Names, recipients: Names, mode: str = "") -> str:
        """The id of the cast that the engine has started.

        Raises ValueError with the reason when it makes no sense or is refused, TimeoutError when the
        engine does not answer.
        """
        mode = mode.lower()
        number = next(self._numbers)
        transport = "udp" if mode == "udp" else "auto"
        request = protocol.TransferRequest(number, _paths(paths), _recipients(recipients, mode), transport)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        self._waiting.append(request)
        self._wake()
        try:
            return await asyncio.wait_for(future, ANSWER_SECONDS)
        except asyncio.TimeoutError:
            raise TimeoutError("the CastRay engine did not answer; is it still running?") from None
        finally:
            self._asked.pop(number, None)
            self._waiting = [one for one in self._waiting if one.number != number]

    def take(self) -> tuple[protocol.TransferRequest, ...]:
        """What the engine has not been told yet."""
        waiting, self._waiting = self._waiting, []
        return tuple(waiting)

    def answer(self, order: protocol.AnswerTransfer) -> None:
        """The engine has started that cast, or refuses it."""
        future = self._asked.get(order.number)
        if future is None or future.done():
            return
        if order.cast:
            future.set_result(order.cast)
        else:
            future.set_exception(ValueError(order.refusal))


def _paths(paths: Names) -> tuple[str, ...]:
    named = _several(paths)
    if not named:
        raise ValueError("file_path has to name something to send")
    for path in named:
        if not path.startswith("/"):
            raise ValueError(f"{path} is not an absolute path on this node")
    return named


def _recipients(recipients: Names, mode: str) -> tuple[str, ...]:
    """Who is meant; the mode follows from that, and has to fit where it is given."""
    if mode and mode not in MODES:
        raise ValueError(f"transfer_mode has to be one of {', '.join(MODES)}, and is {mode}")
    named = _several(recipients)
    if mode == "broadcast" and named in ((), ("all",)):
        return ("all",)
    if mode == "broadcast":
        raise ValueError("broadcast is to all: leave recipients empty, or name 'all'")
    if not named:
        raise ValueError("recipients has to name somebody, or 'all'")
    if mode == "unicast" and (len(named) != 1 or named == ("all",)):
        raise ValueError("unicast is to one recipient")
    return named


def _several(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) and names else tuple(names)
