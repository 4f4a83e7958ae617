"""Frames are bounded, and are decoded unchanged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, ProtocolError


@given(st.binary(min_size=6, max_size=6))
def test_any_header_is_known_and_bounded_or_refused(raw: bytes) -> None:
    try:
        header = peer_frames.parse_header(raw)
    except ProtocolError:
        return
    assert header.length <= peer_frames.MAX_PIECE + peer_frames.PIECE_BYTES


def test_requests_are_unchanged_after_decoding() -> None:
    raw = peer_frames.request_frame(5, 9, peer_frames.PieceFlag.AGAIN)
    header = peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES])
    assert (header.type, header.flags) == (FrameType.REQUEST, peer_frames.PieceFlag.AGAIN)
    assert peer_frames.parse_request(raw[peer_frames.HEADER_BYTES :]) == (5, 9)
    for bad in (b"", raw, peer_frames.request_frame(9, 5)[peer_frames.HEADER_BYTES :]):
        with pytest.raises(ProtocolError):
            peer_frames.parse_request(bad)


def test_pieces_are_unchanged_after_decoding() -> None:
    raw = peer_frames.piece_head(7, b"d" * 16, 1000, peer_frames.PieceFlag.CHANGED)
    header = peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES])
    head = peer_frames.parse_piece_head(header, raw[peer_frames.HEADER_BYTES :])
    assert (head.index, head.digest, head.length) == (7, b"d" * 16, 1000)
    assert header.length == peer_frames.PIECE_BYTES + 1000


def test_pieces_by_descriptor_are_unchanged_after_decoding() -> None:
    raw = peer_frames.piece_by_fd_frame(7, b"d" * 16, 1000, 3, 4096)
    header = peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES])
    body = raw[peer_frames.HEADER_BYTES :]
    assert peer_frames.parse_piece_head(header, body[: peer_frames.PIECE_BYTES]).length == 1000
    assert peer_frames.parse_by_fd(body[peer_frames.PIECE_BYTES :]) == (3, 4096)


@pytest.mark.parametrize("length", [0, 999, 1001])
def test_a_piece_whose_lengths_differ_is_refused(length: int) -> None:
    header = peer_frames.FrameHeader(FrameType.PIECE, 0, peer_frames.PIECE_BYTES + 1000)
    raw = peer_frames.piece_head(7, b"d" * 16, length)[peer_frames.HEADER_BYTES :]
    with pytest.raises(ProtocolError):
        peer_frames.parse_piece_head(header, raw)


def test_a_reason_is_harmless_to_show() -> None:
    raw = peer_frames.gone_frame("disk\x1b[31m full \udcff" + "x" * 1000)
    assert len(raw) <= peer_frames.HEADER_BYTES + peer_frames.MAX_REASON
    assert peer_frames.text_of(raw[peer_frames.HEADER_BYTES :]).startswith("disk?[31m full ?x")


@given(st.lists(st.one_of(st.just(b""), st.binary(min_size=32, max_size=32)), max_size=20), st.integers(1, 7))
def test_hashes_are_unchanged_after_decoding(known: list[bytes], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer_frames, "MAX_HASHES", bound)
        frames = list(peer_frames.hashes_frames(known))
    found: list[bytes] = []
    for raw in frames:
        header = peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES])
        assert header.type is FrameType.HASHES
        first, some = peer_frames.parse_hashes(raw[peer_frames.HEADER_BYTES :])
        assert first == len(found)
        assert len(some) <= bound
        found += some
    zeros = bytes(32)
    assert found == ([each if each != zeros else b"" for each in known] if any(known) else [])


@pytest.mark.parametrize("length", [1, 4, 5, 35, 37])
def test_hashes_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(ProtocolError):
        peer_frames.parse_hashes(bytes(length))


@given(st.integers(0, 1 << 40), st.lists(st.binary(min_size=16, max_size=16), min_size=1, max_size=9))
def test_digests_are_unchanged_after_decoding(first: int, digests: list[bytes]) -> None:
    raw = peer_frames.digests_frame(first, digests)
    header = peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES])
    assert header.type is peer_frames.FrameType.DIGESTS
    assert peer_frames.parse_digests(raw[peer_frames.HEADER_BYTES :]) == (first, b"".join(digests))


def test_as_many_digests_fit_as_are_sent() -> None:
    raw = peer_frames.digests_frame(0, [bytes(16)] * peer_frames.MAX_DIGESTS)
    assert (
        peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES]).length
        == len(raw) - peer_frames.HEADER_BYTES
    )


@pytest.mark.parametrize("length", [0, 7, 8, 9, 23, 25])
def test_digests_of_a_wrong_length_are_refused(length: int) -> None:
    with pytest.raises(peer_frames.ProtocolError):
        peer_frames.parse_digests(bytes(length))


def test_parts_are_unchanged_after_decoding() -> None:
    raw = peer_frames.part_head(1 << 40, 3) + b"abc"
    header = peer_frames.parse_header(raw[: peer_frames.HEADER_BYTES])
    assert header.type is FrameType.PART
    head = raw[peer_frames.HEADER_BYTES : peer_frames.HEADER_BYTES + peer_frames.PART_BYTES]
    assert peer_frames.parse_part_head(header, head) == (1 << 40, (1 << 40) + 3)


@pytest.mark.parametrize("length", [0, 4, 7, 8])
def test_a_part_without_bytes_is_refused(length: int) -> None:
    header = peer_frames.FrameHeader(FrameType.PART, 0, length)
    with pytest.raises(ProtocolError):
        peer_frames.parse_part_head(header, bytes(min(length, peer_frames.PART_BYTES)))
