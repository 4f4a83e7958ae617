"""How two ends of the byte plane prove to each other that they know a cast's secret: a sans-IO state machine.

Three messages and a welcome, each a frame of `core.wire`:

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
from typing import Callable, NamedTuple

from castray_desktop.core.wire import (
    HEADER_BYTES,
    NONCE_BYTES,
    FrameType,
    ProtocolError,
    frame,
    parse_header,
    short_reason,
    text_of,
)

MAGIC = b"CASTRAY\0"
VERSION = 2

_HELLO = struct.Struct("<8sBBB")  # magic, version, role, length of the cast's id
_EPOCH = struct.Struct("<Q")


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
    return frame(F.REFUSAL, bytes((refused.refusal,)) + short_reason(str(refused)))


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
