"""Commands for casts: pause, resume, drop recipients, reorder, retry, send again, verify."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from castray_desktop.core.casts.admission_queue import AdmissionQueue
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import DeliverySnapshot, DeliveryState, SendRequest
from castray_desktop.workers.casts.deferred_deliveries import StartCast
from castray_desktop.workers.casts.session.cast_session import CastSession
from castray_desktop.workers.casts.verification import VerificationJobs
from castray_desktop.workers.history.history_store import PastCast


@dataclass(frozen=True)
class EndedCast:
    """The request of an ended cast, with node names, and its deliveries."""

    cast: str
    request: SendRequest
    deliveries: tuple[DeliverySnapshot, ...]


FindPastCast = Callable[[str], Awaitable[PastCast]]
"""Finds an ended cast in the history by id or id prefix. Raises CastRayError."""


class CastCommands:
    """Carries out commands for casts, by id or id prefix.

    `runs` has every known cast, `tasks` the unfinished ones; `admit` starts waiting casts;
    `stop_waiting(cast, nodes)` cancels deferred deliveries.
    """

    def __init__(
        self,
        runs: Mapping[str, CastSession],
        tasks: Mapping[str, asyncio.Task[None]],
        queue: AdmissionQueue,
        admit: Callable[[], None],
        send: StartCast,
        past: FindPastCast | None,
        stop_waiting: Callable[[str, tuple[str, ...]], None],
        verifying: VerificationJobs,
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
        """Carry out a command and return its reply. Raises CastRayError."""
        match command:
            case messages.Pause(cast, recipients):
                await self.pause(cast, recipients)
            case messages.Resume(cast, recipients):
                self.resume(cast, recipients)
            case messages.DropRecipients(cast, recipients):
                await self.drop_recipients(cast, recipients)
            case messages.MoveInQueue(cast, place):
                self.move_in_queue(cast, place)
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

    async def pause(self, cast: str = "", recipients: Iterable[str] = ()) -> None:
        """Pause a cast, all casts, or some recipients; returns when no data flows.

        Raises CastRayError.
        """
        if nodes := tuple(recipients):
            chosen = self._chosen_with(cast, nodes)
            await asyncio.gather(*[run.pause_recipients(some) for run, some in chosen])
            return
        runs = [run for run in self._chosen(cast) if not run.status.is_paused]
        for run in runs:
            self._queue.withdraw(run.status.cast)
            run.admission.pause()
        self._admit()  # only now: a paused cast must not be replaced by another one of them
        await asyncio.gather(*(run.admission.wait_paused() for run in runs))

    def resume(self, cast: str = "", recipients: Iterable[str] = ()) -> None:
        """Resume a cast once it is admitted, or all, or some recipients.

        Raises CastRayError.
        """
        if nodes := tuple(recipients):
            for run, some in self._chosen_with(cast, nodes):
                run.resume(some)
            return
        for run in self._chosen(cast):
            if cast or run.status.is_paused:
                run.resume()

    async def drop_recipients(self, cast: str, recipients: Iterable[str]) -> None:
        """Cancel the deliveries to these nodes. Raises CastRayError."""
        run = self.find(cast)
        nodes = _known_recipients(run, recipients)
        if run.status.cast in self._tasks:
            await run.drop_recipients(nodes)
        else:
            self._stop_waiting(run.status.cast, nodes)

    def move_in_queue(self, cast: str, place: int) -> None:
        """Move a queued cast. Raises CastRayError."""
        run = self._running(cast)
        if not self._queue.move(run.status.cast, place):
            raise CastRayError(FailureKind.CAST_NOT_QUEUED, cast=cast)
        waiting = [self._runs[one] for one in self._queue.waiting]
        for run, order in zip(waiting, sorted(one.status.order for one in waiting), strict=True):
            run.reorder(order)
        self._admit()

    async def retry(self, cast: str, recipients: tuple[str, ...] = ()) -> str:
        """Send to recipients that did not get it; returns the new cast's id. Raises CastRayError."""
        past = await self.find_past(cast)
        missing = [item.node for item in past.deliveries if item.state in _MISSING]
        chosen = tuple(node for node in missing if not recipients or node in recipients)
        if not chosen:
            raise CastRayError(FailureKind.NOTHING_TO_RETRY, cast=cast)
        return self._send(msgspec.structs.replace(past.request, recipients=chosen), follows=past.cast)

    async def send_again(self, cast: str) -> str:
        """Send to all recipients again; returns the new cast's id. Raises CastRayError."""
        past = await self.find_past(cast)
        return self._send(past.request, follows=past.cast)

    async def verify(self, command: messages.Verify) -> messages.VerifyReport:
        """Verify what a cast delivered, or what lies at a path. Raises CastRayError."""
        if not command.cast:
            return await self.verifying.verify_path(command)
        past = await self.find_past(command.cast)
        command = msgspec.structs.replace(command, cast=past.cast)
        return await self.verifying.verify_cast(command, past.deliveries)

    async def find_past(self, cast: str) -> EndedCast:
        """Find an ended cast, in memory or in the history. Raises CastRayError."""
        fitting = self._fitting(cast)
        if len(fitting) == 1:
            run = fitting[0]
            if run.status.cast in self._tasks:
                raise CastRayError(FailureKind.CAST_GOES_ON, cast=cast)
            status = run.status
            deliveries = tuple(map(status.delivery, status.recipients))
            return EndedCast(status.cast, status.request, deliveries)
        if self._past is None or fitting or not cast:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        past = await self._past(cast)
        return EndedCast(past.result.summary.cast, past.request, past.result.deliveries)

    def find(self, cast: str) -> CastSession:
        """Find a cast by id or unique id prefix. Raises CastRayError."""
        fitting = self._fitting(cast)
        if len(fitting) != 1:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return fitting[0]

    def _running(self, cast: str) -> CastSession:
        run = self.find(cast)
        if not self._is_going_on(run):
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        return run

    def _is_going_on(self, run: CastSession) -> bool:
        return run.status.cast in self._tasks and run.is_running

    def _chosen(self, cast: str) -> list[CastSession]:
        """One running cast, or all of them, in queue order."""
        if cast:
            return [self._running(cast)]
        return [run for one in self._queue.order if self._is_going_on(run := self._runs[one])]

    def _chosen_with(self, cast: str, who: tuple[str, ...]) -> list[tuple[CastSession, tuple[str, ...]]]:
        """The same, with the selected recipients of each; of all casts only those that have some."""
        if cast:
            run = self._running(cast)
            return [(run, _known_recipients(run, who))]
        runs = self._chosen("")
        known = {node for run in runs for node in run.status.recipients}
        _check_known(who, sorted(known))
        chosen = [(run, tuple(node for node in who if node in run.status.recipients)) for run in runs]
        return [(run, some) for run, some in chosen if some]

    def _fitting(self, cast: str) -> list[CastSession]:
        return [run for known, run in self._runs.items() if known.startswith(cast)] if cast else []


_MISSING = frozenset({DeliveryState.FAILED, DeliveryState.CANCELLED})


def _known_recipients(run: CastSession, who: Iterable[str]) -> tuple[str, ...]:
    """Distinct recipients of a cast. Raises CastRayError for others, or none."""
    nodes = tuple(dict.fromkeys(who))
    if not nodes:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    _check_known(nodes, run.status.recipients)
    return nodes


def _check_known(who: Iterable[str], known: Sequence[str]) -> None:
    strangers = [node for node in who if node not in known]
    if strangers:
        raise CastRayError(FailureKind.NODE_UNKNOWN, node=", ".join(strangers), nodes=", ".join(known))
