"""Frames are bounded, and survive their way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core import wire
from castray_desktop.core.wire import FrameType, ProtocolError


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


@given(st.integers(0, 1 << 40), st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=9))
def test_digests_survive_the_way(first: int, digests: list[bytes]) -> None:
    raw = wire.digests(first, digests)
    header = wire.parse_header(raw[: wire.HEADER_BYTES])
    assert header.type is wire.FrameType.DIGESTS
    assert wire.parse_digests(raw[wire.HEADER_BYTES :]) == (first, b"".join(digests))


def test_as_many_digests_fit_as_are_sent() -> None:
    raw = wire.digests(0, [bytes(16)] * wire.MAX_DIGESTS)
    assert wire.parse_header(raw[: wire.HEADER_BYTES]).length == len(raw) - wire.HEADER_BYTES


@pytest.mark.parametrize("length", [0, 7, 8, 9, 23, 25])
def test_digests_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(wire.ProtocolError):
        wire.parse_digests(bytes(length))


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
