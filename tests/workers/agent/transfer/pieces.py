"""A small stream, by pieces."""

from __future__ import annotations

from castray_desktop.core.content.stream_layout import StreamLayout

LAYOUT = StreamLayout(100, 5000, 30, 1000)  # pieces: 1, 5 and 1


def content(piece: int) -> bytes:
    """The bytes of a piece."""
    start, end = LAYOUT.piece(piece)
    return bytes(at % 251 for at in range(start, end))
