"""Operate the real window as a person would, and print the observations.

    python -m tests.helpers.desktop.window_pilot FILE... [--dest DIR] [--limit RATE] [--chinese]
        [--shots FOLDER] [--film FILE]

Opens the window with a local cluster, drops the files on it, ticks every recipient, presses Send, waits
for the result and closes the window. Prints one JSON object. With `--shots` it also saves pictures of the
running cast, light, dark and Chinese; with `--film` an animation of it, four times as fast. Needs a
screen: Xvfb, or QT_QPA_PLATFORM=offscreen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from PySide6.QtCore import QElapsedTimer, QMimeData, QObject, QPointF, Qt, QTimer, QUrl
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from castray_desktop import app
from castray_desktop.core.content.quantities import parse_rate
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import CastResult, CastSummary, NodeState
from castray_desktop.ui.i18n.language import CHINESE, ENGLISH
from castray_desktop.ui.window.main_window import MainWindow

STEP_MS = 50
SETTLE_MS = 250
LEAST_PASSES = 12  # of the event loop, each of which may take long on a busy machine
MOST_ROUNDS = 6
SAME = 0.008  # of a cast
WAIT_SECONDS = 120.0
SHARE_FOR_SHOT = 0.64
REST_SECONDS = 1.0
FILM_MS, FILM_FASTER, FILM_WIDTH = 500, 4, 960

Condition = Callable[[], bool]


class Pilot(QObject):
    """A script of conditions: it waits for each one, then continues."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self._options = options
        self._window: MainWindow | None = None
        self.seen: dict[str, object] = {}
        self._script = self._fly()
        self._condition: Condition = lambda: True
        self._deadline = time.monotonic() + WAIT_SECONDS
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._step)
        self._timer.start(STEP_MS)
        self._frames: list[QImage] = []
        self._film = QTimer(self)
        self._film.timeout.connect(self._take_frame)

    @property
    def window(self) -> MainWindow:
        if self._window is None:
            raise RuntimeError("there is no window yet")
        return self._window

    def _step(self) -> None:
        if time.monotonic() > self._deadline:
            self._timer.stop()
            self.seen["error"] = "timed out"
            self.window.quit_requested.emit()
        else:
            try:
                if self._condition():
                    self._condition = next(self._script)
            except StopIteration:
                self._timer.stop()
            except BaseException:
                self._timer.stop()
                self.window.quit_requested.emit()
                raise

    def _fly(self) -> Iterator[Condition]:
        yield self._find_window
        yield self._all_online
        self.seen["ready"] = time.time()
        window = self.window
        if self._options.chinese:
            window.header.language.choose(CHINESE)
        self._drop([Path(name) for name in self._options.files])
        if self._options.dest:
            window.send_panel.form["destination"].setText(self._options.dest)
        if self._options.limit:
            window.send_panel.form["limit"].set_value(parse_rate(self._options.limit))
        window.selection.select_all()
        yield window.send_panel.send_button.isEnabled
        results: list[CastResult] = []
        window._link.cast_finished.connect(results.append)
        self.seen["sent"] = time.time()
        QTest.mouseClick(window.send_panel.send_button, Qt.MouseButton.LeftButton)
        if self._options.film:
            self._film.start(FILM_MS)
        if self._options.shots:
            yield lambda: self._share() > SHARE_FOR_SHOT or bool(results)
            yield from self._shoot()
        yield lambda: bool(results)
        self.seen["finished"] = time.time()
        self._note(results[0])
        if self._options.film:
            self._film.stop()
            self._settle()  # what is shown of the result comes a moment later
            self._take_frame()
            self._save_film()
        window.close()

    def _find_window(self) -> bool:
        windows = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, MainWindow)]
        self._window = windows[0] if windows and windows[0].isVisible() else None
        return self._window is not None

    def _all_online(self) -> bool:
        nodes = self.window.nodes.nodes()
        return len(nodes) >= 4 and all(node.state is NodeState.ONLINE and node.disk_total for node in nodes)

    def _drop(self, files: list[Path]) -> None:
        """The events of a drag from another program that ends in the middle of the window."""
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path)) for path in files])
        point = QPointF(self.window.width() / 2, self.window.height() - 200)
        copy, left = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton
        keys = Qt.KeyboardModifier.NoModifier
        for event in (
            QDragEnterEvent(point.toPoint(), copy, data, left, keys),
            QDragMoveEvent(point.toPoint(), copy, data, left, keys),
            QDropEvent(point, copy, data, left, keys),
        ):
            QApplication.sendEvent(self.window, event)

    def _share(self) -> float:
        """The completed share of the newest cast."""
        newest = self._newest()
        return newest.done_bytes / newest.bytes if newest and newest.bytes else 0.0

    def _newest(self) -> CastSummary | None:
        return max(self.window.transfers.casts(), key=lambda summary: summary.started, default=None)

    def _of_one_moment(self) -> bool:
        """Whether the newest cast and its deliveries agree."""
        newest = self._newest()
        deliveries = self.window.transfers.deliveries(newest.cast) if newest else ()
        if newest is None or not newest.bytes or not deliveries:
            return True
        share = sum(delivery.bytes for delivery in deliveries) / len(deliveries) / newest.bytes
        return abs(share - self._share()) < SAME

    def _settle(self) -> None:
        """Nested layouts need one round of events each to follow a change; reports wait meanwhile."""
        for _ in range(MOST_ROUNDS):
            clock = QElapsedTimer()
            clock.start()
            passes = 0
            while clock.elapsed() < SETTLE_MS or passes < LEAST_PASSES:
                QApplication.processEvents()
                passes += 1
            if self._of_one_moment():
                break

    def _note(self, result: CastResult) -> None:
        self.seen["state"] = result.summary.state.value
        self.seen["seconds"] = result.seconds
        self.seen["source_copies"] = result.summary.source_copies
        failures = [item.failure for item in (result.summary, *result.deliveries) if item.failure]
        self.seen["failures"] = [sentence(failure) for failure in failures]
        self.seen["paths"] = {item.node: list(item.paths) for item in result.deliveries}

    def _take_frame(self) -> None:
        smooth = Qt.TransformationMode.SmoothTransformation
        self._frames.append(self.window.grab().toImage().scaledToWidth(FILM_WIDTH, smooth))

    def _save_film(self) -> None:
        from tools.animation import animate  # needs a package that only the documents need

        path = Path(self._options.film)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(animate(self._frames, FILM_MS // FILM_FASTER))

    def _at_rest(self) -> Condition:
        """The window has followed a change, and all of its parts show the same moment."""
        moment = time.monotonic() + REST_SECONDS
        return lambda: time.monotonic() > moment and self._of_one_moment()

    def _shoot(self) -> Iterator[Condition]:
        """Pictures in light, dark and Chinese, with the newest cast's deliveries visible."""
        folder, window = Path(self._options.shots), self.window
        filming = self._film.isActive()
        self._film.stop()
        folder.mkdir(parents=True, exist_ok=True)
        window.header.language.choose(ENGLISH)
        window.table.expandAll()
        for dark in (False, True):
            window._theme.set_dark(dark)
            yield self._at_rest()
            window.grab().save(str(folder / f"window-{'dark' if dark else 'light'}.png"))
        window._theme.set_dark(False)
        window.header.language.choose(CHINESE)
        yield self._at_rest()
        window.grab().save(str(folder / "window-light-zh.png"))
        window.header.language.choose(ENGLISH)
        if filming:
            self._film.start(FILM_MS)


def main() -> int:
    """Open the window, run the script, print the observations."""
    parser = argparse.ArgumentParser()
    parser.add_argument("files", nargs="+")
    parser.add_argument("--dest", default="")
    parser.add_argument("--limit", default="")
    parser.add_argument("--chinese", action="store_true")
    parser.add_argument("--shots", default="")
    parser.add_argument("--film", default="")
    options = parser.parse_args()
    app.build_application()
    pilot = Pilot(options)
    status = app.run([], "local")
    sys.stdout.write(json.dumps(pilot.seen) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
