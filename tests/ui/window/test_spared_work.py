"""What the window does not do again: with a thousand nodes its loop has to stay free."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import QSize
from PySide6.QtGui import QPaintEvent, QRegion
from PySide6.QtWidgets import QStackedWidget, QWidget
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot, DeliveryState, NodeState
from castray_desktop.ui.graph.graph_card import GraphCard
from castray_desktop.ui.graph.node_layout import NodeShape
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.recipients.recipient_model import RecipientModel
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.cast_actions import CastActions
from castray_desktop.ui.transfers.transfer_columns import TransferColumn
from castray_desktop.ui.transfers.transfer_model import TransferModel
from castray_desktop.ui.transfers.transfer_table import TransferTable
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from tests.helpers.desktop.on_screen import await_rest
from tests.helpers.fake_engine import FakeLink
from tests.helpers.samples import NOW, make_cast, make_delivery, make_node, make_nodes
from tests.ui.graph.test_graph_card import Stage

MANY = 400


def many_casting(done: int = 0, **other: object) -> tuple[CastSummary, list[DeliverySnapshot]]:
    """A cast to all of them, each with so many bytes; the seventh is otherwise."""
    names = [f"node_{number}" for number in range(1, MANY + 1)]
    cast = make_cast(recipients=MANY, done_bytes=done)
    deliveries = [make_delivery(name, bytes=done, upstream="desk") for name in names]
    if other:
        deliveries[6] = make_delivery("node_7", bytes=done, **{"upstream": "desk", **other})  # type: ignore[arg-type]
    return cast, deliveries


def calls_of(owner: object, name: str, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The first argument of every call from now on."""
    made: list[object] = []
    method: Callable[..., object] = getattr(owner, name)

    def note(*arguments: object, **named: object) -> object:
        made.append(arguments[0])
        return method(*arguments, **named)

    monkeypatch.setattr(owner, name, note)
    return made


