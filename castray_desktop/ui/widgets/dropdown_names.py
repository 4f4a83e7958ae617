"""What a screen reader is told about drop-downs: label and value. On Linux Qt tells the value alone."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtGui import QAccessible, QAccessibleInterface
from PySide6.QtWidgets import QAccessibleWidget
from shiboken6 import isValid

from castray_desktop.ui.widgets.fields import Dropdown


class DropdownInterface(QAccessibleWidget):
    """A drop-down as accessibility tools see it; its list is its only child."""

    def __init__(self, field: Dropdown) -> None:
        super().__init__(field, QAccessible.Role.ComboBox)
        self._field = field

    def text(self, kind: QAccessible.Text) -> str:
        if kind is QAccessible.Text.Name:
            return self._field.accessibleName()
        if kind is QAccessible.Text.Value:
            return self._field.currentText()
        return super().text(kind)

    def childCount(self) -> int:
        return 1

    def child(self, index: int) -> QAccessibleInterface:
        return QAccessible.queryAccessibleInterface(self._field.view())

    def indexOfChild(self, child: QAccessibleInterface) -> int:
        return 0 if child.object() is self._field.view() else -1

    def actionNames(self) -> list[str]:
        return [self.showMenuAction(), self.pressAction()] if self._field.isEnabled() else []

    def doAction(self, name: str) -> None:
        if name in self.actionNames():
            self._field.hidePopup() if self._field.view().isVisible() else self._field.showPopup()


class DropdownInterfaces:
    """Makes the interfaces, and keeps each until Qt has deleted it together with its field."""

    def __init__(self) -> None:
        self._made: list[DropdownInterface] = []

    def install(self) -> None:
        """Have Qt ask here."""
        QAccessible.installFactory(self._make)

    def _make(self, _kind: str, owner: QObject) -> QAccessibleInterface | None:
        if not isinstance(owner, Dropdown):
            return None
        self._made = [made for made in self._made if isValid(made)]
        self._made.append(DropdownInterface(owner))
        return self._made[-1]
