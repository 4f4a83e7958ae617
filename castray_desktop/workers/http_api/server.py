"""Serving the API on a port."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from castray_desktop.workers.http_api.bounded import BoundedConnection, Bounds, Visitors

STOP_SECONDS = 3

BACKLOG = 128
"""So many connections are taken at once at most: each of them can show its token before they are too many."""


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    # asyncio does this for sockets that say that they are TCP, which those of a plain listener don't:
    # an answer's second part would wait 40 ms for the acknowledgement of its first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(False)
    return listener


def address_of(listener: socket.socket) -> str:
    """Where it can be reached: "http://127.0.0.1:8001"."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ApiServer(uvicorn.Server):
    """A server whose signals are its owner's business."""

    def __init__(self, app: ASGIApp, bounds: Bounds | None = None) -> None:
        visitors = Visitors(bounds or Bounds.of_process())
        super().__init__(
            uvicorn.Config(
                app,
                http=functools.partial(BoundedConnection, visitors),  # type: ignore[arg-type]
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
        """Leave them alone."""
        yield

    def end(self) -> None:
        """Have `serve` return: connections are closed, WebSockets with a goodbye."""
        self.should_exit = True
