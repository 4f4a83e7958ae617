"""The rates that the window remembers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.ui.throughput.rate_history import (
    BLOCK,
    CAPACITY,
    GRACE,
    STEP,
    WIDER_BY,
    PlotHistory,
    Ring,
)
from tests.helpers.samples import NOW


def test_samples_lie_where_they_belong() -> None:
    history = PlotHistory()
    assert history.empty
    for number in range(8):
        history.add(NOW + number * STEP, 100.0 + number, {"node_1": 10.0})
    window = history.window(NOW + 7 * STEP, 1.0)
    assert window.age.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert window.total.tolist() == [103, 104, 105, 106, 107]
    assert window.nodes["node_1"].tolist() == [10.0] * 5


def test_a_pause_reads_as_zero_and_a_hiccup_is_bridged() -> None:
    history = PlotHistory()
    history.add(NOW, 100.0, {})
    history.add(NOW + 2 * STEP, 120.0, {})
    history.add(NOW + 6 * STEP, 50.0, {})
    window = history.window(NOW + 6 * STEP, 6 * STEP)
    assert window.total.tolist() == [100, 100, 120, 0, 0, 0, 50]


def test_a_late_sample_does_not_read_as_zero() -> None:
    history = PlotHistory()
    history.add(NOW, 100.0, {})
    assert history.window(NOW + 3 * STEP, 1.0).total[-1] == 100
    assert history.window(NOW + 8 * STEP, 1.0).total[-1] == 0


def test_nodes_that_were_silent_are_left_out() -> None:
    history = PlotHistory()
    history.add(NOW, 1.0, {"old": 5.0})
    history.add(NOW + 120, 1.0, {"new": 5.0})
    assert set(history.window(NOW + 120, 60).nodes) == {"new"}
    assert set(history.window(NOW + 120, 300).nodes) == {"old", "new"}


def test_the_ring_turns() -> None:
    history = PlotHistory()
    history.add(NOW, 1.0, {"gone": 1.0})
    history.add(NOW + 3 * CAPACITY * STEP, 2.0, {"node_1": 2.0})
    window = history.window(NOW + 3 * CAPACITY * STEP, 1800)
    assert window.total.sum() == 2.0
    assert set(window.nodes) == {"node_1"}
    history.add(NOW, 99.0, {})
    assert history.window(NOW + 3 * CAPACITY * STEP, 1800).total.sum() == 2.0


def test_nodes_that_come_and_go_keep_the_memory_small() -> None:
    ring = Ring(1.0, BLOCK)
    for slot in range(8 * BLOCK):
        ring.advance(slot)
        ring.write(range(slot, slot + 1), 1.0, {f"node_{slot // 8}": 1.0})
    assert sum(block.size for block in ring._blocks.values()) <= 2 * BLOCK * WIDER_BY


def test_a_node_that_is_heard_again_after_a_long_silence_keeps_its_new_place() -> None:
    ring = Ring(1.0, BLOCK)
    ring.advance(0)
    ring.write(range(1), 1.0, {"old": 1.0, "older": 2.0})
    ring.advance(2 * BLOCK)
    ring.write(range(2 * BLOCK, 2 * BLOCK + 1), 1.0, {"new": 3.0, "old": 4.0})
    nodes = ring.window(2.0 * BLOCK, BLOCK).nodes
    assert {name: float(nodes[name][-1]) for name in nodes} == {"new": 3.0, "old": 4.0}
    assert all(nodes[name][:-1].sum() == 0 for name in nodes)


class NaiveRing:
    """Every number under its slot, and none is ever forgotten."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.last = capacity, -1
        self.sums: dict[int, tuple[float, float, float]] = {}  # total, low, high
        self.nodes: defaultdict[int, dict[str, float]] = defaultdict(dict)
        self.heard: dict[str, int] = {}

    def write(self, slots: Iterable[int], total: float, nodes: Mapping[str, float]) -> None:
        for slot in slots:
            if self.last - self.capacity < slot <= self.last:
                self.sums[slot] = (total, min(nodes.values(), default=0), max(nodes.values(), default=0))
                self.nodes[slot] |= nodes
                self._mark_active(slot, nodes)

    def add_share(self, slot: int, share: float, total: float, nodes: Mapping[str, float]) -> None:
        before, low, high = self.sums.get(slot, (0.0, 0.0, 0.0))
        now = {name: self.nodes[slot].get(name, 0.0) + rate * share for name, rate in nodes.items()}
        self.nodes[slot] |= now
        least, most = min(now.values(), default=low), max(now.values(), default=0)
        self.sums[slot] = (before + total * share, least, max(high, most))
        self._mark_active(slot, nodes)

    def _mark_active(self, slot: int, nodes: Iterable[str]) -> None:
        self.heard |= {name: max(slot, self.heard.get(name, slot)) for name in nodes}

    def advance(self, slot: int, *, bridge: bool) -> None:
        if bridge and self.last >= 0 and slot - self.last == 2:
            self.sums[slot - 1] = self.sums.get(self.last, (0.0, 0.0, 0.0))
            self.nodes[slot - 1] = dict(self.nodes[self.last])
        self.last = slot

    def silence(self, first: int) -> None:
        for slot in range(max(0, first), self.last + 1):
            self.sums.pop(slot, None)
            self.nodes.pop(slot, None)

    def line(self, name: str, slots: range) -> list[float]:
        return [self.nodes[slot].get(name, 0.0) if self.kept(slot) else 0.0 for slot in slots]

    def kept(self, slot: int) -> bool:
        return self.last - self.capacity < slot <= self.last


