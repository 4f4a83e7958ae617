"""The driver: a child process behind a socket.

The cluster's address is probed before it starts: Ray would wait a minute where nothing answers.
"""

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
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes import driver_protocol, json_codec
from castray_desktop.workers.agent.transfer.peer.tls import uses_tls
from castray_desktop.workers.base.async_tasks import finish
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import open_private
from castray_desktop.workers.clusters import reaper
from castray_desktop.workers.clusters.cluster_discovery import is_ray_node, split_address
from castray_desktop.workers.clusters.cluster_sharing import share_token
from castray_desktop.workers.clusters.driver_environments import DriverEnvironments

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 4.0
STOP_SECONDS = 2.5
NODE_SECONDS = 2.0
"""Time for a starting node to appear."""
MAX_TEMP_DIR = 18
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

# Ray's head and its client server speak gRPC, so HTTP/2 (RFC 9113): both sides open with a SETTINGS frame.
_SETTINGS = 4
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_FRAME_HEADER = 9

_LOOPBACK = ("127.0.0.1:", "localhost:", "[::1]:")


async def probe_endpoint(target: str) -> None:
    """Check whether Ray may be listening; returns at once if the cluster has no address.

    Raises CastRayError: CLUSTER_UNREACHABLE, CLUSTER_SILENT or NOT_RAY.
    """
    if target in driver_protocol.OWN_TARGETS:
        return
    host, port = split_address(target)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        reason = "it does not respond"
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason) from None
    except OSError as error:
        raise CastRayError(
            FailureKind.CLUSTER_UNREACHABLE, target=target, reason=_connect_reason(error)
        ) from error
    try:
        if not uses_tls(os.environ):  # with TLS, the driver's probe asks
            await _exchange_settings(target, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _exchange_settings(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(_HTTP2_PREFACE)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            header = await reader.readexactly(_FRAME_HEADER)
    except TimeoutError:
        raise CastRayError(FailureKind.CLUSTER_SILENT, target=target) from None
    except (OSError, EOFError):
        raise CastRayError(FailureKind.NOT_RAY, target=target) from None
    if header[3] != _SETTINGS or header[5:] != bytes(4):
        raise CastRayError(FailureKind.NOT_RAY, target=target)


def _connect_reason(error: OSError) -> str:
    """A short reason, since asyncio combines the errors of several addresses."""
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
        return "no program is listening on that port"
    return error.strerror or str(error)


def driver_environment(
    base: Mapping[str, str], target: str, run: str, token: str = "", *, show_token: bool = False
) -> dict[str, str]:
    """The environment of a driver for `target`, derived from the engine's.

    `token` is the join token of a shared cluster; without it, a local one gets a secret of its own. With
    `show_token`, Ray sends the token that it finds to the cluster, otherwise only if the user has configured
    that.
    """
    environment: dict[str, str] = {**base, **_RAY_VARIABLES, reaper.RUN_VARIABLE: run}
    environment.pop("RAY_ADDRESS", None)
    if target in driver_protocol.OWN_TARGETS:
        environment["RAY_AUTH_MODE"] = "token"
        environment["RAY_AUTH_TOKEN"] = token or secrets.token_hex(32)
    else:
        environment.setdefault("RAY_AUTH_MODE", "token" if show_token else "disabled")
    if target == driver_protocol.LOCAL_TARGET or target.startswith(_LOOPBACK):
        # Ray rewrites 127.0.0.1 to the machine's address, except in single-machine
        # mode; this switch enables it, and every port then binds to loopback only.
        environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    return environment


def short_temp_dir(folder: str) -> Path:
    """Folder for Ray's files, short since socket paths are limited to 107 bytes."""
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
        cls, paths: Paths, target: str, *, show_token: bool = False, join: bool = False
    ) -> DriverProcess:
        """Start a driver for `target`, if its port looks like Ray and this machine is a node or is to `join`.

        Raises OSError, and CastRayError: NOT_A_NODE, or see `probe_endpoint`. Leaves nothing behind if
        cancelled.
        """
        await probe_endpoint(target)
        await _check_node(target, join)
        starting = asyncio.ensure_future(cls._start(paths, target, show_token))
        try:
            return await finish(starting)
        except asyncio.CancelledError:
            if not starting.cancelled() and starting.exception() is None:
                await starting.result().stop()
            raise

    @classmethod
    async def _start(cls, paths: Paths, target: str, show_token: bool) -> DriverProcess:
        run = secrets.token_hex(6)
        temp_dir = short_temp_dir(tempfile.gettempdir()) / f"{reaper.TEMP_PREFIX}{run}"
        record = await asyncio.to_thread(reaper.write_run, paths.runs, run, temp_dir, os.getpid())
        ours, theirs = socket.socketpair()
        try:
            await asyncio.to_thread(reaper.make_temp_dir, temp_dir)
            with theirs:
                process, guard = await asyncio.to_thread(
                    _spawn, paths, target, run, record, theirs, show_token
                )
        except BaseException:
            ours.close()
            raise
        streams = await asyncio.open_unix_connection(sock=ours, limit=driver_protocol.LINE_LIMIT)
        return cls(process, guard, streams, record, temp_dir)

    def send(self, message: Any) -> None:
        """Send an order. Ignored if the driver has ended, which `messages` reports."""
        if not self._writer.is_closing():
            self._writer.write(json_codec.to_json(message) + b"\n")

    async def messages(self) -> AsyncIterator[Any]:
        """Messages of the driver, until it ends. Raises ValueError for an invalid message."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                self._has_spoken = True
                yield json_codec.from_json(line, driver_protocol.FromDriver)

    def hang_up(self) -> None:
        """Close the connection: `messages` ends, and the driver should end.

        Orders that it has not read yet are dropped: it may have been stopped, and would never read them.
        """
        self._writer.transport.abort()

    async def stop(self) -> None:
        """End the driver and everything it started. Also completes if cancelled."""
        self._writer.close()
        await finish(asyncio.to_thread(self._end))

    def _end(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS if self._has_spoken else 0.0)  # otherwise it is blocked in Ray
        reaper.sweep(self._record, grace=0.2)
        self._process.kill()
        self._process.wait()
        _release(self._guard)


async def _check_node(target: str, join: bool) -> None:
    """Check that this machine is a node, for which Ray would search for a minute. Raises
    CastRayError(NOT_A_NODE)."""
    if join or target in driver_protocol.OWN_TARGETS or target.startswith(driver_protocol.CLIENT_PREFIX):
        return
    try:
        async with asyncio.timeout(NODE_SECONDS):
            while not await asyncio.to_thread(is_ray_node):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(NODE_SECONDS / 10)
    except TimeoutError:
        raise CastRayError(FailureKind.NOT_A_NODE, target=target, host=target.rpartition(":")[0]) from None


def _spawn(
    paths: Paths, target: str, run: str, record: Path, connection: socket.socket, show_token: bool
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    """Start the reaper first, so that nothing the driver starts can be left behind."""
    guard = subprocess.Popen(
        [sys.executable, "-S", "-E", reaper.__file__, str(record)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return _spawn_driver(paths, target, run, connection, show_token), guard
    except OSError:
        _release(guard)
        raise


def _spawn_driver(
    paths: Paths, target: str, run: str, connection: socket.socket, show_token: bool
) -> subprocess.Popen[bytes]:
    token = share_token(paths) if target == driver_protocol.SHARED_TARGET else ""
    environment = driver_environment(os.environ, target, run, token, show_token=show_token)
    environment[driver_protocol.SOCKET_VARIABLE] = str(connection.fileno())
    interpreter = DriverEnvironments(paths.home, paths.log).interpreter(target)
    if interpreter != sys.executable:
        environment["PYTHONPATH"] = str(_package_alone(paths))
    with _open_log(paths.log / "driver.log") as output:
        return subprocess.Popen(
            [interpreter, "-m", "castray_desktop.workers.driver.ray_driver"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[connection.fileno()],
            start_new_session=True,
            cwd=paths.home,
            env=environment,
        )


def _package_alone(paths: Paths) -> Path:
    """A folder with only this package, for an interpreter that has its own Ray."""
    folder = paths.home / "package"
    folder.mkdir(mode=0o700, exist_ok=True)
    link, package = folder / "castray_desktop", Path(castray_desktop.__file__).parent
    if not link.is_symlink() or link.readlink() != package:
        link.unlink(missing_ok=True)
        link.symlink_to(package)
    return folder


def _open_log(path: Path) -> BinaryIO:
    """Open the log of this and earlier drivers, rotated if it is too long."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return open_private(path, "ab")


def _release(guard: subprocess.Popen[bytes]) -> None:
    """Close the reaper's pipe: it sweeps the run and ends."""
    if guard.stdin is not None:
        guard.stdin.close()
    guard.wait()
