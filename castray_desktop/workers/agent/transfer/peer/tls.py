"""Encrypted data connections.

Where Ray itself runs with TLS, connections are encrypted with Ray's own certificates. Both ends present a
certificate that is checked against the cluster's CA. Names are not compared: a peer with a certificate of
that CA belongs to the cluster, and the handshake inside proves that it knows the cast.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Optional

from castray_desktop.workers.agent.transfer.peer.connection import (
    PeerConnection,
    PeerTimeoutError,
    UntrustedPeerError,
)

TLS_VARIABLES = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")

_CHUNK_BYTES = 256 << 10
_FAREWELL_SECONDS = 1.0


class Certificates:
    """The node's certificate, and the authority it trusts."""

    def __init__(self, certificate: str, key: str, authority: str) -> None:
        """Read these files. Raises OSError that says which variables name them."""
        self._listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._dialling = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._dialling.check_hostname = False
        for context in (self._listening, self._dialling):
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_cert_chain(certificate, key)
                context.load_verify_locations(authority)
            except OSError as error:  # ssl.SSLError is one
                names = ", ".join(TLS_VARIABLES)
                raise OSError(f"RAY_USE_TLS is on, but {names} can't be used: {error}") from error

    def connection(self, sock: socket.socket, listening: bool) -> PeerConnection:
        """An encrypted channel; its first handshake is part of `dial` or `listen`. Raises OSError."""
        return TlsConnection(sock, self._listening if listening else self._dialling, listening)


def uses_tls(environment: Mapping[str, str]) -> bool:
    """Whether Ray encrypts its connections in a process with this environment."""
    return environment.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def ray_certificates(environment: Mapping[str, str]) -> Optional[Certificates]:
    """Ray's certificates, if it runs with TLS, else None. Raises OSError."""
    if not uses_tls(environment):
        return None
    certificate, key, authority = (environment.get(name, "") for name in TLS_VARIABLES)
    return Certificates(certificate, key, authority)


class TlsConnection(PeerConnection):
    """A data connection through TLS. The kernel can't send files through it: they are read and sent."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, listening: bool) -> None:
        super().__init__(sock)
        self._tls = context.wrap_socket(sock, server_side=listening, do_handshake_on_connect=False)
        self._socket = self._tls
        self._listening = listening
        self._ahead = b""  # what was read in order to see whether there is something
        self._seconds: tuple[Optional[float], Optional[float]] = (None, None)

    def set_timeouts(self, receive: float, send: float) -> None:
        self._seconds = receive, send

    def abort(self) -> None:
        """Unlike SSLSocket.shutdown, this keeps the encryption on."""
        try:
            socket.socket.shutdown(self._tls, socket.SHUT_RDWR)
        except OSError:  # not connected any more
            return

    def encrypt(self, seconds: float) -> None:
        """The handshake of TLS. Raises Untrusted, Silent or ConnectionError."""
        self._tls.settimeout(seconds)
        try:
            self._tls.do_handshake()
        except socket.timeout as error:
            raise PeerTimeoutError("the handshake took too long") from error
        except ssl.SSLError as error:
            if self._listening:
                self._say_goodbye()
            raise _as_os_error(error) from error

    def read(self, count: int) -> bytes:
        return self._rest(count)

    def _receive(self, view: memoryview) -> int:
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count], self._ahead = self._ahead[:count], self._ahead[count:]
            return count
        self._tls.settimeout(self._seconds[0])
        try:
            return self._tls.recv_into(view)
        except socket.timeout as error:
            raise PeerTimeoutError("nothing came through for too long") from error
        except ssl.SSLError as error:
            raise _as_os_error(error) from error

    def has_data(self) -> bool:
        if self._ahead or self._tls.pending():
            return True
        if not super().wait_readable(0):
            return False
        self._tls.settimeout(0)
        try:
            self._ahead = self._tls.recv(1)
        except ssl.SSLWantReadError:  # part of a record, or one without data
            return False
        except ssl.SSLError as error:
            raise _as_os_error(error) from error
        if not self._ahead:
            raise ConnectionError("the connection was closed")
        return True

    def wait_readable(self, seconds: float) -> bool:
        return bool(self._ahead or self._tls.pending()) or super().wait_readable(seconds)

    def _send(self, view: memoryview, more: bool) -> int:
        self._tls.settimeout(self._seconds[1])
        try:
            return self._tls.send(view[:_CHUNK_BYTES])
        except socket.timeout as error:
            raise PeerTimeoutError("nothing came through for too long") from error
        except ssl.SSLError as error:
            raise _as_os_error(error) from error

    def _send_file(self, fd: int, offset: int, length: int) -> int:
        chunk = os.pread(fd, min(length, _CHUNK_BYTES), offset)
        self.write(chunk)
        return len(chunk)

    def _say_goodbye(self) -> None:
        """Wait until the peer has closed: closing earlier might overtake the alert with the reason."""
        try:
            socket.socket.shutdown(self._tls, socket.SHUT_WR)
            deadline = time.monotonic() + _FAREWELL_SECONDS
            poll = select.poll()
            poll.register(self._tls, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
                if not os.read(self._tls.fileno(), 4096):
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
