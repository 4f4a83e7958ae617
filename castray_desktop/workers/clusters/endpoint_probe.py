"""Probe a cluster's address before a driver is started, which would wait for long.

Ray's head and its client server speak gRPC, so HTTP/2 (RFC 9113): both sides open with a SETTINGS frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import os

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.agent.transfer.peer.tls import uses_tls

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 4.0
CLIENT_PREFIX = "ray://"

_SETTINGS = 4
_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])
_FRAME_HEADER = 9


async def probe_endpoint(target: str) -> None:
    """Check whether Ray may be listening; returns at once if the cluster has no address.

    Raises CastRayError: CLUSTER_UNREACHABLE, CLUSTER_SILENT or NOT_RAY.
    """
    if target in agent_protocol.OWN_TARGETS:
        return
    host, port = split_address(target)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        reason = "nothing answers there"
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason) from None
    except OSError as error:
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=_reason(error)) from error
    try:
        if not uses_tls(os.environ):  # with TLS, the driver's probe asks
            await _exchange(target, reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def split_address(target: str) -> tuple[str, int]:
    """Split HOST:PORT or ray://HOST:PORT. Raises CastRayError(CLUSTER_UNREACHABLE)."""
    host, _, port = target.removeprefix(CLIENT_PREFIX).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        reason = "an address is written HOST:PORT or ray://HOST:PORT"
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason)
    return host.strip("[]"), int(port)


async def _exchange(target: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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


def _reason(error: OSError) -> str:
    """A short reason, since asyncio combines the errors of several addresses."""
    if isinstance(error, ConnectionRefusedError) or "refused" in str(error).lower():
        return "nothing listens there"
    return error.strerror or str(error)
