"""A data connection: exact reads and writes on a blocking socket, and its handshake.

The kernel does the waiting (SO_RCVTIMEO, SO_SNDTIMEO), so reading a piece is one system call rather than
one for each segment. Another thread ends a connection with `abort`.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Optional

from castray_desktop.core.protocol.nodes import peer_frames
from castray_desktop.core.protocol.nodes.handshake import (
    Handshake,
    HandshakeRefused,
    PeerHello,
    RefusalReason,
    refusal_frame,
)
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.core.protocol.nodes.token_bucket import MAX_SEND_BYTES, SendSize
from castray_desktop.workers.agent.transfer.system import linux_calls

_MORE = getattr(socket, "MSG_MORE", 0)
_WAITALL = getattr(socket, "MSG_WAITALL", 0)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_ZEROS = bytes(1 << 16)
UNREADABLE = (errno.EIO, errno.ESTALE)
"""A file that can't be read any more: zeros are sent instead, and the source says so in its trailer."""

_ABOUT_ENCRYPTION = (RefusalReason.NOT_ENCRYPTED, RefusalReason.OTHER_CERTIFICATE)

TCP_USER_TIMEOUT_SECONDS = 60.0
"""A peer that acknowledges nothing for this long is gone, even if there is little to send."""


class PeerTimeoutError(ConnectionError):
    """The peer sent or accepted nothing for too long."""


class UntrustedPeerError(OSError):
    """One end does not trust the certificate of the other, or misses it."""


