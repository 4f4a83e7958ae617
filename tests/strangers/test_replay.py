"""Without the secret there is a refusal on every way to a node; a recorded session opens nothing."""

from __future__ import annotations

import contextlib
import secrets
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import DialRecipient
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.handshake import (
    Handshake,
    PeerHello,
    PeerRole,
    RefusalReason,
    node_digest,
)
from castray_desktop.core.protocol.nodes.peer_frames import HEADER_BYTES, FrameType, frame
from castray_desktop.workers.agent.transfer.peer import accept
from tests.strangers.tampering_proxy import HEADER, TamperingProxy
from tests.workers.agent.transfer.lab import PATIENT, Cast, Lab, Node

MIB = 1 << 20
CAST_AT = HEADER_BYTES + 27  # of the cast's id in a HELLO
MOST_OF_A_REFUSAL = 6 + 401
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def short_handshakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 1.0)


# --- ways to a node -----------------------------------------------------------------------------------


def by_tcp(node: Node) -> socket.socket:
    return socket.create_connection((node.address, node.port))


def by_unix_socket(node: Node) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(node.local_path)
    return sock


def by_tunnel(node: Node) -> socket.socket:
    """What code in the cluster may do: it can call the agent's `open_tunnel`."""
    ours, theirs = socket.socketpair()
    assert node.plane.adopt(theirs)
    return ours


def by_reverse_dialling(node: Node) -> socket.socket:
    """The node dials a recipient, by an order, and finds a stranger at its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        cast = next(iter(node.sources))
        node.plane.carry_out(
            DialRecipient(cast, 1, f"stranger-{secrets.token_hex(4)}", "127.0.0.1", server.getsockname()[1])
        )
        server.settimeout(10)
        return server.accept()[0]


WAYS: dict[str, Callable[[Node], socket.socket]] = {
    "tcp": by_tcp,
    "unix": by_unix_socket,
    "tunnel": by_tunnel,
    "reverse": by_reverse_dialling,
}
THE_STRANGER_DIALS = ("tcp", "unix", "tunnel")


@pytest.fixture
def served(lab: Lab) -> Cast:
    """A cast that its source serves."""
    return lab.cast(lab.node("source", local=True), [lab.file("a.bin", MIB)])


def everything(sock: socket.socket) -> bytes:
    """What the node says until it closes."""
    found = b""
    sock.settimeout(10)
    with sock, contextlib.suppress(ConnectionError):
        while data := sock.recv(4096):
            found += data
    return found


def frames(raw: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at < len(raw):
        kind, _, length = HEADER.unpack_from(raw, at)
        found.append((kind, raw[at + HEADER_BYTES : at + HEADER_BYTES + length]))
        at += HEADER_BYTES + length
    return found


def hello(cast: str, role: PeerRole = PeerRole.FETCH, secret: bytes = bytes(32)) -> Handshake:
    return Handshake.dial(secrets.token_bytes(32), PeerHello(role, node_digest("stranger"), cast, 1), secret)


def test_an_unknown_cast(served: Cast) -> None:
    for way in THE_STRANGER_DIALS:
        sock = WAYS[way](served.source)
        sock.sendall(hello("c0ffee").hello())
        ((kind, body),) = frames(everything(sock))
        assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.UNKNOWN_CAST), way


@pytest.mark.parametrize("role", PeerRole)
def test_a_known_cast_without_its_secret(served: Cast, role: PeerRole) -> None:
    """The node proves itself, with a proof that is worth nothing elsewhere, and refuses the stranger."""
    for way in THE_STRANGER_DIALS:
        sock = WAYS[way](served.source)
        sock.sendall(hello(served.cast, role).hello() + frame(FrameType.PROOF, secrets.token_bytes(32)))
        challenge, (kind, body) = frames(everything(sock))
        assert challenge[0] == FrameType.CHALLENGE
        assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.BAD_PROOF), way


def test_a_stranger_that_a_node_dials(served: Cast) -> None:
    """It learns the cast's id. Its challenge without the secret ends the connection."""
    sock = by_reverse_dialling(served.source)
    said = sock.recv(4096)
    assert said[CAST_AT : CAST_AT + len(served.cast)] == served.cast.encode()
    sock.sendall(frame(FrameType.CHALLENGE, secrets.token_bytes(64)))
    assert everything(sock) == b""


@pytest.mark.parametrize("way", WAYS)
def test_other_bytes(served: Cast, way: str) -> None:
    """No answer at all to what is no frame of a handshake."""
    for said in (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # TLS
        frame(FrameType.REQUEST, struct.pack("<QQ", 0, 1 << 40)),
        frame(FrameType.PROOF, bytes(32)),
        frame(FrameType.WELCOME),
        frame(FrameType.HELLO, bytes(100)),
        HEADER.pack(FrameType.PIECE, 0, (64 << 20) + 28),
        HEADER.pack(FrameType.HELLO, 0, 0xFFFFFFFF),
        secrets.token_bytes(300),
        bytes(300),
    ):
        sock = WAYS[way](served.source)
        with contextlib.suppress(OSError):
            sock.sendall(said)
            sock.shutdown(socket.SHUT_WR)
        answer = everything(sock)
        if way == "reverse":  # the node has begun
            answer = answer[len(hello(served.cast).hello()) :]
        assert answer == b"", said[:20]


