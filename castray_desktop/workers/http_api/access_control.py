"""Access to the API: tokens, a check of the `Host` header, and limits of connections."""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hmac
import ipaddress
import os
import resource
import secrets
import socket
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from castray_desktop.workers.http_api.problems import (
    BAD_HOST,
    BODY_TOO_LARGE,
    HEADERS_TOO_LARGE,
    NO_TOKEN,
    READ_ONLY,
    REQUEST_TIMEOUT,
    Problem,
    encode_problem,
    problem_response,
)

_CONNECTION = "castray.connection"


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of a connection, and of their number."""

    headers_seconds: float = 10.0
    """Timeout from the start of a connection or request until its headers are complete."""
    body_seconds: float = 30.0
    """Timeout from the headers until the body is complete."""
    header_bytes: int = 64 * 1024
    body_bytes: int = 1024 * 1024
    arrival_seconds: float = 5.0
    """Time that a connection has in any case, if there are too many that have not sent the token."""
    strangers: int = 128
    connections: int = 1024

    @classmethod
    def of_process(cls) -> ConnectionLimits:
        """Limits by which connections use at most half of this process's file descriptors."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files == resource.RLIM_INFINITY:
            return cls()
        return cls(strangers=min(cls.strangers, files // 4), connections=min(cls.connections, files // 2))


class UnauthenticatedClients:
    """Unauthenticated connections, the oldest first."""

    def __init__(self, bounds: ConnectionLimits) -> None:
        self.bounds = bounds
        self._strangers: dict[LimitedConnection, None] = {}
        self._closing: asyncio.TimerHandle | None = None

    def add(self, connection: LimitedConnection, connections: int) -> None:
        """Add a connection, of `connections` in total; close unauthenticated ones if there are too many.

        When hundreds of clients come at once, as after a restart, all of them are accepted before the first
        request is read. So they have `arrival_seconds`, unless there are too many connections in total.
        """
        self._strangers[connection] = None
        if connections > self.bounds.connections:
            self._close_oldest()
        elif len(self._strangers) > self.bounds.strangers and self._closing is None:
            self._closing = connection.loop.call_later(self.bounds.arrival_seconds, self._close_surplus)

    def _close_surplus(self) -> None:
        self._closing = None
        while len(self._strangers) > self.bounds.strangers:
            self._close_oldest()

    def _close_oldest(self) -> None:
        """Close the oldest of the address that has the most."""
        hosts = Counter(stranger.host for stranger in self._strangers)
        busiest = max(hosts, key=lambda host: hosts[host])
        oldest = next(stranger for stranger in self._strangers if stranger.host == busiest)
        self.discard(oldest)
        oldest.transport.abort()

    def discard(self, connection: LimitedConnection) -> None:
        """The connection was closed or authenticated."""
        self._strangers.pop(connection, None)


def mark_authenticated(scope: Scope) -> None:
    """The request had the token: its connection counts as authenticated."""
    connection: LimitedConnection | None = scope.get("state", {}).get(_CONNECTION)
    if connection is not None:
        connection.visitors.discard(connection)


class LimitedConnection(HttpToolsProtocol):
    """A connection with limits. A refused request gets a reason, then the connection is closed."""

    def __init__(self, visitors: UnauthenticatedClients, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self.visitors = visitors
        self._bounds = visitors.bounds
        self._deadline: asyncio.TimerHandle | None = None
        self._in_headers = True
        self._header_bytes = 0
        self._body_bytes = 0
        self._refused = False

    @property
    def host(self) -> str:
        """The client's address."""
        return self.client[0] if self.client else ""

    @property
    def _path(self) -> str:
        """The path of the request, as far as it has been read; the parser sets `url` with its first bytes."""
        return getattr(self, "url", b"").partition(b"?")[0].decode("latin-1")

    # --- what asyncio calls -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()
        self.visitors.add(self, len(self.connections))

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        self.visitors.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._deadline is None:
            self._await_headers()
        self._header_bytes += len(data)
        super().data_received(data)
        if self._in_headers and self._header_bytes > self._bounds.header_bytes:
            self._refuse(HEADERS_TOO_LARGE)

    def handle_websocket_upgrade(self) -> None:
        self._set_deadline(None)
        self.visitors.discard(self)  # a stranger's is closed as soon as its headers have been read
        super().handle_websocket_upgrade()

    # --- what the parser calls --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][_CONNECTION] = self

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._body_bytes = 0
        self._set_deadline(self._bounds.body_seconds)
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self._bounds.header_bytes:  # they came at once
            self._refuse(HEADERS_TOO_LARGE)
        elif any(name == b"content-length" and self._is_too_large(value) for name, value in self.headers):
            self._refuse(BODY_TOO_LARGE)
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._refused:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._bounds.body_bytes:
            self._refuse(BODY_TOO_LARGE)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        self._in_headers, self._header_bytes = True, 0
        self._set_deadline(None)
        super().on_message_complete()

    # --- inside -----------------------------------------------------------------------------------

    def _is_too_large(self, length: bytes) -> bool:
        return length.strip().isdigit() and int(length) > self._bounds.body_bytes

    def _await_headers(self) -> None:
        self._header_bytes = 0
        self._set_deadline(self._bounds.headers_seconds)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._time_is_up)

    def _time_is_up(self) -> None:
        self._deadline = None
        self._refuse(REQUEST_TIMEOUT)

    def _refuse(self, problem: Problem) -> None:
        """Send the reason, unless an answer was started, and close the connection."""
        self._refused = True
        self._set_deadline(None)
        if self.transport.is_closing():
            return
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and cycle.response_complete:
            cycle = None
        if cycle is None or not cycle.response_started:
            media_type, body = encode_problem(self._path, problem)
            status = HTTPStatus(problem.status)
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {media_type}\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()


DOCUMENTS = ("/docs", "/openapi.json")
"""Browsers can't send a token in a header for these, so it may be passed as a password, for reading only."""

PUBLIC = ("/healthz",)
"""Paths that need no token."""

SUBPROTOCOL = "castray"
TOKEN_SUBPROTOCOL = "castray.token."

_SAFE = ("GET", "HEAD")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def load_token(path: Path) -> str:
    """Load a token of the API, or create it. Raises OSError, PermissionError where others could read it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        facts = path.stat()
        if stat.S_IMODE(facts.st_mode) & 0o077 or facts.st_uid != os.getuid():
            raise PermissionError(
                f"{path} could be read by others. Delete it, and the next start makes another"
            ) from None
        token = path.read_text("ascii", "replace").strip()
        if len(token) < 16 or not token.isascii() or not token.isprintable():
            raise PermissionError(f"{path} has no token. Delete it, and the next start makes one") from None
        return token
    token = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    return token


def is_loopback(host: str) -> bool:
    """Whether a listening address is reachable from this machine only."""
    if host in _LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AllowedHosts:
    """The host names of this API; requests with another name may be DNS rebinding attacks."""

    def __init__(self, host: str, own: Iterable[str] | None = None) -> None:
        self._names = {*_LOOPBACK, host.lower()}
        self._any_address = False
        if not is_loopback(host):
            own = (socket.gethostname(), socket.getfqdn()) if own is None else own
            self._names |= {name.lower() for name in own}
            # DNS rebinding needs a name, so addresses are always accepted.
            self._any_address = host in ("0.0.0.0", "::")

    def allows(self, header: str) -> bool:
        """Whether a `Host` header has one of the names, with or without a port."""
        name = _without_port(header.strip().lower())
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address or any(name == str(address) for name in self._names)


def _without_port(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    name, colon, port = header.rpartition(":")
    return name if colon and port.isdigit() else header


class Role(enum.Enum):
    """What a token allows."""

    OWNER = "owner"
    READER = "reader"


class AccessControl:
    """Passes only requests with a valid `Host` and a token to `app`.

    With `read_only_token` only what changes nothing is allowed.
    """

    def __init__(self, app: ASGIApp, token: str, names: AllowedHosts, read_only_token: str = "") -> None:
        self._app = app
        self._tokens = {Role.OWNER: token.encode()}
        if read_only_token:
            self._tokens[Role.READER] = read_only_token.encode()
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._names.allows(hosts[0]):
            await _refuse(scope, receive, send, BAD_HOST)
            return
        if scope["type"] == "http" and scope["path"] in PUBLIC:
            await self._app(scope, receive, send)
            return
        role = self._role(scope, headers)
        if role is None:
            await _refuse(scope, receive, send, NO_TOKEN)
        elif role is Role.READER and _may_change(scope):
            mark_authenticated(scope)
            await _refuse(scope, receive, send, READ_ONLY)
        else:
            mark_authenticated(scope)
            await self._app(scope, receive, send)

    def _role(self, scope: Scope, headers: Headers) -> Role | None:
        """Whose token the request has."""
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._role_of(value.strip())
        if scope["type"] == "websocket":
            for name in scope.get("subprotocols", ()):
                if name.startswith(TOKEN_SUBPROTOCOL):
                    role = self._role_of(name.removeprefix(TOKEN_SUBPROTOCOL))
                    if role is not None:
                        return role
            return None
        if scheme.lower() == "basic" and scope["method"] in _SAFE and _is_document(scope["path"]):
            return self._role_of(_password(value))
        return None

    def _role_of(self, given: str) -> Role | None:
        """Compare with every token, each in constant time."""
        found = None
        for role, token in self._tokens.items():
            if hmac.compare_digest(given.encode("utf-8", "replace"), token):
                found = role
        return found


def _may_change(scope: Scope) -> bool:
    """Whether a request may change something. The WebSocket only sends events."""
    return scope["type"] == "http" and scope["method"] not in _SAFE


def _is_document(path: str) -> bool:
    return path in DOCUMENTS or path.startswith("/docs/")


def _password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: Problem) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": problem.detail})
        return
    response = problem_response(scope["path"], problem)
    if problem is NO_TOKEN:
        response.headers.append("WWW-Authenticate", 'Bearer realm="castray"')
        if _is_document(scope["path"]):
            response.headers.append("WWW-Authenticate", 'Basic realm="castray: the token as password"')
    await response(scope, receive, send)