SMALL = 2 * BLOCK + 90
GROUPS = st.integers(0, 2).flatmap(
    lambda group: (
        st.dictionaries(
            st.integers(group * 40, group * 40 + 80).map(str), st.integers(1, 9).map(float), max_size=6
        )
        | st.just({str(name): 2.0 for name in range(group * 40, group * 40 + 80)})
    )
)
STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 3) | st.integers(0, SMALL), GROUPS),
    st.tuples(st.just("past"), st.tuples(st.integers(-9, SMALL + 9), st.integers(1, 300)), GROUPS),
    st.tuples(st.just("more"), st.integers(0, 3) | st.integers(0, SMALL), GROUPS),
    st.tuples(st.just("silence"), st.integers(-9, SMALL + 9), st.just({})),
)


@settings(deadline=None, max_examples=60)
@given(st.booleans(), st.lists(STEPS, max_size=10))
def test_a_ring_is_as_if_every_number_were_kept(bridge: bool, steps: list[tuple[str, object, dict]]) -> None:
    ring, naive = Ring(1.0, SMALL), NaiveRing(SMALL)
    for each in (ring, naive):
        each.advance(1000, bridge=bridge)
    for kind, where, nodes in steps:
        for each in (ring, naive):
            if kind == "past":
                ago, count = where
                each.write(range(each.last - ago - count, each.last - ago), 5.0, nodes)
            elif kind == "silence":
                each.silence(each.last - where)
            else:
                each.advance(each.last + where, bridge=bridge)
                if kind == "put":
                    each.write(range(each.last, each.last + 1), 7.0, nodes)
                else:
                    each.add_share(each.last, 0.25, 8.0, nodes)
    for seconds, later in ((0, GRACE), (20, GRACE + 1), (SMALL, 0)):
        compare(ring, naive, seconds, later)


def compare(ring: Ring, naive: NaiveRing, seconds: int, later: int) -> None:
    window = ring.window(float(ring.last + later), seconds)
    newest = ring.last + (later if later > GRACE else 0)
    slots = range(newest - len(window.age) + 1, newest + 1)
    sums = [naive.sums.get(slot, (0.0,) * 3) if naive.kept(slot) else (0.0,) * 3 for slot in slots]
    assert np.column_stack([window.total, window.low, window.high]).tolist() == list(map(list, sums))
    assert set(window.nodes) == {name for name, slot in naive.heard.items() if slot >= slots.start}
    for name in window.nodes:
        assert window.nodes[name].tolist() == naive.line(name, slots)
    recent_means = {name: sum(naive.line(name, slots[-20:])) / len(slots[-20:]) for name in window.nodes}
    assert window.nodes.recent_means(20) == pytest.approx(recent_means)
