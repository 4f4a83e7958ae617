"""The driver's environment, and the remains of drivers that could not start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes import driver_protocol, json_codec
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.clusters import driver_process, reaper
from castray_desktop.workers.clusters.cluster_discovery import split_address
from castray_desktop.workers.clusters.cluster_sharing import renew_share_token, share_info, share_token
from castray_desktop.workers.clusters.driver_process import DriverProcess, driver_environment, probe_endpoint
from tests.helpers.patience import PATIENCE

SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

ECHO = """\
import os, socket, sys
connection = socket.socket(fileno=int(os.environ["CASTRAY_DRIVER_SOCKET"]))
connection.makefile().readline()
connection.sendall(%r)
connection.makefile().readline()
"""


def test_a_local_cluster_has_a_secret_of_its_own() -> None:
    first, second = (driver_environment({}, "local", "run") for _ in range(2))
    assert first["RAY_AUTH_MODE"] == "token"
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]


def test_a_shared_cluster_has_the_token_that_others_were_given(paths: Paths) -> None:
    token = share_token(paths)
    environment = driver_environment({"RAY_AUTH_TOKEN": "mine"}, "shared", "run", token)
    assert (environment["RAY_AUTH_MODE"], environment["RAY_AUTH_TOKEN"]) == ("token", token)
    assert SWITCH not in environment  # it binds an address that other machines reach


def test_the_token_stays_and_is_for_this_user_alone(paths: Paths) -> None:
    token = share_token(paths)
    assert share_token(paths) == token
    path = paths.home / "share-token"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("something else")
    assert share_token(paths) != "something else"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602, 0o660])
def test_a_token_that_others_could_read_or_write_is_not_used(paths: Paths, mode: int) -> None:
    token = share_token(paths)
    path = paths.home / "share-token"
    path.chmod(mode)
    with pytest.raises(CastRayError) as raised:
        share_token(paths)
    failure = raised.value.failure
    assert failure == Failure(FailureKind.TOKEN_EXPOSED, {"path": str(path)})
    assert "castray cluster share --new-token" in sentence(failure)
    assert path.read_text() == token
    renew_share_token(paths)
    assert share_token(paths) != token
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_token_of_somebody_else_or_behind_a_link_is_not_used(paths: Paths, tmp_path: Path) -> None:
    path = paths.home / "share-token"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("0" * 64)
    elsewhere.chmod(0o600)
    path.symlink_to(elsewhere)
    with pytest.raises(CastRayError):
        share_token(paths)
    path.unlink()
    share_token(paths)
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
        with pytest.raises(CastRayError):
            share_token(paths)


def test_an_invitation_says_whether_the_network_can_read_along(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = ClusterStatus(ClusterPhase.READY, target="shared", address="10.0.0.1:6379")
    assert not share_info(ready, paths).encrypted
    monkeypatch.setenv("RAY_USE_TLS", "1")
    shared = share_info(ready, paths)
    assert shared.encrypted
    assert "RAY_USE_TLS=1 " in shared.command


def test_an_invitation_is_a_command_and_only_for_a_cluster_that_is_there(paths: Paths) -> None:
    ready = ClusterStatus(ClusterPhase.READY, target="shared", address="10.0.0.1:6379")
    shared = share_info(ready, paths)
    assert shared.address == "10.0.0.1:6379"
    assert shared.command.endswith(f"{share_token(paths)} ray start --address=10.0.0.1:6379")
    why = Failure(FailureKind.CLUSTER_START_FAILED, {"reason": "no room"})
    for status in (ClusterStatus(ClusterPhase.FAILED, failure=why), ClusterStatus()):
        with pytest.raises(CastRayError):
            share_info(status, paths)


def test_the_user_s_own_token_is_not_that_of_the_local_cluster() -> None:
    assert driver_environment({"RAY_AUTH_TOKEN": "mine"}, "local", "run")["RAY_AUTH_TOKEN"] != "mine"
    assert driver_environment({"RAY_AUTH_TOKEN": "mine"}, "a:1", "run")["RAY_AUTH_TOKEN"] == "mine"


def test_the_mode_is_always_said() -> None:
    assert driver_environment({}, "10.0.0.1:6379", "run")["RAY_AUTH_MODE"] == "disabled"
    assert driver_environment({"RAY_AUTH_MODE": "token"}, "a:1", "run")["RAY_AUTH_MODE"] == "token"
    assert driver_environment({"RAY_AUTH_MODE": "disabled"}, "local", "run")["RAY_AUTH_MODE"] == "token"


def test_no_address_is_inherited() -> None:
    base = {"RAY_ADDRESS": "ray://elsewhere:1", "PATH": "/bin"}
    environment = driver_environment(base, "local", "1234")
    assert "RAY_ADDRESS" not in environment
    assert environment["PATH"] == "/bin"
    assert environment[reaper.RUN_VARIABLE] == "1234"
    assert base["RAY_ADDRESS"] == "ray://elsewhere:1"


@pytest.mark.parametrize("target", ["local", "127.0.0.1:6379", "localhost:6379", "[::1]:6379"])
def test_the_switch_for_loopback(target: str) -> None:
    assert driver_environment({}, target, "run")[SWITCH] == "0"


@pytest.mark.parametrize("target", ["10.0.0.1:6379", "auto", "127.0.0.1.example.org:1", "ray://a:1"])
def test_no_switch_for_other_addresses(target: str) -> None:
    assert SWITCH not in driver_environment({}, target, "run")


# --- processes ----------------------------------------------------------------------------------


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "home", tmp_path / "home" / "s.sock")
    paths.prepare()
    return paths


def interpreter(tmp_path: Path, answer: bytes) -> Path:
    """A program that replaces the driver's Python: it reads a line, answers, and waits for the end."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable} -S\n" + ECHO % answer)
    program.chmod(0o700)
    return program


