"""Access to the API: a token for everything, and a check of the `Host` header."""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import os
import secrets
import socket
import stat
from collections.abc import Iterable
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from castray_desktop.workers.http_api.connection_limits import mark_authenticated

DOCUMENTS = ("/docs", "/openapi.json")
"""Browsers can't send a token in a header for these, so it may be passed as a password, for reading only."""

SUBPROTOCOL = "castray"
TOKEN_SUBPROTOCOL = "castray.token."

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def load_token(path: Path) -> str:
    """Load the API's token, or create it. Raises OSError, PermissionError where others could read it."""
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


class AccessControl:
    """Passes only requests with a valid `Host` and the token to `app`."""

    def __init__(self, app: ASGIApp, token: str, names: AllowedHosts) -> None:
        self._app = app
        self._token = token.encode()
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._names.allows(hosts[0]):
            await _refuse(scope, receive, send, 400, "This is not a name of this server.", "bad_host")
        elif not self._knows(scope, headers):
            text = "A token is needed: Authorization: Bearer TOKEN, with the one in CASTRAY_HOME/api-token."
            await _refuse(scope, receive, send, 401, text, "no_token")
        else:
            mark_authenticated(scope)
            await self._app(scope, receive, send)

    def _knows(self, scope: Scope, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._equal(value.strip())
        if scope["type"] == "websocket":
            return any(
                self._equal(name.removeprefix(TOKEN_SUBPROTOCOL))
                for name in scope.get("subprotocols", ())
                if name.startswith(TOKEN_SUBPROTOCOL)
            )
        if scheme.lower() == "basic" and scope["method"] in ("GET", "HEAD") and _is_document(scope["path"]):
            return self._equal(_password(value))
        return False

    def _equal(self, given: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)


def _is_document(path: str) -> bool:
    return path in DOCUMENTS or path.startswith("/docs/")


def _password(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str, kind: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": text})
        return
    response = JSONResponse({"detail": text, "kind": kind}, status)
    if status == 401:
        response.headers.append("WWW-Authenticate", 'Bearer realm="castray"')
        if _is_document(scope["path"]):
            response.headers.append("WWW-Authenticate", 'Basic realm="castray: the token as password"')
    await response(scope, receive, send)
