"""Small painting helpers that the views share."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter

from castray_desktop.ui.fonts import font

LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
CENTRE = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter


@cache
def face(size_px: int, weight: int = 400, tabular: bool = False) -> QFont:
    """The window's font, made once for each use. Not to be changed by the caller."""
    return font(size_px, weight, tabular=tabular)


@cache
def metrics(size_px: int, weight: int = 400, tabular: bool = False) -> QFontMetricsF:
    """The measures of `face`."""
    return QFontMetricsF(face(size_px, weight, tabular))


def paint_text(
    painter: QPainter,
    rect: QRectF,
    text: str,
    color: QColor | str,
    size_px: int,
    weight: int = 400,
    align: Qt.AlignmentFlag = LEFT,
    *,
    tabular: bool = False,
    elide: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
) -> float:
    """Paint one line, shortened to the rectangle; returns the width it took."""
    measures = metrics(size_px, weight, tabular)
    width = measures.horizontalAdvance(text)
    if width > rect.width() + 0.5:
        text = measures.elidedText(text, elide, rect.width())
        width = min(measures.horizontalAdvance(text), rect.width())
    painter.setFont(face(size_px, weight, tabular))
    painter.setPen(QColor(color))
    # The rectangle is widened by a pixel: Qt clips a line that fits to the fraction of one.
    painter.drawText(rect.adjusted(-1, 0, 1, 0) if align & CENTRE == CENTRE else rect, align | NO_CLIP, text)
    return width


NO_CLIP = Qt.AlignmentFlag(int(Qt.TextFlag.TextDontClip.value) | int(Qt.TextFlag.TextSingleLine.value))


def paint_wrapped(painter: QPainter, rect: QRectF, text: str, color: str) -> None:
    """A 12 px sentence, centred, on as many lines as it needs."""
    painter.setFont(face(12))
    painter.setPen(QColor(color))
    flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop
    painter.drawText(rect, int(flags) | int(Qt.TextFlag.TextWordWrap), text)


def paint_bar(painter: QPainter, rect: QRectF, share: float, fill: QColor | str, track: QColor | str) -> None:
    """A rounded bar filled to `share`, 0..1."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    radius = rect.height() / 2
    painter.setBrush(QColor(track))
    painter.drawRoundedRect(rect, radius, radius)
    if share > 0:
        painter.setBrush(QColor(fill))
        width = max(rect.height(), rect.width() * min(1.0, share))
        painter.drawRoundedRect(QRectF(rect.x(), rect.y(), width, rect.height()), radius, radius)
