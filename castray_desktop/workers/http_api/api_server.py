"""Serve the API on a port."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from castray_desktop.workers.http_api.connection_limits import (
    ConnectionLimits,
    LimitedConnection,
    UnauthenticatedClients,
)

STOP_SECONDS = 3

BACKLOG = 128
"""So many connections are taken at once at most: each of them can show its token before they are too many."""


def open_port(host: str, port: int) -> socket.socket:
    """Open a listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # asyncio only does this for sockets created with IPPROTO_TCP; without it,
    # the second part of an answer waits 40 ms for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL, such as "http://127.0.0.1:8001"."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ApiServer(uvicorn.Server):
    """A server that leaves signal handling to its owner."""

    def __init__(self, app: ASGIApp, bounds: ConnectionLimits | None = None) -> None:
        visitors = UnauthenticatedClients(bounds or ConnectionLimits.of_process())
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(LimitedConnection, visitors),  # type: ignore[arg-type]
                backlog=BACKLOG,
                ws="websockets-sansio",
                ws_per_message_deflate=False,
                ws_max_size=64 * 1024,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    def end(self) -> None:
        """End `serve`: close connections, WebSockets with a closing handshake."""
        self.should_exit = True
