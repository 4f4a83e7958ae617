"""Only two ends that know the secret agree, whatever bytes arrive."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.handshake import (
    TRANSITIONS,
    Handshake,
    HandshakeRefused,
    HandshakeState,
    PeerHello,
    PeerRole,
    RefusalReason,
    node_digest,
    refusal_frame,
)
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, ProtocolError

SECRET = b"k" * 32
GREETING = PeerHello(PeerRole.FETCH, node_digest("b"), "c0ffee", 3)


def pair(dialer_secret: bytes = SECRET, known: dict[str, bytes] | None = None) -> tuple[Handshake, Handshake]:
    casts = {"c0ffee": SECRET} if known is None else known
    return Handshake.dial(b"d" * 32, GREETING, dialer_secret), Handshake.listen(b"l" * 32, casts.get)


def feed(end: Handshake, data: bytes, chunk: int = 1000) -> bytes:
    """Deliver `data` in small parts, never more than requested."""
    out = b""
    while data:
        bite = data[: min(chunk, end.bytes_needed)]
        assert bite, "bytes left over"
        out += end.receive(bite)
        data = data[len(bite) :]
    return out


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_two_ends_that_know_the_secret_agree(chunk: int) -> None:
    dialer, listener = pair()
    challenge = feed(listener, dialer.hello(), chunk)
    proof = feed(dialer, challenge, chunk)
    welcome = feed(listener, proof, chunk)
    assert feed(dialer, welcome, chunk) == b""
    assert dialer.state is listener.state is HandshakeState.DONE
    assert listener.greeting == GREETING
    assert dialer.bytes_needed == listener.bytes_needed == 0


def test_a_dialer_without_the_secret_notices_first() -> None:
    dialer, listener = pair(dialer_secret=b"wrong" * 8)
    with pytest.raises(HandshakeRefused) as refused:
        feed(dialer, feed(listener, dialer.hello()))
    assert refused.value.refusal is RefusalReason.BAD_PROOF


def test_a_wrong_proof_is_refused() -> None:
    dialer, listener = pair()
    feed(listener, dialer.hello())
    with pytest.raises(HandshakeRefused) as refused:
        feed(listener, peer_frames.frame(FrameType.PROOF, b"x" * 32))
    assert refused.value.refusal is RefusalReason.BAD_PROOF
    assert listener.state is HandshakeState.REFUSED
    with pytest.raises(HandshakeRefused, match="secret"):
        feed(dialer, refusal_frame(refused.value))


def test_an_unknown_cast_is_refused() -> None:
    dialer, listener = pair(known={})
    with pytest.raises(HandshakeRefused) as refused:
        feed(listener, dialer.hello())
    assert refused.value.refusal is RefusalReason.UNKNOWN_CAST


def test_a_dialer_that_is_not_admitted_gets_the_reason() -> None:
    def admit(hello: PeerHello) -> None:
        assert hello == GREETING
        raise HandshakeRefused(RefusalReason.NOT_ENCRYPTED, "not like this")

    dialer = Handshake.dial(b"d" * 32, GREETING, SECRET)
    listener = Handshake.listen(b"l" * 32, {"c0ffee": SECRET}.get, admit)
    with pytest.raises(HandshakeRefused) as refused:
        feed(listener, dialer.hello())
    with pytest.raises(HandshakeRefused, match="not like this") as heard:
        feed(dialer, refusal_frame(refused.value))
    assert heard.value.refusal is RefusalReason.NOT_ENCRYPTED


def test_a_recorded_handshake_cannot_be_replayed() -> None:
    dialer, listener = pair()
    hello = dialer.hello()
    proof = feed(dialer, feed(listener, hello))
    later = Handshake.listen(b"m" * 32, {"c0ffee": SECRET}.get)
    feed(later, hello)
    with pytest.raises(HandshakeRefused):
        feed(later, proof)


def test_a_proof_cannot_be_reflected() -> None:
    dialer, listener = pair()
    challenge = feed(listener, dialer.hello())
    listeners_proof = challenge[peer_frames.HEADER_BYTES + 32 :]
    with pytest.raises(HandshakeRefused):
        feed(listener, peer_frames.frame(FrameType.PROOF, listeners_proof))


@pytest.mark.parametrize(
    "other",
    [
        GREETING._replace(epoch=4),
        GREETING._replace(cast="decaf0"),
        GREETING._replace(role=PeerRole.SERVE),
        GREETING._replace(node=node_digest("c")),
    ],
)
def test_a_proof_holds_for_one_cast_epoch_and_role(other: PeerHello) -> None:
    casts = {"c0ffee": SECRET, "decaf0": SECRET}
    dialer = Handshake.dial(b"d" * 32, GREETING, SECRET)
    listener = Handshake.listen(b"l" * 32, casts.get)
    feed(listener, Handshake.dial(b"d" * 32, other, SECRET).hello())
    honest = Handshake.listen(b"l" * 32, casts.get)
    proof = feed(dialer, feed(honest, dialer.hello()))
    with pytest.raises(HandshakeRefused):
        feed(listener, proof)


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    _, listener = pair()
    with contextlib.suppress(ProtocolError):
        feed(listener, data)
    assert listener.state is not HandshakeState.DONE
    assert listener.bytes_needed <= 200


@given(st.binary(min_size=1, max_size=120))
def test_any_bytes_after_a_hello_are_refused_cleanly(data: bytes) -> None:
    dialer, listener = pair()
    feed(listener, dialer.hello())
    with contextlib.suppress(ProtocolError):
        feed(listener, data)
    assert listener.state is not HandshakeState.DONE


def test_more_than_wanted_is_an_error() -> None:
    _, listener = pair()
    with pytest.raises(ProtocolError, match="more bytes"):
        listener.receive(bytes(100))


def test_another_version_is_refused_by_name() -> None:
    dialer, listener = pair()
    hello = bytearray(dialer.hello())
    hello[peer_frames.HEADER_BYTES + 8] = 9
    with pytest.raises(HandshakeRefused) as refused:
        feed(listener, bytes(hello))
    assert refused.value.refusal is RefusalReason.VERSION


def test_every_transition_names_a_method() -> None:
    assert all(hasattr(Handshake, method) for method, _ in TRANSITIONS.values())


def test_a_hello_with_the_longest_id_is_as_long_as_one_may_be() -> None:
    cast = "c" * peer_frames.MAX_CAST
    dialer = Handshake.dial(b"d" * 32, GREETING._replace(cast=cast), SECRET)
    listener = Handshake.listen(b"l" * 32, {cast: SECRET}.get)
    feed(listener, dialer.hello())
    assert len(dialer.hello()) == peer_frames.HEADER_BYTES + peer_frames.MAX_HELLO
    assert listener.greeting == dialer.greeting
