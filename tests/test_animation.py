"""An animation consists of frames, each only as large as its change."""

from __future__ import annotations

import zlib

from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication

from tools.animation import _chunk, _chunks, animate


def frame(x: int) -> QImage:
    image = QImage(64, 48, QImage.Format.Format_RGB32)
    image.fill(QColor("white"))
    image.setPixelColor(x, 20, QColor("black"))
    return image


def test_frames_are_whole_at_first_and_then_what_has_changed(qapp: QApplication) -> None:
    data = animate([frame(8), frame(9), frame(9), frame(40)], 125)
    chunks = _chunks(data)
    assert [kind for kind, _ in chunks] == [
        *(b"IHDR", b"acTL", b"fcTL", b"IDAT"),
        *(b"fcTL", b"fdAT") * 3,
        b"IEND",
    ]
    controls = [body for kind, body in chunks if kind == b"fcTL"]
    sizes = [(int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")) for body in controls]
    assert sizes == [(64, 48), (8, 8), (1, 1), (40, 8)]
    numbers = [int.from_bytes(body[:4], "big") for kind, body in chunks if kind in (b"fcTL", b"fdAT")]
    assert numbers == list(range(7))
    assert QImage.fromData(data, "PNG").pixelColor(8, 20) == QColor("black")


def test_a_chunk_carries_its_checksum() -> None:
    chunk = _chunk(b"IEND", b"")
    assert chunk[-4:] == zlib.crc32(b"IEND").to_bytes(4, "big")
