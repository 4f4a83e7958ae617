"""Actions on casts: which are possible, and the commands that ask the engine for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QObject, Signal
from PySide6.QtWidgets import QMenu, QWidget

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.model.desktop_services import BackgroundChecks, FolderOpener, copy
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.send.option_fields import add_limits
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_text import cast_title

translate = QCoreApplication.translate

FAILED = frozenset({CastState.FAILED, CastState.PARTLY_FAILED})
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
        self.folders = FolderOpener(self)

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
        self.pause(cast for cast, nodes in rows.items() if not nodes)
        self._do_for_recipients(messages.Pause, rows, can_pause_delivery)

    def resume_rows(self, rows: Mapping[str, tuple[str, ...]]) -> None:
        """By cast: resume these recipients of it, or all of it where none are named."""
        self.resume(cast for cast, nodes in rows.items() if not nodes)
        self._do_for_recipients(messages.Resume, rows, can_resume_delivery)

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

    def clear_text(self) -> str:
        """What `clear_finished` would do now; "" for nothing: failed casts stay until no others are left."""
        ended = [cast for cast in self._transfers.casts() if cast.state.finished]
        if not ended:
            return ""
        if all(cast.state in FAILED for cast in ended):
            return translate("TransferTools", "Clear failed")
        return translate("TransferTools", "Clear finished")

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

    def set_receiving(self, cast: str, node: str, goes_on: bool) -> None:
        """Resume one recipient, or pause it; the others continue."""
        self._do((messages.Resume if goes_on else messages.Pause)(cast, (node,)))

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
        self._link.ask(command, messages.PreflightReport, added, self.failed.emit)

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

    def _do_for_recipients(
        self,
        command: type[messages.Pause | messages.Resume],
        rows: Mapping[str, tuple[str, ...]],
        fits: Callable[[CastSummary, DeliverySnapshot], bool],
    ) -> None:
        for cast, nodes in rows.items():
            summary, chosen = self._transfers.summary(cast), set(nodes)
            if summary is None:
                continue
            deliveries = [each for each in self._transfers.deliveries(cast) if each.node in chosen]
            if fitting := tuple(each.node for each in deliveries if fits(summary, each)):
                self._do(command(cast, fitting))

    def _do(self, command: messages.Command) -> None:
        self._link.ask(command, messages.Done, None, self.failed.emit)

    def _begin(self, command: messages.Command) -> None:
        def accepted(reply: messages.Accepted) -> None:
            self.accepted.emit(reply.cast)

        self._link.ask(command, messages.Accepted, accepted, self.failed.emit)


class TransferMenu:
    """Fills a menu for casts, or for one delivery of a cast."""

    def __init__(self, owner: QWidget, actions: CastActions, nodes: NodeList) -> None:
        self._owner, self._actions, self._nodes = owner, actions, nodes
        self._checks = BackgroundChecks()

    def for_casts(
        self, menu: QMenu, casts: Sequence[CastSummary], deliveries: Sequence[DeliverySnapshot]
    ) -> None:
        """`deliveries` are those of the only cast; none for several."""
        self._add_controls(menu, casts)
        if len(casts) == 1:
            self._add_changes(menu, casts[0])
        self._add_after(menu, casts)
        menu.addSeparator()
        names = "\n".join(cast_title(cast) for cast in casts)
        self._add_results(menu, translate("TransferTable", "Copy name"), names, deliveries)

    def for_delivery(self, menu: QMenu, cast: CastSummary, delivery: DeliverySnapshot) -> None:
        """What can be done with one recipient's share."""
        actions, name, node = self._actions, cast.cast, delivery.node
        if can_pause_delivery(cast, delivery):
            text = translate("TransferTable", "Pause {node}").format(node=node)
            menu.addAction(f"{text}\tCtrl+P", partial(actions.set_receiving, name, node, False))
        if can_resume_delivery(cast, delivery):
            text = translate("TransferTable", "Resume {node}").format(node=node)
            menu.addAction(f"{text}\tCtrl+S", partial(actions.set_receiving, name, node, True))
        if can_drop(cast, delivery):
            text = translate("TransferTable", "Remove {node} from the cast").format(node=node)
            menu.addAction(text, partial(actions.drop, name, (node,)))
        if can_retry_delivery(cast, delivery):
            text = translate("TransferTable", "Send to {node} again").format(node=node)
            menu.addAction(text, partial(actions.retry_to, name, (node,)))
        menu.addSeparator()
        self._add_results(menu, translate("TransferTable", "Copy node"), node, (delivery,))

    def _add_results(
        self, menu: QMenu, copy_name: str, name: str, deliveries: Sequence[DeliverySnapshot]
    ) -> None:
        """Open the folder on this computer, and copy the name, the first path and the first hash."""
        written = [delivery for delivery in deliveries if delivery.paths]
        here = next(filter(self._nodes.is_here, written), None)
        if here is not None:
            self._add_open_folder(menu, here)
        menu.addAction(copy_name, partial(copy, name))
        if written:
            paths = "\n".join(written[0].paths)
            menu.addAction(translate("TransferTable", "Copy path"), partial(copy, paths))
        if hashed := next((delivery for delivery in deliveries if delivery.hash), None):
            menu.addAction(translate("TransferTable", "Copy hash"), partial(copy, hashed.hash))

    def _add_controls(self, menu: QMenu, casts: Sequence[CastSummary]) -> None:
        actions, names = self._actions, [cast.cast for cast in casts]
        for text, key, fits, run in (
            (translate("TransferTable", "Pause"), "Ctrl+P", can_pause, actions.pause),
            (translate("TransferTable", "Resume"), "Ctrl+S", can_resume, actions.resume),
            (translate("TransferTable", "Cancel"), "Del", can_cancel, actions.cancel),
        ):
            if any(fits(cast) for cast in casts):
                menu.addAction(f"{text}\t{key}", partial(run, names))
        menu.addSeparator()

    def _add_changes(self, menu: QMenu, cast: CastSummary) -> None:
        """What can be changed while a cast has not ended."""
        actions, name = self._actions, cast.cast
        if cast.state is CastState.QUEUED:
            menu.addAction(
                translate("TransferTable", "Earlier in the queue") + "\tAlt+Up",
                partial(actions.move, name, -1),
            )
            menu.addAction(
                translate("TransferTable", "Later in the queue") + "\tAlt+Down",
                partial(actions.move, name, 1),
            )
        if not cast.state.finished:
            limits = menu.addMenu(translate("TransferTable", "Speed limit"))
            add_limits(limits, cast.options.limit, partial(actions.set_limit, name), self._owner)
        if addable := actions.addable(cast):
            one, many = (
                translate("TransferTable", "Add {node} as a recipient"),
                translate("TransferTable", "Add the {count} selected nodes"),
            )
            text = (one if len(addable) == 1 else many).format(node=addable[0], count=len(addable))
            menu.addAction(text, partial(actions.add_recipients, name, addable))

    def _add_after(self, menu: QMenu, casts: Sequence[CastSummary]) -> None:
        """What can be done with a cast that has ended."""
        actions, names = self._actions, [cast.cast for cast in casts]
        if any(can_retry(cast) for cast in casts):
            menu.addAction(
                translate("TransferTable", "Retry failed") + "\tCtrl+R", partial(actions.retry, names)
            )
        if len(casts) != 1:
            return
        cast = casts[0]
        if cast.state.finished:
            menu.addAction(translate("TransferTable", "Send again"), partial(actions.send_again, cast.cast))
        if can_verify(cast):
            menu.addAction(
                translate("TransferTable", "Verify again…"), partial(actions.verify_wanted.emit, cast.cast)
            )
        menu.addAction(
            translate("TransferTable", "Details…") + "\tAlt+Return",
            partial(actions.details_wanted.emit, cast.cast),
        )

    def _add_open_folder(self, menu: QMenu, delivery: DeliverySnapshot) -> None:
        folder = str(Path(delivery.paths[0]).parent)
        action = menu.addAction(
            translate("TransferTable", "Open folder"), partial(self._actions.folders.open, folder)
        )
        self._checks.enable_for_folder(action, folder)
