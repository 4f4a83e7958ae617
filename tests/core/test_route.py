"""Routes: every recipient reaches the source, whatever drops out or moves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.route import Move, Route, plan_chain

NODES = [f"n{number}" for number in range(8)]


def reaches_source(route: Route, node: str) -> bool:
    steps = 0
    while node != route.source:
        node = route.upstream_of(node)
        steps += 1
        if steps > len(route.upstreams):
            return False
    return True


def test_a_plan_is_one_chain_in_the_given_order() -> None:
    route = plan_chain("s", ["a", "b", "c"])
    assert route.order() == ("s", "a", "b", "c")
    assert dict(route.upstreams) == {"a": "s", "b": "a", "c": "b"}


def test_a_border_between_zones_is_crossed_once() -> None:
    zones = {"s": "east", "a": "west", "b": "east", "c": "west", "d": "east"}
    order = plan_chain("s", ["a", "b", "c", "d"], zones).order()
    crossings = sum(zones[one] != zones[next_one] for one, next_one in itertools.pairwise(order))
    assert order == ("s", "b", "d", "a", "c")
    assert crossings == 1


def test_a_node_that_drops_out_leaves_its_downstream_to_its_upstream() -> None:
    route, moves = plan_chain("s", ["a", "b", "c"]).without("b")
    assert moves == (Move("c", "a", 2),)
    assert route.order() == ("s", "a", "c")
    assert route.epoch == 2


def test_dropping_an_unknown_node_changes_nothing() -> None:
    route = plan_chain("s", ["a"])
    assert route.without("x") == (route, ())


def test_a_circle_is_refused() -> None:
    route = plan_chain("s", ["a", "b", "c"])
    with pytest.raises(ValueError, match="below"):
        route.moved("a", "c")


def test_a_new_leaf_goes_below_a_known_node() -> None:
    route, moves = plan_chain("s", ["a"]).with_leaf("b", "a")
    assert moves == (Move("b", "a", 2),)
    with pytest.raises(KeyError):
        route.with_leaf("c", "x")
    with pytest.raises(ValueError, match="on the route"):
        route.with_leaf("b", "s")


@given(
    st.lists(st.sampled_from(NODES), unique=True, min_size=1),
    st.lists(st.tuples(st.sampled_from(["drop", "move"]), st.sampled_from(NODES), st.sampled_from(NODES))),
)
def test_any_changes_keep_a_tree_below_the_source(
    recipients: list[str], changes: list[tuple[str, str, str]]
) -> None:
    route = plan_chain("s", recipients)
    for change, node, upstream in changes:
        epoch = route.epoch
        if change == "drop":
            route, _ = route.without(node)
        elif node in route.upstreams and (upstream in route.upstreams):
            try:
                route, _ = route.moved(node, upstream)
            except ValueError:
                assert route.epoch == epoch
        assert all(reaches_source(route, left) for left in route.upstreams)
        assert len(route.order()) == len(route.upstreams) + 1
        assert route.epoch >= epoch
