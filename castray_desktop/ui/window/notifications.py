"""The icon in the desktop's tray: opens the window, pauses, quits, and shows messages."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QObject, QProcess, Signal
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QMenu, QSystemTrayIcon, QWidget

from castray_desktop.core.casts.states import have_files_changed
from castray_desktop.core.failures.sentences import Explanation
from castray_desktop.core.protocol.messages import CastResult, CastState, CastSummary
from castray_desktop.ui.i18n.failure_text import failure_text
from castray_desktop.ui.i18n.language import Retranslator, Text
from castray_desktop.ui.model.desktop_services import FolderOpener
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.theme.resources import resource
from castray_desktop.ui.transfers.file_text import telling_counts
from castray_desktop.ui.transfers.transfer_text import cast_title
from castray_desktop.ui.widgets.banner import Toast

translate = QCoreApplication.translate
SHOWN_MS = 8000


class Tray(QObject):
    """Shown if the desktop has a tray; otherwise `available` returns False.

    A tray that comes later, as at login, is found when somebody asks for it.

    Signals: `open_requested()`, `pause_requested()`, `resume_requested()`, `quit_requested()`.
    """

    open_requested = Signal()
    pause_requested = Signal()
    resume_requested = Signal()
    quit_requested = Signal()

    def __init__(
        self, parent: QWidget, is_there: Callable[[], bool] = QSystemTrayIcon.isSystemTrayAvailable
    ) -> None:
        super().__init__(parent)
        self._is_there = is_there
        self.icon: QSystemTrayIcon | None = None
        self._clicked: Callable[[], object] = lambda: None
        self._menu = QMenu(parent)
        Retranslator(self, self._fill)
        self.available()

    def available(self) -> bool:
        """Whether there is a tray now; the icon is put into it if it is not there yet."""
        there = self._is_there()
        if there and self.icon is None:
            self.icon = QSystemTrayIcon(QIcon(str(resource("castray-256.png"))), self)
            self.icon.setToolTip("CastRay")
            self.icon.setContextMenu(self._menu)
            self.icon.activated.connect(self._on_activated)
            self.icon.messageClicked.connect(self._on_clicked)
            self.icon.show()
        return there

    def show_message(self, title: str, text: str, *, failed: bool, clicked: Callable[[], object]) -> None:
        """Show a message on the desktop; `clicked` is called when the user clicks on it."""
        if not self.available() or self.icon is None or not self.icon.supportsMessages():
            return
        self._clicked = clicked
        kind = QSystemTrayIcon.MessageIcon.Warning if failed else QSystemTrayIcon.MessageIcon.Information
        self.icon.showMessage(title, text, kind, SHOWN_MS)

    def close(self) -> None:
        """Take the icon away."""
        if self.icon is not None:
            self.icon.hide()

    def _fill(self) -> None:
        self._menu.clear()
        self._menu.addAction(translate("Tray", "Open CastRay"), self.open_requested.emit)
        self._menu.addSeparator()
        self._menu.addAction(translate("TransferTools", "Pause all"), self.pause_requested.emit)
        self._menu.addAction(translate("TransferTools", "Resume all"), self.resume_requested.emit)
        self._menu.addSeparator()
        self._menu.addAction(translate("Tray", "Quit"), self.quit_requested.emit)

    def _on_clicked(self) -> None:
        self._clicked()

    def _on_activated(self, reason: QSystemTrayIcon.ActivationReason) -> None:
        if reason in (QSystemTrayIcon.ActivationReason.Trigger, QSystemTrayIcon.ActivationReason.DoubleClick):
            self.open_requested.emit()


MOST = 8  # messages that are listened to; some desktops keep them until somebody clicks on them

ON_MESSAGE, ON_BUTTON = "default", "button"  # "default" is the message itself


@dataclass(frozen=True)
class DesktopNotification:
    """A message: `clicked` is for a click on it, `button` a text and what it does."""

    title: str
    text: str
    failed: bool
    clicked: Callable[[], object]
    button: tuple[Text, Callable[[], object]] | None = None


def _find_program() -> str:
    """The path of `notify-send`; empty without it, or without a desktop session."""
    seen = QGuiApplication.platformName() in ("xcb", "wayland", "wayland-egl")
    return (shutil.which("notify-send") or "") if seen else ""


class DesktopNotifications(QObject):
    """Shows notes. What they do is called in the window's thread."""

    def __init__(self, tray: Tray, parent: QObject, program: str | None = None) -> None:
        """`program` is what shows them, by default the `notify-send` in the search path; "" is none."""
        super().__init__(parent)
        self._tray = tray
        self._program = _find_program() if program is None else program
        self._shown: dict[QProcess, DesktopNotification] = {}

    def show(self, note: DesktopNotification) -> None:
        """Show this notification on the desktop."""
        if not self._program:
            self._show_at_tray(note)
            return
        if len(self._shown) >= MOST:
            self._forget(next(iter(self._shown)))
        process = QProcess(self)
        self._shown[process] = note
        process.finished.connect(lambda code, _: self._ended(process, code))
        process.errorOccurred.connect(lambda _: self._ended(process, 1))
        process.start(self._program, self._arguments(note))

    def close(self) -> None:
        """Stop listening to all notifications."""
        for process in tuple(self._shown):
            self._forget(process)

    def _arguments(self, note: DesktopNotification) -> list[str]:
        opening = self.tr("Open CastRay")
        actions = [f"--action={ON_MESSAGE}={opening}"]
        if note.button is not None:
            actions.append(f"--action={ON_BUTTON}={note.button[0]()}")
        return [
            "--app-name=CastRay",
            "--icon=castray",
            "--urgency=normal",  # also for failures, so that *Do not disturb* of the desktop applies
            f"--expire-time={SHOWN_MS}",
            *actions,
            "--",
            note.title,
            html.escape(note.text, quote=False),  # the text may have marks in it, the title may not
        ]

    def _ended(self, process: QProcess, code: int) -> None:
        note = self._shown.pop(process, None)
        if note is None:
            return
        pressed = process.readAllStandardOutput().toStdString().split()
        process.deleteLater()
        if code:
            self._program = ""  # there is no service, or the program knows no buttons yet
            self._show_at_tray(note)
        elif ON_BUTTON in pressed and note.button is not None:
            note.button[1]()
        elif ON_MESSAGE in pressed:
            note.clicked()

    def _forget(self, process: QProcess) -> None:
        del self._shown[process]
        process.kill()
        process.waitForFinished(1000)
        process.deleteLater()

    def _show_at_tray(self, note: DesktopNotification) -> None:
        clicked = note.clicked if note.button is None else note.button[1]
        self._tray.show_message(note.title, note.text, failed=note.failed, clicked=clicked)


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
            if have_files_changed(cast):
                changed = translate(
                    "Notifier",
                    "The files had changed since the previous attempt. The current ones were sent.",
                )
                return Explanation(text, changed)
            checked = translate("Notifier", "Every copy was verified by its hash.")
            counts = telling_counts(cast.counts)
            if not counts:
                return Explanation(text, checked)
            return Explanation(
                text, translate("Notifier", "{counts}. {checked}").format(counts=counts, checked=checked)
            )
        case CastState.PARTLY_FAILED if _only_waits(cast):
            text = translate("Notifier", "{count} of {total} nodes receive {name} when they are back online")
            happened = text.format(name=name, count=cast.awaited, total=total)
            return Explanation(happened, _first_reason(result))
        case CastState.PARTLY_FAILED:
            text = translate("Notifier", "{name} did not arrive on {count} of {total} nodes")
            happened = text.format(name=name, count=total - cast.verified - cast.awaited, total=total)
            return Explanation(happened, _first_reason(result))
    text = translate("Notifier", "{name} could not be sent").format(name=name)
    return Explanation(text, failure_text(cast.failure) if cast.failure else _first_reason(result))


