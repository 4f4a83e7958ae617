"""The window's composition root: builds the parts, starts them in order, stops them in order.

The window is drawn first; the event loop, the engine's client and the plot's libraries are imported
afterwards, because each of them costs more than the first paint.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtGui, QtSvg, QtWidgets
from PySide6.QtCore import QEventLoop, QObject, QSettings, QSocketNotifier, QTimer, Signal
from PySide6.QtWidgets import QApplication, QMessageBox

from castray_desktop.core.content.urls import is_url
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.failures.sentences import TEMPLATES, sentence
from castray_desktop.core.protocol.messages import ClusterStatus, Welcome
from castray_desktop.ui.i18n.failure_text import explain_failure
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.model.engine_link import Engine, EngineLink
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.theme.reduced_motion import ask_gnome
from castray_desktop.ui.theme.theme import Theme, apply_style
from castray_desktop.ui.widgets.dropdown_names import DropdownInterfaces
from castray_desktop.ui.window.event_loop import (
    Gap,
    StallMeter,
    WindowThreadCollector,
    log,
    log_stalls,
)
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.workers.base.home_format import check_home
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.base.state_files import PrivateLogFile, RecipientGroupFile, open_private
from castray_desktop.workers.client.single_instance import (
    HandoverRequest,
    InstanceListener,
    SecondInstance,
    hand_over,
)

FIRST_PAINT_SECONDS = 0.5  # a hidden desktop may never paint; go on without it
PLOT_DELAY_MS = 400
SLICE_SECONDS = 0.006
SLICE_EVERY_MS = 12
CLOSE_SECONDS = 3.0
LOG_BYTES = 1024 * 1024


def run(files: list[str], cluster: str | None) -> int:
    """Show the window until the user closes it; returns the exit status.

    `files` and addresses among them are put on the send list, relative files seen from the current folder;
    `cluster` is what to start or attach when the engine has none; else that is what was used last, and at
    first the user is asked.
    A window of this home that is open already gets them instead, and this one is not shown.
    """
    paths = find_paths()
    wanted = cluster or os.environ.get("CASTRAY_CLUSTER")
    shown = [name if is_url(name) else str(Path(name).absolute()) for name in files]
    if hand_over(paths, HandoverRequest(tuple(shown), cluster or "")):
        return 0
    application = build_application()
    settings = open_settings(paths)
    theme = Theme(settings, application)
    language = Language(settings, application)
    language.start()
    load_fonts()
    try:
        check_home(paths.home)
    except CastRayError as error:
        apply_style(application, theme)
        return show_refusal(error.failure)
    theme.changed.connect(lambda: apply_style(application, theme))
    trace = StartupTrace(os.environ.get("CASTRAY_STARTUP_TRACE", ""))

    async def connect() -> Engine:
        from castray_desktop.workers.client.engine_client import EngineClient

        return await EngineClient.connect(paths, "window")

    link = EngineLink(connect, application)
    preferences = Preferences(settings, application)
    window = MainWindow(theme, language, link, preferences, RecipientGroupFile(paths.groups), wanted)
    window.add_files(shown)
    receiver = InstanceReceiver(paths, window)
    trace.follow(window, link)
    # Given to the finished window: one that is there before is worked out at every step of building.
    apply_style(application, theme)
    quit_request = QuitRequest(window)
    window.show()
    wait_for_paint(window)
    log_file = open_log(paths.log, os.environ.get("CASTRAY_WINDOW_LOG", ""))
    ask_gnome(preferences.follow_desktop, window)
    stalls = log_stalls(window)
    collector = WindowThreadCollector(window)
    collector.start()
    plot = PlotLoader(theme, window, link)
    plot.loaded.connect(collector.settle)
    with closing_signals(window):
        status = serve(application, quit_request, link)
    receiver.close()
    window.shut_down()
    plot.stop()
    collector.stop()
    stalls.stop()
    close_log(log_file)
    trace.stop()
    settings.sync()
    window.hide()
    return status


def show_refusal(failure: Failure) -> int:
    """Say in a message box, and on stderr, why there is no window; returns the exit status."""
    print(f"castray: {sentence(failure)}", file=sys.stderr)  # noqa: T201 - a terminal may be watched
    why = explain_failure(failure)
    box = QMessageBox(QMessageBox.Icon.Critical, "CastRay", why.happened)
    box.setInformativeText(why.remedy)
    box.exec()
    return TEMPLATES[failure.kind].status.exit


def build_application() -> QApplication:
    """The application object, with nothing of the desktop's own style."""
    existing = QApplication.instance()
    application = existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
    application.setApplicationName("CastRay")
    application.setApplicationDisplayName("CastRay")
    application.setDesktopFileName("castray")
    application.setStyle("Fusion")
    application.setQuitOnLastWindowClosed(False)
    DropdownInterfaces().install()
    return application


