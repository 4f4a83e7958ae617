"""Straggler detection in a model of a relay: late, irregular reports and moves that take time."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Mapping
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.core.routing.reparenting import Move, ReparentingPlan
from castray_desktop.core.routing.route_plan import Route
from castray_desktop.core.routing.stragglers import (
    COOLDOWN_SECONDS,
    FanOutWatch,
    SlowFanOut,
    StragglerDetector,
)

GIGABIT = 125e6
MIB = 1 << 20
GIB = 1 << 30
STEP = 0.01
MB = 1_000_000
TOTAL = 300 * MB
TREE = Route("s", {"f": "s", "a": "f", "b": "f", "c": "f"})


def chain(names: list[str]) -> Route:
    return Route("s", dict(itertools.pairwise(reversed(["s", *names]))))


class Model:
    """Nodes with a speed for each direction, in steps of 10 ms; reports four times a second."""

    def __init__(self, route: Route, size: int, *, seed: int = 0, jitter: float = 0.03) -> None:
        self.size = size
        self.random = random.Random(seed)
        self.jitter = jitter
        self.reparenting = ReparentingPlan(route)
        for move in self.reparenting.due_moves():
            self.reparenting.acknowledged(move)
        self.nodes = list(route.order()[1:])
        self.down = dict.fromkeys(self.nodes, GIGABIT)
        self.up = dict.fromkeys(["s", *self.nodes], GIGABIT)
        self.done = dict.fromkeys(self.nodes, 0.0) | {"s": float(size)}
        self.finished: dict[str, float] = {}
        self.sent: list[tuple[float, Move]] = []
        self.reports = {node: self.random.random() * 0.25 for node in self.nodes}
        self.moves: list[tuple[float, str]] = []
        self.progress: dict[str, int] = {}
        self.now = 0.0

    def slow(self, node: str, factor: float) -> None:
        self.down[node] = self.down.get(node, GIGABIT) * factor
        self.up[node] *= factor

    def run(self, watch: StragglerDetector | None, until: float = 600.0) -> Model:
        while len(self.finished) < len(self.nodes) and self.now < until:
            self.now += STEP
            self.flow(self.reparenting.confirmed)
            for when, move in list(self.sent):
                if when <= self.now:
                    self.sent.remove((when, move))
                    self.reparenting.acknowledged(move)
                    self.order()
            for node, when in self.reports.items():
                if when > self.now:
                    continue
                self.reports[node] = when + 0.25 + self.random.random() * self.jitter
                self.progress[node] = int(self.done[node])
                slow = watch and watch.find_straggler(
                    self.now, self.reparenting.target, dict(self.progress), self.size
                )
                if slow:
                    self.moves.append((self.now, slow))
                    self.reparenting.set_target(self.reparenting.target.moved_to_tail(slow))
                    self.order()
        return self

    def order(self) -> None:
        self.sent.extend((self.now + 0.03, move) for move in self.reparenting.due_moves())

    def flow(self, upstreams: Mapping[str, str]) -> None:
        before = dict(self.done)
        fed: dict[str, int] = {}
        for node, upstream in upstreams.items():
            fed[upstream] = fed.get(upstream, 0) + (self.done[node] < self.size)
        for node, upstream in upstreams.items():
            rate = min(self.down[node], self.up[upstream] / max(1, fed[upstream]))
            rate *= 1 + self.jitter * (self.random.random() - 0.5)
            self.done[node] = max(before[node], min(before[node] + rate * STEP, before[upstream]))
            if self.done[node] >= self.size:
                self.finished.setdefault(node, self.now)


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


@functools.cache
def undisturbed_seconds(count: int) -> float:
    """After which the last of so many equal nodes has a GiB."""
    return max(Model(chain(names(count)), GIB).run(None).finished.values())


def test_a_slow_start_is_no_straggler() -> None:
    """The list of files arrived at once, and the first piece; then a disk was busy for half a second."""
    route, watch, total = chain(names(3)), StragglerDetector(), 100 * MIB
    for now, done in ((0.1, 300), (0.2, MIB), (0.7, 2 * MIB), (0.8, 30 * MIB), (1.05, 90 * MIB)):
        assert watch.find_straggler(now, route, {"n0": done, "n1": done, "n2": done}, total) is None


@pytest.mark.parametrize("place", range(7))
def test_a_link_at_a_tenth_of_the_rate_delays_nobody_else(place: int) -> None:
    nodes, undisturbed = names(8), undisturbed_seconds(8)
    for seed in range(5):
        model = Model(chain(nodes), GIB, seed=seed)
        model.slow(nodes[place], 0.1)
        model.run(StragglerDetector())
        others = max(model.finished[node] for node in nodes if node != nodes[place])
        assert others <= 1.15 * undisturbed, (seed, model.moves)
        assert [node for _, node in model.moves] == [nodes[place]]


def test_a_node_that_was_accused_wrongly_does_not_stay_below_a_much_slower_one() -> None:
    """The next node below it was busy for a moment, just when a slow node had gone to the tail."""
    nodes, undisturbed = names(4), undisturbed_seconds(4)
    model, watch = Model(chain(nodes), GIB), StragglerDetector()
    model.slow("n1", 0.01)
    while not model.moves and model.now < 5:
        model.run(watch, until=model.now + 0.05)
    model.down["n2"] *= 0.1
    while len(model.moves) < 2 and model.now < 5:
        model.run(watch, until=model.now + 0.05)
    model.down["n2"] = GIGABIT
    model.run(watch, until=30.0)
    assert [node for _, node in model.moves] == ["n1", "n0", "n1"]
    others = max(model.finished.get(node, inf) for node in ("n0", "n2", "n3"))
    assert others <= undisturbed + 2 * COOLDOWN_SECONDS


def test_a_slow_node_at_the_tail_stays() -> None:
    nodes = names(8)
    model = Model(chain(nodes), GIB)
    model.slow("n7", 0.1)
    assert model.run(StragglerDetector()).moves == []


@pytest.mark.parametrize("seed", range(20))
def test_a_chain_of_equal_nodes_is_kept(seed: int) -> None:
    model = Model(chain(names(8)), 2 * GIB, seed=seed, jitter=0.1)
    assert model.run(StragglerDetector()).moves == []


@pytest.mark.parametrize("seed", range(5))
def test_a_short_pause_is_not_slowness(seed: int) -> None:
    model = Model(chain(names(8)), 2 * GIB, seed=seed)
    watch = StragglerDetector()
    for pause in (3.0, 6.0, 9.0):
        model.run(watch, until=pause)
        model.down["n3"] = 1.0
        model.run(watch, until=pause + 0.25)
        model.down["n3"] = GIGABIT
    assert model.run(watch).moves == []


def test_nothing_moves_near_the_end_of_a_cast() -> None:
    model = Model(chain(names(8)), GIB)
    watch = StragglerDetector()
    model.run(watch, until=8.2)
    model.slow("n3", 0.3)
    assert model.run(watch).moves == []


def test_an_upstream_with_a_slow_upload_moves() -> None:
    model = Model(chain(names(8)), 4 * GIB)
    model.up["n2"] = GIGABIT / 10
    model.run(StragglerDetector())
    assert [node for _, node in model.moves] == ["n3", "n2"]
    assert max(model.finished.values()) < 1.2 * 4 * GIB / GIGABIT


def test_two_slow_neighbours_move_to_the_tail() -> None:
    model = Model(chain(names(8)), 4 * GIB)
    model.slow("n2", 0.1)
    model.slow("n3", 0.1)
    model.run(StragglerDetector(), until=40)
    healthy = [model.finished[node] for node in names(8) if node not in ("n2", "n3")]
    assert max(healthy) < 1.5 * 4 * GIB / GIGABIT
    assert set(model.reparenting.target.order()[-2:]) == {"n2", "n3"}


def test_a_slow_source_costs_two_trials_at_most() -> None:
    model = Model(chain(names(8)), GIB)
    model.up["s"] = GIGABIT / 10
    model.run(StragglerDetector())
    assert len(model.moves) <= 2
    assert max(model.finished.values()) < 1.02 * GIB / (GIGABIT / 10)


def test_an_expected_rate_needs_no_trial() -> None:
    model = Model(chain(names(8)), GIB)
    model.up["s"] = GIGABIT / 10
    assert model.run(StragglerDetector(hop_limit=lambda _: GIGABIT / 10)).moves == []


@pytest.mark.parametrize("limit", [0, 200_000])
def test_at_a_low_limit_a_piece_may_take_seconds(limit: int) -> None:
    detector = StragglerDetector(hop_limit=lambda _: limit or inf)
    found = []
    for report in range(1, 200):
        done = int(report * 0.25 * 200_000) // MIB * MIB  # whole pieces
        progress = dict.fromkeys(names(3), 300 + done)
        found.append(detector.find_straggler(report * 0.25, chain(names(3)), progress, 300 * MIB))
    assert [node for node in found if node] == ([] if limit else ["n0", "n0"])


def test_a_slow_node_is_found_at_a_limit_as_well() -> None:
    model = Model(chain(names(4)), GIB)
    model.up = dict.fromkeys(model.up, GIGABIT / 10)
    model.slow("n1", 0.02)
    model.run(StragglerDetector(hop_limit=lambda _: GIGABIT / 10), until=30)
    assert [node for _, node in model.moves] == ["n1"]


def test_a_border_between_zones_is_not_judged() -> None:
    nodes = names(8)
    model = Model(chain(nodes), GIB)
    model.down["n4"] = GIGABIT / 10
    zones = {node: "far" if node >= "n4" else "" for node in nodes}
    assert model.run(StragglerDetector(zones)).moves == []


def test_nodes_that_share_the_link_of_their_upstream_are_not_slow() -> None:
    route = Route("s", {"a": "s", "b": "a", "c": "a", "d": "b", "e": "c"})
    assert Model(route, 2 * GIB).run(StragglerDetector()).moves == []


def test_a_slow_tail_is_kept_once_its_speed_is_known() -> None:
    nodes = names(6)
    remembered = {node: GIGABIT * (0.3 if node >= "n3" else 1.0) for node in nodes}
    for speeds, most, factor in (({}, 6, 1.7), (remembered, 0, 1.02)):
        model = Model(chain(nodes), GIB)
        for node in ("n3", "n4", "n5"):
            model.slow(node, 0.3)
        model.run(StragglerDetector(speeds=speeds))
        assert len(model.moves) <= most
        assert max(model.finished[node] for node in nodes[:3]) < factor * GIB / GIGABIT


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    slow=st.dictionaries(st.sampled_from(names(6)), st.floats(0.05, 0.9), max_size=3),
    reports=st.floats(0.0, 0.2),
)
def test_no_node_moves_twice_within_the_cooldown(seed: int, slow: dict[str, float], reports: float) -> None:
    model = Model(chain(names(6)), GIB, seed=seed, jitter=reports)
    for node, factor in slow.items():
        model.slow(node, factor)
    model.run(StragglerDetector(), until=30)
    for node in names(6):
        times = [when for when, moved in model.moves if moved == node]
        assert all(later - earlier >= COOLDOWN_SECONDS for earlier, later in itertools.pairwise(times))
    if len(slow) == 1:  # two slow nodes at the head look like a slow source
        assert set(model.finished) >= set(names(6)) - slow.keys()


# --- a node with several downstream nodes


def watch(
    rates: Callable[[str, float], float],
    *,
    route: Route = TREE,
    limit: float = 0.0,
    zones: dict[str, str] | None = None,
    seconds: float = 4.0,
) -> list[tuple[float, SlowFanOut]]:
    """The findings over this number of seconds; `rates` are the bytes of a node after a number of seconds."""
    watch = FanOutWatch(zones or {}, limit)
    found = []
    for look in range(int(seconds * 4) + 1):
        now = look / 4
        progress = {node: min(TOTAL, int(rates(node, now))) for node in route.upstreams}
        slow = watch.update(now, route, progress, TOTAL)
        if slow is not None:
            found.append((now, slow))
    return found


def slow_fan_out(node: str, now: float) -> float:
    """200 Mbit/s in, and a third of that for each child."""
    return now * (25 * MB if node == "f" else 25 * MB / 3)


def test_a_slow_fan_out_is_found_within_two_seconds() -> None:
    (when, slow), *_ = watch(slow_fan_out)
    assert when <= 2.0
    assert slow == SlowFanOut("f", pytest.approx(25 * MB, rel=0.01))


def test_a_fan_out_that_is_as_fast_as_planned_is_kept() -> None:
    assert watch(lambda node, now: 25 * MB * now) == []  # all have received what was available


def test_a_slow_fan_out_of_the_source_is_found() -> None:
    (_, slow), *_ = watch(lambda node, now: now * 8 * MB, route=Route("s", {"a": "s", "b": "s", "c": "s"}))
    assert slow.node == "s"


def test_with_a_rate_limit_a_chain_is_no_faster() -> None:
    assert watch(slow_fan_out, limit=25 * MB / 3) == []


def test_a_fan_out_into_another_zone_is_not_judged() -> None:
    assert watch(slow_fan_out, zones={"a": "x", "b": "x", "c": "x"}) == []


def test_near_the_end_of_a_cast_a_fan_out_is_kept() -> None:
    def nearly(node: str, now: float) -> float:
        return TOTAL - 20 * MB + slow_fan_out(node, now) if node != "f" else TOTAL

    assert watch(nearly) == []


def test_measurements_restart_after_a_pause() -> None:
    fan_out = FanOutWatch({}, 0.0)
    for now in (0.25, 0.5, 5.0, 5.25):
        progress = {node: int(slow_fan_out(node, now)) for node in TREE.upstreams}
        assert fan_out.update(now, TREE, progress, TOTAL) is None


def test_the_chain_begins_with_those_that_have_most_and_keeps_zones_together() -> None:
    route = TREE.chained({"f": 100, "a": 10, "b": 30, "c": 20}, {})
    assert dict(route.upstreams) == {"f": "s", "b": "f", "c": "b", "a": "c"}
    zoned = TREE.chained({"f": 1, "a": 2, "b": 9, "c": 3}, {"f": "x", "a": "y", "b": "x", "c": "y"})
    assert dict(zoned.upstreams) == {"b": "s", "f": "b", "c": "f", "a": "c"}
