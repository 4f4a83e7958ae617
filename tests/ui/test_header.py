"""The header and the words about the cluster."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core import messages as m
from castray_desktop.core.messages import ClusterPhase, ClusterStatus
from castray_desktop.ui.cluster_words import cluster_glyph
from castray_desktop.ui.connection import Connection
from castray_desktop.ui.glyphs import GlyphState
from castray_desktop.ui.header import Header
from castray_desktop.ui.language import Language
from castray_desktop.ui.theme import Theme
from tests.helpers import fake_engine as fake

ON = Connection.CONNECTED


@pytest.fixture
def header(qtbot: QtBot, theme: Theme, language: Language) -> Header:
    made = Header(theme, language)
    qtbot.addWidget(made)
    made.resize(1440, 56)
    made.show()
    return made


@pytest.mark.parametrize(
    ("cluster", "connection", "texts", "glyph"),
    [
        (
            ClusterStatus(),
            Connection.CONNECTING,
            ("CastRay engine", "", "Starting…"),
            GlyphState.QUEUED,
        ),
        (ClusterStatus(), ON, ("No cluster", "", "Start one or attach"), GlyphState.OFFLINE),
        (
            ClusterStatus(ClusterPhase.STARTING, "local"),
            ON,
            ("Local cluster", "", "Starting Ray…"),
            GlyphState.QUEUED,
        ),
        (
            ClusterStatus(ClusterPhase.STARTING, "local", attempt=2, attempts=3),
            ON,
            ("Local cluster", "", "Starting Ray… attempt 2 of 3"),
            GlyphState.QUEUED,
        ),
        (
            ClusterStatus(ClusterPhase.PLACING, "local", nodes_ready=2, nodes_total=4),
            ON,
            ("Local cluster", "", "Placing nodes 2/4"),
            GlyphState.QUEUED,
        ),
        (
            fake.local_cluster(),
            ON,
            ("Local cluster", "127.0.0.1:6379", "4 nodes · 2 CPU"),
            GlyphState.ONLINE,
        ),
        (
            fake.local_cluster(target="10.0.4.10:6379", nodes_ready=6, nodes_total=7, gpus=4.0),
            ON,
            ("10.0.4.10:6379", "127.0.0.1:6379", "6/7 nodes · 2 CPU · 4 GPU"),
            GlyphState.ONLINE,
        ),
        (
            ClusterStatus(ClusterPhase.FAILED, "local"),
            ON,
            ("Local cluster", "", "Could not start"),
            GlyphState.FAILED,
        ),
        (
            fake.local_cluster(),
            Connection.RECONNECTING,
            ("Engine lost", "127.0.0.1:6379", "Reconnecting…"),
            GlyphState.QUEUED,
        ),
    ],
)
def test_the_chip_says_what_is_going_on(
    header: Header,
    cluster: ClusterStatus,
    connection: Connection,
    texts: tuple[str, str, str],
    glyph: GlyphState,
) -> None:
    header.set_status(cluster, connection)
    assert header.chip.texts() == texts
    assert cluster_glyph(cluster, connection) is glyph
    assert texts[0] in header.chip.accessibleName()
    assert header.grab().width() == 1440


def menu_texts(header: Header) -> list[str]:
    header._fill_menu()
    return [action.text() for action in header.chip.menu().actions()]


@pytest.mark.parametrize(
    ("cluster", "texts"),
    [
        (ClusterStatus(), ["Start local cluster", "Attach to a cluster…"]),
        (ClusterStatus(ClusterPhase.STARTING, "local"), ["Cancel"]),
        (fake.local_cluster(), ["Add node…", "Stop local cluster"]),
        (fake.local_cluster(target="auto"), ["Detach"]),
    ],
)
def test_the_menu_offers_what_applies(header: Header, cluster: ClusterStatus, texts: list[str]) -> None:
    header.set_status(cluster, ON)
    assert menu_texts(header) == texts


def test_the_menu_asks_for_it(qtbot: QtBot, header: Header) -> None:
    header.set_status(ClusterStatus(), ON)
    menu_texts(header)
    with qtbot.waitSignal(header.start_requested):
        header.chip.menu().actions()[0].trigger()


def test_rates(header: Header) -> None:
    assert (header.total.text(), header.upload.text()) == ("0 MB/s", "Idle")
    header.show_rates(fake.throughput(0, 546e6, 118e6))
    assert (header.total.text(), header.upload.text()) == ("546 MB/s", "↑ 118 MB/s from here")
    header.show_rates(m.Throughput(1.0, 0.0, 0.0, ()))
    assert header.upload.text() == "Idle"


def test_the_theme_button_says_what_it_will_do(qtbot: QtBot, theme: Theme, header: Header) -> None:
    theme.set_dark(False)
    assert header.theme_button.accessibleName() == "Dark colours"
    with qtbot.waitSignal(theme.changed):
        header.theme_button.click()
    assert theme.dark
    assert header.theme_button.accessibleName() == "Light colours"


def test_small_windows_show_less(header: Header) -> None:
    header.set_status(fake.local_cluster(), ON)
    wide = header.chip.sizeHint().width()
    header.set_compact(True)
    assert header.chip.texts() == ("Local cluster", "", "4 nodes")
    assert header.chip.sizeHint().width() < wide
    assert header.sparkline.isHidden()
    assert "2 CPU" in header.chip.toolTip()
