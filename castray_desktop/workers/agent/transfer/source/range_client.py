"""Read ranges of a file from a web server (RFC 9110): HTTPS with checked certificates, redirects, proxies of
the environment, retries.

The file must stay what it was when it was first looked at: its size and its ETag are compared in each
response, and sent as `If-Match` (RFC 9110, 13.1.1).
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import re
import socket
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Callable, Optional, TypeVar

from castray_desktop.core.content.checksums import has_opaque_etag, stated_checksum
from castray_desktop.core.content.manifest import FileStatus
from castray_desktop.core.content.urls import redacted_url

try:
    import ssl
except ImportError:  # a Python that was built without OpenSSL downloads without encryption only
    ssl = None  # type: ignore[assignment]

_UNTRUSTED: type = getattr(ssl, "SSLCertVerificationError", type(None))
"""The error for a certificate that is not trusted."""

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
"""If a server sends nothing for this time, the request is repeated on a new connection."""

PATIENCE_SECONDS = 120.0
"""The download fails after this time without a byte, not counting the time that the server asks to wait."""

MAX_RETRY_AFTER_SECONDS = 900.0
FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 30.0
MAX_REDIRECTS = 5
CHUNK_BYTES = 1 << 20
MEASURED_CHUNK_BYTES = 64 << 10
ENDED_EARLY = "the server ended its answer too early"
MAX_REFUSALS = 2
"""Refusals in a row behind a redirect: its link may have expired, and another one may be good."""

USER_AGENT = "castray"

_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSALS = frozenset({400, 401, 403})
"""What servers say of a link that has expired."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STATUSES = {
    401: FileStatus.NOT_READABLE,
    403: FileStatus.NOT_READABLE,
    404: FileStatus.VANISHED,
    410: FileStatus.VANISHED,
    412: FileStatus.CHANGED,
    416: FileStatus.CHANGED,
}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)$")

T = TypeVar("T")
Pause = Callable[[float, str], None]
"""Waits for this many seconds, with the reason to show. Raises what ends the download."""


