"""Frames of a data connection between peers.

A frame is a fixed header (type, flags, length) and a body. The length is bounded for each type, and much
smaller before the peer has proved that it knows the cast's secret (`core.protocol.nodes.handshake`).

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NONCE_BYTES = 32
PROOF_BYTES = 32
NODE_BYTES = 16
MAX_CAST = 64  # maximum length of a cast id
MAX_HELLO = 19 + NODE_BYTES + MAX_CAST + NONCE_BYTES
MAX_REASON = 400
MAX_PIECE = 64 << 20
DIGEST_BYTES = 16
FILE_HASH_BYTES = 32
MAX_HASHES = 1 << 15  # per frame
MAX_DIGESTS = 256  # per frame

_HEADER = struct.Struct("<BBI")
_REQUEST = struct.Struct("<QQ")  # start and end in the stream
_PIECE = struct.Struct("<Q16sI")  # index, digest, length
_BY_FD = struct.Struct("<IQ")  # file, offset
_PART = struct.Struct("<Q")  # start in the stream
_DIGESTS = struct.Struct("<Q")  # first piece
_SPOILT = struct.Struct("<Q")  # the piece

HEADER_BYTES = _HEADER.size
PIECE_BYTES = _PIECE.size
BY_FD_BYTES = _BY_FD.size
PART_BYTES = _PART.size


class ProtocolError(Exception):
    """The peer violates the protocol; the connection must be closed."""


class FrameType(enum.IntEnum):
    """Frame types."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    REFUSAL = 5
    REQUEST = 16
    PIECE = 17
    WAITING = 18
    GONE = 19
    FILE = 20
    HASHES = 21
    PAUSE = 22
    RESUME = 23
    PART = 24
    DIGESTS = 25
    SPOILT = 26


class PieceFlag(enum.IntFlag):
    """Flags of PIECE and REQUEST frames."""

    NONE = 0
    AGAIN = 1  # request: the piece arrived damaged, read it again
    CHANGED = 2  # piece: the source's file has changed, this digest replaces the first
    DIGEST = 8  # request: digests only; piece: no payload
    BY_FD = 4  # piece: no payload, its bytes are in a passed file
    EARLY = 16  # request: digests only, as soon as they are known, in DIGESTS frames
    PART = 32  # request: only these bytes of one piece, in a PART frame


_LIMITS: dict[FrameType, int] = {
    FrameType.HELLO: MAX_HELLO,
    FrameType.CHALLENGE: NONCE_BYTES + PROOF_BYTES,
    FrameType.PROOF: PROOF_BYTES,
    FrameType.WELCOME: 0,
    FrameType.REFUSAL: 1 + MAX_REASON,
    FrameType.REQUEST: _REQUEST.size,
    FrameType.PIECE: _PIECE.size + MAX_PIECE,
    FrameType.WAITING: 0,
    FrameType.GONE: MAX_REASON,
    FrameType.FILE: 4,
    FrameType.HASHES: 4 + MAX_HASHES * FILE_HASH_BYTES,
    FrameType.PART: _PART.size + MAX_PIECE,
    FrameType.PAUSE: 0,
    FrameType.RESUME: 0,
    FrameType.DIGESTS: _DIGESTS.size + MAX_DIGESTS * DIGEST_BYTES,
    FrameType.SPOILT: _SPOILT.size + MAX_REASON,
}


_REQUEST_FLAGS = (
    PieceFlag.NONE,
    PieceFlag.AGAIN,
    PieceFlag.DIGEST,
    PieceFlag.DIGEST | PieceFlag.EARLY,
    PieceFlag.PART,
)
_PIECE_FLAGS = (
    PieceFlag.NONE,
    PieceFlag.CHANGED,
    PieceFlag.BY_FD,
    PieceFlag.DIGEST,
)
_FLAGS: dict[FrameType, tuple[int, ...]] = {
    FrameType.REQUEST: _REQUEST_FLAGS,
    FrameType.PIECE: _PIECE_FLAGS,
}  # of other frames: none


@dataclass(frozen=True)
class FrameHeader:
    """A frame's header."""

    type: FrameType
    flags: int
    length: int


@dataclass(frozen=True)
class PieceHead:
    """The header of a piece's payload."""

    index: int
    digest: bytes
    length: int


def frame(kind: FrameType, body: bytes = b"", flags: int = 0) -> bytes:
    """Build a frame."""
    return _HEADER.pack(kind, flags, len(body)) + body


def parse_header(raw: bytes) -> FrameHeader:
    """Parse a frame's header.

    Raises ProtocolError for an unknown type, flags that the type does not have, or a body that is too long.
    """
    kind, flags, length = _HEADER.unpack(raw)
    try:
        known = FrameType(kind)
    except ValueError as error:
        raise ProtocolError(f"unknown frame {kind}") from error
    if flags not in _FLAGS.get(known, (0,)):
        raise ProtocolError(f"{known.name} frame with flags {flags}")
    if length > _LIMITS[known]:
        raise ProtocolError(f"{known.name} frame of {length} bytes")
    return FrameHeader(known, flags, length)


def request_frame(start: int, end: int, flags: int = 0) -> bytes:
    """Build a REQUEST frame for `[start, end)` of the stream."""
    return frame(FrameType.REQUEST, _REQUEST.pack(start, end), flags)


def parse_request(body: bytes) -> tuple[int, int]:
    """Parse a request into start and end. Raises ProtocolError."""
    if len(body) != _REQUEST.size:
        raise ProtocolError(f"a request of {len(body)} bytes")
    start, end = _REQUEST.unpack(body)
    if start >= end:
        raise ProtocolError("a request for nothing")
    return start, end


