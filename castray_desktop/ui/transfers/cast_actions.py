"""Actions on casts: which are possible, and the commands that ask the engine for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from PySide6.QtCore import QObject, Signal

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.transfers.transfer_model import TransferModel

RUNNING = frozenset({CastState.QUEUED, CastState.PREPARING, CastState.SENDING, CastState.VERIFYING})


def can_pause(cast: CastSummary) -> bool:
    return cast.state in RUNNING


def can_resume(cast: CastSummary) -> bool:
    """Whether it is paused, or some of its recipients are."""
    return cast.state is CastState.PAUSED or (cast.paused > 0 and not cast.state.finished)


def can_cancel(cast: CastSummary) -> bool:
    """Whether it is unfinished, or waits for offline recipients."""
    return not cast.state.finished or cast.awaited > 0


def can_retry(cast: CastSummary) -> bool:
    """Whether it has ended and a recipient did not get it."""
    return cast.state.finished and cast.verified + cast.awaited < len(cast.recipients)


def can_verify(cast: CastSummary) -> bool:
    return cast.state.finished and cast.verified > 0


def can_drop(cast: CastSummary, delivery: DeliverySnapshot) -> bool:
    return not (cast.state.finished or delivery.state.finished) or delivery.state is DeliveryState.AWAITED


def can_pause_delivery(cast: CastSummary, delivery: DeliverySnapshot) -> bool:
    """Whether the others could go on without it: a recipient that has all its bytes only checks them."""
    return can_pause(cast) and delivery.state in (DeliveryState.WAITING, DeliveryState.RECEIVING)


def can_resume_delivery(cast: CastSummary, delivery: DeliverySnapshot) -> bool:
    return not cast.state.finished and delivery.state is DeliveryState.PAUSED


def can_retry_delivery(cast: CastSummary, delivery: DeliverySnapshot) -> bool:
    return cast.state.finished and delivery.state in (DeliveryState.FAILED, DeliveryState.CANCELLED)


class CastActions(QObject):
    """Sends the user's commands about casts to the engine.

    Signals: `failed(Failure)` when the engine could not; `accepted(str)` with the id of a new cast;
    `details_wanted(str)` and `verify_wanted(str)` with the id of a cast, for the window to open.
    """

    failed = Signal(object)
    accepted = Signal(str)
    details_wanted = Signal(str)
    verify_wanted = Signal(str)

    def __init__(
        self,
        link: EngineLink,
        transfers: TransferModel,
        selection: RecipientSelection,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._link, self._transfers, self._selection = link, transfers, selection

    # --- many casts ------------------------------------------------------------------------

    def pause(self, casts: Iterable[str]) -> None:
        """Pause those of the casts that run."""
        for cast in self._fitting(casts, can_pause):
            self._do(messages.Pause(cast))

    def resume(self, casts: Iterable[str]) -> None:
        """Resume those of the casts that are paused."""
        for cast in self._fitting(casts, can_resume):
            self._do(messages.Resume(cast))

    def pause_rows(self, rows: Mapping[str, tuple[str, ...]]) -> None:
        """By cast: pause these recipients of it, or all of it where none are named."""
        self.pause([cast for cast, nodes in rows.items() if not nodes])
        for cast, nodes in rows.items():
            if chosen := self._fitting_deliveries(cast, nodes, can_pause_delivery):
                self.pause_recipients(cast, chosen)

    def resume_rows(self, rows: Mapping[str, tuple[str, ...]]) -> None:
        """By cast: go on with these recipients of it, or with all of it where none are named."""
        self.resume([cast for cast, nodes in rows.items() if not nodes])
        for cast, nodes in rows.items():
            if chosen := self._fitting_deliveries(cast, nodes, can_resume_delivery):
                self.resume_recipients(cast, chosen)

    def cancel(self, casts: Iterable[str]) -> None:
        """Cancel casts that have not ended, and stop waiting for offline recipients of those that have."""
        for cast in self._fitting(casts, can_cancel):
            self._do(messages.Cancel(cast))

    def retry(self, casts: Iterable[str]) -> None:
        """Send the casts to the recipients that did not get them."""
        for cast in self._fitting(casts, can_retry):
            self._begin(messages.Retry(cast))

    def pause_all(self) -> None:
        if self.any(can_pause):
            self._do(messages.Pause())

    def resume_all(self) -> None:
        if self.any(can_resume):
            self._do(messages.Resume())

    def retry_all(self) -> None:
        self.retry([cast.cast for cast in self._transfers.casts()])

    def clear_finished(self) -> None:
        self._do(messages.ClearFinished())

    def any(self, fits: Callable[[CastSummary], bool]) -> bool:
        """Whether something can be done with any cast."""
        return any(fits(cast) for cast in self._transfers.casts())

    # --- one cast --------------------------------------------------------------------------

    def send_again(self, cast: str) -> None:
        """Send the same to the same recipients; also for casts of the history."""
        self._begin(messages.SendAgain(cast))

    def retry_to(self, cast: str, recipients: Iterable[str]) -> None:
        """Send to some of those that did not get it."""
        self._begin(messages.Retry(cast, tuple(recipients)))

    def pause_recipients(self, cast: str, recipients: Iterable[str]) -> None:
        """Pause these recipients; the others continue."""
        self._do(messages.Pause(cast, tuple(recipients)))

    def resume_recipients(self, cast: str, recipients: Iterable[str]) -> None:
        """Resume these recipients."""
        self._do(messages.Resume(cast, tuple(recipients)))

    def set_receiving(self, cast: str, node: str, goes_on: bool) -> None:
        """Pause one recipient, or have it go on."""
        (self.resume_recipients if goes_on else self.pause_recipients)(cast, (node,))

    def drop(self, cast: str, recipients: Iterable[str]) -> None:
        """Remove these recipients from the cast."""
        self._do(messages.DropRecipients(cast, tuple(recipients)))

    def addable(self, cast: CastSummary) -> tuple[str, ...]:
        """The chosen nodes that a running cast could be sent to as well."""
        if cast.state.finished:
            return ()
        chosen = self._selection.ready() - set(cast.recipients) - {cast.source}
        return tuple(sorted(chosen))

    def add_recipients(self, cast: str, recipients: tuple[str, ...]) -> None:
        """Add recipients to a running cast; reports one that cannot take it."""

        def added(report: messages.PreflightReport) -> None:
            if report.failure is not None:
                self.failed.emit(report.failure)
            elif report.problems:
                self.failed.emit(report.problems[0].failure)

        command = messages.AddRecipients(cast, recipients)
        self._link.ask(command, messages.PreflightReport, added, self._on_failed)

    def set_limit(self, cast: str, limit: int) -> None:
        """Bytes per second on every hop of the cast; 0: none."""
        self._do(messages.SetLimit(limit, cast))

    def move(self, cast: str, by: int) -> None:
        """Move a cast in the queue: -1 is one place nearer to the start."""
        summary = self._transfers.summary(cast)
        if summary is not None and summary.state is CastState.QUEUED:
            last = sum(each.state is CastState.QUEUED for each in self._transfers.casts()) - 1
            place = max(0, min(last, summary.place + by))
            if place != summary.place:
                self._do(messages.MoveInQueue(cast, place))

    # --- inside ----------------------------------------------------------------------------

    def _fitting(self, casts: Iterable[str], fits: Callable[[CastSummary], bool]) -> list[str]:
        summaries = [self._transfers.summary(cast) for cast in casts]
        return [each.cast for each in summaries if each is not None and fits(each)]

    def _fitting_deliveries(
        self, cast: str, nodes: Iterable[str], fits: Callable[[CastSummary, DeliverySnapshot], bool]
    ) -> list[str]:
        summary, chosen = self._transfers.summary(cast), set(nodes)
        if summary is None:
            return []
        deliveries = self._transfers.deliveries(cast)
        return [item.node for item in deliveries if item.node in chosen and fits(summary, item)]

    def _do(self, command: messages.Command) -> None:
        self._link.ask(command, messages.Done, None, self._on_failed)

    def _begin(self, command: messages.Command) -> None:
        def accepted(reply: messages.Accepted) -> None:
            self.accepted.emit(reply.cast)

        self._link.ask(command, messages.Accepted, accepted, self._on_failed)

    def _on_failed(self, failure: Failure) -> None:
        self.failed.emit(failure)
