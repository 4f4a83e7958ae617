"""Re-parenting with joins, losses, moves and late answers: never a cycle, and it always settles."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from castray_desktop.core.routing.reparenting import NO_UPSTREAM, Move, ReparentingPlan
from castray_desktop.core.routing.route_plan import Route, plan_route

NAMES = [f"n{number}" for number in range(9)]


def chain(names: list[str]) -> Route:
    return Route("s", dict(itertools.pairwise(reversed(["s", *names]))))


def has_circle(edges: Iterable[tuple[str, str]]) -> bool:
    above: dict[str, set[str]] = {}
    for node, upstream in edges:
        above.setdefault(node, set()).add(upstream)
    state: dict[str, int] = {}

    def visit(node: str) -> bool:
        if state.get(node) == 1:
            return True
        if state.get(node) == 2:
            return False
        state[node] = 1
        found = any(visit(upstream) for upstream in above.get(node, ()))
        state[node] = 2
        return found

    return any(visit(node) for node in list(above))


def is_settled(plan: ReparentingPlan) -> bool:
    """Whether every node has acknowledged its place, and no order is outstanding."""
    there = {node: upstream for node, upstream in plan.confirmed.items() if upstream != NO_UPSTREAM}
    return there == plan.target.upstreams and set(plan.edges()) == there.items()


def begun(route: Route) -> ReparentingPlan:
    """A plan whose nodes are all at their places in the route."""
    plan = ReparentingPlan(route)
    for move in plan.due_moves():
        plan.acknowledged(move)
    assert is_settled(plan)
    return plan


def test_all_begin_at_once() -> None:
    plan = ReparentingPlan(chain(["a", "b", "c"]))
    assert plan.due_moves() == (Move("a", "s", 1), Move("b", "a", 1), Move("c", "b", 1))
    assert plan.due_moves() == ()
    assert not is_settled(plan)


def test_the_second_move_waits_for_the_first_ones_answer() -> None:
    plan = begun(chain(["a", "b"]))
    route = plan.target.moved_to_tail("a")  # s, b, a
    plan.set_target(route)
    assert plan.due_moves() == (Move("b", "s", 2),)
    assert plan.due_moves() == ()
    plan.acknowledged(Move("b", "s", 2))
    assert plan.due_moves() == (Move("a", "b", 2),)
    plan.acknowledged(Move("a", "b", 2))
    assert is_settled(plan)


def test_an_older_route_and_an_older_answer_change_nothing() -> None:
    plan = begun(chain(["a", "b"]))
    old = plan.target
    route = old.reparented("b", "s")
    plan.set_target(route)
    (move,) = plan.due_moves()
    plan.set_target(old)
    plan.acknowledged(Move("b", "s", 1))
    assert not is_settled(plan)
    plan.acknowledged(move)
    assert is_settled(plan)
    assert plan.target is route


def test_a_node_that_comes_back_begins_again() -> None:
    plan = begun(chain(["a", "b"]))
    route = plan.target.without_node("a")
    plan.forget_node("a")
    plan.set_target(route)
    (move,) = plan.due_moves()
    plan.acknowledged(move)
    route = route.reparented("a", "b")
    plan.set_target(route)
    assert plan.due_moves() == (Move("a", "b", 3),)


def test_who_is_left_out_is_told_to_fetch_nothing_and_counts_until_it_knows() -> None:
    plan = begun(chain(["a", "b"]))
    route = plan.target.without_node("a")
    plan.set_target(route)
    assert plan.is_detaching("a")
    assert plan.due_detachments() == (Move("a", NO_UPSTREAM, 2),)
    assert plan.due_moves() == (Move("b", "s", 2),)
    route = route.reparented("a", "b")
    plan.set_target(route)
    assert not plan.is_detaching("a")
    assert plan.due_moves() == ()  # its answer is outstanding
    plan.acknowledged(Move("a", NO_UPSTREAM, 2))
    assert plan.due_moves() == ()  # the other node may still fetch from it
    plan.acknowledged(Move("b", "s", 2))
    assert plan.due_moves() == (Move("a", "b", 3),)


def test_what_is_outdated_is_sent_again_and_counts_meanwhile() -> None:
    plan = begun(chain(["a", "b"]))
    plan.resend("a")
    assert plan.due_moves() == (Move("a", "s", 1),)
    plan.acknowledged(Move("a", "s", 1))
    plan.resend("a")
    assert dict(plan.edges()) == {"a": "s", "b": "a"}
    route = plan.target.without_node("a")
    plan.set_target(route)
    assert plan.due_moves() == (Move("a", NO_UPSTREAM, 2), Move("b", "s", 2))


def test_the_root_that_takes_over_needs_no_order() -> None:
    plan = begun(chain(["a", "b", "c"]))
    route = plan.target.rerooted("b")
    plan.set_target(route)
    assert plan.due_moves() == (Move("a", "b", 2),)


@pytest.mark.timeout(20)
def test_ten_thousand_nodes_begin_in_no_time() -> None:
    plan = begun(chain([f"n{number}" for number in range(10_000)]))
    route = plan.target.moved_to_tail("n5000")
    plan.set_target(route)
    assert plan.due_moves() == (Move("n5001", "n4999", 2),)


class Cluster(RuleBasedStateMachine):
    """Agents that receive orders late and in any order, under a route that changes at random."""

    @initialize(count=st.integers(1, len(NAMES)), fed=st.integers(0, 10))
    def begin(self, count: int, fed: int) -> None:
        self.route = plan_route("s", NAMES[:count], size=fed << 20)
        self.plan = ReparentingPlan(self.route)
        self.upstreams: dict[str, str] = {}  # the actual upstream of each agent
        self.epochs: dict[str, int] = {}
        self.sent: list[Move] = []  # in flight to an agent
        self.taken: list[Move] = []  # the answer is in flight

    def want(self, route: Route) -> None:
        assert route.epoch >= self.route.epoch
        self.route = route
        self.plan.set_target(route)

    def lose(self, node: str) -> None:
        """Its agent is dead, and so are the orders in flight to it; late answers still arrive."""
        self.upstreams.pop(node, None)
        self.epochs.pop(node, None)
        self.sent = [move for move in self.sent if move.node != node]
        self.plan.forget_node(node)

    def take(self, move: Move) -> None:
        if move.epoch > self.epochs.get(move.node, 0):
            self.epochs[move.node] = move.epoch
            self.upstreams[move.node] = move.upstream
            if move.upstream == NO_UPSTREAM:
                del self.upstreams[move.node]

    @rule()
    def send(self) -> None:
        for move in self.plan.due_moves():
            assert move.epoch == self.route.epoch
            assert all(other.node != move.node for other in self.sent)
            assert move.epoch > self.epochs.get(move.node, 0)
            self.sent.append(move)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        move = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        self.take(move)
        self.taken.append(move)

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        self.plan.acknowledged(self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1))))

    @precondition(lambda self: self.taken)
    @rule()
    def an_old_order_arrives_again(self) -> None:
        move = self.taken[0]
        if move.node in self.epochs and self.epochs[move.node] > move.epoch:
            before = self.upstreams.get(move.node)
            self.take(move)
            assert self.upstreams.get(move.node) == before

    @rule(node=st.sampled_from(NAMES))
    def drop(self, node: str) -> None:
        if node in self.route.upstreams:
            self.lose(node)
            self.want(self.route.without_node(node))

    @rule(node=st.sampled_from(NAMES))
    def rest(self, node: str) -> None:
        """It is online and must fetch nothing until it joins again."""
        if node in self.route.upstreams:
            self.want(self.route.without_node(node))

    @rule()
    def move_the_root(self) -> None:
        """The source has another address; nodes with an order in flight get another one afterwards."""
        self.want(self.route.rerooted(self.route.source))
        for node in self.route.downstreams.get(self.route.source, ()):
            self.plan.resend(node)

    @rule(data=st.data(), node=st.sampled_from(NAMES))
    def join(self, data: st.DataObject, node: str) -> None:
        if node not in self.route.order():
            self.want(self.route.reparented(node, data.draw(st.sampled_from(self.route.order()))))

    @rule(node=st.sampled_from(NAMES))
    def slow(self, node: str) -> None:
        if node in self.route.upstreams:
            self.want(self.route.moved_to_tail(node))

    @rule(node=st.sampled_from(NAMES), upstream=st.sampled_from(NAMES))
    def move(self, node: str, upstream: str) -> None:
        if {node, upstream} <= self.route.upstreams.keys() and upstream in self.reachable_without(node):
            self.want(self.route.reparented(node, upstream))

    def reachable_without(self, node: str) -> set[str]:
        return set(self.route.without_node(node).order()) - self.below(node)

    def below(self, node: str) -> set[str]:
        found = {node}
        for other in self.route.order():
            if self.route.upstreams.get(other) in found:
                found.add(other)
        return found

    @rule(root=st.sampled_from(NAMES))
    def reroot(self, root: str) -> None:
        """The source dies, and a node that has everything feeds the others, so it stops fetching."""
        if root in self.route.upstreams:
            self.upstreams.pop(root, None)
            self.sent = [move for move in self.sent if move.node != root]
            self.want(self.route.rerooted(root))

    @invariant()
    def no_circle_at_any_moment(self) -> None:
        assert not has_circle(self.plan.edges())

    @invariant()
    def what_agents_do_is_known(self) -> None:
        assert set(self.upstreams.items()) <= set(self.plan.edges())

    def teardown(self) -> None:
        """When the answers arrive, the plan settles, in at most as many rounds as there are nodes."""
        if not hasattr(self, "route"):
            return
        self.want(Route(self.route.source, self.route.upstreams, self.route.epoch + 1))
        for _ in range(2 * len(NAMES) + 2):
            for move in self.sent:
                self.take(move)
                self.taken.append(move)
            self.sent = []
            for move in self.taken:
                self.plan.acknowledged(move)
            self.taken = []
            self.send()
            self.no_circle_at_any_moment()
            self.what_agents_do_is_known()
        assert is_settled(self.plan)
        assert self.upstreams == dict(self.route.upstreams)
        assert not any(map(self.plan.is_detaching, NAMES))


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