def piece_head(index: int, digest: bytes, length: int, flags: int = 0) -> bytes:
    """Build the header of a PIECE frame whose payload follows."""
    return _HEADER.pack(FrameType.PIECE, flags, _PIECE.size + length) + _PIECE.pack(index, digest, length)


def piece_digest_frame(index: int, digest: bytes, length: int) -> bytes:
    """Build a PIECE frame without payload."""
    return frame(FrameType.PIECE, _PIECE.pack(index, digest, length), PieceFlag.DIGEST)


def part_head(start: int, length: int) -> bytes:
    """Build the header of a PART frame whose payload follows."""
    return _HEADER.pack(FrameType.PART, 0, _PART.size + length) + _PART.pack(start)


def parse_part_head(header: FrameHeader, raw: bytes) -> tuple[int, int]:
    """Parse the header of a PART frame into start and end. Raises ProtocolError."""
    if len(raw) != _PART.size or header.length <= _PART.size:
        raise ProtocolError("a PART frame without its head")
    (start,) = _PART.unpack(raw)
    return start, start + header.length - _PART.size


def piece_by_fd_frame(index: int, digest: bytes, length: int, file: int, offset: int) -> bytes:
    """Build a PIECE frame whose bytes are in a passed file."""
    body = _PIECE.pack(index, digest, length) + _BY_FD.pack(file, offset)
    return frame(FrameType.PIECE, body, PieceFlag.BY_FD)


def parse_piece_head(header: FrameHeader, raw: bytes) -> PieceHead:
    """Parse a piece's header. Raises ProtocolError if it does not match the frame."""
    if len(raw) != _PIECE.size:
        raise ProtocolError("a piece without its head")
    head = PieceHead(*_PIECE.unpack(raw))
    payload = BY_FD_BYTES if header.flags & PieceFlag.BY_FD else head.length
    if header.flags & PieceFlag.DIGEST:
        payload = 0
    if header.length != _PIECE.size + payload or not 0 < head.length <= MAX_PIECE:
        raise ProtocolError("a piece whose lengths differ")
    return head


def parse_by_fd(raw: bytes) -> tuple[int, int]:
    """Parse file and offset of a piece in a passed file."""
    file, offset = _BY_FD.unpack(raw)
    return file, offset


def gone_frame(reason: str) -> bytes:
    """Build a GONE frame: the requested data will never be available here."""
    return frame(FrameType.GONE, short_reason(reason))


def spoilt_frame(piece: int, reason: str) -> bytes:
    """Build a SPOILT frame: this node's own copy of a piece is not right any more."""
    return frame(FrameType.SPOILT, _SPOILT.pack(piece) + short_reason(reason))


def parse_spoilt(body: bytes) -> tuple[int, str]:
    """The piece and the reason. Raises ProtocolError."""
    if len(body) < _SPOILT.size:
        raise ProtocolError(f"a SPOILT frame of {len(body)} bytes")
    return int(_SPOILT.unpack_from(body)[0]), text_of(body[_SPOILT.size :])


def file_frame(file: int) -> bytes:
    """Build a FILE frame; the descriptor is sent beside it."""
    return frame(FrameType.FILE, struct.pack("<I", file))


def parse_file(body: bytes) -> int:
    """Parse the number of a passed file. Raises ProtocolError."""
    if len(body) != 4:
        raise ProtocolError(f"a FILE frame of {len(body)} bytes")
    return int(struct.unpack("<I", body)[0])


def hashes_frames(known: Sequence[bytes]) -> Iterator[bytes]:
    """Build HASHES frames with the known hashes of all files in order; empty frames if none is known.

    Unknown hashes are zeros.
    """
    if not any(known):
        yield frame(FrameType.HASHES)
        return
    for first in range(0, len(known), MAX_HASHES):
        some = b"".join(each.ljust(FILE_HASH_BYTES, b"\0") for each in known[first : first + MAX_HASHES])
        yield frame(FrameType.HASHES, struct.pack("<I", first) + some)


def parse_hashes(body: bytes) -> tuple[int, list[bytes]]:
    """Parse the number of the first file, and hashes; unknown ones are empty. Raises ProtocolError."""
    if not body:
        return 0, []
    if len(body) % FILE_HASH_BYTES != 4 or len(body) == 4:
        raise ProtocolError(f"a HASHES frame of {len(body)} bytes")
    some = (body[at : at + FILE_HASH_BYTES] for at in range(4, len(body), FILE_HASH_BYTES))
    return int(struct.unpack_from("<I", body)[0]), [each if any(each) else b"" for each in some]


def digests_frame(first: int, some: Sequence[bytes]) -> bytes:
    """Build a DIGESTS frame for consecutive pieces, which may come later."""
    return frame(FrameType.DIGESTS, _DIGESTS.pack(first) + b"".join(some))


def parse_digests(body: bytes) -> tuple[int, bytes]:
    """Parse the first piece and the consecutive digests. Raises ProtocolError."""
    if len(body) <= _DIGESTS.size or (len(body) - _DIGESTS.size) % DIGEST_BYTES:
        raise ProtocolError(f"a DIGESTS frame of {len(body)} bytes")
    return int(_DIGESTS.unpack_from(body)[0]), body[_DIGESTS.size :]


def text_of(body: bytes) -> str:
    """The peer's reason as printable text."""
    text = body.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def short_reason(text: str) -> bytes:
    """A reason for a frame, cut if it is too long."""
    return text.encode("utf-8", "replace")[:MAX_REASON]
