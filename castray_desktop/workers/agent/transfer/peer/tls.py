"""Encrypted data connections.

The engine gives each agent a certificate, so that connections between machines are encrypted by TLS 1.3. Both
ends present theirs, and compare the other's name with the node that it has to be. Where Ray itself runs with
TLS, Ray's certificates are used instead. Their names are not compared: a peer with a certificate of that
authority belongs to the cluster, and the handshake inside proves that it knows the cast.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

from castray_desktop.core.protocol.nodes.driver_protocol import NodeCertificate
from castray_desktop.workers.agent.transfer.peer.connection import (
    UNREADABLE,
    PeerConnection,
    PeerTimeoutError,
    UntrustedPeerError,
)
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

try:
    import ssl
except ImportError:  # a Python that was built without OpenSSL; its agent has no certificates
    ssl = None  # type: ignore[assignment]

TLS_VARIABLES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")

HANDSHAKE_RECORD = b"\x16"
"""The first byte of a connection that begins with TLS. That of a plain one is the type of a frame."""

_CHUNK_BYTES = 256 << 10
_RECORD_BYTES = 16 << 10
_LONGEST_RECORD = _RECORD_BYTES + 5 + 256  # encrypted, with its header
_FAREWELL_SECONDS = 1.0


def certificate_name(digest: bytes) -> str:
    """The name in the certificate of a node with this `node_digest`."""
    return f"{digest.hex()}.castray"


class Certificates:
    """The node's certificate, and the authority it trusts."""

    def __init__(self, of_engine: bool, load: Callable[[ssl.SSLContext], None]) -> None:
        """`load` puts the certificates into a context, and may raise OSError. With those `of_engine`, the
        version is TLS 1.3, and names are compared. Raises OSError.
        """
        self.of_engine = of_engine
        if ssl is None:
            raise OSError("this Python has no ssl module")
        if of_engine and not ssl.HAS_TLSv1_3:
            raise OSError(f"{ssl.OPENSSL_VERSION} has no TLS 1.3")
        self._listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._dialling.check_hostname = False  # it would send the name in clear: see `TlsConnection.peer`
        self._listening.num_tickets = 0  # every connection has keys of its own
        for context in (self._listening, self._dialling):
            context.minimum_version = ssl.TLSVersion.TLSv1_3 if of_engine else ssl.TLSVersion.TLSv1_2
            context.verify_mode = ssl.CERT_REQUIRED
            load(context)

    def connection(self, sock: socket.socket, listening: bool) -> PeerConnection:
        """An encrypted channel; its first handshake is part of `dial` or `listen`. Raises OSError."""
        return TlsConnection(sock, self._listening if listening else self._dialling, listening)


def uses_tls(environment: Mapping[str, str]) -> bool:
    """Whether Ray encrypts its connections in a process with this environment."""
    return environment.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def ray_certificates(environment: Mapping[str, str]) -> Optional[Certificates]:
    """Ray's certificates, if it runs with TLS, else None. Raises OSError that names the variables."""
    if not uses_tls(environment):
        return None
    certificate, key, authority = (environment.get(name, "") for name in TLS_VARIABLES)

    def load(context: ssl.SSLContext) -> None:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)

    try:
        return Certificates(False, load)
    except OSError as error:  # ssl.SSLError is one
        names = ", ".join(TLS_VARIABLES)
        raise OSError(f"RAY_USE_TLS is on, but {names} can't be used: {error}") from error


def engine_certificates(issued: NodeCertificate) -> Certificates:
    """The certificate that the engine has issued for this node. Raises OSError if it can't be used."""
    if not all(text and text.isascii() for text in (issued.certificate, issued.key, issued.authority)):
        raise OSError("a certificate that is not PEM")  # `ssl` raises other errors for these
    with _private_file(f"{issued.certificate}{issued.key}".encode()) as path:

        def load(context: ssl.SSLContext) -> None:
            context.load_cert_chain(path)
            context.load_verify_locations(cadata=issued.authority)

        return Certificates(True, load)


@contextlib.contextmanager
def _private_file(content: bytes) -> Iterator[str]:
    """A path of this content, for OpenSSL, which reads keys from files only. It is in memory where the system
    can do that, and never readable for other users.
    """
    try:
        fd = os.memfd_create("castray")
    except (AttributeError, OSError):  # not Linux, or not allowed
        fd = -1
    if fd >= 0:
        try:
            os.write(fd, content)
            if os.path.exists(path := f"/proc/self/fd/{fd}"):
                yield path
                return
        finally:
            os.close(fd)
    with tempfile.TemporaryDirectory(prefix="castray-") as folder:  # mode 0700
        path = os.path.join(folder, "node.pem")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        yield path


