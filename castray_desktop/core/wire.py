"""What goes over the byte plane's sockets: frames, and the handshake as a sans-IO state machine.

A frame is a fixed header (type, flags, length) and a body whose length is bounded for each type, and
much smaller before the peer has proved that it knows the cast's secret. The handshake is three
messages and a welcome:

    dialer                                              listener
      HELLO version, role, cast, epoch, nonce    ->
                                                 <-     CHALLENGE nonce, proof of the listener
      PROOF proof of the dialer                  ->
                                                 <-     WELCOME      (or REFUSAL at any point)

A proof is HMAC-SHA256 under the cast's secret over a label for the direction, version, role, cast, epoch
and both nonces; so nothing can be reflected, replayed or moved to another cast. The dialer says whether it
wants to fetch or to serve, so that either end may dial. Style after h11: all transitions in one table.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Callable, NamedTuple

MAGIC = b"CASTRAY\0"
VERSION = 2
NONCE_BYTES = 32
PROOF_BYTES = 32
MAX_CAST = 64
MAX_REASON = 400
MAX_PIECE = 64 << 20
DIGEST_BYTES = 16
FILE_HASH_BYTES = 32
MAX_HASHES = 1 << 15  # in one frame

_HEADER = struct.Struct("<BBI")
_HELLO = struct.Struct("<8sBBB")  # magic, version, role, length of the cast's id
_EPOCH = struct.Struct("<Q")
_REQUEST = struct.Struct("<QQ")  # start and end in the stream
_PIECE = struct.Struct("<Q16sI")  # index, digest, length
_BY_FD = struct.Struct("<IQ")  # file, offset in it
_PART = struct.Struct("<Q")  # start in the stream

HEADER_BYTES = _HEADER.size
PIECE_BYTES = _PIECE.size
BY_FD_BYTES = _BY_FD.size
PART_BYTES = _PART.size


class ProtocolError(Exception):
    """The peer does not speak this protocol, or not properly. The connection is to be closed."""


class FrameType(enum.IntEnum):
    """All frames there are."""

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


class PieceFlag(enum.IntFlag):
    """Flags of PIECE and REQUEST frames."""

    NONE = 0
    AGAIN = 1  # of a request: the piece arrived damaged, read it anew
    CHANGED = 2  # of a piece: the source's file has changed, this digest replaces the first
    DIGEST = 8  # of a request: only digests are wanted; of a piece: no payload
    BY_FD = 4  # of a piece: no payload, its bytes are in a file that was passed before
    EARLY = 16  # with DIGEST: as soon as the digest is known, whether the piece is there or not
    PART = 32  # of a request: just these bytes, of one piece, in a PART frame


_LIMITS: dict[FrameType, int] = {
    FrameType.HELLO: _HELLO.size + MAX_CAST + _EPOCH.size + NONCE_BYTES,
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
}


@dataclass(frozen=True)
class Header:
    """A frame's header."""

    type: FrameType
    flags: int
    length: int


@dataclass(frozen=True)
class PieceHead:
    """What comes before a piece's payload."""

    index: int
    digest: bytes
    length: int


def frame(kind: FrameType, body: bytes = b"", flags: int = 0) -> bytes:
    """A whole frame."""
    return _HEADER.pack(kind, flags, len(body)) + body


def parse_header(raw: bytes) -> Header:
    """A frame's header. Raises ProtocolError for an unknown type or a body beyond its bound."""
    kind, flags, length = _HEADER.unpack(raw)
    try:
        known = FrameType(kind)
    except ValueError as error:
        raise ProtocolError(f"unknown frame {kind}") from error
    if length > _LIMITS[known]:
        raise ProtocolError(f"{known.name} frame of {length} bytes")
    return Header(known, flags, length)


def request(start: int, end: int, flags: int = 0) -> bytes:
    """A REQUEST frame for `[start, end)` of the stream."""
    return frame(FrameType.REQUEST, _REQUEST.pack(start, end), flags)