def open_settings(paths: Paths) -> QSettings:
    """The window's settings, in the home. Qt keeps the mode of a file that is there."""
    path = paths.home / "window.ini"
    with contextlib.suppress(OSError):
        open_private(path, "ab").close()
    return QSettings(str(path), QSettings.Format.IniFormat)


def open_log(folder: Path, level: str) -> logging.Handler | None:
    """Log what the window does to `window.log`, at this level or above.

    None where no level is named, or the folder can't be written.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = PrivateLogFile(folder / "window.log", maxBytes=LOG_BYTES, backupCount=1)
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(number)
    return handler


def close_log(handler: logging.Handler | None) -> None:
    """Close the handler of `open_log`."""
    if handler is not None:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)
        handler.close()


def wait_for_paint(window: MainWindow) -> None:
    """Handle events until the window has been drawn, or it takes too long."""
    loop = QEventLoop()
    window.painted.connect(loop.quit)
    QTimer.singleShot(round(FIRST_PAINT_SECONDS * 1000), loop, loop.quit)
    loop.exec()


class InstanceReceiver(QObject):
    """Takes what further starts hand over: their files go on the list, and the window comes to the front."""

    def __init__(self, paths: Paths, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._handovers: dict[int, tuple[SecondInstance, QSocketNotifier]] = {}
        self._listener: InstanceListener | None = None
        with contextlib.suppress(OSError):  # without it further starts open a window of their own
            self._listener = InstanceListener(paths)
            self._notifier = QSocketNotifier(self._listener.fileno(), QSocketNotifier.Type.Read, self)
            self._notifier.activated.connect(self._accept)

    def close(self) -> None:
        """Accept no more."""
        for number in tuple(self._handovers):
            self._drop(number)
        if self._listener is not None:
            self._notifier.setEnabled(False)
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        handover = self._listener.accept() if self._listener is not None else None
        if handover is None:
            return
        number = handover.connection.fileno()
        notifier = QSocketNotifier(number, QSocketNotifier.Type.Read, self)
        notifier.activated.connect(lambda: self._read(number))
        self._handovers[number] = (handover, notifier)

    def _read(self, number: int) -> None:
        if number not in self._handovers:
            return
        handover = self._handovers[number][0]
        try:
            handed = handover.read_request()
        except (OSError, ValueError):
            self._drop(number)
            return
        if handed is None:
            return
        self._window.bring_to_front()
        self._window.add_files(list(handed.files))
        if handed.cluster:
            self._window.cluster_selector.use(handed.cluster)
        self._handovers.pop(number)[1].setEnabled(False)
        handover.confirm()

    def _drop(self, number: int) -> None:
        handover, notifier = self._handovers.pop(number)
        notifier.setEnabled(False)
        handover.connection.close()


class QuitRequest(QObject):
    """Remembers that the user wants to quit, also before the event loop can end."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._asked = False
        self._tell: Callable[[], None] = lambda: None
        window.quit_requested.connect(self._ask)

    def when_asked(self, tell: Callable[[], None]) -> None:
        """Call `tell` when the user asks to quit, at once if that was before."""
        self._tell = tell
        if self._asked:
            tell()

    def _ask(self) -> None:
        self._asked = True
        self._tell()


def new_event_loop(application: QApplication) -> Any:
    """Create the event loop of asyncio that runs inside of Qt's. Only this function knows qasync."""
    import asyncio

    os.environ.setdefault("QT_API", "pyside6")
    import qasync

    class EventLoop(qasync.QEventLoop):  # type: ignore[misc]
        """For each callback qasync 0.28 calls `asyncio.iscoroutinefunction`, which Python 3.16 removes."""

        def call_later(
            self,
            delay: float,
            callback: Callable[..., object],
            *args: Any,
            context: contextvars.Context | None = None,
        ) -> Any:
            return self._add_callback(asyncio.Handle(callback, args, self, context=context), delay)

    return EventLoop(application)


