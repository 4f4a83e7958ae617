"""Steering the casts that run, and sending again what earlier ones sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import DeliverySnapshot, DeliveryState, SendRequest
from castray_desktop.core.queue import CastQueue
from castray_desktop.workers.casts.awaiting import Sender
from castray_desktop.workers.casts.cast_run import CastRun
from castray_desktop.workers.casts.verifying import Verifying
from castray_desktop.workers.history_store import PastCast


@dataclass(frozen=True)
class Ended:
    """What an ended cast was asked for, with the names of nodes, and what became of it."""

    cast: str
    request: SendRequest
    deliveries: tuple[DeliverySnapshot, ...]


Past = Callable[[str], Awaitable[PastCast]]
"""An ended cast from the history, by its id or the beginning of it. Raises CastRayError."""


class CastControl:
    """Carries out what is asked of casts by their ids, or by the beginning of an id.

    `runs` has every cast that is known, `tasks` those that have not ended; `admit` gives free turns away;
    `stop_waiting(cast, nodes)` ends deliveries of an ended cast that wait for their nodes.
    """

    def __init__(
        self,
        runs: Mapping[str, CastRun],
        tasks: Mapping[str, asyncio.Task[None]],
        queue: CastQueue,
        admit: Callable[[], None],
        send: Sender,
        past: Past | None,
        stop_waiting: Callable[[str, tuple[str, ...]], None],
        verifying: Verifying,
    ) -> None:
        self.verifying = verifying
        self._runs = runs
        self._tasks = tasks
        self._queue = queue
        self._admit = admit
        self._send = send
        self._past = past
        self._stop_waiting = stop_waiting

    async def carry_out(self, command: messages.ControlCommand) -> messages.Reply:
        """The reply to a command. Raises CastRayError."""
        match command:
            case messages.Pause(cast, recipients):
                await self.pause(cast, recipients)
            case messages.Resume(cast, recipients):
                self.resume(cast, recipients)
            case messages.DropRecipients(cast, recipients):
                await self.drop(cast, recipients)
            case messages.MoveInQueue(cast, place):
                self.move(cast, place)
            case messages.Retry(cast, recipients):
                return messages.Accepted(await self.retry(cast, recipients))
            case messages.SendAgain(cast):
                return messages.Accepted(await self.send_again(cast))
            case messages.Verify():
                return await self.verify(command)
            case messages.CancelVerify(job):
                self.verifying.cancel(job)
            case _:
                raise CastRayError(FailureKind.INTERNAL, reason=f"{type(command).__name__} is not known here")
        return messages.Done()

    async def pause(self, cast: str = "", who: Iterable[str] = ()) -> None:
        """Have nothing flow of a cast, or of all, or to some of its recipients; returns when nothing does.

        Raises CastRayError.
        """
        if nodes := tuple(who):
            chosen = self._chosen_with(cast, nodes)
            await asyncio.gather(*[run.pause_recipients(some) for run, some in chosen])
            return
        runs = [run for run in self._chosen(cast) if not run.turn.paused]
        for run in runs:
            self._queue.step_back(run.ledger.cast)
            run.turn.pause()
        self._admit()  # only now: none of them is to take another one's turn
        await asyncio.gather(*(run.turn.held() for run in runs))

    def resume(self, cast: str = "", who: Iterable[str] = ()) -> None:
        """Have a paused cast go on when it is its turn, or all, or some of its recipients.

        Raises CastRayError.
        """
        if nodes := tuple(who):
            for run, some in self._chosen_with(cast, nodes):
                run.resume(some)
            return
        for run in self._chosen(cast):
            if cast or run.turn.paused:
                run.resume()

    async def drop(self, cast: str, who: Iterable[str]) -> None:
        """Cancel the deliveries to these nodes. Raises CastRayError."""
        run = self.find(cast)
        nodes = _known(run, who)
        if run.ledger.cast in self._tasks:
            await run.drop_recipients(nodes)
        else:
            self._stop_waiting(run.ledger.cast, nodes)

    def move(self, cast: str, place: int) -> None:
        """Give a queued cast another place. Raises CastRayError."""
        run = self._running(cast)
        if not self._queue.move(run.ledger.cast, place):
            raise CastRayError(FailureKind.CAST_NOT_QUEUED, cast=cast)
        waiting = [self._runs[one] for one in self._queue.waiting]
        for run, order in zip(waiting, sorted(one.ledger.order for one in waiting), strict=True):
            run.reorder(order)
        self._admit()

    async def retry(self, cast: str, who: tuple[str, ...] = ()) -> str:
        """Send it to those that did not get it; the new cast's id. Raises CastRayError."""
        past = await self.find_past(cast)
        missing = [item.node for item in past.deliveries if item.state in _MISSING]
        chosen = tuple(node for node in missing if not who or node in who)
        if not chosen:
            raise CastRayError(FailureKind.NOTHING_TO_RETRY, cast=cast)
        return self._send(msgspec.structs.replace(past.request, recipients=chosen), follows=past.cast)

    async def send_again(self, cast: str) -> str:
        """Send it to all of its recipients again; the new cast's id. Raises CastRayError."""
        past = await self.find_past(cast)
        return self._send(past.request, follows=past.cast)

    async def verify(self, command: messages.Verify) -> messages.VerifyReport:
        """What stands on the nodes of what a cast delivered, or at a path. Raises CastRayError."""
        if not command.cast:
            return await self.verifying.path(command)
        past = await self.find_past(command.cast)
        command = msgspec.structs.replace(command, cast=past.cast)
        return await self.verifying.cast(command, past.deliveries)

    async def find_past(self, cast: str) -> Ended:
        """An ended cast, from here or from the history. Raises CastRayError."""
        fitting = self._fitting(cast)
        if len(fitting) == 1:
            run = fitting[0]
            if run.ledger.cast in self._tasks:
                raise CastRayError(FailureKind.CAST_GOES_ON, cast=cast)
            ledger = run.ledger
            deliveries = tuple(map(ledger.delivery, ledger.recipients))
            return Ended(ledger.cast, ledger.request, deliveries)
        if self._past is None or fitting or not cast:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        past = await self._past(cast)
        return Ended(past.result.summary.cast, past.request, past.result.deliveries)

    def find(self, cast: str) -> CastRun:
        """A cast by its id or by the beginning of it that only one has. Raises CastRayError."""
        fitting = self._fitting(cast)
        if len(fitting) != 1:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return fitting[0]

    def _running(self, cast: str) -> CastRun:
        run = self.find(cast)
        if not self._is_going_on(run):
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        return run

    def _is_going_on(self, run: CastRun) -> bool:
        return run.ledger.cast in self._tasks and run.going_on

    def _chosen(self, cast: str) -> list[CastRun]:
        """One that goes on, or all of those; in their order."""
        if cast:
            return [self._running(cast)]
        return [run for one in self._queue.order if self._is_going_on(run := self._runs[one])]

    def _chosen_with(self, cast: str, who: tuple[str, ...]) -> list[tuple[CastRun, tuple[str, ...]]]:
        """The same, with those of its recipients that are meant; of all only those that have some."""
        if cast:
            run = self._running(cast)
            return [(run, _known(run, who))]
        runs = self._chosen("")
        known = {node for run in runs for node in run.ledger.recipients}
        _check_known(who, sorted(known))
        chosen = [(run, tuple(node for node in who if node in run.ledger.recipients)) for run in runs]
        return [(run, some) for run, some in chosen if some]

    def _fitting(self, cast: str) -> list[CastRun]:
        return [run for known, run in self._runs.items() if known.startswith(cast)] if cast else []


_MISSING = frozenset({DeliveryState.FAILED, DeliveryState.CANCELLED})


def _known(run: CastRun, who: Iterable[str]) -> tuple[str, ...]:
    """Recipients of a cast, each once. Raises CastRayError for others, or none."""
    nodes = tuple(dict.fromkeys(who))
    if not nodes:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    _check_known(nodes, run.ledger.recipients)
    return nodes


def _check_known(who: Iterable[str], known: Sequence[str]) -> None:
    strangers = [node for node in who if node not in known]
    if strangers:
        raise CastRayError(FailureKind.NODE_UNKNOWN, node=", ".join(strangers), nodes=", ".join(known))
