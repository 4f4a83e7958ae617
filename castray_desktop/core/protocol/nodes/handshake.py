"""How two peers prove to each other that they know a cast's secret: a sans-I/O state machine.

Three messages and a welcome, each a frame of `core.protocol.nodes.peer_frames`:

    dialer                                              acceptor
      HELLO version, role, node, cast, epoch, nonce  ->
                                                 <-     CHALLENGE nonce, proof of the acceptor
      PROOF proof of the dialer                  ->
                                                 <-     WELCOME      (or REFUSAL at any point)

A proof is HMAC-SHA256 under the cast's secret over a label for the direction, version, role, node, cast,
epoch and both nonces; so nothing can be reflected, replayed or moved to another cast. The dialer says whether
it wants to fetch or to serve, so that either end may dial. As in h11, all transitions are in one table.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import struct
from typing import Callable, NamedTuple

from castray_desktop.core.protocol.nodes.peer_frames import (
    HEADER_BYTES,
    NODE_BYTES,
    NONCE_BYTES,
    FrameType,
    ProtocolError,
    frame,
    parse_header,
    short_reason,
    text_of,
)

MAGIC = b"CASTRAY\0"
VERSION = 3

_HELLO = struct.Struct("<8sBB16sB")  # magic, version, role, node, length of the cast's id
_EPOCH = struct.Struct("<Q")


class PeerRole(enum.IntEnum):
    """What the dialer wants."""

    FETCH = 1
    SERVE = 2


class HandshakeState(enum.Enum):
    """States of a handshake."""

    EXPECT_HELLO = "expect hello"
    EXPECT_CHALLENGE = "expect challenge"
    EXPECT_PROOF = "expect proof"
    EXPECT_WELCOME = "expect welcome"
    DONE = "done"
    REFUSED = "refused"


class RefusalReason(enum.IntEnum):
    """Why a peer was refused."""

    VERSION = 1
    UNKNOWN_CAST = 2
    BAD_PROOF = 3
    BUSY = 4
    MALFORMED = 5
    NOT_ENCRYPTED = 6
    OTHER_CERTIFICATE = 7


class HandshakeRefused(ProtocolError):
    """The handshake failed: the peer refused us, or we refuse the peer."""

    def __init__(self, refusal: RefusalReason, text: str) -> None:
        super().__init__(text)
        self.refusal = refusal


def node_digest(node: str) -> bytes:
    """What stands for a node's name in a hello and, in hexadecimal, in its certificate: 16 bytes."""
    return hashlib.sha256(b"castray node " + node.encode()).digest()[:NODE_BYTES]


