"""The details of a cast: reasons are not cut."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import DeliverySnapshot, DeliveryState
from castray_desktop.ui.i18n.failure_text import reason_text
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_sheets import WHERE, CastDetails
from castray_desktop.ui.widgets.text_table import text_width
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import make_cast, make_delivery

NO_ROOM = Failure(FailureKind.NO_ROOM, {"path": "/in", "free": "25.2 MB", "needed": "490 MB"})


def deliveries(encrypted: bool | None) -> tuple[DeliverySnapshot, ...]:
    failed = make_delivery("node_2", DeliveryState.FAILED, failure=NO_ROOM)
    return make_delivery("node_1", encrypted=encrypted, hash="blake3:" + "9f" * 32), failed


@pytest.mark.parametrize("encrypted", [None, True])
def test_a_reason_has_room_for_its_figures(
    qtbot: QtBot, theme: Theme, link: FakeLink, encrypted: bool | None
) -> None:
    sheet = CastDetails(theme, link, None)  # type: ignore[arg-type]
    qtbot.addWidget(sheet)
    with qtbot.waitExposed(sheet):
        sheet.show()
    sheet.show_cast(make_cast(), deliveries(encrypted))
    table = sheet.table
    assert table.isColumnHidden(7) is (encrypted is None)
    place = table.visualRect(table.model().index(1, WHERE))
    assert place.width() >= text_width(reason_text(NO_ROOM))
    assert table.columnSpan(0, WHERE) == 1
    last = table.columnViewportPosition(9) + table.columnWidth(9)
    assert last <= table.viewport().width()
    sheet.show_cast(make_cast(), deliveries(encrypted)[:1])
    assert table.columnSpan(1, WHERE) == 1


def test_a_sheet_without_a_frame_has_an_edge(qtbot: QtBot, theme: Theme, link: FakeLink) -> None:
    sheet = CastDetails(theme, link, None)  # type: ignore[arg-type]
    qtbot.addWidget(sheet)
    sheet.setWindowFlag(Qt.WindowType.FramelessWindowHint)
    with qtbot.waitExposed(sheet):
        sheet.show()
    picture = sheet.grab().toImage()
    assert picture.pixelColor(0, sheet.height() // 2) == theme.color("line_strong")
    assert picture.pixelColor(3, sheet.height() // 2) == theme.color("card")
