"""The API as an ASGI application, with its OpenAPI document and WebSocket, and the server that runs it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.workers.client.client_cache import ClientCache
from castray_desktop.workers.http_api import endpoints, request_bodies, responses
from castray_desktop.workers.http_api.access_control import (
    SUBPROTOCOL,
    AccessControl,
    AllowedHosts,
    ConnectionLimits,
    LimitedConnection,
    UnauthenticatedClients,
)
from castray_desktop.workers.http_api.engine_view import EngineAccess, EngineView, EventQueue, OutgoingEvent
from castray_desktop.workers.http_api.responses import schemas

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "LICENSE": "text/plain",
    "castray-256.png": "image/png",
}


def add_documents(app: FastAPI) -> None:
    """Add `/openapi.json` and `/docs` to `app`."""
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="CastRay",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/castray-256.png",
            swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": False},
        )

    for name, kind in _FILES.items():
        app.add_api_route(f"/docs/{name}", _serve_file(name, kind), include_in_schema=False)


def _serve_file(name: str, kind: str) -> Any:
    async def serve() -> FileResponse:
        return FileResponse(_resource(name), media_type=kind)

    return serve


def _describe(app: FastAPI) -> dict[str, Any]:
    """Create the OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(schemas())
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        components["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The line in `$CASTRAY_HOME/api-token`.",
            }
        }
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema


def _resource(name: str) -> Path:
    package = Path(__file__).resolve().parent.parent.parent
    for root in (package / "resources", package.parent / "resources"):
        for path in (root / "swagger-ui" / name, root / name):
            if path.is_file():
                return path
    raise FileNotFoundError(name)


DESCRIPTION = """\
Put files on many machines of a Ray cluster at once.

Every request needs the token in `$CASTRAY_HOME/api-token`. `/ws` sends the engine's events as JSON, the
complete state first; there the token comes in the header, or as the subprotocol `castray.token.TOKEN` beside
`castray`.
"""

TRY_AGAIN_LATER = 1013


class ApiApp:
    """The application and its WebSocket clients."""

    def __init__(self, engine: EngineAccess, token: str, names: AllowedHosts) -> None:
        self._engine = engine
        self._queues: set[EventQueue] = set()
        self.app: ASGIApp = AccessControl(self._build(), token, names)

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
            description=DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            responses=responses.PROBLEMS,
            redirect_slashes=False,
            dependencies=[Depends(request_bodies.reject_unknown_parameters)],
        )
        app.add_exception_handler(CastRayError, responses.failed)
        app.add_exception_handler(RequestValidationError, responses.malformed)
        app.add_exception_handler(HTTPException, responses.refused)
        view = EngineView(self._engine)
        for make in (
            endpoints.transfer_routes,
            endpoints.node_routes,
            endpoints.cast_routes,
            endpoints.history_routes,
            endpoints.schedule_routes,
            endpoints.engine_routes,
        ):
            app.include_router(make(view))
        add_documents(app)
        app.add_api_websocket_route("/ws", self._feed)
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
