"""Lucide outlines, bundled as SVG, drawn in the colour asked for."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QGuiApplication, QIcon, QPainter, QPixmap, QPixmapCache
from PySide6.QtSvg import QSvgRenderer

from castray_desktop.ui.resources import resource


def icon(name: str, color: str, size: int = 16, gap: int = 0) -> QIcon:
    """The icon for buttons and menus, sharp at `size`. Empty when there is no icon of that name.

    `gap` logical pixels of nothing follow it: a style sheet can't set a button's icon apart from its text.
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
    """The icon as a picture of `size` logical pixels, kept in Qt's own cache."""
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
