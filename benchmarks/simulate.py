"""Simulate the real route plans, moves and straggler detection for 10 to 10,000 nodes.

    python -m benchmarks.simulate
    python -m benchmarks.simulate --nodes 1000 --failing 0.05 --detect-seconds 5

Nothing is sent. Every node has one link with equal rates in both directions; a node with several children
divides it evenly. Time advances in steps of one hop's latency: in a step a node gets as much as its rate
allows of the data that its upstream had one step before. Failures, checks and orders happen between steps: a
failed node is noticed after `--detect-seconds`, an order and its answer take `--order-seconds` each.

Completion times are relative to one copy at the median speed. `limit` is the lower bound of every plan: the
copy of the slowest node that did not fail.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from types import MappingProxyType

import numpy as np

from castray_desktop.core.content.stream_layout import choose_piece_bytes
from castray_desktop.core.routing.node_speeds import quantized_rate
from castray_desktop.core.routing.reparenting import Move, ReparentingPlan
from castray_desktop.core.routing.route_plan import HOP_SECONDS, Route, plan_route
from castray_desktop.core.routing.stragglers import FanOutWatch, StragglerDetector

LOOK_SECONDS = 0.25
SOURCE = "source"


@dataclass(frozen=True)
class Setting:
    """The parameters that all simulated casts share. Bytes, bytes per second, seconds, shares of one."""

    size: int
    rate: float
    hop_seconds: float
    failing: float
    detect_seconds: float
    order_seconds: float


@dataclass(frozen=True)
class Outcome:
    """One simulated cast; times relative to one copy at the median speed."""

    last: float
    median: float
    limit: float
    depth: int
    copies: float
    moves: int


@dataclass
class Cluster:
    """Nodes by number, with the source as 0, and the engine that controls them."""

    setting: Setting
    names: list[str]
    speeds: np.ndarray  # type: ignore[type-arg] # of float
    route: Route
    watch: StragglerDetector
    fan_out: FanOutWatch = field(default_factory=lambda: FanOutWatch({}, 0))
    now: float = 0.0
    moves: int = 0
    source_bytes: float = 0.0
    _events: list[tuple[float, int, str, object]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        count = len(self.names)
        self.number = {name: number for number, name in enumerate(self.names)}
        self.done = np.zeros(count)
        self.done[0] = self.setting.size
        self.upstream = np.full(count, -1)
        self.alive = np.ones(count, dtype=bool)
        self.finished = np.full(count, np.inf)
        piece = choose_piece_bytes(self.setting.size, count - 1)
        self.step = max(self.setting.hop_seconds, piece / self.setting.rate)
        self.reparenting = ReparentingPlan(self.route)
        for move in self.reparenting.due_moves():
            self.upstream[self.number[move.node]] = self.number[move.upstream]
            self.reparenting.acknowledged(move)

    def at(self, when: float, what: str, about: object = None) -> None:
        """Schedule an event at `when` seconds."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what, about))

    def run(self) -> None:
        """Run until every node has everything or has failed."""
        self.at(LOOK_SECONDS, "look")
        while np.any(self.alive & (self.done < self.setting.size)):
            self.flow()
            while self._events and self._events[0][0] <= self.now:
                _, _, what, about = heapq.heappop(self._events)
                getattr(self, "on_" + what)(about)

    def flow(self) -> None:
        """One step: forward the data that each upstream had before."""
        self.now += self.step
        takes = np.flatnonzero(self.alive & (self.done < self.setting.size) & (self.upstream >= 0))
        feeds = self.upstream[takes]
        there = self.alive[feeds]
        takes, feeds = takes[there], feeds[there]
        fed = np.bincount(feeds, minlength=len(self.done))
        rate = np.minimum(self.speeds[takes], self.speeds[feeds] / fed[feeds])
        before = self.done[takes]
        after = np.maximum(before, np.minimum(before + rate * self.step, self.done[feeds]))
        self.source_bytes += float((after - before)[feeds == 0].sum())
        self.done[takes] = after
        self.finished[takes[after >= self.setting.size]] = self.now

    def on_fail(self, node: str) -> None:
        self.alive[self.number[node]] = False
        self.at(self.now + self.setting.detect_seconds, "noticed", node)

    def on_noticed(self, node: str) -> None:
        self.reparenting.forget_node(node)
        self.want(self.reparenting.target.without_node(node))

    def on_look(self, _: object) -> None:
        progress = {name: int(done) for name, done in zip(self.names, self.done, strict=True)}
        slow = self.watch.find_straggler(self.now, self.reparenting.target, progress, self.setting.size)
        fan_out = self.fan_out.update(self.now, self.reparenting.target, progress, self.setting.size)
        if fan_out is not None:
            self.moves += 1
            self.want(self.reparenting.target.chained(progress, {}))
        elif slow is not None:
            self.moves += 1
            self.want(self.reparenting.target.moved_to_tail(slow))
        self.at(self.now + LOOK_SECONDS, "look")

    def want(self, route: Route) -> None:
        self.reparenting.set_target(route)
        self.send()

    def send(self) -> None:
        for move in self.reparenting.due_moves():
            self.at(self.now + self.setting.order_seconds, "order", move)

    def on_order(self, move: Move) -> None:
        self.upstream[self.number[move.node]] = self.number[move.upstream]
        self.at(self.now + self.setting.order_seconds, "answer", move)

    def on_answer(self, move: Move) -> None:
        self.reparenting.acknowledged(move)
        self.send()


