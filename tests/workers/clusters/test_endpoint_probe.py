"""The probe of an address: real sockets that behave well and badly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.workers.clusters import endpoint_probe
from castray_desktop.workers.clusters.endpoint_probe import probe_endpoint, split_address

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[str]:
    """An address at which a server waits for data and answers with this; None means silence."""
    silence = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is None:
            await silence.wait()
        else:
            writer.write(answer)
        writer.close()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        silence.set()
        await done.wait()
    finally:
        server.close()


async def failure_at(target: str) -> Failure:
    with pytest.raises(CastRayError) as caught:
        await probe_endpoint(target)
    assert caught.value.failure.values["target"] == target
    return caught.value.failure


async def test_a_server_of_http_2_may_be_ray() -> None:
    settings = bytes([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0x40, 0, 0])
    async with listening(settings) as target:
        await probe_endpoint(target)
    async with listening(settings) as target:
        await probe_endpoint(f"ray://{target}")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"", b"\0\0\0\x05\0\0\0\0\0"]
)
async def test_something_else_listens(answer: bytes) -> None:
    async with listening(answer) as target:
        assert (await failure_at(target)).kind is FailureKind.NOT_RAY


async def test_a_port_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_probe, "ANSWER_SECONDS", 0.02)
    async with listening(None) as target:
        assert (await failure_at(target)).kind is FailureKind.CLUSTER_SILENT


async def test_nothing_listens() -> None:
    async with listening(b"") as target:
        assert (await failure_at(target)).kind is FailureKind.NOT_RAY
    failure = await failure_at(target)
    assert failure.kind is FailureKind.CLUSTER_UNREACHABLE
    assert failure.values["reason"] == "nothing listens there"


async def test_a_local_cluster_has_no_address() -> None:
    await probe_endpoint("local")


@pytest.mark.parametrize(
    "target", ["here", "host:", ":6379", "host:ray", "host:0", "host:70000", "ray://host"]
)
async def test_what_is_no_address(target: str) -> None:
    failure = await failure_at(target)
    assert failure.kind is FailureKind.CLUSTER_UNREACHABLE
    assert "HOST:PORT" in failure.values["reason"]


def test_addresses() -> None:
    assert split_address("ray://head:10001") == ("head", 10001)
    assert split_address("[fd77::1]:6379") == ("fd77::1", 6379)


@pytest.mark.parametrize("on", ["1", "true"])
async def test_with_tls_nothing_is_said_in_clear(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    monkeypatch.setenv("RAY_USE_TLS", on)
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        await probe_endpoint(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert await heard == b""
