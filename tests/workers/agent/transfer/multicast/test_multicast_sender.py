"""The datagrams of a piece."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.multicast.datagrams import DatagramKeys, parse_datagram_header
from castray_desktop.workers.agent.transfer.multicast.multicast_sender import PieceDatagrams
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import Datagram
from castray_desktop.workers.agent.transfer.system.file_io import OpenFiles

KEYS = DatagramKeys(bytes(32), "0123456789ab")
PAYLOAD = 512
PIECE = 1000 * PAYLOAD
LAYOUT = StreamLayout(100, PIECE + 700, 30, PIECE)  # lists have separate pieces


class Source:
    """Has one file, which fills the pieces in the middle."""

    layout = LAYOUT

    def __init__(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        self.path = path
        self.open_files = OpenFiles(lambda file: os.open(path, os.O_RDONLY))

    def within_file(self, index: int) -> tuple[int, int] | None:
        start, _ = LAYOUT.piece(index)
        return (0, start - LAYOUT.manifest_bytes) if index in (1, 2) else None

    def piece_bytes(self, index: int) -> memoryview:
        start, end = LAYOUT.piece(index)
        return memoryview(bytes([index]) * (end - start))


def content_of(datagrams: list[Datagram], piece: int, sequence: int) -> bytes:
    """The bytes of the datagrams, after checking every header and tag."""
    for place, (header, payload) in enumerate(datagrams):
        head = parse_datagram_header(memoryview(header), 0)
        assert head[1:] == (sequence + place, piece, place * PAYLOAD, PAYLOAD)
        assert KEYS.is_genuine(head, len(payload))
    return b"".join(payload for _, payload in datagrams)


@pytest.fixture
def content() -> bytes:
    return secrets.token_bytes(PIECE + 700)


@pytest.fixture
def source(tmp_path: Path, content: bytes) -> Iterator[Source]:
    source = Source(tmp_path / "file", content)
    yield source
    source.open_files.close()


def test_every_piece_is_carried_whole(source: Source, content: bytes) -> None:
    datagrams = PieceDatagrams(source, KEYS, PAYLOAD)
    sequence = 1000
    for index, expected in enumerate((bytes(100), content[:PIECE], content[PIECE:], b"\3" * 30)):
        made = datagrams.of_piece(index, sequence)
        assert content_of(made, index, sequence) == expected
        sequence += len(made)


def test_a_file_that_has_become_shorter_gives_zeros(source: Source, content: bytes) -> None:
    os.truncate(source.path, PIECE - 5 * PAYLOAD)
    made = PieceDatagrams(source, KEYS, PAYLOAD).of_piece(1, 0)
    assert content_of(made, 1, 0) == content[: PIECE - 5 * PAYLOAD] + bytes(5 * PAYLOAD)
