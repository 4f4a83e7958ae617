"""Client and engine over a real socket, with a fake driver."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import agent_orders, driver_protocol
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.base.state_files import open_socket
from castray_desktop.workers.client import engine_client as client_module
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.engine import process as engine_module
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE


async def ready(client: EngineClient) -> None:
    await client.request(messages.UseCluster("local"), messages.Done)
    async with asyncio.timeout(PATIENCE):
        async for event in client.events():
            if isinstance(event, messages.ClusterChanged) and event.cluster.phase is ClusterPhase.READY:
                return


async def test_welcome_is_the_whole_picture(engine_home: EngineHome) -> None:
    first = await engine_home.connect()
    assert first.welcome.cluster.phase is ClusterPhase.NONE
    assert (first.welcome.pid, first.welcome.nodes, first.welcome.casts) == (os.getpid(), (), ())
    await ready(first)
    second = await engine_home.connect()
    assert second.welcome.cluster.phase is ClusterPhase.READY
    assert len(second.welcome.nodes) == 4
    assert not second.welcome.started
    status = await second.request(messages.GetStatus(), messages.EngineStatus)
    assert (status.clients, status.nodes, status.kept) == (2, 4, False)
    await first.close()
    await second.close()


async def test_answers_find_their_questions(engine_home: EngineHome, tmp_path: Path) -> None:
    client = await engine_home.connect()
    (tmp_path / "file").write_bytes(b"12345")
    measured, status, refused = await asyncio.gather(
        client.request(messages.MeasurePaths((str(tmp_path / "file"),)), messages.Measured),
        client.request(messages.GetStatus(), messages.EngineStatus),
        client.request(messages.Cancel("nothing"), messages.Done),
        return_exceptions=True,
    )
    assert isinstance(measured, messages.Measured)
    assert measured.entries[0].bytes == 5
    assert isinstance(status, messages.EngineStatus)
    assert isinstance(refused, CastRayError)
    assert refused.failure.kind is FailureKind.CAST_UNKNOWN
    await client.close()


async def test_another_version_is_refused(engine_home: EngineHome) -> None:
    answer = await engine_home.speak(messages.encode(messages.Hello(messages.PROTOCOL_VERSION + 1, "old")))
    failed = messages.decode_from_engine(answer[4:])
    assert isinstance(failed, messages.Failed)
    assert failed.failure.kind is FailureKind.ENGINE_VERSION


@pytest.mark.parametrize("version", [messages.PROTOCOL_VERSION, messages.PROTOCOL_VERSION + 1])
async def test_an_ending_engine_disconnects_a_client_of_any_version(
    engine_home: EngineHome, version: int
) -> None:
    engine_home.engine.commands.ending = True
    assert await engine_home.speak(messages.encode(messages.Hello(version, "late"))) == b""


def test_an_engine_whose_process_is_not_visible_is_not_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, _: signalled.append(pid))
    paths = Paths(tmp_path / "home", tmp_path / "e.sock")
    # SO_ERROR is 0 here, as SO_PEERCRED is for a process of another container.
    monkeypatch.setattr(client_module, "_PEER_PID", (socket.SOL_SOCKET, socket.SO_ERROR))
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(paths.socket))
        engine.listen()
        with pytest.raises(ProcessLookupError):
            client_module.end_other_engine(paths)
    assert signalled == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0\0\0\x04\xc1\xc1\xc1\xc1",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x01\x80",
        b"\0\0\0\x05nope!",
    ],
)
async def test_garbage_closes_the_connection(engine_home: EngineHome, garbage: bytes) -> None:
    assert await engine_home.speak(garbage) == b""
    client = await engine_home.connect()
    await client.close()


async def test_garbage_after_the_welcome(engine_home: EngineHome) -> None:
    hello = messages.encode(messages.Hello(messages.PROTOCOL_VERSION, "test"))
    assert await engine_home.speak(hello + b"\0\0\0\x01\xc1")
    status = await (client := await engine_home.connect()).request(
        messages.GetStatus(), messages.EngineStatus
    )
    assert status.clients == 1
    await client.close()


async def test_a_request_before_the_hello_is_refused(engine_home: EngineHome) -> None:
    answer = await engine_home.speak(messages.encode(messages.Request(1, messages.StopEngine())))
    assert isinstance(messages.decode_from_engine(answer[4:]), messages.Failed)
    assert not engine_home.running.done()


async def test_it_ends_five_seconds_after_its_last_client(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    engine_home.now = 100.0
    await client.request(messages.GetStatus(), messages.EngineStatus)
    await client.close()
    await engine_home.alone()
    engine_home.now += 4.9
    await engine_home.checked()
    assert not engine_home.running.done()
    engine_home.now += 0.1
    await engine_home.ended()


async def test_it_ends_without_ever_having_a_client(engine_home: EngineHome) -> None:
    engine_home.now = 5.0
    await engine_home.ended()


async def test_garbage_does_not_keep_it(engine_home: EngineHome) -> None:
    engine_home.now = 4.0
    await engine_home.speak(b"\xff\xff\xff\xff")
    engine_home.now = 5.0
    await engine_home.ended()


async def test_it_is_kept(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await client.request(messages.KeepEngine(True), messages.Done)
    await client.request(messages.StopEngine(only_if_unused=True), messages.Done)
    await client.close()
    engine_home.now = 1000.0
    await asyncio.wait([engine_home.running], timeout=0.03)
    assert not engine_home.running.done()
    client = await engine_home.connect()
    await client.request(messages.KeepEngine(False), messages.Done)
    await client.close()
    await engine_home.alone()
    engine_home.now += 5.0
    await engine_home.ended()


async def test_a_detached_cast_keeps_it_until_its_end(engine_home: EngineHome, tmp_path: Path) -> None:
    async def status() -> messages.EngineStatus:
        return await client.request(messages.GetStatus(), messages.EngineStatus)

    client = await engine_home.connect()
    await ready(client)
    (tmp_path / "x").write_text("x")
    request = messages.SendRequest((str(tmp_path / "x"),), ("node_1",))
    casts = [(await client.request(messages.Send(request), messages.Accepted)).cast for _ in range(2)]
    assert ((await status()).kept, (await status()).kept_until) == (False, ())
    await client.request(messages.KeepUntilEnded(casts[0][:6]), messages.Done)
    assert ((await status()).kept, (await status()).kept_until) == (True, (casts[0],))
    await client.request(messages.KeepEngine(True), messages.Done)
    assert ((await status()).kept, (await status()).kept_until) == (True, ())  # whichever casts end
    assert (await status()).cluster_kept
    await client.request(messages.UseCluster("10.0.4.10:6379"), messages.Done)
    assert ((await status()).kept, (await status()).cluster_kept) == (True, False)  # it keeps the other one
    await client.request(messages.KeepEngine(False), messages.Done)
    await client.request(messages.Cancel(casts[0]), messages.Done)
    assert ((await status()).kept, (await status()).kept_until) == (False, ())
    await client.request(messages.Cancel(casts[1]), messages.Done)
    await client.close()


async def test_stopping_ends_the_started_engine(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await ready(client)
    await client.request(messages.StopEngine(), messages.Done)
    async with asyncio.timeout(PATIENCE):
        assert [event async for event in client.events()]
        assert [event async for event in client.events()] == []  # a second reader does not wait
    await engine_home.ended()
    assert engine_home.drivers[0].stopped == 1
    with pytest.raises(CastRayError) as caught:
        await client.request(messages.GetStatus(), messages.EngineStatus)
    assert caught.value.failure.kind is FailureKind.ENGINE_UNREACHABLE
    await client.close()


async def test_an_engine_in_use_is_not_stopped(engine_home: EngineHome) -> None:
    one, other = await engine_home.connect(), await engine_home.connect()
    await one.request(messages.StopEngine(only_if_unused=True), messages.Done)
    await one.request(messages.GetStatus(), messages.EngineStatus)
    await one.close()
    await engine_home.alone(1)
    await other.request(messages.StopEngine(only_if_unused=True), messages.Done)
    await engine_home.ended()
    await other.close()


async def test_a_client_is_refused_while_the_engine_ends(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await client.request(messages.StopEngine(), messages.Done)
    with pytest.raises(CastRayError) as caught:
        await client.request(messages.UseCluster("local"), messages.Done)
    assert caught.value.failure.kind is FailureKind.ENGINE_UNREACHABLE
    with pytest.raises(CastRayError):
        await engine_home.connect()
    await engine_home.ended()
    assert engine_home.drivers == []
    await client.close()


async def test_a_client_that_disconnects_during_a_request(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await ready(client)
    adding = asyncio.create_task(client.request(messages.AddNode("extra"), messages.Done))
    await engine_home.drivers[0].wait_for(driver_protocol.PlaceAgent, 5)
    await client.close()
    with pytest.raises(CastRayError):
        await adding
    again = await engine_home.connect()
    assert "extra" in [node.name for node in again.welcome.nodes]
    await again.request(messages.RemoveNode("extra"), messages.Done)
    await again.close()


async def test_a_name_that_is_not_utf_8_is_a_sentence(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    with pytest.raises(CastRayError) as caught:
        await client.request(messages.MeasurePaths(("/tmp/\udcff",)), messages.Measured)
    assert caught.value.failure.kind is FailureKind.NOT_SENDABLE
    assert "\udcff" not in caught.value.failure.values["path"]
    await client.close()


# --- starting one ---------------------------------------------------------------------------------


class FakeProcess:
    """A started engine that has ended with this status, or None."""

    pid = -1

    def __init__(self, status: int | None) -> None:
        self.status = status

    def poll(self) -> int | None:
        return self.status


async def test_without_an_engine_and_without_starting_one(paths: Paths) -> None:
    with pytest.raises(CastRayError) as caught:
        await EngineClient.connect(paths, "test", start=False)
    assert caught.value.failure.values["reason"] == "no engine is running"


async def test_an_engine_that_ends_makes_room_for_the_next(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one that we start finds the socket in use and ends with 0; the second one starts."""
    monkeypatch.setattr(client_module, "RETRY_SECONDS", 0.0)
    houses: list[EngineHome] = []
    starts: list[None] = []
    loop = asyncio.get_running_loop()

    def start(paths: Paths) -> FakeProcess:
        starts.append(None)
        if len(starts) == 2:
            loop.call_soon_threadsafe(lambda: houses.append(EngineHome(paths)))
        return FakeProcess(0 if len(starts) == 1 else None)

    monkeypatch.setattr(client_module, "start_engine", start)
    client = await EngineClient.connect(paths, "test")
    assert len(starts) == 2
    await client.request(messages.StopEngine(), messages.Done)
    await houses[0].ended()
    await client.close()


