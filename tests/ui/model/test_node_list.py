"""The node list: natural order, changes only, the watched cast."""

from __future__ import annotations

from castray_desktop.core.protocol.messages import DeliveryState, NodeState
from castray_desktop.ui.model.node_list import NodeList, glyph_word, natural_key, node_glyph
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from tests.helpers.samples import make_cast, make_delivery, make_node, make_nodes


def test_names_are_in_natural_order() -> None:
    names = ["node_10", "Node_2", "node_1", "a", "10", "9"]
    assert sorted(names, key=natural_key) == ["9", "10", "a", "node_1", "Node_2", "node_10"]


def test_changes_are_announced_once() -> None:
    nodes = NodeList()
    changes: list[int] = []
    nodes.changed.connect(lambda: changes.append(1))
    nodes.apply(make_nodes(2))
    nodes.apply(make_nodes(2))
    nodes.apply([], ["unknown"])
    assert changes == [1]
    nodes.apply([make_node("node_1", load=0.5)])
    assert changes == [1, 1]
    assert [node.load for node in nodes.nodes()] == [0.0, 0.5, 0.0]
    nodes.replace(make_nodes(1))
    assert [node.name for node in nodes.nodes()] == ["desk", "node_1"]


def test_the_watched_cast_is_known_by_node() -> None:
    nodes = NodeList()
    changes: list[int] = []
    nodes.activity_changed.connect(lambda: changes.append(1))
    nodes.watch(make_cast(), [make_delivery("node_1")])
    nodes.watch(make_cast(), [make_delivery("node_1")])
    assert changes == [1]
    activity = nodes.activity("node_1")
    assert activity is not None
    assert activity.state is DeliveryState.RECEIVING
    nodes.watch(None)
    assert nodes.activity("node_1") is None
    assert nodes.cast is None


def test_every_state_has_a_shape_and_a_word() -> None:
    node = make_node("node_1")
    for state in DeliveryState:
        assert glyph_word(node_glyph(node, make_delivery("node_1", state)))
    assert node_glyph(make_node("a", NodeState.OFFLINE), make_delivery("a")) is GlyphState.OFFLINE
    assert node_glyph(node, make_delivery("node_1", lagging=True)) is GlyphState.LAGGING
    assert node_glyph(node, None) is GlyphState.ONLINE
