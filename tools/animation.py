"""Create one animated picture (APNG) from many PNG files of the same size and type.

    python -m tools.animation OUT.png MILLISECONDS FRAME.png...

Each frame contains only the difference from the previous one.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QRect
from PySide6.QtGui import QImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BAND = 8  # rows that are compared at once


def animate(frames: Sequence[QImage], milliseconds: int) -> bytes:
    """The frames as an APNG that loops forever, each shown this long and the last one for three seconds."""
    plain = [frame.convertToFormat(QImage.Format.Format_RGB888) for frame in frames]
    parts = [QRect(0, 0, plain[0].width(), plain[0].height())]
    parts += [_changed(before, after) for before, after in pairwise(plain)]
    out = [SIGNATURE]
    number = 0
    for index, (frame, part) in enumerate(zip(plain, parts, strict=True)):
        chunks = _chunks(_png(frame.copy(part)))
        data = b"".join(body for kind, body in chunks if kind == b"IDAT")
        if index == 0:
            out.append(_chunk(b"IHDR", dict(chunks)[b"IHDR"]))
            out.append(_chunk(b"acTL", struct.pack(">II", len(plain), 0)))
        delay = 3000 if index == len(plain) - 1 else milliseconds
        place = (part.width(), part.height(), part.x(), part.y())
        out.append(_chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *place, delay, 1000, 0, 0)))
        number += 1
        if index == 0:
            out.append(_chunk(b"IDAT", data))
        else:
            out.append(_chunk(b"fdAT", struct.pack(">I", number) + data))
            number += 1
    out.append(_chunk(b"IEND", b""))
    return b"".join(out)


def _changed(before: QImage, after: QImage) -> QRect:
    """The smallest rectangle of bands and columns of 8 with all differences; a point if there are none."""
    width, height = after.width(), after.height()
    bands = [y for y in range(0, height, BAND) if _differ(before, after, 0, y, width, BAND)]
    if not bands:
        return QRect(0, 0, 1, 1)
    top, bottom = bands[0], min(height, bands[-1] + BAND)
    columns = [x for x in range(0, width, BAND) if _differ(before, after, x, top, BAND, bottom - top)]
    left, right = columns[0], min(width, columns[-1] + BAND)
    return QRect(left, top, right - left, bottom - top)


def _differ(before: QImage, after: QImage, x: int, y: int, width: int, height: int) -> bool:
    one, other = before.copy(x, y, width, height), after.copy(x, y, width, height)
    return bytes(one.constBits()) != bytes(other.constBits())


def _png(image: QImage) -> bytes:
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.OpenModeFlag.WriteOnly)
    image.save(buffer, "PNG", 0)  # maximum compression
    return bytes(data.data())


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(SIGNATURE)
    while at < len(png):
        length = int.from_bytes(png[at : at + 4], "big")
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def main(out: str, milliseconds: str, *names: str) -> None:
    """Write the animation."""
    Path(out).write_bytes(animate([QImage(name) for name in names], int(milliseconds)))


if __name__ == "__main__":
    main(*sys.argv[1:])