class TlsConnection(PeerConnection):
    """A data connection through TLS. The kernel can't send files through it: they are read and sent.

    OpenSSL encrypts and decrypts in memory, a record of 16 KiB at a time; the socket is read and written in
    larger blocks, and with the timeouts of a plain connection.
    """

    encrypted = True

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, listening: bool) -> None:
        super().__init__(sock, local=False)
        self._listening = listening
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=listening)
        self._ahead = b""  # what was decrypted in order to see whether there is something
        self._received = memoryview(bytearray(_RECORD_BYTES))
        self._plain: Optional[memoryview] = None  # what was read from a file
        self._ended = False

    @property
    def peer(self) -> str:
        """The name in the certificate of the other end, as `certificate_name` has it; empty for none."""
        found: Any = self._tls.getpeercert() or {}
        names = [value for kind, value in found.get("subjectAltName", ()) if kind == "DNS"]
        return names[0] if len(names) == 1 else ""

    def encrypt(self, seconds: float) -> None:
        """The handshake of TLS. Raises UntrustedPeerError, PeerTimeoutError or ConnectionError."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise PeerTimeoutError("the handshake took too long") from None
                self.set_timeouts(left, left)
                self._flush()
                if not self._fill(1):
                    raise ConnectionError("the connection was closed during the handshake") from None
            except ssl.SSLError as error:
                with contextlib.suppress(OSError):
                    self._flush()  # the alert
                if self._listening:
                    self._say_goodbye()
                raise _as_os_error(error) from error

    # --- reading

    def _receive(self, view: memoryview) -> int:
        filled = 0
        while filled < len(view):
            count = self._decrypt_into(view[filled:])
            if count:
                filled += count
                continue
            try:
                if not self._fill(len(view) - filled):
                    return filled
            except PeerTimeoutError:
                if filled:
                    return filled
                raise
        return filled

    def _decrypt_into(self, view: memoryview) -> int:
        """Decrypt what has come; returns 0 if that is no complete record."""
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count], self._ahead = self._ahead[:count], self._ahead[count:]
            return count
        try:
            return self._tls.read(len(view), view)  # type: ignore[return-value]
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            raise self._ends_with(error) from error

    def _fill(self, wanted: int, flags: int = 0) -> int:
        """Receive some bytes for OpenSSL, for `wanted` bytes of plain text; returns 0 at the end."""
        if self._ended:
            return 0
        certain = wanted - self._incoming.pending - _LONGEST_RECORD  # OpenSSL may have a part of a record
        if certain > _RECORD_BYTES:  # so many bytes at least have to come: wake up once for them
            if len(self._received) < _CHUNK_BYTES:
                self._received = page_buffer(_CHUNK_BYTES)
            most = min(certain, _CHUNK_BYTES)
            flags |= getattr(socket, "MSG_WAITALL", 0)
        else:
            most = len(self._received)
        try:
            count = self.sock.recv_into(self._received, most, flags)
        except BlockingIOError as error:
            raise PeerTimeoutError("no data was received for too long") from error
        if count:
            self._incoming.write(self._received[:count])
        else:
            self._ended = True
        return count

    def has_data(self) -> bool:
        while not self._has_plain():
            try:
                if not self._fill(1, socket.MSG_DONTWAIT):
                    raise ConnectionError("the connection was closed")
            except PeerTimeoutError:  # nothing there, part of a record, or one without data
                return False
        return True

    def _has_plain(self) -> bool:
        """Whether something that has come can be read."""
        if not self._ahead:
            try:
                self._ahead = self._tls.read(_RECORD_BYTES)
            except ssl.SSLWantReadError:
                return False
            except ssl.SSLError as error:
                raise self._ends_with(error) from error
        return True

    def _ends_with(self, error: ssl.SSLError) -> OSError:
        self._ended = True
        return _as_os_error(error)

    def wait_readable(self, seconds: float, other: Optional[int] = None) -> bool:
        return self._has_plain() or super().wait_readable(seconds, other)

    # --- writing

    def _send(self, view: memoryview, more: bool) -> int:
        count = self._encrypt(view[:_CHUNK_BYTES])
        if not more:
            self._flush()
        return count

    def _send_file(self, fd: int, offset: int, length: int) -> int:
        if self._plain is None:
            self._plain = page_buffer(_CHUNK_BYTES)
        view = self._plain[: min(length, _CHUNK_BYTES)]
        try:
            count = os.preadv(fd, [view], offset)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            return 0
        if count:
            self._encrypt(view[:count])
            self._flush()
        return count

    def _encrypt(self, view: memoryview) -> int:
        try:
            return self._tls.write(view)
        except ssl.SSLError as error:
            raise _as_os_error(error) from error

    def _flush(self) -> None:
        """Send what OpenSSL has written."""
        view = memoryview(self._outgoing.read())
        while view:
            view = view[super()._send(view, False) :]

    def _say_goodbye(self) -> None:
        """Wait until the peer has closed: closing earlier might overtake the alert with the reason."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            deadline = time.monotonic() + _FAREWELL_SECONDS
            poll = select.poll()
            poll.register(self.sock, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
                if not self.sock.recv(4096):
                    return
        except OSError:  # it has closed
            return


def _as_os_error(error: ssl.SSLError) -> OSError:
    """Convert to an error that says whether it is about trust."""
    reason = error.reason or ""
    text = getattr(error, "verify_message", "") or reason.replace("_", " ").lower() or str(error)
    refused = "ALERT" in reason and "RECORD" not in reason  # that one is about damage
    if refused or "CERTIFICATE" in reason:
        return UntrustedPeerError(text)
    return ConnectionError(f"TLS: {text}")
