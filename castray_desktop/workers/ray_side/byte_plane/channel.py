"""One connection of the byte plane: exact reads and writes on a blocking socket, and its handshake.

The kernel does the waiting (SO_RCVTIMEO, SO_SNDTIMEO), so a read of a piece is one system call rather
than one for each segment. Another thread ends a connection with `abort`.
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

from castray_desktop.core import wire
from castray_desktop.core.handshake import Greeting, Handshake, Refused, refusal_frame
from castray_desktop.core.pacing import ALL_AT_ONCE, Portion
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.byte_plane import linux

_MORE = getattr(socket, "MSG_MORE", 0)
_WAITALL = getattr(socket, "MSG_WAITALL", 0)
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_ZEROS = bytes(1 << 16)
_UNREADABLE = (errno.EIO, errno.ESTALE)

UNHEARD_SECONDS = 60.0
"""A peer that acknowledges nothing for so long has gone, also where there is little to send."""


class Silent(ConnectionError):
    """The peer sent nothing for too long, or took nothing."""


class Untrusted(OSError):
    """A certificate of one end is not one that the other trusts."""


class Channel:
    """A connected socket. One thread reads and writes; any thread may `abort`."""

    def __init__(self, sock: socket.socket, local: bool = True) -> None:
        """A Unix socket passes open files, unless it is not `local` but leads elsewhere."""
        self._socket = sock
        self.local = local and sock.family == socket.AF_UNIX
        self.passed_fd = -1
        self.patient: Callable[[], bool] = lambda: False
        """Whether silence is borne at the moment, in the middle of something as well."""
        self.between: Callable[[], None] = lambda: None
        """Called between two portions of what is sent."""
        self._portion = Portion()
        sock.settimeout(None)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            linux.give_up_after(sock, UNHEARD_SECONDS)
            if sock.getpeername()[0] != sock.getsockname()[0]:  # its timers cost much on a loopback
                linux.prefer_bbr(sock)

    def limit_silence(self, receive: float, send: float) -> None:
        """From now on reads and writes raise Silent after that many seconds without a byte."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(receive))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send))

    def abort(self) -> None:
        """Wake whoever reads or writes; they get an error."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # not connected any more
            return

    def close(self) -> None:
        """Free the socket and what was passed. For the thread that uses it."""
        self._drop_passed()
        self._socket.close()

    # --- reading

    def read_into(self, view: memoryview) -> None:
        """Fill `view`. Raises Silent or ConnectionError."""
        at = 0
        while at < len(view):
            try:
                count = self._receive(view[at:])
            except Silent:
                if not self.patient():
                    raise
                continue
            if count == 0:
                raise ConnectionError("the connection was closed")
            at += count

    def _receive(self, view: memoryview) -> int:
        """What there is for `view`, all of it if it comes in time; 0 at the end. Raises Silent."""
        try:
            return self._socket.recv_into(view, 0, _WAITALL)
        except BlockingIOError as error:
            raise _silent() from error

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises Silent or ConnectionError."""
        try:
            whole = self._socket.recv(count, _WAITALL)
        except BlockingIOError:
            if self.patient():
                return self._rest(count)
            raise _silent() from None
        if len(whole) == count:
            return whole
        return whole + self._rest(count - len(whole)) if whole else self._rest(count)

    def _rest(self, count: int) -> bytes:
        raw = bytearray(count)
        self.read_into(memoryview(raw))
        return bytes(raw)

    def read_header(self) -> wire.Header:
        """The next frame's header."""
        return wire.parse_header(self.read(wire.HEADER_BYTES))

    def take_file(self, count: int) -> bytes:
        """The body of a FILE frame; the descriptor beside it becomes `passed_fd`."""
        try:
            raw, fds, _, _ = socket.recv_fds(self._socket, count, 1, _CLOEXEC)
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

    def something_to_read(self) -> bool:
        """Whether a read would return at once. Raises ConnectionError if the peer has closed."""
        try:
            if not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                raise ConnectionError("the connection was closed")
        except BlockingIOError:
            return False
        return True

    def await_readable(self, seconds: float) -> bool:
        """Whether there is something to read, or the end, within `seconds`."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def await_either(self, fd: int, seconds: float) -> bool:
        """Wait for this connection or for `fd` to become readable; whether a read here would return."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(fd, select.POLLIN)
        return any(ready != fd for ready, _ in poll.poll(seconds * 1000))

    # --- writing

    def write(self, data: bytes | memoryview, more: bool = False) -> None:
        """Send all of `data`; `more` says that something follows at once."""
        view = memoryview(data)
        while view:
            started = time.monotonic()
            count = self._send(view[: self._portion.bytes], more)
            view = view[count:]
            self._took(count, started)
            if view:
                self.between()

    def _send(self, view: memoryview, more: bool) -> int:
        try:
            return self._socket.send(view, _MORE if more else 0)
        except BlockingIOError as error:
            raise _silent() from error

    def write_file(self, fd: int, offset: int, length: int) -> int:
        """Send a part of a file from the page cache, zeros for what lies past its end; how many zeros."""
        end = offset + length
        while offset < end:
            started = time.monotonic()
            count = self._send_file(fd, offset, min(end - offset, self._portion.bytes))
            if count == 0:
                break
            offset += count
            self._took(count, started)
            if offset < end:
                self.between()
        missing = end - offset
        for start in range(0, missing, len(_ZEROS)):
            self.write(_ZEROS[: missing - start])
        return missing

    def _took(self, count: int, started: float) -> None:
        """On a slow line little waits in the kernel, so that a pause ends the sending soon."""
        if self._portion.took(count, time.monotonic() - started) and not self.local:
            size = self._portion.bytes
            linux.hold_unsent(self._socket, size if size < ALL_AT_ONCE else linux.NO_BOUND)

    def _send_file(self, fd: int, offset: int, length: int) -> int:
        """Some of it, and how much; 0 at the file's end, or where it can't be read: the digest tells."""
        try:
            return os.sendfile(self._socket.fileno(), fd, offset, length)
        except BlockingIOError as error:
            raise _silent() from error
        except OSError as error:
            if error.errno not in _UNREADABLE:
                raise
            return 0

    def pass_file(self, file: int, fd: int) -> None:
        """Hand an open file to the peer, beside the frame's body; on local channels only."""
        raw = wire.file_frame(file)
        self.write(raw[: wire.HEADER_BYTES])
        try:
            sent = socket.send_fds(self._socket, [raw[wire.HEADER_BYTES :]], [fd])
        except BlockingIOError as error:
            raise _silent() from error
        self.write(raw[wire.HEADER_BYTES + sent :])

    # --- handshake

    def dial(self, greeting: Greeting, secret: bytes, seconds: float) -> None:
        """Prove both ends to each other. Raises Refused, ProtocolError or ConnectionError."""
        deadline = time.monotonic() + seconds
        self.secure(seconds)
        handshake = Handshake.dial(secrets.token_bytes(wire.NONCE_BYTES), greeting, secret)
        self.write(handshake.hello())
        self._shake(handshake, deadline)

    def listen(self, secret_of: Callable[[str], Optional[bytes]], seconds: float) -> Greeting:
        """Prove both ends to each other; who dialled and what for. Raises like `dial`."""
        deadline = time.monotonic() + seconds
        self.secure(seconds)
        handshake = Handshake.listen(secrets.token_bytes(wire.NONCE_BYTES), secret_of)
        try:
            self._shake(handshake, deadline)
        except Refused as refused:
            self.write(refusal_frame(refused))
            raise
        assert handshake.greeting is not None
        return handshake.greeting

    def secure(self, seconds: float) -> None:
        """What comes before the handshake; nothing, unless the channel is encrypted."""

    def _shake(self, handshake: Handshake, deadline: float) -> None:
        """All of it until then, however slowly the peer drips its bytes."""
        while handshake.wanted:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Silent("the handshake took too long")
            self.limit_silence(left, left)
            raw = bytearray(handshake.wanted)
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
    """A socket on its way to a listener: writable once it has arrived or failed. Raises OSError."""
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


def connect_local(path: str, seconds: float) -> Channel:
    """A channel to a listener of this machine. Raises OSError."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Channel(sock)


def _silent() -> Silent:
    """SO_RCVTIMEO and SO_SNDTIMEO end in EAGAIN."""
    return Silent("nothing came through for too long")


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("ll", whole, max(int((seconds - whole) * 1e6), 0 if whole else 1000))
