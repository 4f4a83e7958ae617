"""Adding nodes to the local cluster and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QInputDialog, QWidget

from castray_desktop.core import messages
from castray_desktop.core.failure import Failure
from castray_desktop.ui.nodes import NodeList

if TYPE_CHECKING:
    from castray_desktop.ui.engine_link import EngineLink


class NodeDialogs(QObject):
    """Signals: `failed(Failure)` when the engine could not."""

    failed = Signal(object)

    def __init__(self, link: EngineLink, nodes: NodeList, window: QWidget) -> None:
        super().__init__(window)
        self._link, self._nodes, self._window = link, nodes, window

    def ask_name(self) -> None:
        """Ask for a name, and add a node of it."""
        taken = {node.name for node in self._nodes.nodes()}
        free = next(name for number in range(1, 10_000) if (name := f"node_{number}") not in taken)
        dialog = QInputDialog(self._window)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.tr("Add a node"))
        dialog.setLabelText(self.tr("Name of the new node, which gets an inbox of its own:"))
        dialog.setTextValue(free)
        dialog.setOkButtonText(self.tr("Add"))
        dialog.setCancelButtonText(self.tr("Cancel"))
        dialog.textValueSelected.connect(self.add)
        dialog.open()

    def add(self, name: str) -> None:
        """Add a node."""
        if name.strip():
            self._link.ask(messages.AddNode(name.strip()), messages.Done, None, self._on_failed)

    def remove(self, name: str) -> None:
        """Remove a node that was added."""
        self._link.ask(messages.RemoveNode(name), messages.Done, None, self._on_failed)

    def _on_failed(self, failure: Failure) -> None:
        self.failed.emit(failure)
