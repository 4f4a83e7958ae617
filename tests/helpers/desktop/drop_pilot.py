"""A real window that reports the positions of its nodes: `python -m tests.helpers.desktop.drop_pilot`.

Prints lines of JSON on standard output: `nodes` with the screen position of each node, `over` when a node
takes the files of a drag, `listed` with the selected recipients when files are in the send list, `ready` when
a key would send them, `result`. All input events come from outside.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication

from castray_desktop import app
from castray_desktop.core.protocol.messages import CastResult, NodeState
from castray_desktop.ui.graph.scene_items import to_point
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers.desktop.drag_source import STEP_MS, at_rest


class Teller(QObject):
    """Waits for one condition after the other, and reports it."""

    def __init__(self, selected: frozenset[str]) -> None:
        super().__init__()
        self._selected = selected
        self._script = self._follow()
        self._condition: Callable[[], bool] = lambda: True
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._step)
        self._timer.start(STEP_MS)

    def _step(self) -> None:
        if self._condition():
            try:
                self._condition = next(self._script)
            except StopIteration:
                self._timer.stop()

    def _follow(self) -> Iterator[Callable[[], bool]]:
        yield lambda: self._window() is not None
        window = self._window()
        assert window is not None
        window.move(0, 0)
        yield lambda: len(online(window)) == 4
        window.selection.set_selected(self._selected)
        yield lambda: window.graph.view.isVisible() and len(places(window)) == 4  # instead of the first page
        yield at_rest(lambda: places(window))
        tell("nodes", places=places(window))
        yield lambda: bool(window.graph.scene_.targets)
        tell("over")
        yield lambda: bool(window.send_panel.entries.paths())
        tell("listed", chosen=sorted(window.selection.selected()), paths=window.send_panel.entries.paths())
        yield lambda: window.isActiveWindow() and window.send_panel.send_button.isEnabled()
        tell("ready")
        results: list[CastResult] = []
        window._link.cast_finished.connect(results.append)
        yield lambda: bool(results)
        paths = {item.node: list(item.paths) for item in results[0].deliveries}
        tell("result", state=results[0].summary.state.value, paths=paths)
        window.quit_requested.emit()

    def _window(self) -> MainWindow | None:
        windows = [widget for widget in QApplication.topLevelWidgets() if isinstance(widget, MainWindow)]
        return windows[0] if windows and windows[0].isVisible() else None


def online(window: MainWindow) -> list[str]:
    return [node.name for node in window.nodes.nodes() if node.state is NodeState.ONLINE and node.disk_total]


def places(window: MainWindow) -> dict[str, tuple[int, int]]:
    view = window.graph.view
    found = {}
    for name, place in window.graph.scene_.places().items():
        spot = view.viewport().mapToGlobal(view.mapFromScene(to_point(place)))
        found[name] = (spot.x(), spot.y())
    return found


def tell(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def main(*selected: str) -> int:
    """Open the window with these nodes selected, and report."""
    app.build_application()
    teller = Teller(frozenset(selected))
    status = app.run([], "local")
    del teller
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
