"""The speed limit's field, and what is said of the encryption."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QInputDialog, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions, TransportOption
from castray_desktop.ui.send.option_fields import OPTION_FIELDS, LimitField, OptionForm
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.fields import labelled_form


@pytest.fixture
def field(qtbot: QtBot, theme: Theme) -> LimitField:
    field = LimitField(theme, lambda: "Speed limit")
    qtbot.addWidget(field)
    field.show()
    return field


def choose(field: LimitField, text: str) -> None:
    index = field.findText(text)
    assert index >= 0, [field.itemText(number) for number in range(field.count())]
    field.setCurrentIndex(index)
    field.activated.emit(index)


def dialog(field: LimitField) -> QInputDialog:
    open_ones = [child for child in field.findChildren(QInputDialog) if child.isVisible()]
    assert len(open_ones) == 1
    return open_ones[0]


def test_no_limit_at_first(field: LimitField) -> None:
    assert (field.value(), field.currentText()) == (0, "None")


def test_a_common_one(qtbot: QtBot, field: LimitField) -> None:
    with qtbot.waitSignal(field.value_changed):
        choose(field, "10 MB/s")
    assert field.value() == 10_000_000


def test_one_that_is_typed(field: LimitField) -> None:
    choose(field, "Other…")
    assert field.currentText() == "None"
    asked = dialog(field)
    asked.setTextValue("200Mbit/s")
    asked.accept()
    assert (field.value(), field.currentText()) == (25_000_000, "25 MB/s")


def test_a_wrong_rate_is_asked_for_again(field: LimitField) -> None:
    choose(field, "50 MB/s")
    choose(field, "Other…")
    first = dialog(field)
    first.setTextValue("fast")
    first.accept()
    again = dialog(field)
    assert again is not first
    assert "fast is not a speed" in again.labelText()
    assert again.textValue() == "fast"
    QTest.keyClick(again, Qt.Key.Key_Escape)
    assert field.value() == 50_000_000


@pytest.mark.parametrize(
    ("transport", "encrypt", "note"),
    [
        (TransportOption.AUTO, Encryption.AUTO, ""),
        (TransportOption.DIRECT, Encryption.ALWAYS, ""),
        (TransportOption.AUTO, Encryption.NEVER, "Anyone on the network can read what is sent."),
        (
            TransportOption.UDP,
            Encryption.AUTO,
            "Multicast can't be encrypted: anyone on the network can read what is sent.",
        ),
        (
            TransportOption.UDP,
            Encryption.ALWAYS,
            "Multicast can't be encrypted. Choose another transport.",
        ),
    ],
)
def test_what_encryption_means_with_a_transport(
    qtbot: QtBot, theme: Theme, transport: TransportOption, encrypt: Encryption, note: str
) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    form = OptionForm(theme, OPTION_FIELDS, window)
    window.setLayout(labelled_form(form.rows()))
    window.show()
    form["transport"].set_value(transport)
    form["encrypt"].set_value(encrypt)
    assert (form.encryption_note.isVisible(), form.encryption_note.text()) == (bool(note), note)
    assert form["encrypt"].accessibleDescription() == note
    assert form.options(TransferOptions()) == TransferOptions(transport=transport, encrypt=encrypt)
    form.set_options(TransferOptions())
    assert not form.encryption_note.isVisible()
