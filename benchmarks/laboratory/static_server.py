"""A web server for benchmarks: files of a folder with ranges and ETags, sent by `sendfile`.

    python -m benchmarks.laboratory.static_server FOLDER --address 10.77.0.1 --port 8080

It answers the requests of `hf download` for one file as well: `/ORGANIZATION/NAME/resolve/main/FILE` is FILE.
Prints "ready" once it listens. One thread for each connection; the kernel copies the bytes.
"""

from __future__ import annotations

import argparse
import email.utils
import http.server
import os
import re
import socket
import sys
import traceback
from pathlib import Path
from urllib.parse import unquote, urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_HUB = re.compile(r"/[^/]+/[^/]+/resolve/main")
COMMIT = "0" * 40


class StaticServer(http.server.ThreadingHTTPServer):
    """Serves `folder`."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], folder: Path) -> None:
        self.folder = folder
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client may close its connection at any time, also between two requests."""
        if not isinstance(sys.exception(), ConnectionError):
            traceback.print_exc()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StaticServer

    def setup(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().setup()

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = _HUB.sub("", unquote(urlsplit(self.path).path), count=1)
        try:
            file = (self.server.folder / path.lstrip("/")).open("rb")
        except OSError:
            self.send_error(404)
            return
        with file:
            facts = os.fstat(file.fileno())
            etag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}"'
            if self.headers.get("If-Match", etag) != etag:
                self.send_error(412)
                return
            start, end = 0, facts.st_size
            match = _RANGE.match(self.headers.get("Range", ""))
            if match is not None:
                start = int(match[1])
                end = min(int(match[2] or end) + 1, end)
            self.send_response(200 if match is None else 206)
            if match is not None:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{facts.st_size}")
            self.send_header("Content-Length", str(end - start))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("ETag", etag)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Last-Modified", email.utils.formatdate(facts.st_mtime, usegmt=True))
            self.end_headers()
            if with_body:
                self.wfile.flush()
                try:
                    while start < end:
                        count = os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)
                        if not count:
                            break
                        start += count
                except OSError:
                    self.close_connection = True

    def log_message(self, *args: object) -> None:
        """Nothing."""


def main() -> int:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.laboratory.static_server")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args()
    with StaticServer((arguments.address, arguments.port), arguments.folder) as server:
        print("ready", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
