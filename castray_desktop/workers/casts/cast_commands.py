"""Commands for casts: pause, resume, drop recipients, reorder, send again, verify."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import DeliveryState
from castray_desktop.workers.casts.cast_table import ClusterContext
from castray_desktop.workers.casts.deferred_deliveries import StartCast
from castray_desktop.workers.casts.file_lists import FileLists
from castray_desktop.workers.casts.session.cast_session import CastSession
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.verification import VerificationJobs
from castray_desktop.workers.history.history_store import PastCast


class CastCommands:
    """Carries out commands for casts, by id or id prefix.

    `admit` starts waiting casts; `stop_waiting(cast, nodes)` cancels deferred deliveries.
    """

    def __init__(
        self,
        context: ClusterContext,
        admit: Callable[[], None],
        send: StartCast,
        stop_waiting: Callable[[str, tuple[str, ...]], None],
        verifying: VerificationJobs,
        files: FileLists,
    ) -> None:
        self._verifying = verifying
        self._context = context
        self._table = context.table
        self._admit = admit
        self._send = send
        self._stop_waiting = stop_waiting
        self._files = files

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
            case messages.SendAgain(cast):
                return messages.Accepted(await self.send_again(cast))
            case messages.Verify():
                return await self.verify(command)
            case messages.GetFiles(cast, query):
                return await self._files.page(cast, query)
            case messages.CancelVerify(job):
                self._verifying.cancel(job)
            case _:
                raise CastRayError(FailureKind.INTERNAL, reason=f"{type(command).__name__} is not known here")
        return messages.Done()

    async def pause(self, cast: str = "", recipients: Iterable[str] = ()) -> None:
        """Pause a cast, all casts, or some recipients; returns when no data flows.

        Raises CastRayError.
        """
        if nodes := tuple(recipients):
            chosen = self._chosen_recipients(cast, nodes)
            await asyncio.gather(*[session.pause_recipients(some) for session, some in chosen])
            return
        sessions = [session for session in self._chosen(cast) if not session.status.is_paused]
        for session in sessions:
            self._table.queue.withdraw(session.status.cast)
            session.admission.pause()
        self._admit()  # only now: a paused cast must not be replaced by another one of them
        await asyncio.gather(*(session.admission.wait_paused() for session in sessions))

    def resume(self, cast: str = "", recipients: Iterable[str] = ()) -> None:
        """Resume a cast once it is admitted, or all, or some recipients.

        Raises CastRayError.
        """
        if nodes := tuple(recipients):
            for session, some in self._chosen_recipients(cast, nodes):
                session.resume(some)
            return
        for session in self._chosen(cast):
            if cast or session.status.is_paused:
                session.resume()

    async def drop_recipients(self, cast: str, recipients: Iterable[str]) -> None:
        """Cancel the deliveries to these nodes. Raises CastRayError."""
        status = self._table.find(cast)
        nodes = _known_recipients(status, recipients)
        if session := self._table.sessions.get(status.cast):
            await session.drop_recipients(nodes)
        else:
            self._stop_waiting(status.cast, nodes)

    def move_in_queue(self, cast: str, place: int) -> None:
        """Move a queued cast. Raises CastRayError."""
        session = self._running(cast)
        if not self._table.queue.move(session.status.cast, place):
            raise CastRayError(FailureKind.CAST_NOT_QUEUED, cast=cast)
        waiting = [self._table.sessions[one] for one in self._table.queue.waiting]
        for session, order in zip(waiting, sorted(one.status.order for one in waiting), strict=True):
            session.reorder(order)
        self._admit()

    async def find_failed(
        self, cast: str, recipients: tuple[str, ...] = ()
    ) -> tuple[PastCast, tuple[str, ...]]:
        """An ended cast, and which of these recipients, or of all, did not get it. Raises CastRayError."""
        past = await self._context.find_past(cast)
        missing = [item.node for item in past.result.deliveries if item.state in _MISSING]
        chosen = tuple(node for node in missing if not recipients or node in recipients)
        if not chosen:
            raise CastRayError(FailureKind.NOTHING_TO_RETRY, cast=cast)
        return past, chosen

    async def send_again(self, cast: str) -> str:
        """Send to all recipients again; returns the new cast's id. Raises CastRayError."""
        past = await self._context.find_past(cast)
        return self._send(past.request, follows=past.result.summary.cast)

    async def verify(self, command: messages.Verify) -> messages.VerifyReport:
        """Verify what a cast delivered, or what lies at a path. Raises CastRayError."""
        if not command.cast:
            return await self._verifying.verify_path(command)
        past = await self._context.find_past(command.cast)
        command = msgspec.structs.replace(command, cast=past.result.summary.cast)
        return await self._verifying.verify_cast(command, past.result.deliveries)

    def _running(self, cast: str) -> CastSession:
        session = self._table.find_unfinished(cast)
        if not session.is_running:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        return session

    def _chosen(self, cast: str) -> list[CastSession]:
        """One running cast, or all of them, in queue order."""
        if cast:
            return [self._running(cast)]
        sessions = (self._table.sessions[one] for one in self._table.queue.order)
        return [session for session in sessions if session.is_running]

    def _chosen_recipients(
        self, cast: str, nodes: tuple[str, ...]
    ) -> list[tuple[CastSession, tuple[str, ...]]]:
        """The same, each with its selected recipients; casts without any are left out."""
        if cast:
            session = self._running(cast)
            return [(session, _known_recipients(session.status, nodes))]
        sessions = self._chosen("")
        known = {node for session in sessions for node in session.status.recipients}
        _check_known(nodes, sorted(known))
        chosen = [
            (session, tuple(node for node in nodes if node in session.status.recipients))
            for session in sessions
        ]
        return [(session, some) for session, some in chosen if some]


_MISSING = frozenset({DeliveryState.FAILED, DeliveryState.CANCELLED})


def _known_recipients(status: CastStatus, nodes: Iterable[str]) -> tuple[str, ...]:
    """Distinct recipients of a cast. Raises CastRayError for others, or none."""
    distinct = tuple(dict.fromkeys(nodes))
    if not distinct:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    _check_known(distinct, status.recipients)
    return distinct


def _check_known(nodes: Iterable[str], known: Sequence[str]) -> None:
    unknown = [node for node in nodes if node not in known]
    if unknown:
        raise CastRayError(FailureKind.NODE_UNKNOWN, node=", ".join(unknown), nodes=", ".join(known))
