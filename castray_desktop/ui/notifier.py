"""Tells the user that a cast has ended: in the window, and on the desktop while that is not in front."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QObject, Signal
from PySide6.QtWidgets import QWidget

from castray_desktop.core.errors import Explanation
from castray_desktop.core.messages import CastResult, CastState, CastSummary, DeliverySnapshot
from castray_desktop.ui.controls.toast import Toast
from castray_desktop.ui.desktop_notes import DesktopNotes, Note
from castray_desktop.ui.nodes import NodeList
from castray_desktop.ui.opening import open_folder
from castray_desktop.ui.preferences import Preferences
from castray_desktop.ui.transfers.transfer_text import cast_title, failure_text
from castray_desktop.ui.words import Text

translate = QCoreApplication.translate


def result_words(result: CastResult) -> Explanation:
    """How a cast ended, in two short sentences."""
    cast, name = result.summary, cast_title(result.summary)
    total = len(cast.recipients)
    match cast.state:
        case CastState.COMPLETED:
            one = translate("Notifier", "{name} arrived on {node}")
            many = translate("Notifier", "{name} arrived on {count} nodes")
            text = (one if total == 1 else many).format(
                name=name, node=cast.recipients[0] if cast.recipients else "", count=total
            )
            return Explanation(text, translate("Notifier", "Every copy was checked by its hash."))
        case CastState.PARTLY_FAILED if _only_waits(cast):
            text = translate("Notifier", "{count} of {total} nodes get {name} once they are back")
            happened = text.format(name=name, count=cast.awaited, total=total)
            return Explanation(happened, _first_reason(result))
        case CastState.PARTLY_FAILED:
            text = translate("Notifier", "{name} did not arrive on {count} of {total} nodes")
            happened = text.format(name=name, count=total - cast.verified - cast.awaited, total=total)
            return Explanation(happened, _first_reason(result))
    text = translate("Notifier", "{name} could not be sent").format(name=name)
    return Explanation(text, failure_text(cast.failure) if cast.failure else _first_reason(result))


def _only_waits(cast: CastSummary) -> bool:
    """Whether all who have not got it get it once they are back."""
    return cast.awaited > 0 and cast.verified + cast.awaited == len(cast.recipients)


def _first_reason(result: CastResult) -> str:
    failures = [item.failure for item in result.deliveries if item.failure is not None]
    return failure_text(failures[0]) if failures else ""


class Notifier(QObject):
    """Listens to results. `window` is what may be in front. Signal: `window_wanted()`, to be in front."""

    window_wanted = Signal()

    def __init__(
        self, chosen: Preferences, toast: Toast, notes: DesktopNotes, nodes: NodeList, window: QWidget
    ) -> None:
        super().__init__(window)
        self._chosen, self._toast, self._notes = chosen, toast, notes
        self._nodes, self._window = nodes, window

    def tell(self, result: CastResult) -> None:
        """A cast has ended. What a schedule has sent is told only when it failed."""
        state = result.summary.state
        failed = state is not CastState.COMPLETED and not _only_waits(result.summary)
        wanted = self._chosen.notify_failed if failed else self._chosen.notify_done
        by_itself = bool(result.summary.schedule) and not failed
        if state is CastState.CANCELLED or by_itself or not wanted:
            return
        folder = self._folder(result)
        action: tuple[Text, Callable[[], object]] | None = None
        if folder:
            action = (lambda: translate("Notifier", "Show in folder"), lambda: open_folder(folder))
        self._toast.show_message(lambda: result_words(result), failed=failed, action=action)
        if self._chosen.notify_desktop and not self._window.isActiveWindow():
            words = result_words(result)
            self._notes.show(Note(words.happened, words.remedy, failed, self.window_wanted.emit, action))

    def close(self) -> None:
        """Let what is on the desktop go on without the window."""
        self._notes.close()

    def _folder(self, result: CastResult) -> str:
        """Where it landed on this computer; empty when it did not."""
        here = next((item for item in result.deliveries if item.paths and self._is_here(item)), None)
        return str(Path(here.paths[0]).parent) if here is not None else ""

    def _is_here(self, delivery: DeliverySnapshot) -> bool:
        node = self._nodes.get(delivery.node)
        address = (node.address if node else "") or delivery.address
        return bool(node and node.this_computer) or address.startswith("127.") or address == "::1"
