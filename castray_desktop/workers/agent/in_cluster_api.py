"""Methods for code that runs inside Ray: request a cast from a node's agent, and its counters."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Callable, Union

from castray_desktop.core.protocol.nodes import agent_orders, agent_reports

ANSWER_SECONDS = 15.0

MODES = ("unicast", "multicast", "broadcast", "udp")

Names = Union[str, Sequence[str]]


class InClusterRequests:
    """Requests that wait for the next report or for the engine's answer. For use in one event loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """`wake` makes the next report leave at once."""
        self._wake = wake
        self._numbers = itertools.count(1)
        self._waiting: list[agent_reports.TransferRequest] = []
        self._asked: dict[int, asyncio.Future[str]] = {}

    async def ask(self, paths: Names, recipients: Names, mode: str = "") -> str:
        """Request a cast; returns its id once the engine has started it.

        Raises ValueError with the reason if it is invalid or refused, TimeoutError when the engine does not
        answer.
        """
        mode = mode.lower()
        number = next(self._numbers)
        transport = "udp" if mode == "udp" else "auto"
        request = agent_reports.TransferRequest(
            number, _paths(paths), _recipients(recipients, mode), transport
        )
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

    def drain(self) -> tuple[agent_reports.TransferRequest, ...]:
        """Requests not yet reported to the engine."""
        waiting, self._waiting = self._waiting, []
        return tuple(waiting)

    def answer(self, order: agent_orders.AnswerTransfer) -> None:
        """Handle the engine's answer."""
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
    """The recipients; the mode follows from them and must fit if it is given."""
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


_DELIVERED = (agent_reports.RecipientState.COMPLETED, agent_reports.RecipientState.SKIPPED)

_SOURCE_ENDED = (agent_reports.SourceState.FAILED, agent_reports.SourceState.CANCELLED)


class InClusterCounters:
    """Sums up the reports of transfers."""

    def __init__(self) -> None:
        self._sources: dict[str, agent_reports.SourceReport] = {}
        self._deliveries: dict[str, agent_reports.DeliveryReport] = {}
        self._sent = 0
        self._received = 0
        self._delivered = 0
        self._failed = 0

    def record_reports(
        self,
        sources: Sequence[agent_reports.SourceReport],
        deliveries: Sequence[agent_reports.DeliveryReport],
    ) -> None:
        """Include reports; each has the complete state of its cast."""
        for source in sources:
            earlier = self._sources.pop(source.cast, None)
            self._sent += max(0, source.sent_bytes - (earlier.sent_bytes if earlier else 0))
            self._sources[source.cast] = source
        for delivery in deliveries:
            before = self._deliveries.pop(delivery.cast, None)
            self._sent += max(0, delivery.sent_bytes - (before.sent_bytes if before else 0))
            self._received += max(0, delivery.received_bytes - (before.received_bytes if before else 0))
            if before is None or before.state is not delivery.state:
                self._delivered += delivery.state in _DELIVERED
                self._failed += delivery.state is agent_reports.RecipientState.FAILED
            self._deliveries[delivery.cast] = delivery

    def forget_cast(self, cast: str) -> None:
        """The cast has ended everywhere."""
        self._sources.pop(cast, None)
        self._deliveries.pop(cast, None)

    @property
    def active(self) -> int:
        """The number of casts that this node takes part in."""
        sending = {cast for cast, one in self._sources.items() if one.state not in _SOURCE_ENDED}
        ended = agent_reports.FINAL_RECIPIENT_STATES
        return len(sending | {cast for cast, one in self._deliveries.items() if one.state not in ended})

    def stats(self) -> dict[str, Any]:
        """Totals since the agent's start; sizes in bytes."""
        return {
            "active": self.active,
            "delivered": self._delivered,
            "failed": self._failed,
            "sent_bytes": self._sent,
            "received_bytes": self._received,
        }