async def test_an_engine_that_fails_is_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "start_engine", lambda paths: FakeProcess(1))
    with pytest.raises(CastRayError) as caught:
        await EngineClient.connect(paths, "test")
    assert str(paths.log) in caught.value.failure.values["reason"]


async def test_an_engine_that_does_not_come_up(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "ENGINE_START_SECONDS", 0.01)
    monkeypatch.setattr(client_module, "start_engine", lambda paths: FakeProcess(None))
    with pytest.raises(CastRayError) as caught:
        await EngineClient.connect(paths, "test")
    assert caught.value.failure.values["reason"] == "it took too long"


async def test_an_engine_that_starts_slowly_is_waited_for(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a busy machine."""
    loop = asyncio.get_running_loop()
    time, late = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: time() + late[0])
    houses: list[EngineHome] = []

    def come_up() -> None:
        houses.append(EngineHome(paths))

    def start(paths: Paths) -> FakeProcess:
        loop.call_soon_threadsafe(late.__setitem__, 0, 40.0)
        loop.call_soon_threadsafe(loop.call_later, 0.01, come_up)
        return FakeProcess(None)

    monkeypatch.setattr(client_module, "start_engine", start)
    client = await EngineClient.connect(paths, "test")
    await client.request(messages.StopEngine(), messages.Done)
    await houses[0].ended()
    await client.close()


async def test_a_home_that_can_not_be_made(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(paths: Paths) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(client_module, "start_engine", start)
    with pytest.raises(CastRayError) as caught:
        await EngineClient.connect(paths, "test")
    assert caught.value.failure.kind is FailureKind.ENGINE_UNREACHABLE


async def test_an_engine_that_does_not_answer(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "WELCOME_SECONDS", 0.01)
    with open_socket(paths.socket), pytest.raises(CastRayError) as caught:
        await EngineClient.connect(paths, "test", start=False)
    assert caught.value.failure.values["reason"] == "it does not respond"


async def test_something_else_on_the_socket(paths: Paths) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\0\0\0\x04what")
        await reader.read()
        writer.close()
        served.set()

    served = asyncio.Event()
    server = await asyncio.start_unix_server(serve, sock=open_socket(paths.socket))
    with pytest.raises(CastRayError) as caught:
        await EngineClient.connect(paths, "test", start=False)
    assert caught.value.failure.kind is FailureKind.ENGINE_VERSION
    await served.wait()
    server.close()


def test_a_second_engine_on_the_same_home_ends_with_0(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "find_paths", lambda: paths)
    monkeypatch.setattr(engine_module, "_log_to", lambda folder: None)
    with paths.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        paths.socket.touch()
        assert engine_module.main() == 0
    assert paths.socket.exists()  # it belongs to the first one


def test_the_engine_is_started_apart_from_the_terminal(paths: Paths) -> None:
    calls: list[dict[str, object]] = []

    def spawn(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        calls.append({"command": command, **options})
        return None  # type: ignore[return-value]

    client_module.start_engine(paths, spawn)
    assert calls[0]["start_new_session"] is True
    assert calls[0]["cwd"] == paths.home
    assert calls[0]["stdin"] == subprocess.DEVNULL


async def test_the_limit_of_every_node_and_of_a_cast(engine_home: EngineHome, tmp_path: Path) -> None:
    client = await engine_home.connect()
    await client.request(messages.SetLimit(5000), messages.Done)
    await ready(client)
    first = await engine_home.drivers[0].wait_for(driver_protocol.AgentCall)
    assert first.order == agent_orders.SetNodeLimit(5000)
    assert (await client.request(messages.GetStatus(), messages.EngineStatus)).limit == 5000
    with pytest.raises(CastRayError) as caught:
        await client.request(messages.SetLimit(-1), messages.Done)
    assert caught.value.failure.kind is FailureKind.BAD_RATE
    with pytest.raises(CastRayError) as caught:
        await client.request(messages.SetLimit(1000, "c0ffee"), messages.Done)
    assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN
    await client.close()


async def test_settings_are_sent_to_every_client_and_saved(engine_home: EngineHome, paths: Paths) -> None:
    client, other = await engine_home.connect(), await engine_home.connect()
    assert (await client.request(messages.GetSettings(), messages.SettingsChanged)).settings.go_on
    wanted = messages.EngineSettings(limit=7000, casts_at_once=2, go_on=False)
    await client.request(messages.ChangeSettings(wanted), messages.Done)
    async with asyncio.timeout(PATIENCE):
        async for event in other.events():
            if isinstance(event, messages.SettingsChanged):
                assert event.settings == wanted
                break
    assert SettingsFile(paths.settings).current == wanted
    assert (await client.request(messages.GetStatus(), messages.EngineStatus)).limit == 7000
    with pytest.raises(CastRayError) as caught:
        await client.request(
            messages.ChangeSettings(messages.EngineSettings(casts_at_once=-1)), messages.Done
        )
    assert caught.value.failure.kind is FailureKind.BAD_SETTING
    await client.close()
    await other.close()


async def test_control_commands_reach_the_running_casts(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await client.request(messages.Pause(), messages.Done)  # all of none
    await client.request(messages.Resume(), messages.Done)
    for command in (
        messages.Pause("c0ffee"),
        messages.Resume("c0ffee"),
        messages.DropRecipients("c0ffee", ("a",)),
        messages.MoveInQueue("c0ffee", 0),
        messages.Retry("c0ffee"),
        messages.SendAgain("c0ffee"),
        messages.Verify("job", cast="c0ffee"),
    ):
        with pytest.raises(CastRayError) as caught:
            await client.request(command, messages.Done)
        assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN, command
    with pytest.raises(CastRayError) as caught:
        await client.request(messages.CancelVerify("job"), messages.Done)
    assert caught.value.failure.kind is FailureKind.JOB_UNKNOWN
    await client.close()
