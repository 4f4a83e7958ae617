"""A web server with ranges for tests, which fails as it is told to."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from tests.helpers.servers.ranged_answers import Answer, send_range


@dataclass
class ServedFile:
    """A file of the server, and how it serves it."""

    payload: bytes
    etag: str = ""
    modified: float = 1_700_000_000.0
    ranges: bool = True
    says_length: bool = True
    redirect: str = ""  # to this address instead
    authorization: str = ""  # required value of the header
    headers: dict[str, str] = field(default_factory=dict)  # of each answer that has bytes of it
    query: str = ""  # required: a signature that has not expired
    faults: list[Answer] = field(default_factory=list)  # for the next requests, one each
    gate: threading.Event | None = None  # bodies wait for it after the first request
    served: int = 0  # bytes of its body that were sent, or are being sent
    requests: list[dict[str, str]] = field(default_factory=list)  # their headers

    def __post_init__(self) -> None:
        self.etag = self.etag or f'"{hashlib.sha256(self.payload).hexdigest()[:16]}"'

    def replace(self, payload: bytes) -> None:
        """Change the file."""
        self.payload, self.etag = payload, f'"{hashlib.sha256(payload).hexdigest()[:16]}"'


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves `files` by path."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), _Handler)
        self.scheme = "http"
        self.files: dict[str, ServedFile] = {}
        self.lock = threading.Lock()
        self.answering = 0  # requests

    def add(self, path: str, payload: bytes) -> ServedFile:
        file = self.files[path] = ServedFile(payload)
        return file

    def url(self, path: str) -> str:
        return f"{self.scheme}://{self.server_address[0]!s}:{self.server_address[1]}{path}"

    def encrypt(self, certificate: Path, key: Path) -> None:
        """Serve by HTTPS from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "https"

    def handle_error(self, request: object, client_address: object) -> None:
        """Peers that close early are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RangeServer
    timeout = 20

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.answering += 1
        try:
            self._answer()
        finally:
            with self.server.lock:
                self.server.answering -= 1

    def _answer(self) -> None:
        file = self.server.files.get(urlsplit(self.path).path)
        if file is None:
            self._refuse(404)
            return
        with self.server.lock:
            file.requests.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            fault = file.faults.pop(0) if file.faults else Answer()
        if fault.status:
            self._refuse(fault.status, fault.headers)
        elif file.redirect:
            self._refuse(302, {"Location": file.redirect})
        elif (file.authorization and self.headers.get("Authorization") != file.authorization) or (
            file.query and urlsplit(self.path).query != file.query
        ):
            self._refuse(403)
        elif self.headers.get("If-Match", file.etag) != file.etag:
            self._refuse(412)
        else:
            self._send(file, fault)

    def _send(self, file: ServedFile, fault: Answer) -> None:
        headers = {
            "ETag": file.etag,
            "Last-Modified": email.utils.formatdate(file.modified, usegmt=True),
            **file.headers,
        }
        gate = file.gate if len(file.requests) > 1 else None

        def count(length: int) -> None:
            with self.server.lock:
                file.served += length

        send_range(self, file.payload, headers, fault, count, file.ranges, file.says_length, gate)

    def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def range_server(address: str = "127.0.0.1") -> Iterator[RangeServer]:
    """A running server."""
    server = RangeServer(address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
