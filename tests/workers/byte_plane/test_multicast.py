"""Casts to a multicast group on the loopback: what comes by datagrams, what the relay does, and what nobody can spoil."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

from castray_desktop.core.multicast import group_address
from castray_desktop.workers.ray_side.protocol import (
    DeliveryReport,
    Multicast,
    MulticastEnd,
    MulticastGroup,
    MulticastReport,
    MulticastState,
    RecipientState,
    SourceReport,
)
from tests.workers.byte_plane.lab import Cast, Lab, Node

MIB = 1 << 20


def group_of(cast: Cast) -> MulticastGroup:
    address, port = group_address(cast.cast, ipv6=False)
    return MulticastGroup(address, port, cast.source.address)


def start(lab: Lab, count: int, path: Path, rate: int = 0) -> tuple[Cast, list[Node]]:
    nodes = lab.chain(count)
    cast = lab.cast(nodes[0], [path])
    group = group_of(cast)
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream(), group=group)
    listeners = tuple(node.name for node in nodes[1:])
    nodes[0].plane.multicast(Multicast(cast.cast, group, listeners, rate))
    return cast, nodes


def multicast_of(report: SourceReport) -> MulticastReport:
    assert report.multicast is not None
    return report.multicast


def check(path: Path, nodes: list[Node], results: list[DeliveryReport]) -> None:
    for node, report in zip(nodes[1:], results, strict=True):
        assert report.state is RecipientState.COMPLETED, report
        assert (node.inbox / path.name).read_bytes() == path.read_bytes()


def test_one_stream_serves_everybody(lab: Lab) -> None:
    path = lab.file("model.bin", 40 * MIB + 12345)
    cast, nodes = start(lab, 3, path)
    began = time.monotonic()
    results = cast.results()
    print(time.monotonic() - began, results)
    check(path, nodes, results)
    report = cast.source.await_source(
        cast.cast, lambda report: multicast_of(report).state is MulticastState.DONE
    )
    print(report)
    assert multicast_of(report).sent_bytes >= path.stat().st_size
    assert all(result.datagram_bytes > 0.8 * path.stat().st_size for result in results)
    cast.forget()
