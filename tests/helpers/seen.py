"""What a window shows and says: every word that is painted, and every word that only tools read out."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from PySide6.QtCore import QAbstractItemModel, QAbstractListModel, QBuffer, QIODevice, QModelIndex, QPoint, Qt
from PySide6.QtGui import QAccessible, QAccessibleInterface, QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QComboBox,
    QGraphicsItem,
    QGraphicsView,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTableView,
    QTreeView,
    QWidget,
)

from castray_desktop.ui.controls.widgets import ElidedLabel


def painted(window: QWidget) -> list[str]:
    """Every run of text that painting the window draws, in that order; a line in two scripts is several."""
    for view in window.findChildren(QGraphicsView):
        for item in view.scene().items():
            item.setCacheMode(QGraphicsItem.CacheMode.NoCache)
    buffer = QBuffer()
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    generator = QSvgGenerator()
    generator.setOutputDevice(buffer)
    generator.setSize(window.size())
    painter = QPainter(generator)
    window.render(painter, QPoint())
    painter.end()
    picture = bytes(buffer.data().data()).decode()
    runs = (html.unescape(run).strip() for run in re.findall(r"<text[^>]*>(.*?)</text>", picture, re.DOTALL))
    return [run for run in runs if run]


def said(window: QWidget) -> list[str]:
    """Every text that a widget holds, hidden or not, with the widget's class in front."""
    return [
        f"{type(widget).__name__}: {text}"
        for widget in (window, *window.findChildren(QWidget))
        for text in _texts(widget)
        if text
    ]


def _texts(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, ElidedLabel):  # how much of it is shown depends on its room
        yield widget.full_text()
        return
    yield from (
        widget.windowTitle(),
        widget.toolTip(),
        widget.accessibleName(),
        widget.accessibleDescription(),
    )
    if isinstance(widget, QLabel | QAbstractButton):
        yield widget.text()
    if isinstance(widget, QLineEdit):
        yield widget.placeholderText()
    if isinstance(widget, QComboBox):
        yield from (widget.itemText(number) for number in range(widget.count()))
    elif isinstance(widget, QAbstractItemView) and widget.model() is not None:
        hidden = {column for column in range(40) if _is_hidden(widget, column)}
        yield from _cells(widget.model(), QModelIndex(), hidden)


def _is_hidden(view: QAbstractItemView, column: int) -> bool:
    if isinstance(view, QHeaderView):
        return column < view.count() and view.isSectionHidden(column)
    return isinstance(view, QTreeView | QTableView) and view.isColumnHidden(column)


def _cells(model: QAbstractItemModel, parent: QModelIndex, hidden: set[int]) -> Iterator[str]:
    roles = (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.AccessibleTextRole)
    columns = 1 if isinstance(model, QAbstractListModel) else model.columnCount(parent)
    seen = [column for column in range(columns) if column not in hidden]
    for column in seen:
        heading = model.headerData(column, Qt.Orientation.Horizontal)
        yield heading if isinstance(heading, str) else ""
    for row in range(model.rowCount(parent)):
        for column in seen:
            index = model.index(row, column, parent)
            yield from (str(index.data(role) or "") for role in roles)
        if model.rowCount(model.index(row, 0, parent)):
            yield from _cells(model, model.index(row, 0, parent), hidden)


CONTROLS = frozenset(
    {
        QAccessible.Role.Button,
        QAccessible.Role.ButtonMenu,
        QAccessible.Role.CheckBox,
        QAccessible.Role.ComboBox,
        QAccessible.Role.EditableText,
        QAccessible.Role.List,
        QAccessible.Role.PageTab,
        QAccessible.Role.PushButton,
        QAccessible.Role.RadioButton,
        QAccessible.Role.Slider,
        QAccessible.Role.Table,
        QAccessible.Role.Tree,
    }
)


def controls(window: QWidget) -> Iterator[tuple[str, str]]:
    """Every visible control as a screen reader finds it: what it is, and its name."""
    yield from _walk(QAccessible.queryAccessibleInterface(window))


def _walk(part: QAccessibleInterface) -> Iterator[tuple[str, str]]:
    if part.state().invisible:
        return
    if part.role() in CONTROLS:
        yield f"{part.role().name} at {part.rect()}", part.text(QAccessible.Text.Name)
    for number in range(part.childCount()):
        child = part.child(number)
        if child is not None and child.isValid():
            yield from _walk(child)
