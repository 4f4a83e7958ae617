"""With links of a known rate, the bottleneck is the link of the slow hop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastSummary,
    DeliveriesChanged,
    DeliverySnapshot,
)
from castray_desktop.core.routing.bottleneck import BottleneckCause, SlowestHop, slowest_hop
from tests.lab.test_casts import make_file, result, send

MakeLab = Callable[..., Lab]
TRIES = 4

pytestmark = pytest.mark.timeout(240)


class Watcher:
    """The state that a client sees, and the slowest hops that it would show."""

    def __init__(self) -> None:
        self.found: list[SlowestHop] = []
        self._summary: CastSummary | None = None
        self._deliveries: dict[str, DeliverySnapshot] = {}

    def hear(self, event: object) -> None:
        match event:
            case CastChanged(summary):
                self._summary = summary
            case DeliveriesChanged(_, deliveries):
                self._deliveries |= {item.node: item for item in deliveries}
        if self._summary is not None:
            slowest = slowest_hop(self._summary, self._deliveries.values())
            if slowest is not None:
                self.found.append(slowest)


def listen(nodes: LabNodes) -> Watcher:
    watcher = Watcher()
    nodes.listeners.append(watcher.hear)
    return watcher


def is_right(late: list[SlowestHop], slow: str) -> bool:
    named = [hop for hop in late if hop.node == slow]
    return (
        len(named) >= 0.8 * len(late) > 3
        and {hop.cause for hop in named} == {BottleneckCause.LINK}
        and 6e6 < sorted(hop.rate for hop in named)[len(named) // 2] < 11e6
    )


async def test_a_slow_link_is_the_slowest_hop(make_lab: MakeLab) -> None:
    """On a busy machine another hop may be slower than the link for a while: then there is another cast."""
    lab = make_lab(3, "400mbit", rates={2: "80mbit"})
    slow, late = lab.hosts[2].name, list[SlowestHop]()
    async with lab_nodes(lab) as nodes:
        for number in range(TRIES):
            watcher = listen(nodes)
            await result(nodes, send(nodes, make_file(nodes, 60_000_000, f"{number}.bin")))
            nodes.listeners.remove(watcher.hear)
            late = watcher.found[len(watcher.found) // 2 :]
            if is_right(late, slow):
                break
    assert is_right(late, slow), late