class RemoteFileError(Exception):
    """A file can't be read from its server. Its text is the reason."""

    def __init__(self, status: FileStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ServerLostError(RemoteFileError):
    """A server has sent nothing within the patience. It may be back later."""

    def __init__(self, reason: str) -> None:
        super().__init__(FileStatus.READ_ERROR, reason)


class WholeOnlyError(RemoteFileError):
    """The server has no ranges, although they were requested."""

    def __init__(self) -> None:
        super().__init__(FileStatus.READ_ERROR, "the server sends the file as a whole only")


class LinkRefusedError(RemoteFileError):
    """The server refuses a link that can be renewed: it may have expired. `number` is that of the link."""

    def __init__(self, reason: str, number: int) -> None:
        super().__init__(FileStatus.NOT_READABLE, reason)
        self.number = number


class _TemporaryError(Exception):
    """The request may succeed later, or from the link's first address on."""

    def __init__(self, reason: str, seconds: Optional[float] = None, refused: bool = False) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.refused = refused


@dataclass(frozen=True)
class RemoteState:
    """What a server says of a file."""

    size: int  # bytes
    etag: str = ""  # as in the header, with its quotes; empty if there is none
    modified_ns: int = 0  # POSIX time; 0 if it is not said
    ranges: bool = True  # whether parts of it can be requested
    checksum: str = ""  # of all of it, see `core.content.checksums`; empty if the server does not say
    opaque_etag: bool = False  # the ETag is not an MD5, although it may look like one


@dataclass(frozen=True)
class RemoteLink:
    """The address of a file, with what the server requires. It must not be shown or logged."""

    url: str = field(repr=False)
    authorization: str = field(default="", repr=False)  # value of the header; for the host of `url` alone
    number: int = 0  # of links that can be renewed, see `GiveLinks`; 0 for others
    contents: str = field(default="", repr=False)  # instead of an address, see `pack_contents`

    def refused(self, reason: str) -> RemoteFileError:
        """The error for a refusal."""
        if self.number:
            return LinkRefusedError(reason, self.number)
        return RemoteFileError(FileStatus.NOT_READABLE, reason)


class RangeClient:
    """Requests to web servers, one after the other, on one connection that is kept while the server is the
    same. For one thread, except `abort`.
    """

    def __init__(self, pause: Pause) -> None:
        self.answered = False
        """Whether a server has answered, whatever it said."""
        self._pause = pause
        self._locations: dict[str, str] = {}  # where redirects have led, by address
        self._connection: Optional[http.client.HTTPConnection] = None
        self._response: Optional[http.client.HTTPResponse] = None  # the last one
        self._connected_to = ("", "")
        self._is_reused = False
        self._aborted = False
        self.stated_checksum = ""  # by the last answer, see `RemoteState.checksum`

    def close(self) -> None:
        """Close the connection; a later request opens another one."""
        connection, self._connection = self._connection, None
        response, self._response = self._response, None
        if response is not None:
            response.close()  # it holds the socket if the server closes it after the answer
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Let the request that waits, and all later ones, fail. From any thread."""
        self._aborted = True
        connection = self._connection
        sock = connection.sock if connection is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def state(self, link: RemoteLink) -> RemoteState:
        """Ask for the first byte: signed links are often valid for GET alone. Raises RemoteFileError."""

        def ask() -> RemoteState:
            response = self._get(link, 0, 1, RemoteState(0))
            found = _state(response)
            self._finish(response)
            return found

        return self._until_answered(link, ask)

    def read(self, link: RemoteLink, start: int, view: memoryview, pinned: RemoteState) -> None:
        """Fill `view` with the bytes from `start` on. Raises RemoteFileError."""
        self._until_done(len(view), link, lambda at: self._read_some(link, start + at, view[at:], pinned))

    def read_for(self, seconds: float, link: RemoteLink, length: int, pinned: RemoteState) -> int:
        """Download the first `length` bytes for at most this many seconds; returns how many were received.

        Raises RemoteFileError.
        """

        def ask() -> int:
            until, count = time.monotonic() + seconds, 0
            response = self._get(link, 0, length, pinned)
            _compare(_state(response), pinned)
            buffer = memoryview(bytearray(MEASURED_CHUNK_BYTES))
            while count < length and time.monotonic() < until:
                came = response.readinto(buffer[: length - count])
                if not came:
                    break
                count += came
            self._finish(response)
            return count

        return self._until_answered(link, ask)

    def read_whole(self, link: RemoteLink, pinned: RemoteState) -> Iterator[memoryview]:
        """The file in chunks, from a server that has no ranges. Raises RemoteFileError."""

        def ask() -> http.client.HTTPResponse:
            response = self._get(link, 0, pinned.size, pinned)
            _compare(_state(response), pinned)
            return response

        response = self._until_answered(link, ask)
        at, buffer = 0, bytearray(CHUNK_BYTES)
        while at < pinned.size:
            try:
                count = response.readinto(buffer)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                raise RemoteFileError(FileStatus.READ_ERROR, _reason(error)) from error
            if not count:
                self.close()
                raise RemoteFileError(FileStatus.READ_ERROR, ENDED_EARLY)
            yield memoryview(buffer)[:count]
            at += count
        self._finish(response)

    def _until_answered(self, link: RemoteLink, ask: Callable[[], T]) -> T:
        """Repeat `ask` until it returns something."""
        answers: list[T] = []

        def work(_: int) -> int:
            answers.append(ask())
            return 1

        self._until_done(1, link, work)
        return answers[0]

    def _until_done(self, wanted: int, link: RemoteLink, work: Callable[[int], int]) -> None:
        """Repeat `work(at)`, which returns how many bytes it got, until all are there."""
        at, delay, waited, refusals = 0, FIRST_DELAY_SECONDS, 0.0, 0
        while True:
            began = time.monotonic()
            count, asked, reason = 0, None, ENDED_EARLY
            try:
                count = work(at)
            except _TemporaryError as error:
                reason, asked = str(error), error.seconds
                refusals += error.refused
            except (OSError, http.client.HTTPException) as error:
                reason = _reason(error)
                if isinstance(error, _UNTRUSTED):
                    raise RemoteFileError(FileStatus.READ_ERROR, reason) from error
                self._locations.pop(link.url, None)
            at += count
            if at >= wanted:
                return
            self.close()
            if refusals > MAX_REFUSALS:
                raise link.refused(reason)
            if count:
                delay, waited, refusals = FIRST_DELAY_SECONDS, 0.0, 0
                continue
            waited += time.monotonic() - began
            if waited >= PATIENCE_SECONDS:
                raise ServerLostError(reason)
            if asked is None:
                asked, delay = delay, min(delay * 2, MAX_DELAY_SECONDS)
                waited += asked
            elif asked >= 1:
                reason = f"{reason} and asks to wait {asked:.0f} s"
            self._pause(asked, reason)

    def _read_some(self, link: RemoteLink, start: int, view: memoryview, pinned: RemoteState) -> int:
        """One request; returns how much of `view` it has filled."""
        response = self._get(link, start, len(view), pinned)
        found = _state(response)
        _compare(found, pinned)
        self.stated_checksum = found.checksum
        if not found.ranges and (start or len(view) < found.size):
            self.close()
            raise WholeOnlyError
        at = 0
        try:
            while at < len(view) and (count := response.readinto(view[at:])):
                at += count
        except (OSError, http.client.HTTPException):
            if not at:
                raise
            return at
        self._finish(response)
        return at

    def _finish(self, response: http.client.HTTPResponse) -> None:
        """Keep the connection, but not if the server sends more of its answer."""
        if response.length or response.will_close:
            self.close()
        else:
            response.read()
        response.close()

    # --- requests

    def _get(
        self, link: RemoteLink, start: int, length: int, pinned: RemoteState
    ) -> http.client.HTTPResponse:
        """The response to a request, after redirects: 206, or 200 where the server has no ranges."""
        location = self._locations.get(link.url, link.url)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(link, location, start, length, pinned)
            if response.status not in _REDIRECTS:
                break
            target = urllib.parse.urljoin(location, response.getheader("Location", ""))
            self._finish(response)
            if not _may_redirect(location, target):
                where = redacted_url(target) or "nowhere"
                raise RemoteFileError(FileStatus.READ_ERROR, f"the server redirects to {where}")
            location = self._locations[link.url] = target
        else:
            raise RemoteFileError(FileStatus.READ_ERROR, "the server redirects too many times")
        if response.status in (http.client.OK, http.client.PARTIAL_CONTENT) or _is_empty(response):
            _check_start(response, start)
            return response
        self.close()
        reason = f"the server answers {response.status} {response.reason}".rstrip()
        redirected = self._locations.pop(link.url, None)
        if response.status in _TEMPORARY:
            raise _TemporaryError(reason, _retry_after(response.getheader("Retry-After")))
        if response.status in (401, 403) and redirected is not None:  # that link may have expired
            raise _TemporaryError(reason, refused=True)
        if response.status in _REFUSALS and link.number:
            raise link.refused(reason)
        raise RemoteFileError(_STATUSES.get(response.status, FileStatus.READ_ERROR), reason)

    def _request(
        self, link: RemoteLink, url: str, start: int, length: int, pinned: RemoteState
    ) -> http.client.HTTPResponse:
        parts = urllib.parse.urlsplit(url)
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if pinned.ranges:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        if pinned.etag and not pinned.etag.startswith("W/"):  # a weak one never matches
            headers["If-Match"] = pinned.etag
        if link.authorization and _origin(parts) == _origin(urllib.parse.urlsplit(link.url)):
            headers["Authorization"] = link.authorization
        while True:
            connection, target = self._connect(parts, headers)
            reused, self._is_reused = self._is_reused, True
            try:
                connection.request("GET", target, headers=headers)
                self._response = connection.getresponse()
                self.answered = True
                return self._response
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
                if not reused:
                    raise
                self.close()  # the server closed an idle connection, which is no failure

    def _connect(
        self, parts: urllib.parse.SplitResult, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, str]:
        """The connection for this address, and what to request on it: a proxy gets the whole address."""
        if self._aborted:
            raise ConnectionAbortedError("the download has ended")
        proxy, origin = _proxy(parts), _origin(parts)
        if self._connection is None or self._connected_to != origin:
            self.close()
            self._connection, self._connected_to = _new_connection(parts, proxy), origin
            self._is_reused = False
            self._connection.timeout = CONNECT_SECONDS
            self._connection.connect()
            self._connection.sock.settimeout(SILENCE_SECONDS)
        if proxy is None or parts.scheme == "https":
            return self._connection, urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
        headers.update(_proxy_headers(proxy))
        return self._connection, urllib.parse.urlunsplit((*origin, parts.path or "/", parts.query, ""))


def _new_connection(
    parts: urllib.parse.SplitResult, proxy: Optional[urllib.parse.SplitResult]
) -> http.client.HTTPConnection:
    """Not connected yet."""
    host, port = (parts.hostname or "", parts.port) if proxy is None else (proxy.hostname or "", proxy.port)
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port)
    if ssl is None:
        raise RemoteFileError(FileStatus.READ_ERROR, "this node's Python has no ssl module")
    connection = http.client.HTTPSConnection(host, port, context=ssl.create_default_context())
    if proxy is not None:
        connection.set_tunnel(parts.hostname or "", parts.port or 443, _proxy_headers(proxy))
    return connection


def _proxy(parts: urllib.parse.SplitResult) -> Optional[urllib.parse.SplitResult]:
    """The proxy that the environment names for this address."""
    found = urllib.request.getproxies().get(parts.scheme)
    if not found or urllib.request.proxy_bypass(_netloc(parts)):
        return None
    return urllib.parse.urlsplit(found if "://" in found else f"http://{found}")


def _proxy_headers(proxy: urllib.parse.SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    user = f"{urllib.parse.unquote(proxy.username)}:{urllib.parse.unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(user.encode()).decode()}


def _netloc(parts: urllib.parse.SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
    return f"{host}:{parts.port}" if parts.port else host


def _origin(parts: urllib.parse.SplitResult) -> tuple[str, str]:
    return parts.scheme, _netloc(parts)


def _may_redirect(before: str, target: str) -> bool:
    """Whether to follow: to a web server, and never from an encrypted connection to a plain one."""
    parts = urllib.parse.urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    return parts.scheme == "https" or urllib.parse.urlsplit(before).scheme == "http"


def _compare(found: RemoteState, pinned: RemoteState) -> None:
    """Raises RemoteFileError if it is another version of the file."""
    if found.size != pinned.size or (pinned.etag and found.etag != pinned.etag):
        raise RemoteFileError(FileStatus.CHANGED, "it has changed on the server")


def _check_start(response: http.client.HTTPResponse, start: int) -> None:
    """Raises RemoteFileError if these are other bytes than those that were requested."""
    match = _CONTENT_RANGE.match(response.getheader("Content-Range", ""))
    if response.status == http.client.PARTIAL_CONTENT and match is not None and int(match[1]) != start:
        raise RemoteFileError(
            FileStatus.READ_ERROR, "the server sends another part of the file than was requested"
        )


def _is_empty(response: http.client.HTTPResponse) -> bool:
    """Whether a range was refused because the file is empty."""
    return response.status == 416 and response.getheader("Content-Range", "").strip() == "bytes */0"


def _state(response: http.client.HTTPResponse) -> RemoteState:
    """Raises RemoteFileError where the size is not said."""
    etag, modified = response.getheader("ETag", ""), response.getheader("Last-Modified", "")
    if response.status == http.client.PARTIAL_CONTENT:
        match = _CONTENT_RANGE.match(response.getheader("Content-Range", ""))
        if match is None:
            raise RemoteFileError(FileStatus.READ_ERROR, "the server does not say how long the file is")
        return RemoteState(int(match[3]), etag, _nanoseconds(modified), True, *_digests(response))
    if _is_empty(response):
        return RemoteState(0, etag, _nanoseconds(modified))
    if response.length is None:
        raise RemoteFileError(FileStatus.READ_ERROR, "the server does not say how long the file is")
    return RemoteState(response.length, etag, _nanoseconds(modified), False, *_digests(response))


def _digests(response: http.client.HTTPResponse) -> tuple[str, bool]:
    partial = response.status == http.client.PARTIAL_CONTENT
    return stated_checksum(response.getheader, partial), has_opaque_etag(response.getheader)


def _nanoseconds(date: str) -> int:
    try:
        return int(email.utils.parsedate_to_datetime(date).timestamp()) * 10**9
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0


def _retry_after(value: Optional[str]) -> Optional[float]:
    """Seconds of a `Retry-After` header, which is a number or a date; None if it names no later time."""
    text = (value or "").strip()
    seconds = float(text) if text.isdecimal() else _nanoseconds(text) / 1e9 - time.time()
    return min(seconds, MAX_RETRY_AFTER_SECONDS) if seconds > 0 else None


def _reason(error: Exception) -> str:
    """The reason in words, without an address: a link may be secret."""
    if isinstance(error, _UNTRUSTED):
        return f"the server's certificate is not trusted: {getattr(error, 'verify_message', '')}"
    if isinstance(error, socket.timeout):
        return "the server does not respond"
    if isinstance(error, socket.gaierror):
        return "the server's name is unknown"
    if isinstance(error, OSError):
        return error.strerror or str(error) or "the connection was closed"
    return "the server's answer can't be understood"
