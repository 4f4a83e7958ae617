"""A proxy before an S3 server, which answers requests for ranges of objects with faults. All others pass.

Of objects in parts it says what moto does not: the type of their checksum, and the sizes of their parts.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from tests.helpers.servers.ranged_answers import Answer, send_range

_HOP = frozenset({"connection", "content-length", "content-range", "date", "server", "transfer-encoding"})
"""Headers that are those of the proxy's own answer."""


class S3Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to the server at `host`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = host
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults: list[Answer] = []  # for the next requests for a range, one each
        self.gate: threading.Event | None = None  # ranges wait for it
        self.sent_bytes = 0  # of ranges
        self.questions: list[tuple[str, str]] = []  # other requests than for ranges: method and address
        self.refused: frozenset[str] = frozenset()  # of these, methods that are refused
        self.part_sizes: dict[
            str, list[int]
        ] = {}  # of objects whose checksum is that of their parts, by path
        self.lock = threading.Lock()
        self._seen: set[str] = set()  # signatures of links that were used
        self._expired: set[str] = set()

    def expire_links(self) -> None:
        """All links that were used are refused from now on."""
        with self.lock:
            self._expired |= self._seen

    def use_link(self, signature: str) -> bool:
        """Note its use; returns whether it is still good."""
        with self.lock:
            self._seen.add(signature)
            return signature not in self._expired

    def handle_error(self, request: object, client_address: object) -> None:
        """Peers that close early are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Proxy
    timeout = 20

    def do_GET(self) -> None:
        if "Range" not in self.headers:
            self._pass_on()
            return
        with self.server.lock:
            fault = self.server.faults.pop(0) if self.server.faults else Answer()
        signature = parse_qs(urlsplit(self.path).query).get("X-Amz-Signature", [""])[0]
        if not self.server.use_link(signature):
            fault = Answer(status=403)
        if fault.status:
            self._answer(fault.status, fault.headers, b"")
            return
        status, headers, body = self._ask()
        if status != http.client.OK:
            self._answer(status, headers, body)
            return

        def count(length: int) -> None:
            with self.server.lock:
                self.server.sent_bytes += length

        send_range(self, body, headers, fault, count, gate=self.server.gate)

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        self.server.questions.append((self.command, self.path))
        if self.command in self.server.refused:
            self._answer(403, {}, b"")
            return
        status, headers, body = self._ask()
        parts = urlsplit(self.path)
        sizes = self.server.part_sizes.get(parts.path)
        if sizes is not None and self.command == "HEAD":
            for name in [name for name in headers if name.lower().startswith("x-amz-checksum-")]:
                headers[name] += "-" + headers["ETag"].strip('"').partition("-")[2]
                headers["x-amz-checksum-type"] = "COMPOSITE"
        elif sizes is not None and parts.query.startswith("attributes"):
            body = self._with_parts(body, sizes)
        self._answer(status, headers, body)

    def _with_parts(self, body: bytes, sizes: list[int]) -> bytes:
        """The attributes of an object with two of its parts."""
        first = int(self.headers.get("x-amz-part-number-marker") or 0)
        shown = list(enumerate(sizes, 1))[first : first + 2]
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size></Part>" for number, size in shown
        )
        last = shown[-1][0]
        more = "true" if last < len(sizes) else "false"
        listed += f"<IsTruncated>{more}</IsTruncated><NextPartNumberMarker>{last}</NextPartNumberMarker>"
        before, end, after = body.rpartition(b"</")
        return before + f"<ObjectParts>{listed}</ObjectParts>".encode() + end + after

    def _ask(self) -> tuple[int, dict[str, str], bytes]:
        """The server's answer to this request, without its range."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "range"}
        with contextlib.closing(http.client.HTTPConnection(self.server.host, timeout=20)) as connection:
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            found = {name: value for name, value in response.getheaders() if name.lower() not in _HOP}
            if self.command == "HEAD":
                found["Content-Length"] = response.getheader("Content-Length", "0")
            return response.status, found, response.read()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing."""


@contextlib.contextmanager
def s3_proxy(url: str) -> Iterator[S3Proxy]:
    """A running proxy before the server at this address."""
    server = S3Proxy(urlsplit(url).netloc)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
