"""The API as an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

import castray_desktop
from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError
from castray_desktop.core.mirror import Mirror
from castray_desktop.workers.http_api import answers, requests, routes
from castray_desktop.workers.http_api.access import SUBPROTOCOL, Guard, HostNames
from castray_desktop.workers.http_api.documents import add_documents
from castray_desktop.workers.http_api.outbox import Outbox, Outgoing
from castray_desktop.workers.http_api.picture import Engine, Picture

DESCRIPTION = """\
Put files on many machines of a Ray cluster at once.

Every request needs the token in `$CASTRAY_HOME/api-token`. `/ws` sends the engine's events as JSON, the
whole picture first; there the token comes in the header, or as the subprotocol `castray.token.TOKEN` beside
`castray`.
"""

TRY_AGAIN_LATER = 1013


class Api:
    """The application and the WebSocket clients that it feeds."""

    def __init__(self, engine: Engine, token: str, names: HostNames) -> None:
        self._engine = engine
        self._outboxes: set[Outbox] = set()
        self.app: ASGIApp = Guard(self._build(), token, names)

    def heard(self, event: messages.Event) -> None:
        """Pass an event of the engine on to every WebSocket."""
        if self._outboxes:
            outgoing = Outgoing(event)
            for outbox in self._outboxes:
                outbox.put(outgoing)

    def _build(self) -> FastAPI:
        app = FastAPI(
            title="CastRay",
            version=castray_desktop.__version__,
            description=DESCRIPTION,
            docs_url=None,
            redoc_url=None,
            responses=answers.PROBLEMS,
            redirect_slashes=False,
            dependencies=[Depends(requests.refuse_strange_parameters)],
        )
        app.add_exception_handler(CastRayError, answers.failed)
        app.add_exception_handler(RequestValidationError, answers.malformed)
        app.add_exception_handler(HTTPException, answers.refused)
        picture = Picture(self._engine)
        for make in (
            routes.transfer_routes,
            routes.node_routes,
            routes.cast_routes,
            routes.history_routes,
            routes.schedule_routes,
            routes.engine_routes,
        ):
            app.include_router(make(picture))
        add_documents(app)
        app.add_api_websocket_route("/ws", self._feed)
        return app

    async def _feed(self, socket: WebSocket) -> None:
        """One WebSocket client, until it goes or is too far behind."""
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        outbox = Outbox()
        outbox.put(Outgoing(_welcome(self._engine.mirror)))
        self._outboxes.add(outbox)
        leaving = asyncio.create_task(_wait_for_end(socket), name="websocket reader")
        sending = asyncio.create_task(_send_all(socket, outbox), name="websocket writer")
        try:
            await asyncio.wait((leaving, sending), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._outboxes.discard(outbox)
            for task in (leaving, sending):
                task.cancel()
            for task in (leaving, sending):
                with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError, OSError):
                    await task


async def _send_all(socket: WebSocket, outbox: Outbox) -> None:
    while not outbox.overrun:
        await socket.send_text(await outbox.take())
    await socket.close(TRY_AGAIN_LATER, "too slow; connect again for the whole picture")


async def _wait_for_end(socket: WebSocket) -> None:
    """What a client sends is not asked for and is left unread, but for its end."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


def _welcome(mirror: Mirror) -> messages.Welcome:
    """The whole picture, as the engine would give it."""
    return messages.Welcome(
        protocol=messages.PROTOCOL_VERSION,
        version=castray_desktop.__version__,
        pid=mirror.pid,
        cluster=mirror.cluster,
        nodes=tuple(mirror.nodes.values()),
        casts=tuple(mirror.casts.values()),
        deliveries={cast: mirror.deliveries(cast) for cast in mirror.casts},
    )
