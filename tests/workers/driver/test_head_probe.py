"""The bytes that the head probe sends to real sockets that record them; it runs in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.peer.tls import TLS_VARIABLES
from tests.helpers.authority import Authority

TOKEN = "5ec4e7" * 8
SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
PROBE = """
import sys
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.workers.driver import head_probe
try:
    print(head_probe.head_answers(sys.argv[1]))
except CastRayError as error:
    print(error.failure.kind.value, error.failure.values)
"""

pytestmark = pytest.mark.timeout(60)


class Recorder:
    """A server with just enough HTTP/2 for a client's request, which records the request."""

    def __init__(self) -> None:
        self.got = b""
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(SETTINGS)
            while data := await reader.read(65536):
                self.got += data
        writer.close()


@contextlib.asynccontextmanager
async def recording(context: ssl.SSLContext | None = None) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0, ssl=context)
    recorder.port = server.sockets[0].getsockname()[1]
    async with server:
        yield recorder


async def probe(target: str, environment: dict[str, str]) -> str:
    """The result of the probe."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-c",
        PROBE,
        target,
        env=os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN} | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def with_tls(authority: Authority, on: str = "1") -> dict[str, str]:
    files = (*authority.issue("client"), authority.file)
    return {"RAY_USE_TLS": on} | {name: str(file) for name, file in zip(TLS_VARIABLES, files, strict=True)}


async def test_without_tls_the_token_is_shown_as_ray_shows_it() -> None:
    async with recording() as recorder:
        await probe(f"localhost:{recorder.port}", {})
    assert TOKEN.encode() in recorder.got


@pytest.mark.parametrize("on", ["1", "true"])
@pytest.mark.parametrize("prefix", ["", "ray://"])
async def test_with_tls_a_plain_server_gets_no_token(authority: Authority, on: str, prefix: str) -> None:
    async with recording() as recorder:
        await probe(f"{prefix}localhost:{recorder.port}", with_tls(authority, on))
    assert recorder.got.startswith(b"\x16\x03"), "no handshake of TLS"
    assert TOKEN.encode() not in recorder.got


async def test_with_tls_the_token_goes_through_the_encrypted_channel(authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])
    async with recording(context) as recorder:
        await probe(f"localhost:{recorder.port}", with_tls(authority))
    assert TOKEN.encode() in recorder.got


async def test_a_server_with_a_certificate_of_somebody_else_gets_no_token(
    authority: Authority, tmp_path: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(tmp_path / "stranger", "a stranger").issue("localhost"))
    context.set_alpn_protocols(["h2"])
    async with recording(context) as recorder:
        await probe(f"localhost:{recorder.port}", with_tls(authority))
    assert recorder.got == b""


async def test_tls_without_its_files_is_a_failure_and_nothing_is_sent(tmp_path: Path) -> None:
    missing = {name: str(tmp_path / "none") for name in TLS_VARIABLES}
    async with recording() as recorder:
        said = await probe(f"localhost:{recorder.port}", {"RAY_USE_TLS": "1"} | missing)
    assert said.startswith("cluster_unreachable")
    assert "RAY_TLS_CA_CERT" in said
    assert recorder.got == b""
