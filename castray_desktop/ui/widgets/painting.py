"""Painting helpers: Lucide icons in any colour, fonts, text and progress bars."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QIcon,
    QPainter,
    QPixmap,
    QPixmapCache,
)
from PySide6.QtSvg import QSvgRenderer

from castray_desktop.ui.theme.fonts import font
from castray_desktop.ui.theme.resources import resource


def icon(name: str, color: str, size: int = 16, gap: int = 0) -> QIcon:
    """The icon for buttons and menus, sharp at `size`. Empty when there is no icon of that name.

    `gap` empty pixels follow it: a style sheet can't separate a button's icon from its text.
    """
    application = QGuiApplication.instance()
    ratio = application.devicePixelRatio() if isinstance(application, QGuiApplication) else 1.0
    picture = pixmap(name, color, size, ratio)
    if not gap:
        return QIcon(picture)
    wide = QPixmap(round((size + gap) * ratio), round(size * ratio))
    wide.setDevicePixelRatio(ratio)
    wide.fill(Qt.GlobalColor.transparent)
    painter = QPainter(wide)
    painter.drawPixmap(0, 0, picture)
    painter.end()
    return QIcon(wide)


def pixmap(name: str, color: str, size: int = 16, ratio: float = 1.0) -> QPixmap:
    """The icon as a pixmap of `size` logical pixels, from Qt's pixmap cache."""
    key = f"castray-icon/{name}/{color}/{size}/{ratio}"
    cached = QPixmap()
    if QPixmapCache.find(key, cached):
        return cached
    picture = _draw(name, color, size, ratio)
    QPixmapCache.insert(key, picture)
    return picture


def _draw(name: str, color: str, size: int, ratio: float) -> QPixmap:
    side = round(size * ratio)
    picture = QPixmap(side, side)
    picture.fill(Qt.GlobalColor.transparent)
    path = resource("icons", f"{name}.svg")
    if path.is_file():
        stroke = "1.75" if size >= 20 else "2"
        text = path.read_text("utf-8").replace("currentColor", color)
        text = text.replace('stroke-width="2"', f'stroke-width="{stroke}"')
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        QSvgRenderer(QByteArray(text.encode())).render(painter, QRectF(0, 0, side, side))
        painter.end()
    picture.setDevicePixelRatio(ratio)
    return picture


LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter

RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter

CENTRE = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter


@cache
def face(size_px: int, weight: int = 400, tabular: bool = False) -> QFont:
    """The window's font, made once for each use. Not to be changed by the caller."""
    return font(size_px, weight, tabular=tabular)


@cache
def metrics(size_px: int, weight: int = 400, tabular: bool = False) -> QFontMetricsF:
    """The font metrics of `face`."""
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
    """Paint one line, shortened to the rectangle; returns its width."""
    measures = metrics(size_px, weight, tabular)
    width = measures.horizontalAdvance(text)
    if width > rect.width() + 0.5:
        text = measures.elidedText(text, elide, rect.width())
        width = min(measures.horizontalAdvance(text), rect.width())
    painter.setFont(face(size_px, weight, tabular))
    painter.setPen(QColor(color))
    # Widen the rectangle by a pixel: Qt clips a line that fits to a fraction of a pixel.
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