def left_over(paths: Paths) -> list[Path]:
    return list(paths.runs.iterdir())


async def test_messages_go_both_ways(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = driver_protocol.AgentLost("node", "why")
    answer = json_codec.to_json(lost) + b"\n"
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", str(interpreter(tmp_path, answer)))
    driver = await DriverProcess.start(paths, "local")
    record = json.loads(left_over(paths)[0].read_text())
    assert record["temp_dir"] == str(driver.temp_dir)
    driver.send(driver_protocol.StartCluster("local"))
    stream = driver.messages()
    assert await anext(stream) == lost
    driver.hang_up()
    assert [message async for message in stream] == []
    await driver.stop()
    assert left_over(paths) == []
    assert list(reaper.processes_of(record["run"], Path(record["temp_dir"]))) == []


async def test_a_driver_that_reads_nothing_can_be_stopped(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is suspended, and more orders wait for it than fit into the socket."""
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", str(interpreter(tmp_path, b"")))
    driver = await DriverProcess.start(paths, "local")
    record = json.loads(left_over(paths)[0].read_text())
    for pid in reaper.processes_of(record["run"], Path(record["temp_dir"])):
        os.kill(pid, signal.SIGSTOP)
    for _ in range(8):
        driver.send(driver_protocol.RemoveAgent("n" * 1_000_000))
    driver.hang_up()
    async with asyncio.timeout(PATIENCE):
        assert [message async for message in driver.messages()] == []
    await driver.stop()
    assert left_over(paths) == []


async def test_an_invalid_message_is_a_value_error(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", str(interpreter(tmp_path, b"Segmentation fault\n")))
    driver = await DriverProcess.start(paths, "local")
    driver.send(driver_protocol.StartCluster("local"))
    with pytest.raises(ValueError):
        await anext(driver.messages())
    await driver.stop()


async def test_an_interpreter_that_is_not_there_leaves_nothing(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        await DriverProcess.start(paths, "local")
    assert left_over(paths) == []


async def test_a_start_that_is_cancelled_leaves_nothing(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", str(interpreter(tmp_path, b"")))
    monkeypatch.setattr(driver_process, "STOP_SECONDS", 0.0)
    starting = asyncio.create_task(DriverProcess.start(paths, "local"))
    while not left_over(paths):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    record = json.loads(left_over(paths)[0].read_text() or "{}")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert left_over(paths) == []
    assert not record or list(reaper.processes_of(record["run"], Path(record["temp_dir"]))) == []


def test_a_long_temp_folder_leaves_no_room_for_rays_sockets() -> None:
    assert driver_process.short_temp_dir("/var/tmp") == Path("/var/tmp")
    assert driver_process.short_temp_dir("/home/somebody/with/a/long/name") == Path("/tmp")


async def test_only_a_node_can_attach_but_one_may_become_it(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(target: str) -> None:
        """Ray is ready."""

    monkeypatch.setattr(driver_process, "probe_endpoint", nobody)
    monkeypatch.setattr(driver_process, "is_ray_node", lambda: False)
    monkeypatch.setattr(driver_process, "NODE_SECONDS", 0.05)
    monkeypatch.setenv("CASTRAY_DRIVER_PYTHON", str(interpreter(tmp_path, b"")))
    monkeypatch.setattr(driver_process, "STOP_SECONDS", 0.0)
    with pytest.raises(CastRayError) as raised:
        await DriverProcess.start(paths, "10.0.0.1:6379")
    assert raised.value.failure == Failure(
        FailureKind.NOT_A_NODE, {"target": "10.0.0.1:6379", "host": "10.0.0.1"}
    )
    assert left_over(paths) == []
    for target, join in (("10.0.0.1:6379", True), ("ray://10.0.0.1:10001", False)):
        driver = await DriverProcess.start(paths, target, join=join)
        await driver.stop()


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
    monkeypatch.setattr(driver_process, "ANSWER_SECONDS", 0.02)
    async with listening(None) as target:
        assert (await failure_at(target)).kind is FailureKind.CLUSTER_SILENT


async def test_nothing_listens() -> None:
    async with listening(b"") as target:
        assert (await failure_at(target)).kind is FailureKind.NOT_RAY
    failure = await failure_at(target)
    assert failure.kind is FailureKind.CLUSTER_UNREACHABLE
    assert failure.values["reason"] == "no program is listening on that port"


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
async def test_with_tls_no_plain_text_is_sent_to_the_head(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    monkeypatch.setenv("RAY_USE_TLS", on)
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        await probe_endpoint(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert await heard == b""
