"""Pieces through calls between agents, as through Ray: here the calls go to an event loop in a thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer import tunnel as tunnel_module
from castray_desktop.workers.agent.transfer.peer.tunnel import (
    CHUNK_BYTES,
    IN_FLIGHT,
    TunnelClient,
    TunnelServer,
)
from tests.workers.agent.transfer.lab import Lab, Node, await_true

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)


class Call:
    """Implements `PendingResult`."""

    def __init__(self, network: Network, future: concurrent.futures.Future[bytes | None]) -> None:
        self._network = network
        self._future = future

    def result(self, seconds: float) -> bytes:
        try:
            data = self._future.result(seconds) or b""
        except concurrent.futures.TimeoutError as error:
            raise ConnectionError("it takes too long") from error
        finally:
            self._network.under_way -= 1
        self._network.largest = max(self._network.largest, len(data))
        self._network.carried += len(data)
        return data


class Peer:
    """Implements `TunnelPeer`."""

    def __init__(self, network: Network, mouths: TunnelServer) -> None:
        self._network = network
        self._mouths = mouths

    def open(self, tunnel: str) -> Call:
        async def opening() -> None:
            self._mouths.open(tunnel)

        return self._network.call(opening())

    def put(self, tunnel: str, data: bytes) -> Call:
        return self._network.call(self._mouths.put(tunnel, data))

    def get(self, tunnel: str, number: int) -> Call:
        return self._network.call(self._mouths.get(tunnel, number))


class Network:
    """Calls between the nodes of a lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.mouths: dict[str, TunnelServer] = {}
        self._tunnels = TunnelClient(self._remote)
        self.under_way = self.most = self.largest = self.carried = 0

    def node(self, name: str, **options: Any) -> Node:
        node = self._lab.node(name, carry=self._tunnels.open_tunnel, **options)
        self.mouths[name] = TunnelServer(node.plane.adopt)
        return node

    def chain(self, count: int) -> list[Node]:
        return [self.node(f"node_{number}") for number in range(count + 1)]

    def call(self, work: Coroutine[Any, Any, bytes | None]) -> Call:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        return Call(self, asyncio.run_coroutine_threadsafe(work, self.loop))

    def run(self, work: Any) -> None:
        """Run this in the loop, as the agent does."""

        async def doing() -> None:
            work()

        asyncio.run_coroutine_threadsafe(doing(), self.loop).result(5)

    def close(self) -> None:
        for node in self._lab.nodes:  # deliveries first: they close their ends
            node.plane.close()
        for mouths in self.mouths.values():
            self.run(mouths.close)
        self._tunnels.join(10)
        asyncio.run_coroutine_threadsafe(self._rest(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    async def _rest(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        if others:
            _, pending = await asyncio.wait(others, timeout=4)
            assert not pending

    def _remote(self, node: str) -> Peer:
        if node not in self.mouths:
            raise ConnectionError(f"nobody knows the agent of {node}")
        return Peer(self, self.mouths[node])


@pytest.fixture
def network(lab: Lab) -> Iterator[Network]:
    network = Network(lab)
    yield network
    network.close()


def test_a_chain_through_calls(lab: Lab, network: Network) -> None:
    nodes = network.chain(2)
    path = lab.file("a.bin", 9 * MIB + 3)
    cast = lab.cast(nodes[0], [path])
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream(), transport="ray")
    for result, node in zip(cast.results(), nodes[1:], strict=True):
        assert (result.state, result.transport) == (RecipientState.COMPLETED, "ray")
        assert result.received_bytes == cast.totals.stream_bytes
        assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()
    assert nodes[0].sources[cast.cast].sent_bytes == cast.totals.stream_bytes
    assert network.largest <= CHUNK_BYTES
    assert network.most <= 2 * (IN_FLIGHT + 1)


def test_where_no_socket_gets_through_calls_do(lab: Lab, network: Network, refusing: int) -> None:
    source, node = network.chain(1)
    first = lab.cast(source, [lab.file("a.bin", MIB)])
    # longer than the two seconds after which Ray is tried
    first.deliver(node, replace(source.upstream(), port=refusing))
    (result,) = first.results()
    assert (result.state, result.transport) == (RecipientState.COMPLETED, "ray")
    assert result.asked >= 1  # the upstream was to dial, but the order was not delivered
    second = lab.cast(source, [lab.file("b.bin", MIB)])
    second.deliver(node, replace(source.upstream(), port=refusing))
    (result,) = second.results()
    assert (result.transport, result.asked) == ("ray", 0)  # at once, since it is remembered


def test_direct_means_no_calls(lab: Lab, network: Network, refusing: int) -> None:
    source, node = network.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, replace(source.upstream(), port=refusing), transport="direct")
    assert node.await_end(cast.cast).state is RecipientState.FAILED
    assert network.carried == 0


def test_ray_alone_where_there_is_no_ray(lab: Lab) -> None:
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, source.upstream(), transport="ray")
    result = node.await_end(cast.cast)
    assert result.failure is not None
    assert "Ray has no connection" in result.failure.values["reason"]


def test_the_secret_is_needed_through_calls_as_well(lab: Lab, network: Network) -> None:
    source, node = network.chain(1)
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, source.upstream(), secret="00" * 32, transport="ray")
    result = node.await_end(cast.cast)
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UPSTREAM_LOST
    assert "secret" in result.failure.values["reason"]
    assert result.received_bytes == 0


def test_a_lost_node_is_noticed(lab: Lab, network: Network) -> None:
    source = network.node("source")
    node = network.node("node", timing=PeerTiming(lost_after=0.2, grace=0.2))
    cast = lab.cast(source, [lab.file("a.bin", MIB)])
    cast.deliver(node, replace(source.upstream(), node="nobody"), transport="ray")
    result = node.await_end(cast.cast)
    assert result.failure is not None
    assert "nobody" in result.failure.values["reason"]


def test_a_broken_tunnel_is_opened_again(lab: Lab, network: Network) -> None:
    source, node = network.chain(1)
    path = lab.file("a.bin", 8 * MIB)
    cast = lab.cast(source, [path])
    cast.deliver(node, source.upstream(), transport="ray")
    node.await_delivery(cast.cast, lambda report: report.state is RecipientState.RECEIVING)
    network.run(network.mouths["node_0"].close)
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()


def test_tunnels_are_bounded_and_swept(lab: Lab, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnel_module, "MAX_TUNNELS", 1)
    monkeypatch.setattr(tunnel_module, "IDLE_SECONDS", -1.0)
    network.node("a")
    peer = network._remote("a")
    peer.open("1").result(5)
    with pytest.raises(ConnectionRefusedError):
        peer.open("2").result(5)
    waiting, later = peer.get("1", 0), peer.get("1", 2)  # one waits for bytes, one for its turn
    await_true(lambda: bool(network.mouths["a"]._ends["1"]._waiting))
    network.run(network.mouths["a"].sweep)
    for call in (waiting, later):
        with pytest.raises(ConnectionResetError):
            call.result(5)
    peer.open("2").result(5)
