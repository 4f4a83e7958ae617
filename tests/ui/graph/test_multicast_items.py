"""A cast to a multicast group in the window: what is drawn when, and what is said about it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core.casts.multicast_status import multicast_status
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
    Transport,
)
from castray_desktop.ui.graph.node_layout import NodeShape
from castray_desktop.ui.graph.side_card import facts_of
from castray_desktop.ui.transfers import path_text
from castray_desktop.ui.transfers.cast_sheets import cast_facts, delivery_rows
from castray_desktop.ui.transfers.transfer_columns import TransferColumn
from castray_desktop.ui.transfers.transfer_model import tool_tip
from castray_desktop.ui.window.main_window import MainWindow
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import GB, NOW, make_cast, make_delivery
from tests.ui.graph.test_graph_card import Stage

MB = 1_000_000
SENDING = MulticastSnapshot(MulticastState.SENDING, rate=150e6)
DONE = MulticastSnapshot(MulticastState.DONE)


@pytest.fixture
def stage(qtbot: QtBot) -> Stage:
    return Stage(qtbot, 4)


def multicast(flow: MulticastSnapshot = SENDING, **values: Any) -> CastSummary:
    return make_cast(recipients=4, multicast=flow, **values)


def heard(count: int = 3, repaired: int = 0, **values: Any) -> list[DeliverySnapshot]:
    """So many listeners in a chain of four, the second one repaired; the relay serves the others."""
    result = []
    for number in range(1, 5):
        listens = number <= count
        facts: dict[str, Any] = {
            "upstream": f"node_{number - 1}" if number > 1 else "desk",
            "listening": listens,
            "datagram_bytes": 4 * GB - 40 * MB if listens else 0,
            "repaired_bytes": repaired if number == 2 else 0,
        }
        result.append(make_delivery(f"node_{number}", **(facts | values)))
    return result


def show(stage: Stage, cast: CastSummary, deliveries: list[DeliverySnapshot]) -> None:
    stage.nodes.watch(cast, deliveries)
    assert not stage.graph.grab().isNull()


def hops(stage: Stage) -> dict[str, bool]:
    """The hops that are drawn, and whether they are repairs."""
    return {name: item.appearance.repair for name, item in stage.scene.path.hops.items()}


def test_receivers_have_a_bus_and_other_nodes_keep_their_hops(stage: Stage) -> None:
    show(stage, multicast(), heard())
    path = stage.scene.path
    assert hops(stage) == {"node_4": False}
    assert path.bus is not None
    assert len(path.bus.appearance.bus.lines) == 3
    assert path.bus_label is not None
    assert path.bus_label.text == "100 MB/s"
    assert set(path.rates) == {"node_4"}


@pytest.mark.parametrize("state", [MulticastState.WAITING, MulticastState.STOPPED])
def test_the_relay_is_drawn_before_and_after_multicast(stage: Stage, state: MulticastState) -> None:
    show(stage, multicast(MulticastSnapshot(state)), heard(0))
    assert stage.scene.path.bus is None
    assert set(hops(stage)) == {"node_1", "node_2", "node_3", "node_4"}


def test_a_stopped_bus_is_removed(stage: Stage) -> None:
    show(stage, multicast(), heard())
    stopped = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.TOO_SLOW)
    show(stage, multicast(stopped), heard(0))
    counts = stage.item_counts()
    assert (counts["MulticastItem"], counts["MulticastRateItem"], counts["HopItem"]) == (0, 0, 4)


def test_a_repair_is_drawn_only_while_bytes_are_repaired(stage: Stage, qtbot: QtBot) -> None:
    show(stage, multicast(), heard())
    assert "node_2" not in hops(stage)
    show(stage, multicast(), heard(repaired=2 * MB))
    assert hops(stage) == {"node_2": True, "node_4": False}
    assert stage.scene.path.rates["node_2"].text == "Repair 8.0 MB/s"
    assert not stage.scene.path.hops["node_2"].appearance.moving
    # Without further messages the repair disappears after a while.
    qtbot.waitUntil(lambda: hops(stage) == {"node_4": False})


def test_a_repair_is_not_drawn_while_the_cast_is_paused(stage: Stage) -> None:
    show(stage, multicast(), heard())
    show(stage, multicast(), heard(repaired=2 * MB))
    paused = heard(repaired=2 * MB, state=DeliveryState.PAUSED)
    show(stage, multicast(SENDING, state=CastState.PAUSED), paused)
    assert True not in hops(stage).values()


def test_bus_dots_move_with_data_unless_motion_is_reduced(stage: Stage) -> None:
    show(stage, multicast(), heard(4))
    assert stage.view._dots.isActive()
    stage.view._advance_dots()
    stage.graph.view.reduce_motion(True)
    assert not stage.view._dots.isActive()
    stage.graph.view.reduce_motion(False)
    show(stage, multicast(MulticastSnapshot(MulticastState.SENDING)), heard(4, rate=0.0))
    assert not stage.view._dots.isActive()


def test_a_finished_bus_is_faded_and_keeps_its_receivers(stage: Stage) -> None:
    show(stage, multicast(DONE), heard(listening=False))
    bus = stage.scene.path.bus
    assert bus is not None
    assert (bus.appearance.faded, bus.appearance.moving, len(bus.appearance.bus.lines)) == (True, False, 3)
    assert hops(stage) == {"node_4": False}
    ended = multicast(DONE, state=CastState.PARTLY_FAILED, verified=3, failed=1)
    deliveries = heard(listening=False, state=DeliveryState.COMPLETED)
    deliveries[0] = make_delivery("node_1", DeliveryState.FAILED, datagram_bytes=3 * GB, upstream="desk")
    show(stage, ended, deliveries)
    assert len(stage.scene.path.bus.appearance.bus.lines) == 2  # type: ignore[union-attr]
    assert stage.scene.path.hops["node_1"].appearance.failed


@pytest.mark.parametrize(
    ("count", "cell"),
    [(14, NodeShape.COMPACT), (60, NodeShape.NAMED), (150, NodeShape.GLYPH), (1000, NodeShape.DOT)],
)
def test_many_receivers_share_one_item(qtbot: QtBot, count: int, cell: NodeShape) -> None:
    stage = Stage(qtbot, count)
    stage.nodes._clock = itertools.count().__next__  # a second later each time
    cast = make_cast(recipients=count, multicast=SENDING)
    names = ["desk", *(f"node_{number}" for number in range(1, count + 1))]
    deliveries = [
        make_delivery(name, upstream=before, listening=True, datagram_bytes=4 * GB)
        for before, name in itertools.pairwise(names)
    ]
    show(stage, cast, deliveries)
    assert stage.scene.layout.cell is cell
    counts = stage.item_counts()
    assert (counts["MulticastItem"], counts["HopItem"]) == (1, 0)
    again = [
        *deliveries[:-1],
        make_delivery(names[-1], upstream=names[-2], listening=True, repaired_bytes=MB),
    ]
    show(stage, cast, again)
    segments = stage.scene.path.segments.segments
    assert (len(segments[2]), stage.item_counts()["HopItem"]) == ((1, 0) if cell is NodeShape.DOT else (0, 1))


def test_figures_move_to_the_title_when_the_bus_crosses_them(qtbot: QtBot) -> None:
    stage = Stage(qtbot, 2)
    stage.window.resize(600, 356)
    cast = make_cast(recipients=2, multicast=SENDING)
    show(stage, make_cast(recipients=2), [])
    assert stage.scene.has_summary
    show(stage, cast, [make_delivery(f"node_{number}", listening=True) for number in (1, 2)])
    assert not stage.scene.has_summary
    assert "40%" in stage.graph._count.full_text()


def test_the_read_out_shows_multicast_progress(stage: Stage) -> None:
    show(stage, multicast(), heard(repaired=40 * MB))
    assert stage.view.overlays.read_out.isVisible()
    assert stage.view.overlays.read_out.accessibleName() == (
        "Multicast: 100 MB/s to 3 at once. 99% by datagrams · 0.3% repaired. "
        "node_4 by relay: receives no multicast"
    )
    show(stage, multicast(DONE), heard(listening=False))
    assert stage.view.overlays.read_out.lines[0] == "Multicast: everything was sent once"


def test_the_read_out_shows_why_multicast_stopped(stage: Stage) -> None:
    stopped = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES)
    show(stage, multicast(stopped), heard(0))
    lines = stage.view.overlays.read_out.lines
    assert lines[0].startswith("Slowest: ")
    assert lines[2] == "No multicast: no data arrives"
    show(stage, multicast(stopped), heard(0, rate=0.0))
    assert stage.view.overlays.read_out.lines == ("No multicast: no data arrives",)


def test_accessible_description_and_tool_tip_of_a_receiver(stage: Stage) -> None:
    show(stage, multicast(), heard(repaired=MB))
    show(stage, multicast(), heard(repaired=3 * MB))
    assert stage.scene.spoken_description("node_2") == "node_2, Receiving, 40%, by multicast, being repaired"
    assert stage.scene.spoken_description("node_4") == "node_4, Receiving, 40%, by relay"
    tip = stage.scene.tool_tip("node_2")
    assert "By multicast from desk at 100 MB/s" in tip
    assert "Repaired by node_1 at " in tip
    assert "From node_3 at 100 MB/s" in stage.scene.tool_tip("node_4")
    assert "it receives no datagrams" in stage.scene.tool_tip("node_4")
    label = stage.scene.path.bus_label
    assert label is not None
    assert stage.scene.tool_tip_at(label.boundingRect().center()).startswith("Multicast: 100 MB/s")


def facts(stage: Stage, name: str) -> dict[str, str]:
    node = stage.nodes.get(name)
    assert node is not None
    return {fact.title: fact.value for fact in facts_of(node, stage.nodes, (), NOW).facts}


def remarks(stage: Stage, name: str) -> str:
    node = stage.nodes.get(name)
    assert node is not None
    return "\n".join(remark.text for remark in facts_of(node, stage.nodes, (), NOW).remarks)


def test_the_side_card_shows_the_share_of_each_transport(stage: Stage) -> None:
    show(stage, multicast(), heard())
    show(stage, multicast(), heard(repaired=2 * MB))
    assert facts(stage, "desk")["To"] == "3 at once at 100 MB/s"
    second = facts(stage, "node_2")
    assert (second["From"], second["Repair"]) == ("multicast at 100 MB/s", "node_1 at 8.0 MB/s")
    assert (second["Transport"], second[""]) == ("99% by datagrams", "<0.1% repaired")
    assert facts(stage, "node_1")["Repairs"] == "node_2 at 8.0 MB/s"
    assert facts(stage, "node_3")["To"] == "node_4 at 100 MB/s"
    assert facts(stage, "node_4")["From"] == "node_3 at 100 MB/s"
    assert "it receives no datagrams" in remarks(stage, "node_4")


@pytest.mark.parametrize("end", [*MulticastEnd, None])
def test_every_multicast_end_is_explained(stage: Stage, end: MulticastEnd | None) -> None:
    stopped = MulticastSnapshot(MulticastState.STOPPED, end, "Network is unreachable")
    cast = multicast(stopped)
    told = path_text.stopped_text(stopped, "desk")
    assert told
    assert "ulticast" in path_text.stopped_line(stopped)
    show(stage, cast, heard(0))
    assert told in remarks(stage, "desk")
    assert dict(cast_facts(cast, heard(0)))["Multicast"] == told


def test_cast_details_show_multicast() -> None:
    cast, deliveries = multicast(), heard(repaired=40 * MB)
    told = dict(cast_facts(cast, deliveries))["Multicast"]
    assert told == (
        "100 MB/s to 3 at once · 99% by datagrams · 0.3% repaired · node_4 by relay: receives no multicast"
    )
    assert "Multicast" not in dict(cast_facts(make_cast(), []))
    ended = dict(cast_facts(multicast(DONE, state=CastState.COMPLETED), deliveries))["Multicast"]
    assert ended == "Everything was sent once · 99% by datagrams · 0.3% repaired"
    (_, cells) = delivery_rows([make_delivery("node_1", transport=Transport.UDP, datagram_bytes=4 * GB)])[0]
    assert (cells[6].text, cells[6].tip) == ("Multicast", "100% by datagrams")


def test_the_table_has_a_tool_tip_for_the_state() -> None:
    (*_, left) = heard()
    cast = multicast()
    assert tool_tip(cast, heard()[0], TransferColumn.STATUS) == "99% by datagrams"
    assert "it receives no datagrams" in str(tool_tip(cast, left, TransferColumn.STATUS))
    assert tool_tip(make_cast(), make_delivery("node_1"), TransferColumn.STATUS) is None
    stopped = multicast(MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.TOO_SLOW))
    assert "lowest speed" in str(tool_tip(stopped, stopped, TransferColumn.STATUS))
    assert tool_tip(cast, cast, TransferColumn.STATUS) is None


def test_the_status_bar_shows_multicast(window: MainWindow, link: FakeLink, qtbot: QtBot) -> None:
    link.start(fake.multicast_welcome(4))
    window.table.select_cast("c0ffee000001")
    assert "multicast to 3 of 4, 0.7% repaired" in window.status.text()
    end = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NO_NETWORK)
    link.say(CastChanged(fake.multicast_cast(4, multicast=end)))
    qtbot.waitUntil(lambda: "No multicast: the source can't send it" in window.status.text())


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0%"),
        (0.0004, "<0.1%"),
        (0.004, "0.4%"),
        (0.0994, "9.9%"),
        (0.1, "10%"),
        (0.999, "99%"),
        (1.0, "100%"),
    ],
)
def test_shares_are_rounded_sensibly(share: float, text: str) -> None:
    assert path_text.share_text(share) == text


def test_nodes_that_left_multicast_are_counted() -> None:
    many = [make_delivery(f"node_{number}", datagram_bytes=GB * (number % 2)) for number in range(1, 4)]
    found = multicast_status(multicast(), many)
    assert found is not None
    assert path_text.left_line(found.left) == "3 by relay: 2 can't keep up, 1 receive no multicast"
