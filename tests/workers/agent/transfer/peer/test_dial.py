"""Connections between two nodes: over IPv6, and dialled by the upstream if the recipient can't dial."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import Upstream
from castray_desktop.workers.agent.network_addresses import own_addresses
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer import accept
from tests.workers.agent.transfer.lab import Lab, Node
from tests.workers.agent.transfer.proxy import Proxy

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)


@pytest.mark.skipif("::1" not in own_addresses(), reason="this machine has no IPv6 loopback")
def test_a_chain_over_ipv6(lab: Lab) -> None:
    nodes = [lab.node(f"node_{number}", address="::1") for number in range(3)]
    path = lab.file("a.bin", 3 * MIB + 5)
    cast = lab.cast(nodes[0], [path])
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    for result, node in zip(cast.results(), nodes[1:], strict=True):
        assert (result.state, result.transport) == (RecipientState.COMPLETED, "direct")
        assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()


# --- dialled by the upstream ----------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that does not answer, as behind a firewall that drops packets: its backlog is full."""
    with socket.socket() as sock, socket.socket() as first, socket.socket() as second:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for other in (first, second):
            other.setblocking(False)
            other.connect_ex(sock.getsockname())
        yield int(sock.getsockname()[1])


def closed(node: Node, port: int) -> Upstream:
    return replace(node.upstream(), port=port)


def asks(node: Node, cast: str, times: int = 1) -> DeliveryReport:
    return node.await_delivery(cast, lambda report: report.asked >= times)


@pytest.mark.parametrize("closed_port", ["refusing", "silent"])
def test_an_upstream_that_can_not_be_dialled_dials(
    lab: Lab, closed_port: str, request: pytest.FixtureRequest
) -> None:
    source, first, second = lab.chain(2)
    path = lab.file("a.bin", 3 * MIB)
    cast = lab.cast(source, [path])
    port = request.getfixturevalue(closed_port)
    cast.deliver(first, closed(source, port))
    cast.deliver(second, closed(first, port))  # a delivery serves in this way like a source
    assert asks(first, cast.cast).asked_upstream == source.name
    source.reach(first, cast.cast)
    assert asks(second, cast.cast).asked_upstream == first.name
    first.reach(second, cast.cast)
    for result, node in zip(cast.results(), (first, second), strict=True):
        assert (result.state, result.transport) == (RecipientState.COMPLETED, "reverse")
        assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()
    assert source.sources[cast.cast].sent_bytes == cast.totals.stream_bytes


def test_the_transport_is_remembered_for_the_next_cast(lab: Lab, silent: int) -> None:
    source, node = lab.chain(1)
    first = lab.cast(source, [lab.file("a.bin", MIB)])
    first.deliver(node, closed(source, silent))
    asks(node, first.cast)
    source.reach(node, first.cast)
    first.results()
    second = lab.cast(source, [lab.file("b.bin", MIB)])
    known = node.plane.connections.known_transports
    assert known.last_working(closed(source, silent), time.monotonic()) == "reverse"
    second.deliver(node, closed(source, silent))
    asks(node, second.cast)
    source.reach(node, second.cast)
    (result,) = second.results()
    assert result.transport == "reverse"


def test_an_upstream_that_dials_too_late_is_rejected(lab: Lab) -> None:
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, source.upstream())
    (result,) = cast.results()
    assert result.transport == "direct"
    source.reach(node, cast.cast)  # the lab checks that no connection remains
    source.reach(node, cast.cast, epoch=7)


def test_an_upstream_of_an_older_order_is_rejected(lab: Lab, silent: int) -> None:
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, closed(source, silent))
    asks(node, cast.cast)
    cast.set_upstream(node, closed(source, silent), epoch=2)
    asks(node, cast.cast, times=2)
    source.reach(node, cast.cast, epoch=1)
    asks(node, cast.cast, times=3)
    source.reach(node, cast.cast, epoch=2)
    (result,) = cast.results()
    assert (result.state, result.epoch, result.transport) == (RecipientState.COMPLETED, 2, "reverse")


def test_a_peer_without_the_secret_is_rejected(lab: Lab, silent: int) -> None:
    source, stranger, node = lab.chain(2)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, closed(source, silent))
    asks(node, cast.cast)
    stranger.reach(node, cast.cast)  # does not know the cast
    other = lab.cast(stranger, [lab.file("b.bin", MIB)])
    stranger.reach(node, other.cast)  # a cast that is not known there
    asks(node, cast.cast, times=2)
    source.reach(node, cast.cast)
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert not stranger.sources[other.cast].sent_bytes


def test_a_new_order_ends_dialling_at_once(lab: Lab, silent: int) -> None:
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, closed(source, silent))
    asks(node, cast.cast)
    cast.set_upstream(node, source.upstream(), epoch=2)
    (result,) = cast.results()
    assert (result.state, result.transport) == (RecipientState.COMPLETED, "direct")


def test_a_cancelled_recipient_does_not_dial(lab: Lab, silent: int) -> None:
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, closed(source, silent))
    asks(node, cast.cast)
    cast.cancel(node)
    assert node.await_end(cast.cast).state is RecipientState.CANCELLED


def test_no_transport_works(lab: Lab, refusing: int) -> None:
    source = lab.node("source")
    node = lab.node("node", timing=PeerTiming(lost_after=0.3, grace=0.3))
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, closed(source, refusing))
    result = node.await_end(cast.cast)
    assert result.failure is not None
    assert result.failure.values["reason"] == "Connection refused"


def test_authenticated_connections_are_limited(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MAX_CONNECTIONS", 1)
    source = lab.node("source")
    first = lab.node("first")
    second = lab.node("second", timing=PeerTiming(lost_after=0.3, grace=0.3))
    cast = lab.cast(source, [lab.file("a.bin", 8 * MIB)])
    with Proxy(source.upstream(), hold_at=MIB) as proxy:
        cast.deliver(first, proxy.upstream)
        assert proxy.held.wait(20)
        cast.deliver(second, source.upstream())
        result = second.await_end(cast.cast)
        proxy.release()
        assert cast.results()[0].state is RecipientState.COMPLETED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UPSTREAM_LOST
    assert result.received_bytes == 0
