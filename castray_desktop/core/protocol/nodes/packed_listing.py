"""The list of a cast's remote files in one string, which the driver passes on without looking into it.

A list of 100,000 dataclasses takes seconds to encode and decode, in which a process that does it on its event
loop does nothing else. Packed, it is a tenth as long, and a thread can pack and unpack it: in blocks, so
that others have their turn between them. Standard library only and valid on Python 3.9.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Iterator, Sequence

from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile

BLOCK_FILES = 1000
"""A block of so many files takes a few milliseconds."""

LEVEL = 3
"""Of compression: higher ones take twice the time for a tenth less."""

_NAMES = tuple(item.name for item in dataclasses.fields(RemoteFile))
_TYPES = tuple(
    {"str": str, "int": int, "float": float, "bool": bool}[str(item.type)]
    for item in dataclasses.fields(RemoteFile)
)


def pack_listing(files: Sequence[RemoteFile]) -> str:
    """The files as text; empty for none."""
    if not files:
        return ""
    packer, packed = zlib.compressobj(LEVEL), []
    for start in range(0, len(files), BLOCK_FILES):
        block = [[getattr(file, name) for name in _NAMES] for file in files[start : start + BLOCK_FILES]]
        packed.append(packer.compress(json.dumps(block, separators=(",", ":")).encode() + b"\n"))
    packed.append(packer.flush())
    return base64.b64encode(b"".join(packed)).decode()


def unpack_listing(text: str) -> tuple[RemoteFile, ...]:
    """The files that were packed. Raises ValueError if it is no such text."""
    try:
        return tuple(_unpack(text))
    except (TypeError, zlib.error) as error:
        raise ValueError(f"not a list of remote files: {error}") from error


def _unpack(text: str) -> Iterator[RemoteFile]:
    for line in zlib.decompress(base64.b64decode(text)).split(b"\n") if text else ():
        for row in json.loads(line) if line else ():
            if tuple(map(type, row)) != _TYPES:
                raise TypeError("a field of another type")
            yield RemoteFile(*row)
