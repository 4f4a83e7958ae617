"""Frames are bounded, and only two ends that know the secret agree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core import wire
from castray_desktop.core.wire import (
    FrameType,
    Greeting,
    Handshake,
    HandshakeState,
    ProtocolError,
    Refusal,
    Refused,
    Role,
)

SECRET = b"k" * 32
GREETING = Greeting(Role.FETCH, "c0ffee", 3)


def pair(dialer_secret: bytes = SECRET, known: dict[str, bytes] | None = None) -> tuple[Handshake, Handshake]:
    casts = {"c0ffee": SECRET} if known is None else known
    return Handshake.dial(b"d" * 32, GREETING, dialer_secret), Handshake.listen(b"l" * 32, casts.get)


def feed(end: Handshake, data: bytes, chunk: int = 1000) -> bytes:
    """Give `data` in small bites, never more than wanted."""
    out = b""
    while data:
        bite = data[: min(chunk, end.wanted)]
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
    assert dialer.wanted == listener.wanted == 0


def test_a_dialer_without_the_secret_notices_first() -> None:
    dialer, listener = pair(dialer_secret=b"wrong" * 8)
    with pytest.raises(Refused) as refused:
        feed(dialer, feed(listener, dialer.hello()))
    assert refused.value.refusal is Refusal.BAD_PROOF


def test_a_wrong_proof_is_refused() -> None:
    dialer, listener = pair()
    feed(listener, dialer.hello())
    with pytest.raises(Refused) as refused:
        feed(listener, wire.frame(FrameType.PROOF, b"x" * 32))
    assert refused.value.refusal is Refusal.BAD_PROOF
    assert listener.state is HandshakeState.REFUSED
    with pytest.raises(Refused, match="secret"):
        feed(dialer, wire.refusal_frame(refused.value))


def test_an_unknown_cast_is_refused() -> None:
    dialer, listener = pair(known={})
    with pytest.raises(Refused) as refused:
        feed(listener, dialer.hello())
    assert refused.value.refusal is Refusal.UNKNOWN_CAST


def test_a_recorded_handshake_cannot_be_replayed() -> None:
    dialer, listener = pair()
    hello = dialer.hello()
    proof = feed(dialer, feed(listener, hello))
    later = Handshake.listen(b"m" * 32, {"c0ffee": SECRET}.get)
    feed(later, hello)
    with pytest.raises(Refused):
        feed(later, proof)


def test_a_proof_cannot_be_reflected() -> None:
    dialer, listener = pair()
    challenge = feed(listener, dialer.hello())
    listeners_proof = challenge[wire.HEADER_BYTES + 32 :]
    with pytest.raises(Refused):
        feed(listener, wire.frame(FrameType.PROOF, listeners_proof))


@pytest.mark.parametrize(
    "other",
    [GREETING._replace(epoch=4), GREETING._replace(cast="decaf0"), GREETING._replace(role=Role.SERVE)],
)
def test_a_proof_holds_for_one_cast_epoch_and_role(other: Greeting) -> None:
    casts = {"c0ffee": SECRET, "decaf0": SECRET}
    dialer = Handshake.dial(b"d" * 32, GREETING, SECRET)
    listener = Handshake.listen(b"l" * 32, casts.get)
    feed(listener, Handshake.dial(b"d" * 32, other, SECRET).hello())
    honest = Handshake.listen(b"l" * 32, casts.get)
    proof = feed(dialer, feed(honest, dialer.hello()))
    with pytest.raises(Refused):
        feed(listener, proof)


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_refused_cleanly(data: bytes) -> None:
    _, listener = pair()
    try:
        while data and listener.wanted:
            bite, data = data[: listener.wanted], data[listener.wanted :]
            listener.receive(bite)
    except ProtocolError:
        pass
    assert listener.state is not HandshakeState.DONE
    assert listener.wanted <= 200


@given(st.binary(min_size=1, max_size=120))
def test_any_bytes_after_a_hello_are_refused_cleanly(data: bytes) -> None:
    dialer, listener = pair()
    feed(listener, dialer.hello())
    try:
        while data and listener.wanted:
            bite, data = data[: listener.wanted], data[listener.wanted :]
            listener.receive(bite)
    except ProtocolError:
        pass
    assert listener.state is not HandshakeState.DONE


def test_more_than_wanted_is_an_error() -> None:
    _, listener = pair()
    with pytest.raises(ProtocolError, match="more bytes"):
        listener.receive(bytes(100))


def test_another_version_is_refused_by_name() -> None:
    dialer, listener = pair()
    hello = bytearray(dialer.hello())
    hello[wire.HEADER_BYTES + 8] = 9
    with pytest.raises(Refused) as refused:
        feed(listener, bytes(hello))
    assert refused.value.refusal is Refusal.VERSION


@given(st.binary(min_size=6, max_size=6))
def test_any_header_is_known_and_bounded_or_refused(raw: bytes) -> None:
    try:
        header = wire.parse_header(raw)
    except ProtocolError:
        return
    assert header.length <= wire.MAX_PIECE + wire.PIECE_BYTES


def test_requests_survive_their_way() -> None:
    raw = wire.request(5, 9, wire.PieceFlag.AGAIN)
    header = wire.parse_header(raw[: wire.HEADER_BYTES])
    assert (header.type, header.flags) == (FrameType.REQUEST, wire.PieceFlag.AGAIN)
    assert wire.parse_request(raw[wire.HEADER_BYTES :]) == (5, 9)
    for bad in (b"", raw, wire.request(9, 5)[wire.HEADER_BYTES :]):
        with pytest.raises(ProtocolError):
            wire.parse_request(bad)


def test_pieces_survive_their_way() -> None:
    raw = wire.piece_head(7, b"d" * 16, 1000, wire.PieceFlag.CHANGED)
    header = wire.parse_header(raw[: wire.HEADER_BYTES])
    head = wire.parse_piece_head(header, raw[wire.HEADER_BYTES :])
    assert (head.index, head.digest, head.length) == (7, b"d" * 16, 1000)
    assert header.length == wire.PIECE_BYTES + 1000


def test_pieces_by_descriptor_survive_their_way() -> None:
    raw = wire.piece_by_fd(7, b"d" * 16, 1000, 3, 4096)
    header = wire.parse_header(raw[: wire.HEADER_BYTES])
    body = raw[wire.HEADER_BYTES :]
    assert wire.parse_piece_head(header, body[: wire.PIECE_BYTES]).length == 1000
    assert wire.parse_by_fd(body[wire.PIECE_BYTES :]) == (3, 4096)


@pytest.mark.parametrize("length", [0, 999, 1001])
def test_a_piece_whose_lengths_differ_is_refused(length: int) -> None:
    header = wire.Header(FrameType.PIECE, 0, wire.PIECE_BYTES + 1000)
    raw = wire.piece_head(7, b"d" * 16, length)[wire.HEADER_BYTES :]
    with pytest.raises(ProtocolError):
        wire.parse_piece_head(header, raw)


def test_a_reason_is_harmless_to_show() -> None:
    raw = wire.gone("disk\x1b[31m full \udcff" + "x" * 1000)
    assert len(raw) <= wire.HEADER_BYTES + wire.MAX_REASON
    assert wire.text_of(raw[wire.HEADER_BYTES :]).startswith("disk?[31m full ?x")


def test_every_transition_names_a_method() -> None:
    assert all(hasattr(Handshake, method) for method, _ in wire.TRANSITIONS.values())


@given(st.lists(st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)), max_size=20), st.integers(1, 7))
def test_hashes_survive_the_way(known: list[bytes], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "MAX_HASHES", bound)
        frames = list(wire.hashes(known))
    found: list[bytes] = []
    for raw in frames:
        header = wire.parse_header(raw[: wire.HEADER_BYTES])
        assert header.type is FrameType.HASHES
        first, some = wire.parse_hashes(raw[wire.HEADER_BYTES :])
        assert first == len(found)
        assert len(some) <= bound
        found += some
    zeros = bytes(32)
    assert found == ([each if each != zeros else b"" for each in known] if any(known) else [])


@pytest.mark.parametrize("length", [1, 4, 5, 35, 37])
def test_hashes_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(ProtocolError):
        wire.parse_hashes(bytes(length))


def test_parts_survive_their_way() -> None:
    raw = wire.part_head(1 << 40, 3) + b"abc"
    header = wire.parse_header(raw[: wire.HEADER_BYTES])
    assert header.type is FrameType.PART
    head = raw[wire.HEADER_BYTES : wire.HEADER_BYTES + wire.PART_BYTES]
    assert wire.parse_part_head(header, head) == (1 << 40, (1 << 40) + 3)


@pytest.mark.parametrize("length", [0, 4, 7, 8])
def test_a_part_without_bytes_is_refused(length: int) -> None:
    header = wire.Header(FrameType.PART, 0, length)
    with pytest.raises(ProtocolError):
        wire.parse_part_head(header, bytes(min(length, wire.PART_BYTES)))
