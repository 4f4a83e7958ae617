"""The texts of a window: every painted word, and every word that only accessibility tools read."""

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

from castray_desktop.ui.widgets.basic_widgets import ElidedLabel

Role = QAccessible.Role


def painted(window: QWidget) -> list[str]:
    """Every text run that painting the window draws, in that order; a line in two scripts has several."""
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
    """Every text that a widget holds, hidden or not, prefixed with the widget's class."""
    return [
        f"{type(widget).__name__}: {text}"
        for widget in (window, *window.findChildren(QWidget))
        for text in _texts(widget)
        if text
    ]


def _texts(widget: QWidget) -> Iterator[str]:
    if isinstance(widget, ElidedLabel):  # its visible part depends on the available space
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


MUST_HAVE_A_NAME = frozenset(
    {
        *(Role.Button, Role.ButtonMenu, Role.ButtonDropDown, Role.CheckBox, Role.RadioButton, Role.PageTab),
        *(Role.ComboBox, Role.EditableText, Role.SpinBox, Role.Slider, Role.Link, Role.MenuItem),
        *(Role.List, Role.Tree, Role.Table, Role.ListItem, Role.ColumnHeader),
    }
)
MOST_CHILDREN = 60


def accessible(window: QWidget) -> Iterator[tuple[str, QAccessibleInterface]]:
    """Every visible element that a screen reader finds in a window, with its path."""
    yield from _below(QAccessible.queryAccessibleInterface(window), "")


def _below(interface: QAccessibleInterface, path: str) -> Iterator[tuple[str, QAccessibleInterface]]:
    if not interface.isValid() or interface.state().invisible:
        return
    widget = interface.object()
    path = f"{path}/{type(widget).__name__ if widget is not None else interface.role().name}"
    yield path, interface
    for number in range(min(interface.childCount(), MOST_CHILDREN)):
        child = interface.child(number)
        if child is not None:
            yield from _below(child, path)


def name_of(interface: QAccessibleInterface) -> str:
    """The name for a screen reader."""
    widget = interface.object()
    if isinstance(widget, QComboBox):  # Qt reports its value there on Linux; its name is the widget's own
        return widget.accessibleName()
    return interface.text(QAccessible.Text.Name)


def unnamed(window: QWidget) -> list[str]:
    """Controls without a name, and focusable elements without a name."""
    return [
        f"{path} ({interface.role().name})"
        for path, interface in accessible(window)
        if (interface.role() in MUST_HAVE_A_NAME or interface.state().focusable)
        and not name_of(interface).strip()
    ]