class PeerConnection:
    """A connected socket. One thread reads and writes; any thread may `abort`."""

    encrypted = False
    """Whether what is sent is encrypted."""

    def __init__(self, sock: socket.socket, local: bool = True) -> None:
        """A Unix socket can pass open files, unless it is not `local`."""
        self.sock = sock
        """Another connection may use it instead of this one."""
        self.last_sent = time.monotonic()
        self.local = local and sock.family == socket.AF_UNIX
        self.same_machine = self.local
        self.passed_fd = -1
        self.tolerates_silence: Callable[[], bool] = lambda: False
        """Whether silence is tolerated at the moment, even within a frame."""
        self.between_sends: Callable[[], None] = lambda: None
        """Called between two sends of a larger block."""
        self._portion = SendSize()
        sock.settimeout(None)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            linux_calls.set_tcp_user_timeout(sock, TCP_USER_TIMEOUT_SECONDS)
            self.same_machine = sock.getpeername()[0] == sock.getsockname()[0]
            if not self.same_machine:  # its timers are expensive on loopback
                linux_calls.prefer_bbr(sock)

    @property
    def peer(self) -> str:
        """The name in the peer's certificate; empty for none."""
        return ""

    def set_timeouts(self, receive: float, send: float) -> None:
        """From now on reads and writes raise PeerTimeoutError after this many seconds without a byte."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(receive))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send))

    def abort(self) -> None:
        """Wake threads that read or write; they get an error."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # not connected any more
            return

    def close(self) -> None:
        """Free the socket and passed descriptors. To be called by the thread that uses it."""
        self._drop_passed()
        self.sock.close()

    # --- reading

    def read_into(self, view: memoryview) -> None:
        """Fill `view`. Raises PeerTimeoutError or ConnectionError."""
        at = 0
        while at < len(view):
            try:
                count = self._receive(view[at:])
            except PeerTimeoutError:
                if not self.tolerates_silence():
                    raise
                continue
            if count == 0:
                raise ConnectionError("the connection was closed")
            at += count

    def _receive(self, view: memoryview) -> int:
        """Receive into `view`, all of it if it arrives in time; 0 at the end. Raises PeerTimeoutError."""
        try:
            return self.sock.recv_into(view, 0, _WAITALL)
        except BlockingIOError as error:
            raise _silent() from error

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises PeerTimeoutError or ConnectionError."""
        raw = bytearray(count)
        self.read_into(memoryview(raw))
        return bytes(raw)

    def read_header(self) -> peer_frames.FrameHeader:
        """The next frame's header."""
        return peer_frames.parse_header(self.read(peer_frames.HEADER_BYTES))

    def receive_file(self, count: int) -> bytes:
        """Receive the body of a FILE frame; the descriptor beside it becomes `passed_fd`."""
        try:
            raw, fds, _, _ = socket.recv_fds(self.sock, count, 1, _CLOEXEC)
        except BlockingIOError as error:
            raise _silent() from error
        for fd in fds:
            self._drop_passed()
            self.passed_fd = fd
        if not raw:
            raise ConnectionError("the connection was closed")
        if not fds:
            raise ProtocolError("a FILE frame without a file")
        return raw + self.read(count - len(raw)) if len(raw) < count else raw

    def has_data(self) -> bool:
        """Whether a read would return at once. Raises ConnectionError if the peer has closed."""
        try:
            if not self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionError("the connection was closed")
        except BlockingIOError:
            return False
        return True

    def first_byte(self, seconds: float) -> bytes:
        """The first byte that comes, which a read returns as well. Raises PeerTimeoutError or
        ConnectionError."""
        self.set_timeouts(seconds, seconds)
        try:
            first = self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError as error:
            raise _silent() from error
        if not first:
            raise ConnectionError("the connection was closed during the handshake")
        return first

    def wait_readable(self, seconds: float, other: Optional[int] = None) -> bool:
        """Wait up to `seconds` for data or the end, or until the descriptor `other` is readable; returns
        whether a read here would return."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        if other is not None:
            poll.register(other, select.POLLIN)
        return any(ready != other for ready, _ in poll.poll(seconds * 1000))

    # --- writing

    def write(self, data: bytes | memoryview, more: bool = False) -> None:
        """Send all of `data`; `more` means that more follows at once."""
        view = memoryview(data)
        while view:
            started = time.monotonic()
            count = self._send(view[: self._portion.bytes], more)
            view = view[count:]
            self._took(count, started)
            if view:
                self.between_sends()

    def _send(self, view: memoryview, more: bool) -> int:
        try:
            return self.sock.send(view, _MORE if more else 0)
        except BlockingIOError as error:
            raise _silent() from error

    def write_file(self, fd: int, offset: int, length: int) -> int:
        """Send a part of a file from the page cache, and zeros past its end; returns how many zeros."""
        end = offset + length
        while offset < end:
            started = time.monotonic()
            count = self._send_file(fd, offset, min(end - offset, self._portion.bytes))
            if count == 0:
                break
            offset += count
            self._took(count, started)
            if offset < end:
                self.between_sends()
        missing = end - offset
        for start in range(0, missing, len(_ZEROS)):
            self.write(_ZEROS[: missing - start])
        return missing

    def _took(self, count: int, started: float) -> None:
        """On a slow link, keep little in the kernel's buffer, so that a pause takes effect soon."""
        self.last_sent = time.monotonic()
        if self._portion.record(count, self.last_sent - started) and not self.local:
            size = self._portion.bytes
            linux_calls.limit_unsent(self.sock, size if size < MAX_SEND_BYTES else linux_calls.NO_BOUND)

    def _send_file(self, fd: int, offset: int, length: int) -> int:
        """Send some of it; returns how much, 0 at the file's end."""
        try:
            return os.sendfile(self.sock.fileno(), fd, offset, length)
        except BlockingIOError as error:
            raise _silent() from error
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return 0

    def send_descriptor(self, file: int, fd: int) -> None:
        """Pass an open file to the peer, beside the frame's body; on local connections only."""
        raw = peer_frames.file_frame(file)
        self.write(raw[: peer_frames.HEADER_BYTES])
        try:
            sent = socket.send_fds(self.sock, [raw[peer_frames.HEADER_BYTES :]], [fd])
        except BlockingIOError as error:
            raise _silent() from error
        self.write(raw[peer_frames.HEADER_BYTES + sent :])

    # --- handshake

    def dial(self, greeting: PeerHello, secret: bytes, seconds: float, peer: str = "") -> None:
        """Authenticate both ends. If `peer` is given, the other end's certificate must have this name.

        Raises HandshakeRefused, UntrustedPeerError, ProtocolError or ConnectionError.
        """
        deadline = time.monotonic() + seconds
        self.encrypt(seconds)
        if peer and self.peer != peer:
            raise UntrustedPeerError("this is the certificate of another node")
        handshake = Handshake.dial(secrets.token_bytes(peer_frames.NONCE_BYTES), greeting, secret)
        self.write(handshake.hello())
        try:
            self._shake(handshake, deadline)
        except HandshakeRefused as refused:
            if refused.refusal in _ABOUT_ENCRYPTION:
                raise UntrustedPeerError(str(refused)) from refused
            raise

    def accept(
        self,
        secret_of: Callable[[str], Optional[bytes]],
        seconds: float,
        admit: Optional[Callable[[PeerHello], None]] = None,
    ) -> PeerHello:
        """Authenticate both ends; returns the dialer's hello. `admit` as in `Handshake.listen`. Raises like
        `dial`.
        """
        deadline = time.monotonic() + seconds
        self.encrypt(seconds)
        handshake = Handshake.listen(secrets.token_bytes(peer_frames.NONCE_BYTES), secret_of, admit)
        try:
            self._shake(handshake, deadline)
        except HandshakeRefused as refused:
            self.write(refusal_frame(refused))
            raise
        assert handshake.greeting is not None
        return handshake.greeting

    def encrypt(self, seconds: float) -> None:
        """Encrypt the connection before the handshake; nothing to do unless it is encrypted."""

    def _shake(self, handshake: Handshake, deadline: float) -> None:
        """Complete the handshake by the deadline, however slowly the peer sends."""
        while handshake.bytes_needed:
            left = deadline - time.monotonic()
            if left <= 0:
                raise PeerTimeoutError("the handshake took too long")
            self.set_timeouts(left, left)
            raw = bytearray(handshake.bytes_needed)
            count = self._receive(memoryview(raw))
            if count == 0:
                raise ConnectionError("the connection was closed during the handshake")
            answer = handshake.receive(bytes(raw[:count]))
            if answer:
                self.write(answer)

    def _drop_passed(self) -> None:
        if self.passed_fd >= 0:
            os.close(self.passed_fd)
            self.passed_fd = -1


def begin_connecting(address: str, port: int) -> socket.socket:
    """Start connecting; the socket becomes writable once it has connected or failed. Raises OSError."""
    family, kind, protocol, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(where)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def connect_local(path: str, seconds: float) -> PeerConnection:
    """Connect to a Unix socket of this machine. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return PeerConnection(sock)


def _silent() -> PeerTimeoutError:
    """SO_RCVTIMEO and SO_SNDTIMEO end in EAGAIN."""
    return PeerTimeoutError("no data was received for too long")


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, max(int((seconds - whole) * 1e6), 0 if whole else 1000))