class PeerHello(NamedTuple):
    """What the dialer says about itself; proved once the handshake is done."""

    role: PeerRole
    node: bytes  # see `node_digest`
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

    It never needs more than `bytes_needed`, so nothing of what follows is read too early.
    """

    def __init__(
        self,
        state: HandshakeState,
        nonce: bytes,
        greeting: PeerHello | None = None,
        secret: bytes = b"",
        secret_of: Callable[[str], bytes | None] | None = None,
        admit: Callable[[PeerHello], None] | None = None,
    ) -> None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes")
        self.greeting = greeting
        self.state = state
        self._dials = state is S.EXPECT_CHALLENGE
        self._nonce = nonce
        self._peer_nonce = b""
        self._secret = secret
        self._secret_of = secret_of
        self._admit = admit
        self._buffer = b""

    @classmethod
    def dial(cls, nonce: bytes, greeting: PeerHello, secret: bytes) -> Handshake:
        """The dialing end. Send `hello()` first."""
        return cls(S.EXPECT_CHALLENGE, nonce, greeting=greeting, secret=secret)

    @classmethod
    def listen(
        cls,
        nonce: bytes,
        secret_of: Callable[[str], bytes | None],
        admit: Callable[[PeerHello], None] | None = None,
    ) -> Handshake:
        """The accepting end; `secret_of` gives a cast's secret, None for an unknown cast. `admit` raises
        HandshakeRefused for a dialer that is not welcome on this connection.
        """
        return cls(S.EXPECT_HELLO, nonce, secret_of=secret_of, admit=admit)

    @property
    def bytes_needed(self) -> int:
        """How many bytes the current frame still needs; 0 once the handshake has ended."""
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
        """Process received bytes, at most `bytes_needed`; returns bytes to send.

        Raises HandshakeRefused if one end refuses the other (send `refusal_frame` then), ProtocolError
        for what is no frame of a handshake.
        """
        try:
            return self._advance(data)
        except ProtocolError:
            self.state = S.REFUSED
            raise

    def _advance(self, data: bytes) -> bytes:
        if len(data) > self.bytes_needed:
            raise ProtocolError("more bytes than the handshake asked for")
        self._buffer += data
        if len(self._buffer) >= HEADER_BYTES:
            self._check_header()
        if self.bytes_needed or self.state in (S.DONE, S.REFUSED):
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

    def _on_hello(self, body: bytes) -> bytes:
        self.greeting, self._peer_nonce = _parse_hello(body)
        secret = self._secret_of(self.greeting.cast) if self._secret_of else None
        if secret is None:
            raise HandshakeRefused(RefusalReason.UNKNOWN_CAST, "the peer does not know this cast")
        if self._admit is not None:
            self._admit(self.greeting)
        self._secret = secret
        return frame(F.CHALLENGE, self._nonce + self._proof(b"listener"))

    def _on_challenge(self, body: bytes) -> bytes:
        self._peer_nonce = body[:NONCE_BYTES]
        self._check(body[NONCE_BYTES:], b"listener")
        return frame(F.PROOF, self._proof(b"dialer"))

    def _on_proof(self, body: bytes) -> bytes:
        self._check(body, b"dialer")
        return frame(F.WELCOME)

    def _check(self, proof: bytes, label: bytes) -> None:
        if not hmac.compare_digest(proof, self._proof(label)):
            raise HandshakeRefused(RefusalReason.BAD_PROOF, "the peer does not know this cast's secret")

    def _on_welcome(self, body: bytes) -> bytes:
        return b""

    def _on_refusal(self, body: bytes) -> bytes:
        try:
            refusal = RefusalReason(body[0])
        except (IndexError, ValueError) as error:
            raise ProtocolError("a refusal without a reason") from error
        raise HandshakeRefused(refusal, text_of(body[1:]))

    def _hello_body(self, nonce: bytes) -> bytes:
        assert self.greeting is not None
        cast = self.greeting.cast.encode("ascii")
        head = _HELLO.pack(MAGIC, VERSION, self.greeting.role, self.greeting.node, len(cast))
        return head + cast + _EPOCH.pack(self.greeting.epoch) + nonce

    def _proof(self, label: bytes) -> bytes:
        """HMAC over the direction, what the dialer said and both nonces, each of fixed or told length."""
        dialer, listener = self._nonce, self._peer_nonce
        if not self._dials:
            dialer, listener = listener, dialer
        message = b"castray byte plane " + label + b"\0" + self._hello_body(dialer) + listener
        return hmac.new(self._secret, message, hashlib.sha256).digest()


def refusal_frame(refused: HandshakeRefused) -> bytes:
    """The frame for a refused peer; never more than a few bytes."""
    return frame(F.REFUSAL, bytes((refused.refusal,)) + short_reason(str(refused)))


def _parse_hello(body: bytes) -> tuple[PeerHello, bytes]:
    if len(body) < _HELLO.size or body[:8] != MAGIC:
        raise ProtocolError("not a CastRay hello")
    _, version, role, node, cast_length = _HELLO.unpack_from(body)
    if version != VERSION:
        raise HandshakeRefused(RefusalReason.VERSION, f"the peer uses protocol version {VERSION}")
    if len(body) != _HELLO.size + cast_length + _EPOCH.size + NONCE_BYTES:
        raise ProtocolError("a hello of the wrong length")
    cast = body[_HELLO.size : _HELLO.size + cast_length]
    if not cast.isalnum() or role not in (PeerRole.FETCH, PeerRole.SERVE):
        raise ProtocolError("a hello without cast or role")
    (epoch,) = _EPOCH.unpack_from(body, _HELLO.size + cast_length)
    return PeerHello(PeerRole(role), node, cast.decode("ascii"), epoch), body[-NONCE_BYTES:]
