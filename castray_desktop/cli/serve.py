"""`castray serve`: the HTTP API, for as long as the command runs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import logging.handlers
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from castray_desktop.cli.arguments import EXIT_BAD_USAGE, EXIT_DELIVERED
from castray_desktop.cli.session import Session
from castray_desktop.workers.engine_connection import EngineConnection
from castray_desktop.workers.http_api.access import HostNames, is_loopback, load_token
from castray_desktop.workers.http_api.app import Api
from castray_desktop.workers.http_api.server import ApiServer, address_of, open_port
from castray_desktop.workers.places import find_places

OPEN_TO_OTHERS = (
    "castray: {host} can be reached from other machines, and what is sent is not encrypted."
    " Whoever reads along has the token, and with it can send any file that you can read."
    " Use it in a network that you trust, or behind a proxy with TLS."
)


async def serve(options: argparse.Namespace) -> int:
    """Serve until interrupted. The engine and its cluster stay for as long."""
    places = find_places()
    try:
        places.prepare()
        token = load_token(places.api_token)
        listener = open_port(options.host, options.port)
    except OSError as error:
        print(f"castray: the API can't be served: {_reason(error, options)}.", file=sys.stderr)
        return EXIT_BAD_USAGE
    with listener, _log_file(places.log):
        async with Session() as session:
            await session.ready(options.cluster)
            draining = asyncio.create_task(_drain(session), name="session events")
            connection = EngineConnection(places, "api", session.cluster.target)
            api = Api(connection, token, HostNames(options.host))
            connection.listen(api.heard)
            try:
                await connection.open()
                if not is_loopback(options.host):
                    print(OPEN_TO_OTHERS.format(host=options.host), file=sys.stderr)
                address = address_of(listener)
                print(f"The API is at {address}, its documents at {address}/docs.")
                print(f"The token is in {places.api_token}. End it with Ctrl+C.", flush=True)
                await _run(ApiServer(api.app), listener)
            finally:
                await connection.close()
                draining.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await draining
    return EXIT_DELIVERED


async def _run(server: ApiServer, listener: socket.socket) -> None:
    """Serve until cancelled, and then say goodbye to the clients."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api server")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.end()
        await serving


async def _drain(session: Session) -> None:
    """Nobody needs the events of the session's own connection."""
    async for _ in session.events():
        pass


@contextlib.contextmanager
def _log_file(folder: Path) -> Iterator[None]:
    """The server's log goes to a file while entered; requests are not in it, and nor is the token."""
    handler = logging.handlers.RotatingFileHandler(folder / "api.log", maxBytes=2**20, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield
    root.removeHandler(handler)
    handler.close()


def _reason(error: OSError, options: argparse.Namespace) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {options.port} is taken; choose another one with --port, or end what uses it"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{options.host} is no address of this machine"
    return str(error.strerror or error)