def parse_request(body: bytes) -> tuple[int, int]:
    """Start and end of a request. Raises ProtocolError."""
    if len(body) != _REQUEST.size:
        raise ProtocolError(f"a request of {len(body)} bytes")
    start, end = _REQUEST.unpack(body)
    if start >= end:
        raise ProtocolError("a request for nothing")
    return start, end


def piece_head(index: int, digest: bytes, length: int, flags: int = 0) -> bytes:
    """Header and head of a PIECE frame whose payload follows."""
    return _HEADER.pack(FrameType.PIECE, flags, _PIECE.size + length) + _PIECE.pack(index, digest, length)


def piece_digest(index: int, digest: bytes, length: int, flags: int = 0) -> bytes:
    """A whole PIECE frame without its bytes."""
    return frame(FrameType.PIECE, _PIECE.pack(index, digest, length), PieceFlag.DIGEST | flags)


def part_head(start: int, length: int) -> bytes:
    """Header and head of a PART frame whose payload follows."""
    return _HEADER.pack(FrameType.PART, 0, _PART.size + length) + _PART.pack(start)


def parse_part_head(header: Header, raw: bytes) -> tuple[int, int]:
    """Start and end in the stream of what follows. Raises ProtocolError."""
    if len(raw) != _PART.size or header.length <= _PART.size:
        raise ProtocolError("a PART frame without its head")
    (start,) = _PART.unpack(raw)
    return start, start + header.length - _PART.size


def piece_by_fd(index: int, digest: bytes, length: int, file: int, offset: int, flags: int = 0) -> bytes:
    """A whole PIECE frame whose bytes are in a file that was passed before."""
    body = _PIECE.pack(index, digest, length) + _BY_FD.pack(file, offset)
    return frame(FrameType.PIECE, body, flags | PieceFlag.BY_FD)


def parse_piece_head(header: Header, raw: bytes) -> PieceHead:
    """A piece's head. Raises ProtocolError where it does not fit the frame."""
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
    """File and offset of a piece that is read from a passed file."""
    file, offset = _BY_FD.unpack(raw)
    return file, offset


def gone(reason: str) -> bytes:
    """A GONE frame: what was asked for will never come from here."""
    return frame(FrameType.GONE, _short(reason))


def file_frame(file: int) -> bytes:
    """A FILE frame; the descriptor travels beside it."""
    return frame(FrameType.FILE, struct.pack("<I", file))


def parse_file(body: bytes) -> int:
    """The number of a passed file. Raises ProtocolError."""
    if len(body) != 4:
        raise ProtocolError(f"a FILE frame of {len(body)} bytes")
    return int(struct.unpack("<I", body)[0])


def hashes(known: Sequence[bytes]) -> Iterator[bytes]:
    """HASHES frames with what is known of all files in order, an empty one where nothing is.

    A file whose hash is not known has zeros.
    """
    if not any(known):
        yield frame(FrameType.HASHES)
        return
    for first in range(0, len(known), MAX_HASHES):
        some = b"".join(each.ljust(FILE_HASH_BYTES, b"\0") for each in known[first : first + MAX_HASHES])
        yield frame(FrameType.HASHES, struct.pack("<I", first) + some)


def parse_hashes(body: bytes) -> tuple[int, list[bytes]]:
    """The number of the first file, and hashes; empty ones are not known. Raises ProtocolError."""
    if not body:
        return 0, []
    if len(body) % FILE_HASH_BYTES != 4 or len(body) == 4:
        raise ProtocolError(f"a HASHES frame of {len(body)} bytes")
    some = (body[at : at + FILE_HASH_BYTES] for at in range(4, len(body), FILE_HASH_BYTES))
    return int(struct.unpack_from("<I", body)[0]), [each if any(each) else b"" for each in some]


def text_of(body: bytes) -> str:
    """A reason that the peer gave, harmless to show."""
    text = body.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else "?" for char in text)


def _short(text: str) -> bytes:
    return text.encode("utf-8", "replace")[:MAX_REASON]


# --- handshake -----------------------------------------------------------------------------------


class Role(enum.IntEnum):
    """What the dialer wants to do."""

    FETCH = 1
    SERVE = 2