def test_after_the_cast_nothing_is_known_of_it(lab: Lab, served: Cast) -> None:
    handshake = hello(served.cast, secret=bytes.fromhex(served.secret))
    served.forget()
    sock = by_tcp(served.source)
    sock.sendall(handshake.hello())
    ((kind, body),) = frames(everything(sock))
    assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.UNKNOWN_CAST)


# --- recorded sessions --------------------------------------------------------------------------------


@pytest.fixture
def recorded(lab: Lab, served: Cast) -> tuple[bytes, bytes]:
    """Every byte of a delivery, from the recipient and from the source."""
    node = lab.node("recorded", timing=PATIENT)
    with TamperingProxy(served.source.upstream()) as proxy:
        served.deliver(node, proxy.upstream)
        (result,) = served.results()
        assert result.state is RecipientState.COMPLETED
        up, down = proxy.up[-1], proxy.down[-1]  # a busy machine may be too slow for a first handshake
    assert len(down) > MIB
    return bytes(up), bytes(down)


def play(sock: socket.socket, said: bytes) -> list[tuple[int, bytes]]:
    with contextlib.suppress(OSError):
        sock.sendall(said)
    return frames(everything(sock))


@pytest.mark.parametrize("way", THE_STRANGER_DIALS)
def test_a_session_played_to_its_own_cast(served: Cast, recorded: tuple[bytes, bytes], way: str) -> None:
    challenge, (kind, body) = play(WAYS[way](served.source), recorded[0])
    assert challenge[0] == FrameType.CHALLENGE
    assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.BAD_PROOF)


@pytest.mark.parametrize("way", THE_STRANGER_DIALS)
def test_a_session_played_to_another_cast(
    lab: Lab, served: Cast, recorded: tuple[bytes, bytes], way: str
) -> None:
    other = lab.cast(served.source, [lab.file("b.bin", MIB)])
    moved = recorded[0][:CAST_AT] + other.cast.encode() + recorded[0][CAST_AT + len(other.cast) :]
    challenge, (kind, body) = play(WAYS[way](served.source), moved)
    assert challenge[0] == FrameType.CHALLENGE
    assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.BAD_PROOF)


def test_a_session_played_to_another_node(lab: Lab, served: Cast, recorded: tuple[bytes, bytes]) -> None:
    ((kind, body),) = play(by_tcp(lab.node("other")), recorded[0])
    assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.UNKNOWN_CAST)


@contextlib.contextmanager
def player(said: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A node that answers each connection with the same bytes; its port, and what the dialers said."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(5)
                    sock.sendall(said)
                    while data := sock.recv(4096):
                        heard.append(data)

        thread = threading.Thread(target=answer, name="castray-player", daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.mark.parametrize("same_cast", [True, False])
def test_a_source_s_session_played_to_a_recipient(
    lab: Lab, served: Cast, recorded: tuple[bytes, bytes], same_cast: bool
) -> None:
    """The recipient asks for a proof over its own nonce, which the recorded one is not."""
    node = lab.node("victim")
    cast = served if same_cast else lab.cast(served.source, [lab.file("b.bin", MIB)])
    with player(recorded[1]) as (port, heard):
        cast.deliver(node, replace(served.source.upstream(), port=port, local_path=""))
        result = node.await_end(cast.cast)
    assert (result.state, result.received_bytes) == (RecipientState.FAILED, 0)
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UPSTREAM_LOST
    assert "secret" in result.failure.values["reason"]
    assert not node.inbox.exists()
    said = b"".join(heard)
    assert bytes.fromhex(cast.secret) not in said
    assert {kind for kind, _ in frames(said)} == {FrameType.HELLO}  # no proof for one who has proved nothing


def test_a_dialler_s_session_played_as_a_source(lab: Lab, served: Cast, refusing: int) -> None:
    """A session in which the source dialled, played to a recipient that waits to be dialled."""
    node, victim = lab.node("node", timing=PATIENT), lab.node("victim", timing=PATIENT)
    served.deliver(node, replace(served.source.upstream(), port=refusing, local_path=""))
    node.await_delivery(served.cast, lambda report: report.asked >= 1)
    with TamperingProxy(node.upstream()) as proxy:
        where = proxy.upstream
        served.source.plane.carry_out(DialRecipient(served.cast, 1, node.name, where.address, where.port))
        assert served.finish_source()
        assert node.await_end(served.cast).state is RecipientState.COMPLETED
        said = proxy.up[-1]
    served.deliver(victim, replace(served.source.upstream(), port=refusing, local_path=""))
    victim.await_delivery(served.cast, lambda report: report.asked >= 1)
    challenge, (kind, body) = play(by_tcp(victim), bytes(said))
    assert challenge[0] == FrameType.CHALLENGE
    assert (kind, body[0]) == (FrameType.REFUSAL, RefusalReason.BAD_PROOF)
    assert not victim.inbox.exists() or not [path for path in victim.inbox.iterdir() if path.name[0] != "."]
    served.cancel(victim)
    victim.await_end(served.cast)
