"""Reading the engine protocol's frames, at both of its ends."""

from __future__ import annotations

import asyncio

from castray_desktop.core.messages import MAX_FRAME_BYTES


async def read_body(reader: asyncio.StreamReader) -> bytes:
    """The body of the next frame.

    Raises EOFError when the connection has ended, ValueError for a frame longer than one may be.
    """
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes is too long")
    return await reader.readexactly(length)
