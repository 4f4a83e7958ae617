"""The driver as the engine sees it: a child process behind a socket, watched and replaceable."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import castray_desktop
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.cluster import reaper
from castray_desktop.workers.cluster.driver_environments import DriverEnvironments
from castray_desktop.workers.cluster.greeting import CLIENT_PREFIX, greet
from castray_desktop.workers.cluster.invitation import share_token
from castray_desktop.workers.cluster.running_clusters import is_a_node
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.tasks import to_the_end

STOP_SECONDS = 2.5
NODE_SECONDS = 2.0
"""A node that is being started beside its head, or again, is there by then."""
MAX_TEMP_DIR = 20
LOG_BYTES = 2 * 1024 * 1024

# Read in Ray's source or measured; docs/decisions/0002-local-cluster.md has the reasons.
_RAY_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "1",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
    "RAY_py_gcs_connect_timeout_s": "3",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",
    "PYTHONUNBUFFERED": "1",
}

_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")


def driver_environment(
    base: Mapping[str, str], target: str, run: str, token: str = "", *, show_token: bool = False
) -> dict[str, str]:
    """The environment of a driver for `target`, made from the engine's own.

    `token` is what others join a cluster of ours with; without one it has a secret of its own. With
    `show_token` another cluster is shown the token that Ray finds, else only if the user's settings say so.
    """
    environment: dict[str, str] = {**base, **_RAY_VARIABLES, reaper.RUN_VARIABLE: run}
    environment.pop("RAY_ADDRESS", None)
    if target in protocol.OWN_TARGETS:
        environment["RAY_AUTH_MODE"] = "token"
        environment["RAY_AUTH_TOKEN"] = token or secrets.token_hex(32)
    else:
        environment.setdefault("RAY_AUTH_MODE", "token" if show_token else "disabled")
    if target == protocol.LOCAL_TARGET or target.startswith(_LOOPBACK):
        # Ray rewrites 127.0.0.1 to the machine's address, except where it takes a single machine for
        # granted; this is its switch for that, and every port of it then binds loopback alone.
        environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return environment


def short_temp_dir(folder: str) -> Path:
    """Where Ray's files go: its sockets lie deep below, and a socket's path has at most 107 bytes."""
    return Path(folder) if len(folder) <= MAX_TEMP_DIR else Path("/tmp")


class DriverProcess:
    """One driver and its reaper. Start it once, stop it once."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        guard: subprocess.Popen[bytes],
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        record: Path,
        temp_dir: Path,
    ) -> None:
        self.temp_dir = temp_dir
        self._process = process
        self._guard = guard
        self._reader, self._writer = streams
        self._record = record
        self._has_spoken = False

    @classmethod
    async def start(
        cls, places: Places, target: str, *, show_token: bool = False, join: bool = False
    ) -> DriverProcess:
        """Start a driver for `target`, if anything there may be Ray, and this is a node or is to `join`.

        Raises OSError, and CastRayError: NOT_A_NODE, or see `greet`. Cancelled meanwhile, it leaves nothing
        behind.
        """
        await greet(target)
        await _check_node(target, join)
        starting = asyncio.ensure_future(cls._start(places, target, show_token))
        try:
            return await to_the_end(starting)
        except asyncio.CancelledError:
            if not starting.cancelled() and starting.exception() is None:
                await starting.result().stop()
            raise

    @classmethod
    async def _start(cls, places: Places, target: str, show_token: bool) -> DriverProcess:
        run = secrets.token_hex(6)
        temp_dir = short_temp_dir(tempfile.gettempdir()) / f"{reaper.TEMP_PREFIX}{run}"
        record = await asyncio.to_thread(reaper.write_run, places.runs, run, temp_dir, os.getpid())
        ours, theirs = socket.socketpair()
        try:
            await asyncio.to_thread(reaper.make_temp_dir, temp_dir)
            with theirs:
                process, guard = await asyncio.to_thread(
                    _spawn, places, target, run, record, theirs, show_token
                )
        except BaseException:
            ours.close()
            raise
        streams = await asyncio.open_unix_connection(sock=ours, limit=protocol.LINE_LIMIT)
        return cls(process, guard, streams, record, temp_dir)

    def send(self, message: Any) -> None:
        """Send an order. A driver that has gone takes it in silence; `messages` tells of its end."""
        if not self._writer.is_closing():
            self._writer.write(protocol.to_json(message) + b"\n")

    async def messages(self) -> AsyncIterator[Any]:
        """What the driver says, until its end. Raises ValueError when that is no message."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                self._has_spoken = True
                yield protocol.from_json(line, protocol.FromDriver)

    def hang_up(self) -> None:
        """End the conversation: `messages` ends, and the driver is expected to.

        Orders that it has not read yet are dropped: it may have been stopped, and would never read them.
        """
        self._writer.transport.abort()

    async def stop(self) -> None:
        """End the driver and everything that it started. Cancelled meanwhile, it still does."""
        self._writer.close()
        await to_the_end(asyncio.to_thread(self._end))

    def _end(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS if self._has_spoken else 0.0)  # else it sits in Ray
        reaper.sweep(self._record, grace=0.2)
        self._process.kill()
        self._process.wait()
        _release(self._guard)


async def _check_node(target: str, join: bool) -> None:
    """Ray would look for a node on this machine for a minute. Raises CastRayError(NOT_A_NODE)."""
    if join or target in protocol.OWN_TARGETS or target.startswith(CLIENT_PREFIX):
        return
    try:
        async with asyncio.timeout(NODE_SECONDS):
            while not await asyncio.to_thread(is_a_node):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(NODE_SECONDS / 10)
    except TimeoutError:
        raise CastRayError(FailureKind.NOT_A_NODE, target=target, host=target.rpartition(":")[0]) from None


def _spawn(
    places: Places, target: str, run: str, record: Path, connection: socket.socket, show_token: bool
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """The reaper first: from then on nothing that the driver starts can be left behind."""
    guard = subprocess.Popen(
        [sys.executable, "-S", "-E", reaper.__file__, str(record)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return _spawn_driver(places, target, run, connection, show_token), guard
    except OSError:
        _release(guard)
        raise


def _spawn_driver(
    places: Places, target: str, run: str, connection: socket.socket, show_token: bool
) -> subprocess.Popen[bytes]:
    token = share_token(places) if target == protocol.SHARED_TARGET else ""
    environment = driver_environment(os.environ, target, run, token, show_token=show_token)
    environment[protocol.SOCKET_VARIABLE] = str(connection.fileno())
    interpreter = DriverEnvironments(places.home, places.log).interpreter(target)
    if interpreter != sys.executable:
        environment["PYTHONPATH"] = str(_package_alone(places))
    with _open_log(places.log / "driver.log") as output:
        return subprocess.Popen(
            [interpreter, "-m", "castray_desktop.workers.ray_side.driver"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[connection.fileno()],
            start_new_session=True,
            cwd=places.home,
            env=environment,
        )


def _package_alone(places: Places) -> Path:
    """A folder that holds this package and nothing else, for an interpreter that has its own Ray."""
    folder = places.home / "package"
    folder.mkdir(exist_ok=True)
    link, package = folder / "castray_desktop", Path(castray_desktop.__file__).parent
    if not link.is_symlink() or link.readlink() != package:
        link.unlink(missing_ok=True)
        link.symlink_to(package)
    return folder


def _open_log(path: Path) -> BinaryIO:
    """The log of this driver and of those before it, as long as it is not too long."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def _release(guard: subprocess.Popen[bytes]) -> None:
    """Let the reaper go: it sweeps what is left of the run, and ends."""
    if guard.stdin is not None:
        guard.stdin.close()
    guard.wait()
