"""Several casts at once over one link: the link is used fully, and none of them starves."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from castray_desktop.core.protocol.messages import CastState, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders
from tests.lab.test_casts import SECONDS, make_file

pytestmark = pytest.mark.timeout(240)

SIZE = 80_000_000
TRIES = 4
FAIR = 0.35
"""The minimum share of one of two casts. A busy machine may hold up the agent of one of them for so long that
links are not what limits it: then both are started again.
"""


def received(nodes: LabNodes, cast: str, node: str) -> int:
    report = nodes.reports.get((cast, node))
    return report.content_bytes if report is not None else 0


async def fair_shares(nodes: LabNodes, pairs: list[tuple[str, str]], size: int) -> list[float]:
    """The shares of the casts of `run_both`, of the first try in which they are fair, or of the last one."""
    shares = [0.0]
    for number in range(TRIES):
        shares = await run_both(nodes, pairs, size, number)
        if min(shares) >= FAIR:
            break
    return shares


async def run_both(nodes: LabNodes, pairs: list[tuple[str, str]], size: int, number: int = 0) -> list[float]:
    """Start a cast of `size` bytes for each pair of source and recipient; returns the share of each.

    The shares are of the bytes that arrive between the moments when one cast has half and nearly all: TCP
    needs the first half to become fair to a connection that was opened a moment later.
    """
    requests = [
        SendRequest(
            (str(make_file(nodes, size, f"{recipient} of {source} {number}")),), (recipient,), source=source
        )
        for source, recipient in pairs
    ]
    sources = [next(host for host in nodes.lab.hosts if host.name == source) for source, _ in pairs]
    before = {host: nodes.lab.traffic(host)[0] for host in sources}
    casts = [nodes.cast_manager.send(request) for request in requests]
    seen: list[list[int]] = []

    def look() -> bool:
        so_far = [received(nodes, cast, pair[1]) for cast, pair in zip(casts, pairs, strict=True)]
        if max(so_far) >= 0.5 * size:
            seen.append(so_far)
        return max(so_far) >= 0.9 * size

    await nodes.until(look, SECONDS)
    for cast in casts:
        assert (await nodes.cast_manager.result(cast)).summary.state is CastState.COMPLETED
    for host, count in before.items():
        assert nodes.lab.traffic(host)[0] - count < 1.1 * size * sources.count(host)
    since = [after - earlier for earlier, after in zip(seen[0], seen[-1], strict=True)]
    return [count / max(sum(since), 1) for count in since]  # nothing, if nobody looked in between


@pytest.mark.parametrize("one_recipient", [True, False])
async def test_two_casts_share_a_link(make_lab: Callable[..., Lab], one_recipient: bool) -> None:
    """Both casts leave one host; or both arrive at one host, from two others."""
    lab = make_lab(3, "200mbit")
    h0, h1, h2 = (host.name for host in lab.hosts)
    pairs = [(h0, h1), (h2, h1)] if one_recipient else [(h0, h1), (h0, h2)]
    async with lab_nodes(lab) as nodes:
        shares = await fair_shares(nodes, pairs, SIZE)
    assert min(shares) >= FAIR, shares


async def test_two_casts_share_the_limit_of_a_node(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(3, "1gbit")
    h0, h1, h2 = (host.name for host in lab.hosts)
    async with lab_nodes(lab) as nodes:
        await nodes.call(h0, agent_orders.SetNodeLimit(25_000_000))
        shares = await fair_shares(nodes, [(h0, h1), (h0, h2)], SIZE // 2)
    assert min(shares) >= FAIR, shares  # a progress report may be a quarter of a second old