class Side(enum.Enum):
    """Which end of the connection this is."""

    DIALER = "dialer"
    LISTENER = "listener"


class HandshakeState(enum.Enum):
    """Where a handshake stands."""

    EXPECT_HELLO = "expect hello"
    EXPECT_CHALLENGE = "expect challenge"
    EXPECT_PROOF = "expect proof"
    EXPECT_WELCOME = "expect welcome"
    DONE = "done"
    REFUSED = "refused"


class Refusal(enum.IntEnum):
    """Why a peer was refused."""

    VERSION = 1
    UNKNOWN_CAST = 2
    BAD_PROOF = 3
    BUSY = 4
    MALFORMED = 5


class Refused(ProtocolError):
    """The handshake ended without trust: the peer refused us, or we refuse the peer."""

    def __init__(self, refusal: Refusal, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


class Greeting(NamedTuple):
    """What the dialer said about itself; proved once the handshake is done."""

    role: Role
    cast: str
    epoch: int


S = HandshakeState
F = FrameType

# (state, frame that arrives) -> (method that handles it, state afterwards)
TRANSITIONS: dict[tuple[HandshakeState, FrameType], tuple[str, HandshakeState]] = {
    (S.EXPECT_HELLO, F.HELLO): ("_on_hello", S.EXPECT_PROOF),
    (S.EXPECT_PROOF, F.PROOF): ("_on_proof", S.DONE),
    (S.EXPECT_CHALLENGE, F.CHALLENGE): ("_on_challenge", S.EXPECT_WELCOME),
    (S.EXPECT_CHALLENGE, F.REFUSAL): ("_on_refusal", S.REFUSED),
    (S.EXPECT_WELCOME, F.WELCOME): ("_on_welcome", S.DONE),
    (S.EXPECT_WELCOME, F.REFUSAL): ("_on_refusal", S.REFUSED),
}


class Handshake:
    """One end of a handshake. Bytes come in by `receive`, which returns bytes to send.

    It never wants more than `wanted` bytes, so nothing of what follows is read too early.
    """

    def __init__(
        self,
        side: Side,
        nonce: bytes,
        greeting: Greeting | None = None,
        secret: bytes = b"",
        secret_of: Callable[[str], bytes | None] | None = None,
    ) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self.side = side
        self.greeting = greeting
        self.state = S.EXPECT_CHALLENGE if side is Side.DIALER else S.EXPECT_HELLO
        self._nonce = nonce
        self._peer_nonce = b""
        self._secret = secret
        self._secret_of = secret_of
        self._buffer = b""

    @classmethod
    def dial(cls, nonce: bytes, greeting: Greeting, secret: bytes) -> Handshake:
        """The end that connects. Send `hello()` first."""
        return cls(Side.DIALER, nonce, greeting=greeting, secret=secret)

    @classmethod
    def listen(cls, nonce: bytes, secret_of: Callable[[str], bytes | None]) -> Handshake:
        """The end that was connected to; `secret_of` gives a cast's secret, None for an unknown one."""
        return cls(Side.LISTENER, nonce, secret_of=secret_of)

    @property
    def wanted(self) -> int:
        """How many bytes the current frame still lacks; 0 once the handshake has ended."""
        if self.state in (S.DONE, S.REFUSED):
            return 0
        if len(self._buffer) < HEADER_BYTES:
            return HEADER_BYTES - len(self._buffer)
        return HEADER_BYTES + parse_header(self._buffer[:HEADER_BYTES]).length - len(self._buffer)

    def hello(self) -> bytes:
        """The dialer's first frame."""
        assert self.greeting is not None
        return frame(F.HELLO, self._hello_body(self._nonce))

    def receive(self, data: bytes) -> bytes:
        """Take in bytes, at most `wanted`; what to send in return.

        Raises Refused when the peer refuses or is to be refused (send `refusal_frame` then), ProtocolError
        for what is no frame of a handshake.
        """
        try:
            return self._advance(data)
        except ProtocolError:
            self.state = S.REFUSED
            raise

    def _advance(self, data: bytes) -> bytes:
        if len(data) > self.wanted:
            raise ProtocolError("more bytes than the handshake asked for")
        self._buffer += data
        if len(self._buffer) >= HEADER_BYTES:
            self._check_header()
        if self.wanted or self.state in (S.DONE, S.REFUSED):
            return b""
        raw, self._buffer = self._buffer, b""
        header = parse_header(raw[:HEADER_BYTES])
        method, following = TRANSITIONS[(self.state, header.type)]
        answer: bytes = getattr(self, method)(raw[HEADER_BYTES:])
        self.state = following
        return answer

    def _check_header(self) -> None:
        header = parse_header(self._buffer[:HEADER_BYTES])
        if (self.state, header.type) not in TRANSITIONS:
            raise ProtocolError(f"{header.type.name} frame while handshake should {self.state.value}")
        if header.flags:
            raise ProtocolError("flags on a frame of the handshake")

    def _on_hello(self, body: bytes) -> bytes:
        self.greeting, self._peer_nonce = _parse_hello(body)
        secret = self._secret_of(self.greeting.cast) if self._secret_of else None
        if secret is None:
            raise Refused(Refusal.UNKNOWN_CAST, "this cast is not known here")
        self._secret = secret
        return frame(F.CHALLENGE, self._nonce + self._proof(b"listener"))

    def _on_challenge(self, body: bytes) -> bytes:
        self._peer_nonce, proof = body[:NONCE_BYTES], body[NONCE_BYTES:]
        if not hmac.compare_digest(proof, self._proof(b"listener")):
            raise Refused(Refusal.BAD_PROOF, "the peer does not know this cast's secret")
        return frame(F.PROOF, self._proof(b"dialer"))

    def _on_proof(self, body: bytes) -> bytes:
        if not hmac.compare_digest(body, self._proof(b"dialer")):
            raise Refused(Refusal.BAD_PROOF, "the peer does not know this cast's secret")
        return frame(F.WELCOME)

    def _on_welcome(self, body: bytes) -> bytes:
        return b""

    def _on_refusal(self, body: bytes) -> bytes:
        try:
            refusal = Refusal(body[0])
        except (IndexError, ValueError) as error:
            raise ProtocolError("a refusal without a reason") from error
        raise Refused(refusal, text_of(body[1:]))

    def _hello_body(self, nonce: bytes) -> bytes:
        assert self.greeting is not None
        cast = self.greeting.cast.encode("ascii")
        head = _HELLO.pack(MAGIC, VERSION, self.greeting.role, len(cast))
        return head + cast + _EPOCH.pack(self.greeting.epoch) + nonce

    def _proof(self, label: bytes) -> bytes:
        """HMAC over the direction, what the dialer said and both nonces, each of fixed or told length."""
        dialer, listener = self._nonce, self._peer_nonce
        if self.side is Side.LISTENER:
            dialer, listener = listener, dialer
        message = b"castray byte plane " + label + b"\0" + self._hello_body(dialer) + listener
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def refusal_frame(refused: Refused) -> bytes:
    """What to tell a peer that is refused; never more than a few bytes."""
    return frame(F.REFUSAL, bytes((refused.refusal,)) + _short(str(refused)))


def _parse_hello(body: bytes) -> tuple[Greeting, bytes]:
    if len(body) < _HELLO.size or body[:8] != MAGIC:
        raise ProtocolError("not a CastRay hello")
    _, version, role, cast_length = _HELLO.unpack_from(body)
    if version != VERSION:
        raise Refused(Refusal.VERSION, f"version {VERSION} is spoken here")
    if len(body) != _HELLO.size + cast_length + _EPOCH.size + NONCE_BYTES:
        raise ProtocolError("a hello of the wrong length")
    cast = body[_HELLO.size : _HELLO.size + cast_length]
    if not cast.isalnum() or role not in (Role.FETCH, Role.SERVE):
        raise ProtocolError("a hello without cast or role")
    (epoch,) = _EPOCH.unpack_from(body, _HELLO.size + cast_length)
    return Greeting(Role(role), cast.decode("ascii"), epoch), body[-NONCE_BYTES:]
