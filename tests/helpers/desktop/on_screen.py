"""What a person sees and clicks: the painted pixels, not the state of a widget."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QImage, QPixmap
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

Pixels = npt.NDArray[np.uint8]
SAME = 0.97  # share of the pixels; the corners of a round shape show the background


def pixels(pixmap: QPixmap) -> Pixels:
    """Red, green and blue of each pixel."""
    image = pixmap.toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : image.width() * 3].reshape(image.height(), image.width(), 3).copy()


def place(widget: QWidget) -> QRect:
    """Its position in its window."""
    return QRect(widget.mapTo(widget.window(), QPoint()), widget.size())


def out_of_sight_because(widget: QWidget) -> str:
    """Why a widget is outside the painted area of its window; empty if it is inside."""
    QApplication.processEvents()
    window, rect = widget.window(), place(widget)
    if not widget.isVisible():
        return "it is not visible"
    if rect.isEmpty() or not window.rect().contains(rect):
        return f"{rect} is not within {window.rect()}"
    if widget.visibleRegion().boundingRect() != widget.rect():
        return f"only {widget.visibleRegion().boundingRect()} of {widget.rect()} is not covered"
    return ""


def hidden_because(widget: QWidget) -> str:
    """Why a person can't see all of a widget that paints its own background; empty if they can."""
    reason = out_of_sight_because(widget)
    if reason:
        return reason
    window, rect = widget.window(), place(widget)
    shown, alone = pixels(window.grab(rect)), pixels(widget.grab())
    if (alone == alone[0, 0]).all():
        return "nothing is painted on it"
    share = float((shown == alone).all(axis=2).mean())
    return "" if share >= SAME else f"something else is painted over it: {share:.0%} are its own pixels"


def is_seen(widget: QWidget) -> bool:
    """Whether a person sees the whole widget."""
    return not hidden_because(widget)


def click(widget: QWidget) -> None:
    """Click at the widget's visible position; a widget above it gets the click instead."""
    assert not out_of_sight_because(widget), out_of_sight_because(widget)
    window, centre = widget.window(), place(widget).center()
    hit = window.childAt(centre)
    assert hit is widget or widget.isAncestorOf(hit), f"{hit} is there"
    QTest.mouseClick(window.windowHandle(), Qt.MouseButton.LeftButton, pos=centre)
    QApplication.processEvents()


def await_rest(qtbot: QtBot, painted: Sized) -> None:
    """Wait until a widget has been painted, each time noted in `painted`, and nothing is left to paint."""

    def is_at_rest() -> bool:
        before = len(painted)
        QApplication.processEvents()
        return len(painted) == before

    qtbot.waitUntil(lambda: len(painted) > 0)
    qtbot.waitUntil(is_at_rest)
