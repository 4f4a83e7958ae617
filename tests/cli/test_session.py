"""A command's connection: it waits for the cluster, and takes along the engine that it started."""

from __future__ import annotations

import asyncio
import dataclasses
import fcntl
import json
from pathlib import Path

import msgspec
import pytest

from castray_desktop.cli import casts, cluster, commands, send
from castray_desktop.cli import session as session_module
from castray_desktop.cli.arguments import parse
from castray_desktop.cli.session import Session
from castray_desktop.core import messages
from castray_desktop.core.errors import sentence
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase
from castray_desktop.core.statuses import STATUSES
from castray_desktop.workers import client as client_module
from castray_desktop.workers.cluster import standing
from castray_desktop.workers.cluster import supervisor as supervisor_module
from castray_desktop.workers.engine import open_socket
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side import protocol
from tests.helpers.fake_driver import RAY_NODE, FakeDriver
from tests.helpers.house import House


def own(session: Session) -> None:
    """As if this command had started the engine."""
    session.client.welcome = msgspec.structs.replace(session.client.welcome, started=True)


async def test_it_starts_a_local_cluster_where_there_is_none(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Session(start=False) as session:
        await session.ready(None)
        assert session.cluster.phase is ClusterPhase.READY
        assert len(session.nodes) == 4
    said = capsys.readouterr().err.splitlines()
    assert said == [session_module.DEMO_INSTEAD, "Starting Ray …", "Placing 4 nodes …"]
    async with Session(start=False) as session:
        await session.ready("local")  # it is there already
    assert capsys.readouterr().err == ""
    async with Session(start=False) as session:
        await session.ready(None)  # it is the one in use now
    assert capsys.readouterr().err == ""
    assert len(house.drivers) == 1


async def test_the_demo_in_use_is_not_taken_for_a_cluster_that_was_used_before(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Session(start=False) as session:
        await session.ready("10.0.0.1:6379")
        await session.ready("local")
        capsys.readouterr()
        async with Session(start=False) as another:
            await another.ready(None)
    said = capsys.readouterr().err.splitlines()
    assert said == [session_module.DEMO_IN_USE.format(others="10.0.0.1:6379")]


@pytest.mark.parametrize("target", [None, ""])  # an empty CASTRAY_CLUSTER names none
async def test_a_program_hears_as_well_that_it_is_the_demo(
    house: House, capsys: pytest.CaptureFixture[str], target: str | None
) -> None:
    async with Session(start=False, quiet=True) as session:
        await session.ready(target)
    assert capsys.readouterr().err.splitlines() == [session_module.DEMO_INSTEAD]


async def test_a_home_that_has_used_another_cluster_never_falls_back_to_the_demo(
    house: House, tmp_path: Path
) -> None:
    async with Session(start=False) as session:
        await session.ready("10.0.0.1:6379")
        await session.client.request(messages.LeaveCluster(), messages.Done)
    (tmp_path / "x").write_text("x")
    options = parse(["send", str(tmp_path / "x"), "--to", "all"])
    with pytest.raises(CastRayError) as caught:
        await send.send(options)
    said = sentence(caught.value.failure)
    assert "10.0.0.1:6379" in said
    assert "--cluster local" in said
    assert STATUSES[caught.value.failure.kind].exit == 3
    assert len(house.drivers) == 1
    async with Session(start=False) as session:
        await session.ready("local")  # by its name it can be had
    client = await house.connect()
    await client.request(messages.ForgetCluster("10.0.0.1:6379"), messages.Done)
    await client.request(messages.LeaveCluster(), messages.Done)
    await client.close()
    with pytest.raises(CastRayError) as caught:
        await send.send(options)
    assert "forgotten" in sentence(caught.value.failure)


@pytest.mark.parametrize(
    ("target", "cluster", "words"),
    [
        ("local", {"address": "127.0.0.1:6379", "local": True}, "Cluster: the demo on this computer"),
        ("10.0.0.1:6379", {"address": "127.0.0.1:6379", "local": False}, "Cluster: 127.0.0.1:6379"),
    ],
)
async def test_every_result_names_its_cluster(
    house: House,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    cluster: dict[str, object],
    words: str,
) -> None:
    (tmp_path / "x").write_text("x")
    second = dataclasses.replace(RAY_NODE, node_id="cd" * 28, hostname="second", head=False, mine=False)
    house.script = lambda driver: driver.come_up(RAY_NODE, second)
    sending = asyncio.create_task(
        _command(["send", str(tmp_path / "x"), "--to", "all", "--json", "--cluster", target])
    )
    async with asyncio.timeout(5):
        while not house.drivers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    await house.drivers[0].wait_for(protocol.Call)
    client = await house.connect()
    (cast,) = client.welcome.casts
    await client.request(messages.Cancel(cast.cast), messages.Done)
    await client.close()
    assert await sending == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cluster"] == cluster
    assert await _command(["history", cast.cast, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cluster"] == cluster
    assert await _command(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["cluster"] == cluster
    assert await _command(["casts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["cluster"] == cluster
    assert await _command(["history", cast.cast]) == 0
    assert words in capsys.readouterr().out.splitlines()


async def test_what_takes_long_is_said_once(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "SLOW_SECONDS", 0.01)
    house.script = lambda driver: None
    session = Session(start=False)

    def heard(event: messages.Event) -> None:
        if isinstance(event, messages.ClusterChanged) and event.cluster.notice is not None:
            house.drivers[0].come_up()

    session._heard = heard
    async with session:
        await session.ready(None)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Ray has not started")]
    assert len(said) == 1


async def test_the_engine_it_started_ends_with_it(house: House) -> None:
    async with Session(start=False) as session:
        await session.ready(None)
        own(session)
    await house.ended()
    assert house.drivers[0].stopped == 1


async def test_the_engine_stays_when_others_have_come(house: House) -> None:
    window = await house.connect()
    async with asyncio.timeout(2):  # nor does the command wait for its end
        async with Session(start=False) as session:
            own(session)
    await window.request(messages.GetStatus(), messages.EngineStatus)
    await window.close()


async def test_another_cluster_than_the_one_in_use(house: House) -> None:
    window = await house.connect()
    await window.request(messages.UseCluster("local"), messages.Done)
    async with Session(start=False) as session:
        await session.ready("10.0.0.1:6379")
        assert (session.cluster.target, session.cluster.phase) == ("10.0.0.1:6379", ClusterPhase.READY)
        assert list(session.nodes) == ["head"]
    status = await window.request(messages.GetStatus(), messages.EngineStatus)
    assert (status.cluster.target, status.nodes) == ("local", 4)
    assert len(house.drivers) == 2
    await window.close()


async def test_a_cluster_that_does_not_come_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "BACK_OFF_SECONDS", (0.0, 0.0))
    failure = Failure(FailureKind.CLUSTER_START_FAILED, {"reason": "no room"})
    house.script = lambda driver: driver.say(protocol.ClusterFailed(failure))
    async with Session(start=False) as session:
        with pytest.raises(CastRayError) as caught:
            await session.ready("local")
    assert caught.value.failure.kind is FailureKind.CLUSTER_START_FAILED
    assert len(house.drivers) == 3


async def test_an_engine_that_ends_while_facts_are_awaited(house: House) -> None:
    async with Session(start=False) as session:
        await session.ready("local")
        asking = asyncio.create_task(commands._facts_of_all(session))
        await session.client.request(messages.StopEngine(), messages.Done)
        async with asyncio.timeout(2):
            await asking
    await house.ended()


async def test_a_command_that_is_interrupted_cancels_what_it_has_just_sent(
    house: House, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("x")
    sending = asyncio.create_task(send.send(parse(["send", str(tmp_path / "x"), "--to", "node_1"])))
    async with asyncio.timeout(5):
        while not house.drivers:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    await house.drivers[0].wait_for(protocol.Call)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    client = await house.connect()
    assert [cast.state for cast in client.welcome.casts] == [messages.CastState.CANCELLED]
    await client.close()


async def test_leaving_the_cluster_ends_casts_with_a_reason(house: House, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    client = await house.connect()
    async with Session(start=False) as session:
        await session.ready("local")
    request = messages.SendRequest((str(tmp_path / "x"),), ("all",))
    cast = (await client.request(messages.Send(request), messages.Accepted)).cast
    await house.drivers[0].wait_for(protocol.Call)
    await client.request(messages.LeaveCluster(), messages.Done)
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert result.summary.state is messages.CastState.FAILED
    assert result.summary.failure == Failure(FailureKind.CLUSTER_STOPPED)
    await client.close()


async def test_the_limit_is_set_said_and_taken_away(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["limit", "10MB/s"], ["limit", "--json"], ["limit", "off"], ["limit"]):
        assert await casts.limit(parse(words)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Every node passes on at most 10.0 MB/s over all casts.",
        '{"limit": 10000000, "cast": null}',
        "There is no limit over all casts.",
        "There is no limit over all casts.",
    ]
    for words in (["limit", "1MB/s", "--cast", "c0ffee"], ["limit", "--cast", "c0ffee"]):
        with pytest.raises(CastRayError) as caught:
            await casts.limit(parse(words))
        assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN


@pytest.fixture
def impatient(places: Places, monkeypatch: pytest.MonkeyPatch) -> Places:
    """A home in which commands look for an engine, and do not wait for it for long."""
    for module in (commands, session_module):
        monkeypatch.setattr(module, "find_places", lambda: places)
    monkeypatch.setattr(commands, "STOP_SECONDS", 0.0)
    monkeypatch.setattr(client_module, "WELCOME_SECONDS", 0.05)
    return places


async def _command(words: list[str]) -> int:
    options = parse(words)
    return await commands._find(options)(options)


@pytest.mark.parametrize("command", ["stop", "status"])
async def test_an_engine_that_does_not_answer_is_none_that_has_ended(impatient: Places, command: str) -> None:
    with impatient.lock.open("w") as lock, open_socket(impatient.socket):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(CastRayError) as caught:
            await _command(["engine", command])
    assert caught.value.failure.values == {"reason": "it does not answer"}


async def test_no_engine_is_stopped_where_none_is(
    impatient: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    impatient.lock.touch()
    assert await _command(["engine", "stop"]) == 0
    assert capsys.readouterr().err == "No engine is running.\n"


async def test_a_busy_engine_is_stopped_once_it_answers(
    impatient: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "STOP_SECONDS", 5.0)
    monkeypatch.setattr(commands, "AGAIN_SECONDS", 0.0)
    with impatient.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with open_socket(impatient.socket):
            stopping = asyncio.create_task(_command(["engine", "stop"]))
            await asyncio.sleep(0.1)  # it has been in vain by then
        house = House(impatient)
        assert await stopping == 0
        await house.ended()


async def test_a_node_is_removed_from_the_cluster_that_was_named(house: House) -> None:
    async with Session(start=False) as session:
        await session.ready("local")
        await session.ready("10.0.0.1:6379")
        with pytest.raises(CastRayError) as caught:
            await _command(["node", "remove", "node_1", "--cluster", "local"])
    assert caught.value.failure.kind is FailureKind.NODE_NOT_REMOVABLE


async def share(house: House, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    house.script = FakeDriver.come_up
    assert await cluster.share(parse(["cluster", "share", *options])) == 0
    return capsys.readouterr().out


async def test_sharing_says_what_the_network_can_read(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = await share(house, capsys)
    assert "the token and the secret of each cast cross the network in clear" in said
    monkeypatch.setenv("RAY_USE_TLS", "1")
    said = await share(house, capsys)
    assert "in clear" not in said
    assert "RAY_USE_TLS=1" in said


async def test_a_new_token_is_for_a_cluster_that_is_started_again(
    house: House, capsys: pytest.CaptureFixture[str], places: Places
) -> None:
    first = await share(house, capsys)
    token = (places.home / "share-token").read_text()
    assert token in first
    assert await share(house, capsys) == first
    assert len(house.drivers) == 1
    again = await share(house, capsys, "--new-token")
    assert token not in again
    assert (places.home / "share-token").read_text() in again
    assert [driver.stopped for driver in house.drivers] == [1, 0]


async def test_a_token_that_others_can_read_is_a_reason(
    house: House, capsys: pytest.CaptureFixture[str], places: Places
) -> None:
    await share(house, capsys)
    (places.home / "share-token").chmod(0o644)
    with pytest.raises(CastRayError) as caught:
        await share(house, capsys)
    assert caught.value.failure.kind is FailureKind.TOKEN_EXPOSED
    assert "ray start" in await share(house, capsys, "--new-token")


def without_agents(driver: FakeDriver) -> None:
    """Ray is there, and the agent of every node dies."""
    driver.say(
        driver.up(
            RAY_NODE,
            dataclasses.replace(RAY_NODE, node_id="cd" * 28, hostname="second", head=False, mine=False),
        )
    )
    driver.say(protocol.AgentLost("head", "ActorDiedError: the worker has died"))
    driver.say(protocol.AgentLost("second", "RuntimeEnvSetupError: No space left on device"))


async def test_where_no_agent_can_be_placed_it_says_what_ray_said_for_each_node(
    house: House, tmp_path: Path
) -> None:
    house.script = without_agents
    (tmp_path / "f").write_text("f")
    options = parse(["send", str(tmp_path / "f"), "--to", "all", "--cluster", "10.0.0.1:6379"])
    with pytest.raises(CastRayError) as caught:
        await send.send(options)
    failure = caught.value.failure
    assert failure.kind is FailureKind.NO_AGENT
    assert failure.values["target"] == "10.0.0.1:6379"
    assert "head: ActorDiedError: the worker has died" in failure.values["reasons"]
    assert "second: RuntimeEnvSetupError: No space left on device" in failure.values["reasons"]
    assert STATUSES[failure.kind].exit == 3
