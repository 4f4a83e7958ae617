"""Unauthenticated connections to a data port do not block others."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, frame
from castray_desktop.workers.agent.transfer.peer import accept
from castray_desktop.workers.agent.transfer.peer.accept import UnauthenticatedConnections
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Lab, Node

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)
HALF_A_HELLO = frame(FrameType.HELLO, bytes(80))[:20]


@pytest.fixture
def many_files() -> Iterator[int]:
    """As many connections as this process may open files, at most 10,000."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 24_000 if hard == resource.RLIM_INFINITY else min(24_000, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield min(10_000, wanted - 4000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def strangers(node: Node, count: int, at_first: int, says: bytes = b"") -> Iterator[None]:
    """They arrive one after the other and stay; the first ones exist when this begins."""
    sockets: list[socket.socket] = []
    there, stop = threading.Event(), threading.Event()

    def come() -> None:
        while len(sockets) < count and not stop.is_set():
            sock = socket.create_connection(("127.0.0.1", node.port))
            sockets.append(sock)
            with contextlib.suppress(OSError):
                sock.sendall(says)
            if len(sockets) >= at_first:
                there.set()

    thread = threading.Thread(target=come, name="castray-strangers", daemon=True)
    thread.start()
    assert there.wait(30)
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for sock in sockets:
            sock.close()


@pytest.mark.parametrize("says", [b"", HALF_A_HELLO], ids=["silent", "half a hello"])
@pytest.mark.parametrize("transport", ["direct", "reverse", "tunnel"])
def test_a_cast_completes_beside_unauthenticated_peers(
    lab: Lab, transport: str, says: bytes, refusing: int
) -> None:
    source = lab.node("source")

    def carry(node: str) -> socket.socket:
        ours, theirs = socket.socketpair()
        if not source.plane.adopt(theirs):
            ours.close()
            raise ConnectionRefusedError("there are too many connections")
        return ours

    node = lab.node("node", carry=carry if transport == "tunnel" else None)
    cast = lab.cast(source, [lab.file("a.bin", 2 * MIB)])
    with strangers(source, 100, 100, says), strangers(node, 100, 100, says):
        if transport == "direct":
            cast.deliver(node, source.upstream())
        elif transport == "tunnel":
            cast.deliver(node, source.upstream(), transport="ray")
        else:
            cast.deliver(node, replace(source.upstream(), port=refusing))
            node.await_delivery(cast.cast, lambda report: report.asked >= 1)
            source.reach(node, cast.cast)
        (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED, result
    assert result.transport == {"tunnel": "ray"}.get(transport, transport)


def test_a_cast_completes_while_ten_thousand_unauthenticated_peers_connect(lab: Lab, many_files: int) -> None:
    source, first, second = lab.chain(2)
    cast = lab.cast(source, [lab.file("a.bin", 8 * MIB)])
    with strangers(source, many_files, 600), strangers(first, 600, 600):
        cast.deliver(first, source.upstream())
        cast.deliver(second, first.upstream())
        results = cast.results()
    assert [result.state for result in results] == [RecipientState.COMPLETED] * 2


def test_the_oldest_silent_connection_is_closed_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MAX_SILENT", 3)
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 600.0)
    node = lab.node("a")
    sockets = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(5)]
    for sock in sockets[:2]:
        sock.settimeout(PATIENCE)
        assert sock.recv(1) == b""
    for sock in sockets[2:]:
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
    for sock in sockets:
        sock.close()


def test_the_oldest_handshake_is_aborted_first(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "MAX_UNAUTHENTICATED_OF_ONE", 2)
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 600.0)
    node = lab.node("a")
    sockets = []
    for _ in range(3):
        sockets.append(socket.create_connection(("127.0.0.1", node.port)))
        sockets[-1].sendall(HALF_A_HELLO)
    sockets[0].settimeout(PATIENCE)
    assert sockets[0].recv(1) == b""
    for sock in sockets:
        sock.close()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_unauthenticated_peers_are_limited_in_total_and_for_each_address(
    steps: list[tuple[str, bool]],
) -> None:
    found: UnauthenticatedConnections[int] = UnauthenticatedConnections(5, 3)
    there: list[tuple[int, str]] = []
    for number, (address, leaves) in enumerate(steps):
        if leaves and there:
            key, _ = there.pop(number % len(there))
            found.remove(key)
            found.remove(key)
            continue
        of_one = [key for key, where in there if where == address]
        victim = found.add(number, address, float(number))
        assert (victim is None) == (len(of_one) < 3 and len(there) < 5)
        if victim is not None:
            assert victim == (of_one[0] if len(of_one) == 3 else there[0][0])
            there = [item for item in there if item[0] != victim]
        there.append((number, address))
        assert len(found) == len(there) <= 5
        assert found.oldest() == there[0][0]
        assert found.came_before(number + 0.5) == [key for key, _ in there]
        assert found.next_end(2.0) == there[0][0] + 2.0