def test_dots_and_hops_are_rebuilt_only_when_a_state_changes(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(qtbot, MANY)
    stage.nodes.watch(*many_casting())
    assert stage.scene.layout.cell is NodeShape.DOT
    dots = calls_of(stage.scene._dots, "show_dots", monkeypatch)
    hops = calls_of(stage.scene.path, "refresh_hops", monkeypatch)
    stage.nodes.watch(*many_casting(5))
    stage.nodes.apply([make_node("node_9", load=0.9)])
    assert (dots, hops) == ([], [])
    stage.nodes.watch(*many_casting(6, state=DeliveryState.FAILED))
    assert len(dots) == len(hops) == 1
    assert [dot.state for dot in dots[0]].count(GlyphState.FAILED) == 1  # type: ignore[attr-defined]
    stage.nodes.apply([make_node("node_9", NodeState.OFFLINE)])
    assert [dot.state for dot in dots[1]].count(GlyphState.OFFLINE) == 1  # type: ignore[attr-defined]
    stage.selection.set_selected(["node_3"])
    assert [dot.selected for dot in dots[2]].count(True) == 1  # type: ignore[attr-defined]


def test_the_state_version_counts_changed_states() -> None:
    nodes = NodeList()
    nodes.apply(make_nodes(MANY))
    nodes.watch(*many_casting())
    before = nodes.state_version
    nodes.watch(*many_casting(5))
    nodes.apply([make_node("node_9", load=0.9)])
    assert nodes.state_version == before
    for number, change in enumerate(({"lagging": True}, {"upstream": "node_1"}, {}), 1):
        nodes.watch(*many_casting(6, **change))
        assert nodes.state_version == before + number
    nodes.apply([make_node("node_9", NodeState.OFFLINE)])
    assert nodes.state_version == before + 4
    nodes.watch(None)
    assert nodes.state_version == before + 5


def test_changed_glyphs_of_the_list_are_announced_once() -> None:
    nodes, selection = NodeList(), RecipientSelection()
    selection.follow(nodes)
    nodes.apply(make_nodes(MANY))
    model = RecipientModel(nodes, selection, lambda: NOW)
    told: list[tuple[int, int]] = []
    model.dataChanged.connect(lambda first, last, roles: told.append((first.row(), last.row())))
    nodes.watch(*many_casting())
    assert told == [(0, MANY - 1)]
    nodes.watch(*many_casting(5))
    nodes.watch(*many_casting(6, lagging=True))
    assert told == [(0, MANY - 1), (6, 6)]


@pytest.mark.parametrize("count", [MANY, 3000])
def test_a_step_of_the_zoom_lays_the_nodes_out_once(qtbot: QtBot, count: int) -> None:
    stage = Stage(qtbot, count)
    assert stage.view.verticalScrollBar().isVisible() is (count > MANY)
    laid_out: list[int] = []
    stage.scene.layout_changed.connect(lambda: laid_out.append(1))
    stage.view.set_zoom(2.0)
    stage.view.set_zoom(2.5)
    assert len(laid_out) == 2
    stage.view.set_zoom(1.0)
    assert stage.view.zoom == 1.0
    assert stage.scene.layout.cell is NodeShape.DOT


@pytest.mark.parametrize(("count", "scrolls"), [(900, False), (3000, True)])
def test_what_was_laid_out_before_it_is_shown_is_not_laid_out_again(
    qtbot: QtBot, count: int, scrolls: bool
) -> None:
    nodes, selection, pages = NodeList(), RecipientSelection(), QStackedWidget()
    selection.follow(nodes)
    graph = GraphCard(Theme(), nodes, selection, now=lambda: NOW)
    pages.addWidget(QWidget())
    pages.addWidget(graph)
    for child in (nodes, selection):
        child.setParent(pages)
    qtbot.addWidget(pages)
    pages.resize(736, 472)
    pages.show()
    nodes.apply(make_nodes(count))
    nodes.watch(make_cast(recipients=count), [make_delivery(f"node_{i}") for i in range(1, count + 1)])
    laid_out: list[QSize] = []
    graph.scene_.layout_changed.connect(lambda: laid_out.append(graph.scene_.sceneRect().size().toSize()))
    graph.prepare(pages.size())
    pages.setCurrentWidget(graph)
    assert len(laid_out) == 1
    assert laid_out[0].width() == graph.view.viewport().width()
    assert graph.view.verticalScrollBar().isVisible() is scrolls


@pytest.fixture
def table(qtbot: QtBot, link: FakeLink) -> TransferTable:
    model = TransferModel()
    actions = CastActions(link, model, RecipientSelection(), model)
    result = TransferTable(Theme(), model, NodeList(model), actions)
    model.setParent(result)
    qtbot.addWidget(result)
    result.resize(974, 256)
    result.show()
    return result


def test_only_the_columns_that_changed_are_painted(table: TransferTable, qtbot: QtBot) -> None:
    model = table.model()
    assert isinstance(model, TransferModel)
    model.load([make_cast("a", rate=1e6), make_cast("b")])
    painted: list[QRegion] = []
    paint = table.paintEvent

    def note(event: QPaintEvent) -> None:
        painted.append(event.region())
        paint(event)

    table.paintEvent = note  # type: ignore[method-assign]
    await_rest(qtbot, painted)
    painted.clear()
    for step in range(1, 4):
        model.apply_summary(make_cast("a", rate=1e6 * (1 + step)))
    qtbot.waitUntil(lambda: bool(painted))
    (region,) = painted
    reached = {
        column
        for column in TransferColumn
        if region.contains(table.visualRect(model.index_of("a").siblingAtColumn(column)))
    }
    assert reached == {TransferColumn.SPEED}


def test_the_hash_of_a_cast_is_announced_with_its_first_recipient() -> None:
    model = TransferModel()
    model.load([make_cast("a")], {"a": [make_delivery("node_1"), make_delivery("node_2")]})
    told: list[tuple[int, int]] = []
    model.dataChanged.connect(
        lambda first, last, roles: (
            told.append((first.column(), last.column())) if not first.parent().isValid() else None
        )
    )
    model.apply_deliveries("a", [make_delivery("node_1", bytes=5)])
    assert told == []
    model.apply_deliveries("a", [make_delivery("node_2", DeliveryState.COMPLETED, hash="blake3:" + "0" * 64)])
    assert told == [(TransferColumn.HASH, TransferColumn.HASH)]