def serve(application: QApplication, quit_request: QuitRequest, link: EngineLink) -> int:
    """Run the event loop until the user wants to quit and the engine has been left."""
    import asyncio

    async def live() -> None:
        quit_wanted = asyncio.Event()
        quit_request.when_asked(quit_wanted.set)
        running = asyncio.create_task(link.run(), name="engine link")
        waiting = asyncio.create_task(quit_wanted.wait(), name="quit")
        done, _ = await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await link.close()
        waiting.cancel()
        if running in done:
            running.result()

    loop = new_event_loop(application)
    with loop:
        loop.run_until_complete(live())
    return 0


@contextlib.contextmanager
def closing_signals(window: MainWindow) -> Iterator[None]:
    """While entered, SIGINT and SIGTERM close the window without asking.

    Python runs its handlers only between two of its own instructions, which an idle Qt loop never
    reaches: the wake-up socket makes it.
    """
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    notifier = QSocketNotifier(ours.fileno(), QSocketNotifier.Type.Read)

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):
            ours.recv(64)

    notifier.activated.connect(drain)
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    handlers = {
        number: signal.signal(number, lambda *_: window.quit_requested.emit())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        notifier.setEnabled(False)
        ours.close()
        theirs.close()


class PlotLoader(QObject):
    """Brings the plot into the window some time after the first paint; its libraries are large.

    They are imported in a thread. PySide makes each of its classes when it is first asked for, pyqtgraph asks
    for all of them, and two threads that do so at once crash: so all are made here first, a few at a time.
    Signals: `loaded()` when the plot is there.
    """

    loaded = Signal()
    _imported = Signal()

    def __init__(self, theme: Theme, window: MainWindow, link: EngineLink) -> None:
        super().__init__(window)
        self._theme, self._window, self._link = theme, window, link
        self._imported.connect(self._put)
        self._thread = threading.Thread(target=self._import, name="plot import", daemon=True)
        self._names = [(module, name) for module in (QtCore, QtGui, QtWidgets, QtSvg) for name in dir(module)]
        self._timer = QTimer(self, interval=SLICE_EVERY_MS)
        self._timer.timeout.connect(self._make_some_classes)
        QTimer.singleShot(PLOT_DELAY_MS, self, self._timer.start)

    def stop(self) -> None:
        """Wait for the import, if it is under way."""
        self._timer.stop()
        if self._thread.is_alive():
            self._thread.join()

    def _make_some_classes(self) -> None:
        end = time.perf_counter() + SLICE_SECONDS
        while self._names and time.perf_counter() < end:
            getattr(*self._names.pop(), None)
        if not self._names:
            self._timer.stop()
            self._thread.start()

    def _import(self) -> None:
        import castray_desktop.ui.throughput.throughput_plot  # noqa: F401

        self._imported.emit()

    def _put(self) -> None:
        from castray_desktop.ui.throughput.throughput_plot import PlotPersistence, ThroughputPlot

        plot = ThroughputPlot(self._theme)
        plot.failed.connect(self._window.show_failure)
        self._window.transfers_card.put_plot(plot, plot.add)
        PlotPersistence(plot, self._link, self._window.preferences.settings)
        self.loaded.emit()


class StartupTrace:
    """Writes when what happened, as lines of JSON, to the file at `path`; nothing when it is empty."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._meter = StallMeter(self._tell_gap)

    def follow(self, window: MainWindow, link: EngineLink) -> None:
        """Note the window's first paint, the engine's first answer, and when the nodes are ready."""
        if not self._path:
            return
        window.painted.connect(self._tell_paint)
        link.welcome.connect(self._tell_welcome)
        link.cluster_changed.connect(self._tell_cluster)

    def stop(self) -> None:
        self._meter.stop()
        self.write("stopped")

    def write(self, event: str, **values: object) -> None:
        """Append a line."""
        if self._path:
            with Path(self._path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"event": event, "at": time.time(), **values}) + "\n")

    def _tell_paint(self) -> None:
        self.write("first_paint")
        self._meter.start()

    def _tell_welcome(self, welcome: Welcome) -> None:
        self.write("engine_connected")
        self._tell_cluster(welcome.cluster)

    def _tell_cluster(self, cluster: ClusterStatus) -> None:
        self.write(cluster.phase.value)

    def _tell_gap(self, gap: Gap) -> None:
        busy, starved = round(gap.busy_ms, 1), round(gap.starved_ms, 1)
        self.write("gap", ms=round(gap.late_ms, 1), busy_ms=busy, starved_ms=starved)