def spread(count: int, factor: float, chance: random.Random) -> list[float]:
    """Speeds spread evenly on a logarithmic scale, the fastest about `factor` times the slowest; median 1."""
    speeds = [factor ** chance.random() for _ in range(count)]
    middle = statistics.median(speeds)
    return [speed / middle for speed in speeds]


def classes(count: int, factor: float, chance: random.Random) -> list[float]:
    """Two kinds of nodes: a little more than half with speed 1, the others `factor` times as fast."""
    speeds = [1.0] * (count // 2 + 1) + [factor] * (count - count // 2 - 1)
    chance.shuffle(speeds)
    return speeds


def equal(count: int, _factor: float, _chance: random.Random) -> list[float]:
    """All nodes with speed 1."""
    return [1.0] * count


def simulate(
    setting: Setting,
    relative: Sequence[float],
    known: bool,
    chance: random.Random,
    wrong: Mapping[int, float] = MappingProxyType({}),
) -> Outcome:
    """One cast to nodes of these speeds, known or not; 1 is the speed of the median and of the source.

    `wrong` has wrongly remembered speeds of some nodes, by number; the source is 0.
    """
    names = [SOURCE, *(f"n{number}" for number in range(len(relative)))]
    speeds = np.array([1.0, *relative]) * setting.rate
    known_speeds = {
        name: quantized_rate(float(speed)) for name, speed in zip(names, speeds, strict=True) if known
    }
    known_speeds |= {names[number]: quantized_rate(speed * setting.rate) for number, speed in wrong.items()}
    route = plan_route(
        SOURCE, names[1:], speeds=known_speeds, size=setting.size, hop_seconds=setting.hop_seconds
    )
    cluster = Cluster(setting, names, speeds, route, StragglerDetector(speeds=known_speeds))
    copy = setting.size / setting.rate
    failing = chance.sample(names[1:], round(setting.failing * len(relative)))
    for node in failing:
        cluster.at(chance.random() * copy, "fail", node)
    depth = {SOURCE: 0}
    for node in route.order()[1:]:
        depth[node] = depth[route.upstreams[node]] + 1
    cluster.run()
    left = [number for name, number in cluster.number.items() if number and name not in failing]
    times = cluster.finished[left] / copy
    return Outcome(
        last=float(times.max()),
        median=float(np.median(times)),
        limit=float(setting.rate / speeds[left].min()),
        depth=max(depth.values()),
        copies=cluster.source_bytes / setting.size,
        moves=cluster.moves,
    )


def report(setting: Setting, counts: Sequence[int], factor: float, seeds: Sequence[int]) -> None:
    """Print the tables."""
    for title, speeds, known in (
        (f"speeds spread over {factor:g}x, remembered", spread, True),
        (f"speeds spread over {factor:g}x, unknown", spread, False),
        (f"two kinds of nodes, one {factor:g}x as fast, remembered", classes, True),
        ("equal speeds", equal, True),
    ):
        print(f"\n{title}\n\n| nodes | last | median | limit | depth | source copies | moves | s |")
        print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
        for count in counts:
            began = time.perf_counter()
            found = []
            for seed in seeds:
                chance = random.Random(seed)
                found.append(simulate(setting, speeds(count, factor, chance), known, chance))
            figures = (statistics.median(values) for values in zip(*map(astuple, found), strict=True))
            last, median, limit, depth, copies, moves = figures
            print(
                f"| {count} | {last:.3f} | {median:.3f} | {limit:.3f} | {depth:g} | {copies:.3f} | {moves:g} "
                f"| {(time.perf_counter() - began) / len(seeds):.1f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[10, 100, 1000, 10_000])
    parser.add_argument("--size", type=float, default=10.0, help="GiB")
    parser.add_argument("--rate", type=float, default=10.0, help="Gbit/s of the median node")
    parser.add_argument("--uneven", type=float, default=2.0, help="fastest over slowest")
    parser.add_argument("--failing", type=float, default=0.01, help="share of nodes that fail")
    parser.add_argument("--hop-seconds", type=float, default=HOP_SECONDS)
    parser.add_argument("--detect-seconds", type=float, default=0.5)
    parser.add_argument("--order-seconds", type=float, default=0.02)
    parser.add_argument("--seeds", type=int, default=3, help="casts for each line; medians are shown")
    given = parser.parse_args()
    setting = Setting(
        size=int(given.size * 2**30),
        rate=given.rate * 1e9 / 8,
        hop_seconds=given.hop_seconds,
        failing=given.failing,
        detect_seconds=given.detect_seconds,
        order_seconds=given.order_seconds,
    )
    print(
        f"{given.size:g} GiB at {given.rate:g} Gbit/s, {given.failing:.1%} failing, noticed after "
        f"{given.detect_seconds:g} s, {given.hop_seconds * 1000:g} ms a hop; 1 is one copy at the median"
    )
    report(setting, given.nodes, given.uneven, range(1, given.seeds + 1))


if __name__ == "__main__":
    main()