def _only_waits(cast: CastSummary) -> bool:
    """Whether every missing recipient gets the files when it is back."""
    return cast.awaited > 0 and cast.verified + cast.awaited == len(cast.recipients)


def _first_reason(result: CastResult) -> str:
    failures = [item.failure for item in result.deliveries if item.failure is not None]
    return failure_text(failures[0]) if failures else ""


class Notifier(QObject):
    """Listens to results. `window` is what may be in front. Signal: `window_wanted()`, to be in front."""

    window_wanted = Signal()

    def __init__(
        self,
        chosen: Preferences,
        toast: Toast,
        notes: DesktopNotifications,
        nodes: NodeList,
        folders: FolderOpener,
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._chosen, self._toast, self._notes = chosen, toast, notes
        self._nodes, self._folders, self._window = nodes, folders, window

    def notify(self, result: CastResult) -> None:
        """Notify that a cast has ended; for one of a schedule, only when it failed."""
        state = result.summary.state
        failed = state is not CastState.COMPLETED and not _only_waits(result.summary)
        wanted = self._chosen.notify_failed if failed else self._chosen.notify_done
        by_itself = bool(result.summary.schedule) and not failed
        if state is CastState.CANCELLED or by_itself or not wanted:
            return
        folder = self._folder(result)
        action: tuple[Text, Callable[[], object]] | None = None
        if folder:
            action = (lambda: translate("Notifier", "Show in folder"), lambda: self._folders.open(folder))
        in_banner = state is CastState.FAILED and result.summary.failure is not None
        if not in_banner:
            self._toast.show_message(lambda: result_words(result), failed=failed, action=action)
        if self._chosen.notify_desktop and not self._window.isActiveWindow():
            words = result_words(result)
            self._notes.show(
                DesktopNotification(words.happened, words.remedy, failed, self.window_wanted.emit, action)
            )

    def close(self) -> None:
        """Leave notifications on the desktop when the window ends."""
        self._notes.close()

    def _folder(self, result: CastResult) -> str:
        """The path on this computer; empty when this computer is no recipient."""
        here = next((item for item in result.deliveries if item.paths and self._nodes.is_here(item)), None)
        return str(Path(here.paths[0]).parent) if here is not None else ""
