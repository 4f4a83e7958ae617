"""One selection for graph and list: never the source, never lost by a refresh."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pytestqt.qtbot import QtBot

from castray_desktop.core.protocol.messages import NodeState
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from tests.helpers.samples import make_node, make_nodes


def make_selection(count: int = 3) -> RecipientSelection:
    selection = RecipientSelection()
    selection.set_nodes(make_nodes(count))
    return selection


def test_this_computer_is_the_source_until_another_is_picked() -> None:
    selection = make_selection()
    assert selection.source == "desk"
    selection.use_source("node_1")
    selection.set_nodes(make_nodes(3))
    assert selection.source == "node_1"
    assert selection.recipients() == {"desk", "node_2", "node_3"}


def test_changing_the_source_keeps_the_rest() -> None:
    selection = make_selection()
    selection.select_all()
    selection.use_source("node_2")
    assert selection.selected() == {"node_1", "node_3"}


def test_a_node_that_vanishes_and_comes_back_is_still_chosen() -> None:
    selection = make_selection()
    selection.set_selected({"node_1", "node_2"})
    selection.set_nodes([node for node in make_nodes(3) if node.name != "node_1"])
    assert selection.selected() == {"node_2"}
    selection.set_nodes(make_nodes(3))
    assert selection.selected() == {"node_1", "node_2"}


def test_a_chosen_node_that_goes_offline_stays_chosen_but_is_not_ready() -> None:
    selection = make_selection()
    selection.select_all()
    selection.set_nodes([*make_nodes(2), make_node("node_3", NodeState.OFFLINE)])
    assert selection.selected() == {"node_1", "node_2", "node_3"}
    assert selection.ready() == {"node_1", "node_2"}


def test_an_offline_node_is_chosen_only_by_itself() -> None:
    selection = RecipientSelection()
    selection.set_nodes([*make_nodes(1), make_node("node_2", NodeState.OFFLINE)])
    selection.select_only("node_2")
    selection.set_selected({"node_2"})
    assert selection.selected() == frozenset()
    selection.invert()
    assert selection.selected() == {"node_1"}
    selection.toggle("node_2")
    assert selection.selected() == {"node_1", "node_2"}
    assert (selection.ready(), selection.waiting()) == ({"node_1"}, {"node_2"})
    selection.toggle("desk")
    assert "desk" not in selection.selected()


def test_signals_are_sent_only_for_changes(qtbot: QtBot) -> None:
    selection = make_selection()
    changes: list[int] = []
    selection.changed.connect(lambda: changes.append(1))
    selection.set_nodes(make_nodes(3))
    selection.clear()
    assert changes == []
    selection.select_all()
    selection.select_all()
    assert changes == [1]
    with qtbot.waitSignal(selection.source_changed) as caught:
        selection.use_source("node_1")
    assert caught.args == ["node_1"]


def test_it_follows_a_node_list() -> None:
    nodes, selection = NodeList(), RecipientSelection()
    selection.follow(nodes)
    nodes.apply(make_nodes(2))
    assert selection.recipients() == {"node_1", "node_2"}
    nodes.apply([], ["node_1"])
    assert selection.recipients() == {"node_2"}


NAMES = ["desk", "node_1", "node_2", "node_3", "node_4"]
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("toggle"), st.sampled_from(NAMES)),
        st.tuples(st.just("only"), st.sampled_from(NAMES)),
        st.tuples(st.just("set"), st.sets(st.sampled_from(NAMES))),
        st.tuples(st.just("source"), st.sampled_from(NAMES)),
        st.tuples(st.just("nodes"), st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES))),
        st.tuples(st.sampled_from(["all", "none", "invert"])),
    ),
    max_size=30,
)


def apply(selection: RecipientSelection, operation: tuple[object, ...]) -> None:
    match operation:
        case ("toggle", str(name)):
            selection.toggle(name)
        case ("only", str(name)):
            selection.select_only(name)
        case ("set", set(names)):
            selection.set_selected(names)
        case ("source", str(name)):
            selection.use_source(name)
        case ("nodes", set(known), set(offline)):
            selection.set_nodes(
                [
                    make_node(name, NodeState.OFFLINE if name in offline else NodeState.ONLINE)
                    for name in NAMES
                    if name in known
                ]
            )
        case ("all",):
            selection.select_all()
        case ("none",):
            selection.clear()
        case ("invert",):
            selection.invert()


@given(OPERATIONS)
@settings(max_examples=150, deadline=None)
def test_the_source_is_never_a_recipient(operations: list[tuple[object, ...]]) -> None:
    selection = make_selection(4)
    for operation in operations:
        apply(selection, operation)
        assert selection.source not in selection.selected()
        assert selection.ready() <= selection.selected() <= selection.recipients()


@given(OPERATIONS, st.sets(st.sampled_from(NAMES)), st.sets(st.sampled_from(NAMES)))
@settings(max_examples=150, deadline=None)
def test_no_refresh_loses_the_selection(
    operations: list[tuple[object, ...]], known: set[str], offline: set[str]
) -> None:
    selection = make_selection(4)
    for operation in operations:
        apply(selection, operation)
    selection.set_nodes(make_nodes(4))
    before = selection.selected()
    apply(selection, ("nodes", known, offline))
    selection.set_nodes(make_nodes(4))
    assert selection.selected() == before
