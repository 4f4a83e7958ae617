"""The header and the words about the cluster."""

from __future__ import annotations

from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.ui.clusters.cluster_selector import KnownClusters
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.model.cluster_text import cluster_glyph
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.window.header import Header
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink

ON = EngineLinkState.CONNECTED


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
            EngineLinkState.CONNECTING,
            ("CastRay engine", "", "Starting…"),
            GlyphState.QUEUED,
        ),
        (ClusterStatus(), ON, ("No cluster", "", "Start or attach to one"), GlyphState.OFFLINE),
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
            ("Local cluster", "", "Setting up nodes 2/4"),
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
            EngineLinkState.RECONNECTING,
            ("Engine lost", "127.0.0.1:6379", "Reconnecting…"),
            GlyphState.QUEUED,
        ),
    ],
)
def test_the_chip_says_what_is_going_on(
    header: Header,
    cluster: ClusterStatus,
    connection: EngineLinkState,
    texts: tuple[str, str, str],
    glyph: GlyphState,
) -> None:
    header.set_status(cluster, connection)
    assert header.chip.texts() == texts
    assert cluster_glyph(cluster, connection) is glyph
    assert texts[0] in header.chip.accessibleName()
    assert header.grab().width() == 1440


ANY = ("Attach to a cluster…", "Let other machines join…")


def menu_texts(header: Header) -> list[str]:
    header.menu.aboutToShow.emit()
    return [action.text() for action in header.menu.actions() if not action.isSeparator()]


@pytest.mark.parametrize(
    ("cluster", "texts"),
    [
        (ClusterStatus(), ["Start local cluster", *ANY]),
        (ClusterStatus(ClusterPhase.STARTING, "local"), ["Cancel"]),
        (fake.local_cluster(), ["Add node…", *ANY, "Stop local cluster"]),
        (fake.local_cluster(target="shared"), ["Add node…", *ANY, "Stop shared cluster"]),
        (fake.local_cluster(target="auto"), ["Start local cluster", *ANY, "Detach"]),
    ],
)
def test_the_menu_offers_what_applies(header: Header, cluster: ClusterStatus, texts: list[str]) -> None:
    header.set_status(cluster, ON)
    assert menu_texts(header) == texts


def test_the_menu_asks_for_it(qtbot: QtBot, header: Header) -> None:
    header.set_status(ClusterStatus(), ON)
    menu_texts(header)
    with qtbot.waitSignal(header.menu.use_requested) as caught:
        header.chip.menu().actions()[0].trigger()
    assert caught.args == ["local"]


def test_known_clusters_can_be_changed_over_to(qtbot: QtBot, theme: Theme, language: Language) -> None:
    link = FakeLink()
    known = (
        m.KnownCluster("local", running=True, in_use=True, nodes=4),
        m.KnownCluster("10.0.4.10:6379", running=True, nodes=7, ray_version="2.49.0"),
        m.KnownCluster("shared", running=True, in_use=True, nodes=1),
    )
    link.answers[m.ListClusters] = lambda command: m.ClusterList(known)
    header = Header(theme, language, KnownClusters(link))
    qtbot.addWidget(header)
    link.start(fake.busy_welcome())
    header.set_status(fake.local_cluster(), ON)
    texts = menu_texts(header)
    assert texts[:3] == [
        "Local cluster · in use · 4 nodes",
        "10.0.4.10:6379 · running on this computer · 7 nodes · Ray 2.49.0",
        "Shared cluster · in use · 1 node",
    ]
    with qtbot.waitSignal(header.menu.use_requested) as caught:
        header.menu.actions()[1].trigger()
    assert caught.args == ["10.0.4.10:6379"]


def test_the_limit_over_all_casts_is_shown_and_changed(qtbot: QtBot, header: Header) -> None:
    header.show_limit(10_000_000)
    assert header.limit_button.accessibleName() == "Total limit: 10 MB/s"
    header.limit_menu.aboutToShow.emit()
    chosen = [action.text() for action in header.limit_menu.actions() if action.isChecked()]
    assert chosen == ["10 MB/s"]
    with qtbot.waitSignal(header.limit_requested) as caught:
        header.limit_menu.actions()[0].trigger()
    assert caught.args == [0]


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


def test_the_chip_has_room_for_all_that_it_says(qtbot: QtBot, theme: Theme, language: Language) -> None:
    load_fonts()
    header = Header(theme, language)
    qtbot.addWidget(header)
    cluster = fake.local_cluster(target="10.0.111.111:6379", address="10.0.111.111:6379")
    header.set_status(cluster, EngineLinkState.CONNECTED)
    assert header.chip.texts()[:2] == ("10.0.111.111:6379", "")
    header.chip.resize(header.chip.sizeHint())
    drawn: list[int] = []
    text = header.chip._text

    def note(*arguments: Any) -> int:
        drawn.append(text(*arguments))
        return drawn[-1]

    header.chip._text = note  # type: ignore[method-assign, assignment]
    header.chip.grab()
    assert max(drawn) + 8 + 16 + 12 <= header.chip.width()
