"""Where the fields of the send panel stand."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QGridLayout, QWidget

from castray_desktop.ui.controls.widgets import label

translate = QCoreApplication.translate

LABEL_WIDTH = 56


def form_of(source: QWidget, destination: QWidget, conflict: QWidget, limit: QWidget) -> QGridLayout:
    """The form: two fields with their names beside them, two with theirs above."""
    form = QGridLayout()
    form.setVerticalSpacing(8)
    form.setHorizontalSpacing(0)
    form.setColumnStretch(1, 1)
    beside = (
        (label(lambda: translate("SendPanel", "From"), 12, 500, "2"), source),
        (label(lambda: translate("SendPanel", "Save to"), 12, 500, "2"), destination),
    )
    for row, (name, field) in enumerate(beside):
        name.setMinimumWidth(LABEL_WIDTH)
        name.setBuddy(field)
        form.addWidget(name, row, 0)
        form.addWidget(field, row, 1)
    form.addLayout(_choices(conflict, limit), len(beside), 0, 1, 2)
    return form


def _choices(conflict: QWidget, limit: QWidget) -> QGridLayout:
    """Two fields side by side, their names above them."""
    choices = QGridLayout()
    choices.setVerticalSpacing(4)
    choices.setHorizontalSpacing(8)
    above = (
        (label(lambda: translate("SendPanel", "If a file exists"), 12, 500, "2"), conflict),
        (label(lambda: translate("SendPanel", "Speed limit"), 12, 500, "2"), limit),
    )
    for column, (name, field) in enumerate(above):
        name.setBuddy(field)
        choices.addWidget(name, 0, column)
        choices.addWidget(field, 1, column)
        choices.setColumnStretch(column, 1)
    return choices
