"""What tests of the window get: the theme, a link without a loop, a window; and no Qt warning unseen."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, QSettings, Qt, QUrl, SignalInstance
from PySide6.QtGui import QDragEnterEvent, QDragMoveEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from pytestqt.wait_signal import SignalBlocker

from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.theme.theme import Theme, apply_style
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers.fake_engine import FakeLink
from tests.helpers.patience import PATIENCE
from tests.ui.scenes import make_window

HERE = Path(__file__).parent
PATIENCE_MS = round(PATIENCE * 1000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            # Said by the offscreen platform about windows with a smallest size, those on top, and popups.
            item.add_marker(
                pytest.mark.qt_log_ignore(
                    "propagateSizeHints|does not support (raise|grabbing|setting window masks)"
                )
            )


@pytest.fixture(autouse=True, scope="module")
def garbage_stays_here() -> Iterator[None]:
    """Collect garbage in this thread only, as the window does; see `ui.window.event_loop`."""
    gc.disable()
    yield
    gc.collect()
    gc.enable()


@pytest.fixture(autouse=True)
def no_leftovers(qapp: QApplication) -> Iterator[None]:
    """No thread and no visible window outlives its test."""
    threads = set(threading.enumerate())
    yield
    assert [thread for thread in threading.enumerate() if thread not in threads and not thread.daemon] == []
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert [widget for widget in qapp.topLevelWidgets() if widget.isVisible()] == []


@pytest.fixture
def settings(tmp_path: Path) -> QSettings:
    return QSettings(str(tmp_path / "window.ini"), QSettings.Format.IniFormat)


@pytest.fixture
def theme(qapp: QApplication, settings: QSettings) -> Theme:
    return Theme(settings)


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def language(qapp: QApplication, settings: QSettings) -> Iterator[Language]:
    """English, whatever the system speaks."""
    made = Language(settings)
    yield made
    made.stop()


@pytest.fixture
def window(
    qtbot: QtBot, qapp: QApplication, theme: Theme, language: Language, link: FakeLink, settings: QSettings
) -> MainWindow:
    """The whole window in its look, with an engine that is not there yet."""
    load_fonts()
    qapp.setStyleSheet("")  # as in the application, its style comes once it is whole
    theme.changed.connect(lambda: apply_style(qapp, theme))
    made = make_window(theme, language, link, settings)
    qtbot.addWidget(made)
    apply_style(qapp, theme)
    with qtbot.waitExposed(made):
        made.show()
    return made


class PatientQtBot(QtBot):
    """Waits as long as all tests do; the time-outs of pytest-qt are too short for a busy machine."""

    def waitSignal(
        self,
        signal: SignalInstance,
        *,
        timeout: int = PATIENCE_MS,
        raising: bool | None = None,
        check_params_cb: Callable[..., bool] | None = None,
    ) -> SignalBlocker:
        return super().waitSignal(signal, timeout=timeout, raising=raising, check_params_cb=check_params_cb)

    def waitActive(self, widget: QWidget, *, timeout: int = PATIENCE_MS) -> AbstractContextManager[object]:
        return super().waitActive(widget, timeout=timeout)

    def waitExposed(self, widget: QWidget, *, timeout: int = PATIENCE_MS) -> AbstractContextManager[object]:
        return super().waitExposed(widget, timeout=timeout)

    def waitUntil(self, callback: Callable[[], bool | None], *, timeout: int = PATIENCE_MS) -> None:
        super().waitUntil(callback, timeout=timeout)


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> QtBot:
    return PatientQtBot(request)


class Drag:
    """Files on their way over a widget, as Qt tells it about them."""

    def __init__(self, *paths: str) -> None:
        self._data = QMimeData()
        self._data.setUrls([QUrl.fromLocalFile(path) for path in paths])

    def enter(self, widget: QWidget, place: QPoint) -> bool:
        event = QDragEnterEvent(place, Qt.DropAction.CopyAction, self._data, *self._hands())
        event.ignore()
        QApplication.sendEvent(widget, event)
        return event.isAccepted()

    def move(self, widget: QWidget, place: QPoint) -> bool:
        event = QDragMoveEvent(place, Qt.DropAction.CopyAction, self._data, *self._hands())
        event.ignore()
        QApplication.sendEvent(widget, event)
        return event.isAccepted()

    def drop(self, widget: QWidget, place: QPoint) -> bool:
        event = QDropEvent(QPointF(place), Qt.DropAction.CopyAction, self._data, *self._hands())
        event.ignore()
        QApplication.sendEvent(widget, event)
        return event.isAccepted()

    @staticmethod
    def _hands() -> tuple[Qt.MouseButton, Qt.KeyboardModifier]:
        return Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
