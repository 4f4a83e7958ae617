"""`castray serve`: serve the HTTP API for as long as the command runs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from castray_desktop.cli.arguments import (
    EXIT_BAD_USAGE,
    EXIT_DELIVERED,
    Commands,
    add_command,
)
from castray_desktop.cli.output.terminal import print_error, print_json, print_note, say
from castray_desktop.cli.session import Session
from castray_desktop.workers.base.installation import extra_command, lacks_extra
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.base.state_files import PrivateLogFile

if TYPE_CHECKING:
    from castray_desktop.workers.http_api.api_app import ApiServer

OPEN_TO_OTHERS = (
    "{host} can be reached from other machines, and the connections are not encrypted. Anyone who can"
    " read the traffic can get the token, and with it send any file that you can read. Use it only on"
    " a network that you trust, or behind a TLS proxy."
)


def add_parsers(commands: Commands) -> None:
    """Add `serve`."""
    parser = add_command(
        commands,
        "serve",
        "serve the HTTP API and its WebSocket until interrupted",
        """
        castray serve
        castray serve --port 9000 --cluster auto
        castray serve --read-only-token
        curl -H "Authorization: Bearer $(cat ~/.local/share/castray/api-token)" http://127.0.0.1:8001/api/v1/status
        """,
        handler=serve,
        uses_cluster=True,
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="H",
        help="the address to listen on (127.0.0.1: this machine only)",
    )
    parser.add_argument(
        "--port", type=_port, default=8001, metavar="P", help="the port to listen on (8001); 0: any free port"
    )
    parser.add_argument(
        "--read-only-token",
        action="store_true",
        help="also accept a second token that allows reading only; it is created if necessary",
    )


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use a number from 0 to 65535")
    return int(text)


async def serve(options: argparse.Namespace) -> int:
    """Serve until interrupted. The engine and its cluster run for as long."""
    if lacks_extra("serve"):
        print_error(
            "not_installed",
            "the HTTP API is not installed here.",
            f"Install it with: {extra_command('serve')}",
            as_json=options.json,
        )
        return EXIT_BAD_USAGE
    # The API's libraries load slowly, and no other command needs them.
    from castray_desktop.workers.client.client_cache import ReconnectingClient
    from castray_desktop.workers.http_api.access_control import AllowedHosts, is_loopback, load_token
    from castray_desktop.workers.http_api.api_app import ApiApp, ApiServer, address_of, open_port
    from castray_desktop.workers.http_api.idempotency_keys import IdempotencyKeys

    paths = find_paths()
    try:
        paths.prepare()
        token = load_token(paths.api_token)
        read_only = load_token(paths.api_read_only_token) if options.read_only_token else ""
        keys = IdempotencyKeys(paths.api_keys)
        keys.open()
        listener = open_port(options.host, options.port)
    except sqlite3.Error as error:
        text = f"can't serve the API: {paths.api_keys} can't be used: {error}."
        print_error("not_served", text, as_json=options.json)
        return EXIT_BAD_USAGE
    except OSError as error:
        print_error("not_served", f"can't serve the API: {_reason(error, options)}.", as_json=options.json)
        return EXIT_BAD_USAGE
    with listener, contextlib.closing(keys), _log_file(paths.log):
        async with Session() as session, contextlib.AsyncExitStack() as stack:
            await session.ready(options.cluster)
            await stack.enter_async_context(session.reading_events())
            connection = ReconnectingClient(paths, "api", session.cache.cluster.target)
            api = ApiApp(connection, token, AllowedHosts(options.host), read_only_token=read_only, keys=keys)
            connection.add_listener(api.publish)
            stack.push_async_callback(connection.close)
            await connection.open()
            if not is_loopback(options.host):
                print_note(OPEN_TO_OTHERS.format(host=options.host))
            _announce(address_of(listener), paths, bool(read_only), as_json=options.json)
            await _run(ApiServer(api.app), listener)
    return EXIT_DELIVERED


def _announce(address: str, paths: Paths, read_only: bool, *, as_json: bool) -> None:
    """Print where the API is, and the files with its tokens."""
    if as_json:
        serving = {
            "event": "serving",
            "address": address,
            "documents": f"{address}/docs",
            "token_file": str(paths.api_token),
            "read_only_token_file": str(paths.api_read_only_token) if read_only else None,
        }
        print_json(serving)
        return
    say(f"The API is at {address}, its documentation at {address}/docs.")
    say(f"The token is in {paths.api_token}.")
    if read_only:
        say(f"The read-only token is in {paths.api_read_only_token}.")
    say("Press Ctrl+C to stop.")


async def _run(server: ApiServer, listener: socket.socket) -> None:
    """Serve until cancelled, then close the connections of the clients."""
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="api server")
    try:
        await asyncio.shield(serving)
    except asyncio.CancelledError:
        server.end()
        await serving


@contextlib.contextmanager
def _log_file(folder: Path) -> Iterator[None]:
    """Log the server to a file while entered; without the requests and without the token."""
    handler = PrivateLogFile(folder / "api.log", maxBytes=2**20, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield
    root.removeHandler(handler)
    handler.close()


def _reason(error: OSError, options: argparse.Namespace) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {options.port} is in use; choose another one with --port, or stop the program that uses it"
        )
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{options.host} is not an address of this machine"
    return str(error.strerror or error)
