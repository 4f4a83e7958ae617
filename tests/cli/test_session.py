"""A command's connection: it waits for the cluster, and stops an engine that it started."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from castray_desktop.cli import session as session_module
from castray_desktop.cli.session import Session
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.clusters import cluster_supervisor as supervisor_module
from castray_desktop.workers.clusters import connection_status
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE


def own(session: Session) -> None:
    """Pretend that this command has started the engine."""
    session.client.welcome = msgspec.structs.replace(session.client.welcome, started=True)


async def test_it_starts_a_local_cluster_where_there_is_none(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Session(start=False) as session:
        await session.ready(None)
        assert session.cache.cluster.phase is ClusterPhase.READY
        assert len(session.cache.nodes) == 4
    said = capsys.readouterr().err.splitlines()
    assert said == [session_module.DEMO_INSTEAD, "Starting Ray …", "Setting up 4 nodes …"]
    async with Session(start=False) as session:
        await session.ready("local")  # it exists already
    assert capsys.readouterr().err == ""
    async with Session(start=False) as session:
        await session.ready(None)  # it is the current one
    assert capsys.readouterr().err == ""
    assert len(engine_home.drivers) == 1


async def test_the_demo_in_use_is_not_taken_for_a_cluster_that_was_used_before(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Session(start=False) as session:
        await session.ready("10.0.0.1:6379")
        await session.ready("local")
        capsys.readouterr()
        async with Session(start=False) as another:
            await another.ready(None)
    said = capsys.readouterr().err.splitlines()
    assert said == [session_module.DEMO_IN_USE.format(others="10.0.0.1:6379")]


@pytest.mark.parametrize("target", [None, ""])  # an empty CASTRAY_CLUSTER names no cluster
async def test_a_program_gets_the_note_about_the_demo(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str], target: str | None
) -> None:
    async with Session(start=False, quiet=True) as session:
        await session.ready(target)
    assert capsys.readouterr().err.splitlines() == [session_module.DEMO_INSTEAD]


async def test_a_slow_step_is_printed_once(
    engine_home: EngineHome, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_status, "SLOW_SECONDS", 0.01)
    engine_home.script = lambda driver: None
    session = Session(start=False)

    def heard(event: messages.Event) -> None:
        if isinstance(event, messages.ClusterChanged) and event.cluster.notice is not None:
            engine_home.drivers[0].come_up()

    session._on_event = heard
    async with session:
        await session.ready(None)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Ray has not started")]
    assert len(said) == 1


async def test_the_engine_it_started_ends_with_it(engine_home: EngineHome) -> None:
    async with Session(start=False) as session:
        await session.ready(None)
        own(session)
    await engine_home.ended()
    assert engine_home.drivers[0].stopped == 1


async def test_the_engine_stays_when_others_have_come(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STOP_SECONDS", 600.0)
    window = await engine_home.connect()
    async with asyncio.timeout(PATIENCE):  # the command does not wait for its end either
        async with Session(start=False) as session:
            own(session)
    await window.request(messages.GetStatus(), messages.EngineStatus)
    await window.close()


async def test_another_cluster_than_the_one_in_use(engine_home: EngineHome) -> None:
    window = await engine_home.connect()
    await window.request(messages.UseCluster("local"), messages.Done)
    async with Session(start=False) as session:
        await session.ready("10.0.0.1:6379")
        assert (session.cache.cluster.target, session.cache.cluster.phase) == (
            "10.0.0.1:6379",
            ClusterPhase.READY,
        )
        assert list(session.cache.nodes) == ["head"]
    status = await window.request(messages.GetStatus(), messages.EngineStatus)
    assert (status.cluster.target, status.nodes) == ("local", 4)
    assert len(engine_home.drivers) == 2
    await window.close()


async def test_a_cluster_that_does_not_come_up(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACK_OFF_SECONDS", (0.0, 0.0))
    failure = Failure(FailureKind.CLUSTER_START_FAILED, {"reason": "no room"})
    engine_home.script = lambda driver: driver.say(driver_protocol.ClusterFailed(failure))
    async with Session(start=False) as session:
        with pytest.raises(CastRayError) as caught:
            await session.ready("local")
    assert caught.value.failure.kind is FailureKind.CLUSTER_START_FAILED
    assert len(engine_home.drivers) == 3


async def test_leaving_the_cluster_ends_casts_with_a_reason(engine_home: EngineHome, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    client = await engine_home.connect()
    async with Session(start=False) as session:
        await session.ready("local")
    request = messages.SendRequest((str(tmp_path / "x"),), ("all",))
    cast = (await client.request(messages.Send(request), messages.Accepted)).cast
    await engine_home.drivers[0].wait_for(driver_protocol.AgentCall)
    await client.request(messages.LeaveCluster(), messages.Done)
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert result.summary.state is messages.CastState.FAILED
    assert result.summary.failure == Failure(FailureKind.CLUSTER_STOPPED)
    await client.close()
