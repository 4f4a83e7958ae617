"""The API as an ASGI application, with its WebSocket, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.workers.client.client_cache import ClientCache, ReconnectingClient
from castray_desktop.workers.http_api import (
    endpoints,
    first_addresses,
    openapi_document,
    problems,
    request_bodies,
    v1_endpoints,
)
from castray_desktop.workers.http_api.access_control import (
    SUBPROTOCOL,
    AccessControl,
    AllowedHosts,
    ConnectionLimits,
    LimitedConnection,
    UnauthenticatedClients,
)
from castray_desktop.workers.http_api.api_versions import FIRST_ADDRESSES, VERSION_1
from castray_desktop.workers.http_api.engine_view import EventQueue, OutgoingEvent
from castray_desktop.workers.http_api.idempotency import IdempotentRequests
from castray_desktop.workers.http_api.idempotency_keys import IdempotencyKeys
from castray_desktop.workers.http_api.openapi_document import EVENT_PATHS

TRY_AGAIN_LATER = 1013


def _routers(engine: ReconnectingClient) -> list[APIRouter]:
    """All endpoints: those of v1, the first addresses, and those without a version."""
    routers = [
        make(engine)
        for make in (
            v1_endpoints.cast_routes,
            v1_endpoints.node_routes,
            v1_endpoints.history_routes,
            v1_endpoints.schedule_routes,
        )
    ]
    for version in (VERSION_1, FIRST_ADDRESSES):
        routers += [
            make(engine, version)
            for make in (
                endpoints.cast_routes,
                endpoints.node_routes,
                endpoints.history_routes,
                endpoints.schedule_routes,
                endpoints.engine_routes,
            )
        ]
    return [*routers, first_addresses.first_routes(engine), endpoints.public_routes(engine)]


class ApiApp:
    """The application and its WebSocket clients."""

    def __init__(
        self,
        engine: ReconnectingClient,
        token: str,
        names: AllowedHosts,
        *,
        read_only_token: str = "",
        keys: IdempotencyKeys | None = None,
    ) -> None:
        """`keys` are those of earlier requests, which the caller closes; without them there are none."""
        self._engine = engine
        self._queues: set[EventQueue] = set()
        self.framework = self._build()
        once = IdempotentRequests(self.framework, lambda: engine.connected, keys or IdempotencyKeys())
        self.app: ASGIApp = AccessControl(once, token, names, read_only_token)

    def publish(self, event: messages.Event) -> None:
        """Publish an event of the engine to every WebSocket."""
        if self._queues:
            outgoing = OutgoingEvent(event)
            for queue in self._queues:
                queue.push(outgoing)

    def _build(self) -> FastAPI:
        app = FastAPI(
            title="CastRay",
            version=castray_desktop.__version__,
            description=openapi_document.DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            dependencies=[Depends(request_bodies.reject_unknown_parameters)],
            generate_unique_id_function=lambda route: route.name,
        )
        app.add_exception_handler(CastRayError, problems.failed)
        app.add_exception_handler(RequestValidationError, problems.malformed)
        app.add_exception_handler(HTTPException, problems.refused)
        app.add_exception_handler(Exception, problems.crashed)
        routers = _routers(self._engine)
        for router in routers:
            app.include_router(router)
        openapi_document.add_documents(app)
        for path in EVENT_PATHS:
            app.add_api_websocket_route(path, self._feed)
        app.state.all_routes = [
            route
            for route in (*app.routes, *(route for router in routers for route in router.routes))
            if isinstance(route, Route)
        ]
        return app

    async def _feed(self, socket: WebSocket) -> None:
        """Serve one WebSocket client until it disconnects or is too slow."""
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        queue = EventQueue()
        queue.push(OutgoingEvent(_welcome(self._engine.cache)))
        self._queues.add(queue)
        leaving = asyncio.create_task(_wait_for_end(socket), name="websocket reader")
        sending = asyncio.create_task(_send_all(socket, queue), name="websocket writer")
        try:
            await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._queues.discard(queue)
            for task in (leaving, sending):
                task.cancel()
            for task in (leaving, sending):
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, OSError):
                    await task


async def _send_all(socket: WebSocket, queue: EventQueue) -> None:
    while not queue.overrun:
        await socket.send_text(await queue.pop())
    await socket.close(TRY_AGAIN_LATER, "too slow; connect again for the complete state")


async def _wait_for_end(socket: WebSocket) -> None:
    """Ignore messages of the client, and wait for its end."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _welcome(cache: ClientCache) -> messages.Welcome:
    """The complete state, as the engine sends it."""
    return messages.Welcome(
        protocol=messages.PROTOCOL_VERSION,
        version=castray_desktop.__version__,
        pid=cache.pid,
        cluster=cache.cluster,
        nodes=tuple(cache.nodes.values()),
        casts=tuple(cache.casts.values()),
        deliveries={cast: cache.deliveries(cast) for cast in cache.casts},
    )


STOP_SECONDS = 3

BACKLOG = 128
"""Connections that are accepted at once: each of them can send its token before there are too many."""


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
                log_level="info",  # below it, headers are logged, and the token with them
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
