"""What the fields look like: the pixels that they paint."""

from __future__ import annotations

from PySide6.QtGui import QColor
from PySide6.QtWidgets import QPlainTextEdit, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.fields import CheckBox, Dropdown, TextField, labelled_form
from tests.helpers.desktop.seen import painted


def test_a_tick_box_is_painted_as_a_whole(qtbot: QtBot, theme: Theme) -> None:
    """Its four edges lie inside the widget."""
    box = CheckBox(theme, "Let other machines join")
    qtbot.addWidget(box)
    box.resize(box.sizeHint())
    box.show()
    picture = box.grab().toImage()
    ground = picture.pixelColor(picture.width() - 1, picture.height() - 1)
    inked = [
        (x, y)
        for x in range(20)
        for y in range(picture.height())
        if _differs(picture.pixelColor(x, y), ground)
    ]
    columns, rows = {x for x, _ in inked}, {y for _, y in inked}
    assert 14 <= max(columns) - min(columns) + 1 <= 18
    assert 14 <= max(rows) - min(rows) + 1 <= 18
    assert min(rows) > 0
    assert max(rows) < picture.height() - 1


def test_no_entry_of_a_drop_down_is_cut(qtbot: QtBot, theme: Theme) -> None:
    field = Dropdown(theme, lambda: "Unit")
    field.addItems(["hours", "seconds, minutes and hours"])
    qtbot.addWidget(field)
    field.resize(field.sizeHint())
    narrow = field.width()
    field.setCurrentIndex(1)
    field.show()
    assert field.sizeHint().width() == narrow  # the same for each of its entries
    assert "seconds, minutes and hours" in painted(field)


def _differs(one: QColor, other: QColor) -> bool:
    return abs(one.lightness() - other.lightness()) > 20


def test_labels_are_in_the_middle_of_the_first_line_of_their_fields(qtbot: QtBot, theme: Theme) -> None:
    tall = QPlainTextEdit()
    tall.setFixedHeight(76)
    fields = [Dropdown(theme, lambda: "Links"), TextField(lambda: "Hook"), tall]
    names = ("Symbolic links", "复制", "A")
    rows = [(lambda name=name: name, field) for name, field in zip(names, fields, strict=True)]
    form = labelled_form(rows)
    holder = QWidget()
    qtbot.addWidget(holder)
    holder.setLayout(form)
    holder.show()
    for field in fields:
        name = form.labelForField(field)
        assert name is not None
        assert abs(name.geometry().center().y() - (field.y() + 16)) <= 1
