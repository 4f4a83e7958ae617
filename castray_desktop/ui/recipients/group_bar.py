"""Saved groups of recipients: tags that choose several nodes at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QInputDialog, QMenu, QPushButton, QScrollArea, QWidget

from castray_desktop.core.casts.node_selector import group_name
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.i18n.number_format import format_list
from castray_desktop.ui.model.node_list import NodeList, natural_key
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.basic_widgets import button, icon_button, lay_in
from castray_desktop.ui.widgets.popups import open_menu

TAG_HEIGHT = 24


class GroupStore(Protocol):
    """Where groups are kept; see `workers.groups.GroupFile`. Both changes raise OSError."""

    def load(self) -> Mapping[str, tuple[str, ...]]: ...

    def save_group(self, name: str, nodes: tuple[str, ...]) -> None: ...

    def remove_group(self, name: str) -> None: ...


class GroupBar(QWidget):
    """The tags in a row, zones first. `save_button` saves the selection; its owner places it.

    Signals: `failed(Failure)` when a group could not be kept.
    """

    failed = Signal(object)

    def __init__(
        self, theme: Theme, nodes: NodeList, selection: RecipientSelection, store: GroupStore
    ) -> None:
        super().__init__()
        self._theme, self._nodes, self._selection, self._store = theme, nodes, selection, store
        self._shown: list[tuple[str, tuple[str, ...], bool]] = []
        self._present: list[int] = []
        self.tags: list[QPushButton] = []
        self._row = lay_in(QHBoxLayout(), None, spacing=6, margins=(0, 0, 0, 0))
        holder = QWidget()
        holder.setLayout(self._row)
        self._scroll = scroll = QScrollArea()
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

    def groups(self) -> list[tuple[str, tuple[str, ...], bool]]:
        """What is shown: name, members, and whether it is a saved one; zones come first."""
        zones: dict[str, list[str]] = {}
        for node in self._nodes.nodes():
            if node.zone:
                zones.setdefault(node.zone, []).append(node.name)
        shown = [(name, tuple(zones[name]), False) for name in sorted(zones, key=natural_key)]
        saved = self._store.load()
        shown = shown if len(shown) > 1 else []
        return shown + [(name, saved[name], True) for name in sorted(saved, key=natural_key)]

    def refresh(self) -> None:
        """Read the groups again."""
        groups = self.groups()
        if (groups, self._count_present(groups)) != (self._shown, self._present):
            self._rebuild()

    def choose(self, members: tuple[str, ...]) -> None:
        """Choose exactly these nodes, as far as they are here."""
        self._selection.set_selected(members)

    def save(self, text: str) -> None:
        """Keep the selection as a group under this name."""
        try:
            self._store.save_group(
                group_name(text), tuple(sorted(self._selection.selected(), key=natural_key))
            )
        except CastRayError as error:
            self.failed.emit(error.failure)
        except OSError as error:
            self._say_error(error)
        self._rebuild()

    def remove(self, name: str) -> None:
        """Forget a group."""
        try:
            self._store.remove_group(name)
        except OSError as error:
            self._say_error(error)
        self._rebuild()

    def _say_error(self, error: OSError) -> None:
        values = {"path": error.filename or "groups.json", "reason": error.strerror or str(error)}
        self.failed.emit(Failure(FailureKind.FILE_NOT_WRITTEN, values))

    def _rebuild(self) -> None:
        self._shown = self.groups()
        self._present = self._count_present(self._shown)
        for old in self.tags:
            old.hide()
            old.deleteLater()
        self.tags = [self._tag(*group, here) for group, here in zip(self._shown, self._present, strict=True)]
        for place, tag in enumerate(self.tags):
            self._row.insertWidget(place, tag)
        self._show_saving()

    def _count_present(self, groups: list[tuple[str, tuple[str, ...], bool]]) -> list[int]:
        """How many members of each group the cluster has."""
        return [sum(self._nodes.get(node) is not None for node in members) for _, members, _ in groups]

    def _tag(self, name: str, members: tuple[str, ...], saved: bool, here: int) -> QPushButton:
        tag = button(self._theme, f"{name}  {here}", height=TAG_HEIGHT)
        tag.setToolTip(format_list(members[:30]))
        text = self.tr("Select the group {name}, {count} nodes")
        tag.setAccessibleName(text.format(name=name, count=here))
        tag.clicked.connect(partial(self.choose, members))
        tag.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        tag.customContextMenuRequested.connect(partial(self._show_menu, tag, name, members, saved))
        return tag

    def _show_menu(
        self, tag: QPushButton, name: str, members: tuple[str, ...], saved: bool, place: QPoint
    ) -> None:
        menu = self.menu(name, members, saved)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        open_menu(menu, tag.mapToGlobal(place), tag)

    def menu(self, name: str, members: tuple[str, ...], saved: bool) -> QMenu:
        """What can be done with a group."""
        menu = QMenu(self)
        chosen = self._selection.selected()
        menu.addAction(self.tr("Select only these"), partial(self.choose, members))
        menu.addAction(
            self.tr("Add these to the selection"),
            partial(self._selection.set_selected, chosen | set(members)),
        )
        if saved:
            menu.addSeparator()
            again = menu.addAction(self.tr("Update with the current selection"), partial(self.save, name))
            again.setEnabled(bool(chosen))
            menu.addAction(self.tr("Remove this group"), partial(self.remove, name))
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
