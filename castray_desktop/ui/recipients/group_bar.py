"""Saved groups of recipients: tags that choose several nodes at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QInputDialog, QMenu, QPushButton, QScrollArea, QWidget

from castray_desktop.core.casts.node_selector import group_name
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.i18n.number_format import format_list
from castray_desktop.ui.model.node_list import NodeList, natural_key
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import button, icon_button, lay_in
from castray_desktop.ui.widgets.popups import open_menu

TAG_HEIGHT = 24


class GroupStore(Protocol):
    """Keeps the groups, as `workers.base.state_files.RecipientGroupFile` does. Changes raise CastRayError."""

    def load(self) -> Mapping[str, tuple[str, ...]]: ...

    def save_group(self, name: str, nodes: tuple[str, ...]) -> None: ...

    def remove_group(self, name: str) -> None: ...


class Group(NamedTuple):
    """A zone, or a saved group of recipients."""

    name: str
    members: tuple[str, ...]
    saved: bool
    present: int  # how many members the cluster has


class GroupBar(QWidget):
    """The tags in a row, zones first. `save_button` saves the selection; its owner places it.

    Signal: `failed(Failure)` when a group could not be saved or removed.
    """

    failed = Signal(object)

    def __init__(
        self, theme: Theme, nodes: NodeList, selection: RecipientSelection, store: GroupStore
    ) -> None:
        super().__init__()
        self._theme, self._nodes, self._selection, self._store = theme, nodes, selection, store
        self._shown: list[Group] = []
        self.tags: list[QPushButton] = []
        self._row = lay_in(QHBoxLayout(), None, spacing=6, margins=(0, 0, 0, 0))
        holder = QWidget()
        holder.setLayout(self._row)
        scroll = QScrollArea()
        scroll.setWidget(holder)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFixedHeight(TAG_HEIGHT + 4)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.save_button = icon_button(
            theme, "plus", lambda: self.tr("Save the selected nodes as a group"), side=24, size=14
        )
        self.save_button.clicked.connect(self._ask_name)
        lay_in(QHBoxLayout(self), (scroll, 1), spacing=6, margins=(15, 0, 15, 8))
        self.setFixedHeight(TAG_HEIGHT + 12)
        nodes.changed.connect(self.refresh)
        selection.changed.connect(self._show_saving)
        Retranslator(self, self._rebuild)

    def groups(self) -> list[Group]:
        """What is shown: zones, if there are several, and saved groups."""
        zones: dict[str, list[str]] = {}
        for node in self._nodes.nodes():
            if node.zone:
                zones.setdefault(node.zone, []).append(node.name)
        shown, saved = zones if len(zones) > 1 else {}, self._store.load()
        return [
            *(self._group(name, zones[name], saved=False) for name in sorted(shown, key=natural_key)),
            *(self._group(name, saved[name], saved=True) for name in sorted(saved, key=natural_key)),
        ]

    def _group(self, name: str, members: Sequence[str], *, saved: bool) -> Group:
        present = sum(self._nodes.get(node) is not None for node in members)
        return Group(name, tuple(members), saved, present)

    def refresh(self) -> None:
        """Read the groups again."""
        if self.groups() != self._shown:
            self._rebuild()

    def save(self, text: str) -> None:
        """Save the selection as a group of this name."""
        nodes = tuple(sorted(self._selection.selected(), key=natural_key))
        self._change(lambda: self._store.save_group(group_name(text), nodes))

    def remove(self, name: str) -> None:
        """Remove a group."""
        self._change(lambda: self._store.remove_group(name))

    def _change(self, change: Callable[[], None]) -> None:
        try:
            change()
        except CastRayError as error:
            self.failed.emit(error.failure)
        self._rebuild()

    def _rebuild(self) -> None:
        self._shown = self.groups()
        for old in self.tags:
            old.hide()
            old.deleteLater()
        self.tags = [self._tag(group) for group in self._shown]
        for place, tag in enumerate(self.tags):
            self._row.insertWidget(place, tag)
        self._show_saving()

    def _tag(self, group: Group) -> QPushButton:
        tag = button(self._theme, f"{group.name}  {group.present}", height=TAG_HEIGHT)
        tag.setToolTip(format_list(group.members[:30]))
        text = self.tr("Select the group {name}, {count} nodes")
        tag.setAccessibleName(text.format(name=group.name, count=group.present))
        tag.clicked.connect(partial(self._selection.set_selected, group.members))
        tag.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        tag.customContextMenuRequested.connect(partial(self._show_menu, tag, group))
        return tag

    def _show_menu(self, tag: QPushButton, group: Group, place: QPoint) -> None:
        menu = self.menu(group)
        open_menu(menu, tag.mapToGlobal(place), tag)

    def menu(self, group: Group) -> QMenu:
        """What can be done with a group."""
        menu = QMenu(self)
        chosen, select = self._selection.selected(), self._selection.set_selected
        menu.addAction(self.tr("Select only these"), partial(select, group.members))
        menu.addAction(self.tr("Add these to the selection"), partial(select, chosen.union(group.members)))
        if group.saved:
            menu.addSeparator()
            update = partial(self.save, group.name)
            menu.addAction(self.tr("Update with the current selection"), update).setEnabled(bool(chosen))
            menu.addAction(self.tr("Remove this group"), partial(self.remove, group.name))
        return menu

    def _show_saving(self) -> None:
        self.save_button.setEnabled(bool(self._selection.selected()))
        self.setVisible(bool(self._shown))

    def _ask_name(self) -> None:
        dialog = QInputDialog(self.window())
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Save a group"))
        dialog.setLabelText(self.tr("Name of the group (@name on the command line):"))
        dialog.setOkButtonText(self.tr("Save"))
        dialog.setCancelButtonText(self.tr("Cancel"))
        dialog.textValueSelected.connect(self.save)
        dialog.open()
