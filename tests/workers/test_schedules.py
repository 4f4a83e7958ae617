"""Schedules from one run to the next, with casts and a clock that do what the test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import msgspec
import pytest

from castray_desktop.core import messages as m
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import CastState, DeliveryState, OnConflict, Schedule, SendRequest
from castray_desktop.workers import engine as engine_module
from castray_desktop.workers import schedules as schedules_module
from castray_desktop.workers.places import Places
from castray_desktop.workers.schedules import Schedules
from castray_desktop.workers.scheduling import file_watch
from castray_desktop.workers.scheduling.schedule_casts import ClusterCasts
from castray_desktop.workers.scheduling.schedule_life import LOOK_SECONDS, SURE_SECONDS, Look
from tests.helpers.house import House

NOW = 1_790_000_000.0
NODES = ("a", "b")


class FakeCasts:
    """Follows `schedule_life.Casts`."""

    def __init__(self) -> None:
        self.ready = True
        self.here = True
        self.brought_up: list[str] = []
        self.held: set[str] = set()
        self.digest = "first"
        self.recipients = NODES
        self.offline: frozenset[str] = frozenset()
        self.failure: Failure | None = None
        self.looks = 0
        self.sent: list[tuple[str, SendRequest, str]] = []
        self.running: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    def is_ready(self, target: str) -> bool:
        return self.ready

    async def bring_up(self, target: str) -> None:
        self.brought_up.append(target)

    def is_here(self, target: str, source: str) -> bool:
        return self.here

    async def look(self, target: str, request: SendRequest) -> Look:
        self.looks += 1
        await self.gate.wait()
        if self.failure is not None:
            raise CastRayError.of(self.failure)
        return Look(self.digest, self.recipients, self.offline)

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        cast = f"cast {len(self.sent)}"
        self.sent.append((target, request, schedule))
        self.running.add(cast)
        return cast

    def runs(self, cast: str) -> bool:
        return cast in self.running

    def hold(self, targets: set[str]) -> None:
        self.held = targets


class Stage:
    """Schedules in a home of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.casts = FakeCasts()
        self.now = NOW
        self.events: list[m.Event] = []
        self.schedules = self._new()

    def _new(self) -> Schedules:
        return Schedules(
            self.home / "schedules.json", self.casts, self.events.append, lambda: self.now, lambda: UTC
        )

    async def add(self, **values: object) -> str:
        request = SendRequest((str(self.home / "data"),), ("all",), on_conflict=OnConflict.OVERWRITE)
        values = {"request": request, "name": "models", **values}
        schedule = Schedule("", **values)  # type: ignore[arg-type]
        reply = await self.schedules.answer(m.AddSchedule(schedule))
        assert isinstance(reply, m.ScheduleAdded)
        return reply.schedule

    def info(self) -> m.ScheduleInfo:
        return self.schedules._told().schedules[0]

    async def settle(self) -> None:
        """Let everything that is due begin and come as far as it gets."""
        self.schedules._wake.set()
        for _ in range(20):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        self.now += seconds
        await self.settle()

    async def end(self, *failed: str, cast: int = -1, state: DeliveryState = DeliveryState.FAILED) -> None:
        """The latest cast ends; all recipients but these have it."""
        number = cast % len(self.casts.sent)
        _, request, schedule = self.casts.sent[number]
        name = f"cast {number}"
        self.casts.running.discard(name)
        rows = tuple(
            m.DeliverySnapshot(node, state if node in failed else DeliveryState.COMPLETED)
            for node in request.recipients
        )
        outcome = CastState.PARTLY_FAILED if failed else CastState.COMPLETED
        summary = m.CastSummary(
            *(name, "data", outcome, "s", request.recipients, m.CastMode.MULTICAST, self.now),
            schedule=schedule,
        )
        self.schedules.ended(m.CastResult(summary, rows, 1.0))
        await self.settle()

    async def restart(self) -> None:
        await self.schedules.close()
        self.schedules = self._new()
        await self.schedules.start()
        await self.settle()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - inotify's thread tells, and the clock is the test's
                await asyncio.sleep(0.01)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(schedules_module, "PUBLISH_SECONDS", 0.0)
    monkeypatch.setattr(file_watch, "STEP_MS", 10)
    monkeypatch.setattr(file_watch, "CHECK_MS", 50)
    monkeypatch.setattr(file_watch, "GATHER_MS", 100)
    (tmp_path / "data").mkdir()
    stage = Stage(tmp_path)
    await stage.schedules.start()
    yield stage
    await stage.schedules.close()


# --- at times ----------------------------------------------------------------------------------------


async def test_it_runs_at_its_interval_and_only_when_something_has_changed(stage: Stage) -> None:
    schedule = await stage.add(every=600.0)
    await stage.settle()
    target, request, owner = stage.casts.sent[0]
    assert (target, owner, request.recipients, request.leave_out) == ("local", schedule, NODES, True)
    assert stage.info().running
    await stage.end()
    assert stage.info().last_state is CastState.COMPLETED
    assert stage.info().next_run == NOW + 600
    await stage.later(599)
    assert stage.casts.looks == 1
    await stage.later(1)
    assert (stage.casts.looks, len(stage.casts.sent)) == (2, 1)
    assert stage.info().unchanged
    assert stage.info().last_run == NOW + 600
    stage.casts.digest = "second"
    await stage.later(600)
    assert len(stage.casts.sent) == 2


async def test_a_run_that_would_overlap_is_left_out(stage: Stage) -> None:
    await stage.add(every=10.0)
    await stage.settle()
    stage.casts.digest = "second"
    for _ in range(5):
        await stage.later(10)
    assert len(stage.casts.sent) == 1
    await stage.later(3)
    await stage.end()
    assert len(stage.casts.sent) == 1
    assert stage.info().next_run == NOW + 60
    await stage.later(7)
    assert len(stage.casts.sent) == 2


async def test_runs_that_were_missed_are_made_up_for_once(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end()
    stage.casts.digest = "second"
    stage.now += 100_000
    await stage.restart()
    assert len(stage.casts.sent) == 2
    await stage.end()
    await stage.settle()
    assert len(stage.casts.sent) == 2
    assert stage.now < stage.info().next_run <= stage.now + 600


async def test_cron_waits_for_its_time(stage: Stage) -> None:
    await stage.add(cron="0 3 * * *")
    await stage.settle()
    assert stage.casts.looks == 0
    stage.now = stage.info().next_run - 1
    await stage.settle()
    assert stage.casts.looks == 0
    await stage.later(1)
    assert len(stage.casts.sent) == 1


async def test_only_those_that_lack_it_are_sent_to(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end("b")
    await stage.later(600)
    assert stage.casts.sent[1][1].recipients == ("b",)
    await stage.end()
    stage.casts.recipients = ("a", "b", "c")
    await stage.later(600)
    assert stage.casts.sent[2][1].recipients == ("c",)
    await stage.end()
    await stage.later(600)
    assert len(stage.casts.sent) == 3


async def test_a_node_that_is_offline_gets_it_when_it_is_back(stage: Stage) -> None:
    stage.casts.offline = frozenset({"b"})
    await stage.add(every=600.0)
    await stage.settle()
    assert stage.casts.sent[0][1].recipients == ("a",)
    await stage.end()
    await stage.later(600)
    assert len(stage.casts.sent) == 1
    assert stage.info().failure == Failure(FailureKind.NODE_OFFLINE, {"node": "b"})
    stage.casts.offline = frozenset()
    await stage.later(600)
    assert stage.casts.sent[1][1].recipients == ("b",)
    assert stage.info().failure is None


async def test_one_whose_recipients_may_be_awaited_leaves_nobody_out(stage: Stage) -> None:
    stage.casts.offline = frozenset({"b"})
    request = SendRequest(("/data",), ("all",), await_offline=True)
    await stage.add(every=600.0, request=request)
    await stage.settle()
    assert stage.casts.sent[0][1].recipients == NODES


async def test_one_that_was_awaited_in_vain_is_sent_to_again(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end("b", state=DeliveryState.AWAITED)
    await stage.later(600)
    assert len(stage.casts.sent) == 1  # it is served by somebody else
    await stage.end("b", cast=0)
    await stage.later(600)
    assert stage.casts.sent[1][1].recipients == ("b",)


async def test_without_its_cluster_it_waits_and_says_so(stage: Stage) -> None:
    stage.casts.ready = False
    await stage.add(every=600.0, cluster="10.0.0.1:6379")
    await stage.later(2000)
    assert stage.casts.sent == []
    assert stage.casts.brought_up == ["10.0.0.1:6379"]
    assert stage.info().failure == Failure(FailureKind.SCHEDULE_WAITS, {"target": "10.0.0.1:6379"})
    stage.casts.ready = True
    await stage.later(5)
    assert len(stage.casts.sent) == 1
    assert stage.info().failure is None


async def test_what_keeps_it_from_beginning_is_told_and_the_next_run_comes(stage: Stage) -> None:
    stage.casts.failure = Failure(FailureKind.NO_SUCH_FILE, {"path": "/data"})
    await stage.add(every=600.0)
    await stage.settle()
    assert stage.info().failure == stage.casts.failure
    stage.casts.failure = None
    await stage.later(600)
    assert len(stage.casts.sent) == 1
    assert stage.info().failure is None


async def test_an_error_that_nobody_expected_is_told_and_ends_no_schedule(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.casts.recipients = 5  # type: ignore[assignment]
    await stage.add(every=600.0)
    await stage.settle()
    failure = stage.info().failure
    assert failure is not None
    assert failure.kind is FailureKind.INTERNAL
    assert "TypeError" in failure.values["reason"]
    assert "Traceback" in caplog.text
    stage.casts.recipients = NODES
    await stage.later(600)
    assert len(stage.casts.sent) == 1


async def test_a_cast_that_goes_on_under_the_next_engine_is_waited_for(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.restart()
    assert stage.info().running
    await stage.later(600)
    assert stage.casts.looks == 1
    await stage.end()
    assert stage.info().last_state is CastState.COMPLETED


async def test_a_cast_that_was_lost_with_its_engine_does_not_block_the_schedule(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    stage.casts.running.clear()
    await stage.restart()
    assert not stage.info().running
    assert stage.info().last_state is CastState.FAILED
    await stage.later(600)
    assert len(stage.casts.sent) == 2


# --- on changes --------------------------------------------------------------------------------------


async def quiet_schedule(stage: Stage, **values: object) -> None:
    """One that watches, has sent what was there, and has nothing to do."""
    await stage.add(quiet=5.0, **values)
    await stage.settle()
    await stage.end()
    await stage.until(lambda: stage.casts.looks == 2)
    await stage.settle()
    assert len(stage.casts.sent) == 1


async def test_a_thousand_changes_are_one_cast_once_it_is_quiet(stage: Stage) -> None:
    await quiet_schedule(stage)
    stage.casts.digest = "second"
    for number in range(1000):
        (stage.home / "data" / str(number)).write_text("x")
    await stage.until(lambda: stage.info().changes_seen == 1000)
    await stage.later(4.9)
    assert len(stage.casts.sent) == 1
    await stage.later(0.1)
    assert len(stage.casts.sent) == 2
    assert stage.info().changes_seen == 0
    await stage.end()
    await stage.later(100)
    assert len(stage.casts.sent) == 2


async def test_touching_without_changing_sends_nothing(stage: Stage) -> None:
    await quiet_schedule(stage)
    (stage.home / "data" / "a").write_text("x")
    await stage.until(lambda: stage.info().changes_seen == 1)
    await stage.later(5)
    assert len(stage.casts.sent) == 1
    assert stage.info().unchanged


async def test_what_changes_during_a_cast_is_sent_after_it(stage: Stage) -> None:
    await quiet_schedule(stage)
    for digest, name in (("second", "a"), ("third", "b")):
        stage.casts.digest = digest
        (stage.home / "data" / name).write_text("x")
        await stage.until(lambda: stage.info().changes_seen == 1)
        await stage.later(5)
    assert len(stage.casts.sent) == 2
    await stage.end()
    assert len(stage.casts.sent) == 3


async def test_a_failed_recipient_is_tried_again_more_and_more_seldom(stage: Stage) -> None:
    await quiet_schedule(stage)
    stage.casts.digest = "second"
    (stage.home / "data" / "a").write_text("x")
    await stage.until(lambda: stage.info().changes_seen == 1)
    await stage.later(5)
    for wait in (60, 120, 240):
        sent = len(stage.casts.sent)
        await stage.end("b")
        await stage.later(wait - 1)
        assert len(stage.casts.sent) == sent
        await stage.later(1)
        assert len(stage.casts.sent) == sent + 1
        assert stage.casts.sent[-1][1].recipients == ("b",)


async def test_it_is_looked_at_now_and_then_all_the_same(stage: Stage) -> None:
    await quiet_schedule(stage)
    stage.casts.digest = "second"
    await stage.later(SURE_SECONDS)
    assert len(stage.casts.sent) == 2


async def test_what_is_elsewhere_is_looked_at_until_it_is_quiet(stage: Stage) -> None:
    stage.casts.here = False
    await stage.add(quiet=5.0)
    await stage.settle()
    assert stage.info().looks_every == LOOK_SECONDS
    assert stage.casts.sent == []
    stage.casts.digest = "second"
    await stage.later(LOOK_SECONDS)
    assert stage.casts.sent == []  # it still changes
    await stage.later(LOOK_SECONDS)
    assert len(stage.casts.sent) == 1
    await stage.end()
    for _ in range(5):
        await stage.later(LOOK_SECONDS)
    assert stage.casts.looks >= 8
    assert len(stage.casts.sent) == 1


async def test_a_folder_that_is_not_there_yet_is_watched_when_it_is(stage: Stage) -> None:
    folder = stage.home / "later"
    request = SendRequest((str(folder),), ("all",))
    stage.casts.failure = Failure(FailureKind.NO_SUCH_FILE, {"path": str(folder)})
    await stage.add(quiet=5.0, request=request)
    await stage.until(lambda: stage.info().failure is not None)
    await stage.until(lambda: stage.casts.looks == 2)  # once more as soon as it is watched
    folder.mkdir()
    await stage.until(lambda: stage.info().looks_every > 0)
    stage.casts.failure = None
    await stage.later(60)
    await stage.until(lambda: stage.info().looks_every == 0)
    await stage.until(lambda: len(stage.casts.sent) == 1)


# --- commands ----------------------------------------------------------------------------------------


async def test_run_now_sends_to_all_whatever_has_changed(stage: Stage) -> None:
    schedule = await stage.add(every=600.0, enabled=False)
    await stage.later(5000)
    assert stage.casts.sent == []
    for count in (1, 2):
        reply = await stage.schedules.answer(m.RunSchedule(schedule[:4]))
        assert reply == m.Accepted(f"cast {count - 1}")
        assert stage.casts.sent[-1][1].recipients == NODES
        with pytest.raises(CastRayError) as caught:
            await stage.schedules.answer(m.RunSchedule("models"))
        assert caught.value.failure.kind is FailureKind.SCHEDULE_RUNNING
        await stage.end()


async def test_run_now_without_the_cluster_fails(stage: Stage) -> None:
    schedule = await stage.add(every=600.0, enabled=False)
    stage.casts.ready = False
    with pytest.raises(CastRayError) as caught:
        await stage.schedules.answer(m.RunSchedule(schedule))
    assert caught.value.failure.kind is FailureKind.NO_CLUSTER


async def test_off_and_on(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end()
    assert stage.schedules.active
    assert stage.casts.held == {"local"}
    await stage.schedules.answer(m.EnableSchedule("", False))
    assert not stage.schedules.active
    assert stage.casts.held == set()
    assert stage.info().next_run == 0.0
    stage.casts.digest = "second"
    await stage.later(6000)
    assert len(stage.casts.sent) == 1
    await stage.schedules.answer(m.EnableSchedule("models", True))
    await stage.settle()
    assert len(stage.casts.sent) == 1  # what was missed while it was off is not made up for
    await stage.later(600)
    assert len(stage.casts.sent) == 2


async def test_another_destination_has_got_nothing_yet(stage: Stage) -> None:
    name = await stage.add(every=600.0)
    await stage.settle()
    await stage.end()
    schedule = stage.info().schedule
    request = msgspec.structs.replace(schedule.request, limit=1000)
    await stage.schedules.answer(m.ChangeSchedule(msgspec.structs.replace(schedule, request=request)))
    await stage.later(600)
    assert len(stage.casts.sent) == 1
    request = msgspec.structs.replace(request, destination="/srv")
    changed = msgspec.structs.replace(schedule, request=request, every=60.0)
    await stage.schedules.answer(m.ChangeSchedule(changed))
    await stage.later(60)
    assert stage.casts.sent[1][1].destination == "/srv"
    assert stage.casts.sent[1][2] == name


async def test_one_that_is_removed_while_it_looks_sends_nothing(stage: Stage) -> None:
    stage.casts.gate.clear()
    name = await stage.add(every=600.0)
    await stage.settle()
    assert stage.casts.looks == 1
    await stage.schedules.answer(m.RemoveSchedule(name))
    stage.casts.gate.set()
    await stage.settle()
    assert stage.casts.sent == []
    assert stage.schedules._told().schedules == ()
    with pytest.raises(CastRayError) as caught:
        await stage.schedules.answer(m.RemoveSchedule(name))
    assert caught.value.failure.kind is FailureKind.SCHEDULE_UNKNOWN


async def test_clients_hear_of_every_change(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.until(lambda: bool(stage.events))
    assert stage.events[-1] == stage.schedules._told()


async def test_the_demonstration_writes_a_file_that_differs_each_time(stage: Stage) -> None:
    first = await stage.schedules.answer(m.AddDemonstration())
    assert first == await stage.schedules.answer(m.AddDemonstration())
    info = stage.info()
    assert (info.schedule.enabled, info.schedule.every) == (False, 60.0)
    await stage.schedules.answer(m.EnableSchedule("", True))
    file = Path(info.schedule.request.paths[0])
    seen = set()
    for turn in range(15):
        await stage.later(0 if turn == 0 else 60)
        await stage.end()
        seen.add(file.read_text())
        stage.casts.digest = f"turn {turn}"
    assert len(seen) == 15
    assert len(stage.casts.sent) == 15
    assert len(file.read_text().splitlines()) == 10
    assert file.is_relative_to(stage.home)


async def test_a_damaged_file_is_set_aside(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.add(every=600.0, enabled=False)
    await stage.schedules.close()
    file = stage.home / "schedules.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("[{]")
    with caplog.at_level(logging.WARNING):
        await stage.restart()
    assert stage.schedules._told().schedules == ()
    (aside,) = stage.home.glob("damaged-*")
    assert aside.read_text() == "[{]"
    assert "set aside" in caplog.text


async def test_the_engine_stays_while_a_schedule_is_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    places = Places(tmp_path, tmp_path / "run" / "s.sock")
    places.prepare()
    house = House(places)
    client = await house.connect()
    added = await client.request(m.AddDemonstration(), m.ScheduleAdded)
    await client.request(m.EnableSchedule(added.schedule, True), m.Done)
    await client.request(m.StopEngine(only_if_unused=True), m.Done)
    assert (await client.request(m.GetStatus(), m.EngineStatus)).kept
    await client.close()
    await house.alone()
    house.now += 3600.0
    await house.checked()
    assert not house.running.done()
    assert len(house.drivers) == 1  # the local cluster that it needs
    client = await house.connect()
    listed = await client.request(m.ListSchedules(), m.SchedulesChanged)
    assert listed.schedules[0].schedule.name == "Demonstration"
    await client.request(m.EnableSchedule("", False), m.Done)
    await client.close()
    await house.alone()
    house.now += 3600.0
    await house.ended()


async def test_a_cluster_that_the_user_has_left_is_not_brought_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    places = Places(tmp_path, tmp_path / "run" / "s.sock")
    places.prepare()
    house = House(places)
    client = await house.connect()
    await client.request(m.UseCluster("local"), m.Done)
    await client.request(m.LeaveCluster(), m.Done)
    drivers = len(house.drivers)
    added = await client.request(m.AddDemonstration(), m.ScheduleAdded)
    await client.request(m.EnableSchedule(added.schedule, True), m.Done)
    async with asyncio.timeout(5):
        async for event in client.events():
            if isinstance(event, m.SchedulesChanged) and event.schedules[0].failure is not None:
                break
    assert event.schedules[0].failure == Failure(FailureKind.SCHEDULE_WAITS, {"target": "local"})
    assert len(house.drivers) == drivers
    await client.close()
    house.engine._stopping.set()
    await house.ended()


def make_cluster(nodes: dict[str, m.NodeInfo], target: str = "10.0.0.1:6379") -> Any:
    """As much of a cluster as is asked for."""
    casts = SimpleNamespace(look=None, unfinished=("c0ffee",))
    status = m.ClusterStatus(m.ClusterPhase.READY, target=target)
    supervisor = SimpleNamespace(settled=True, nodes=nodes)
    return SimpleNamespace(target=target, casts=casts, status=status, supervisor=supervisor)


class FakeClusters(list[Any]):
    """As much of `Clusters` as is asked for."""

    held: ClassVar[set[str]] = set()

    def current(self) -> Any:
        return self[0]

    def get(self, target: str) -> Any:
        return next(cluster for cluster in self if cluster.target == target)


@pytest.fixture
def nodes(tmp_path: Path) -> dict[str, m.NodeInfo]:
    online = m.NodeState.ONLINE
    return {
        "here": m.NodeInfo("here", online, "10.0.0.1", this_computer=True),
        "beside": m.NodeInfo("beside", online, "10.0.0.1", inbox=str(tmp_path / "data" / "inbox")),
        "far": m.NodeInfo("far", online, "10.0.0.2", inbox=str(tmp_path / "data" / "inbox")),
        "off": m.NodeInfo("off", m.NodeState.OFFLINE, "10.0.0.3"),
    }


@pytest.mark.parametrize(
    ("recipients", "destination", "refused"),
    [
        (("far", "off"), "", False),
        (("far", "beside"), "", True),
        (("beside",), "/elsewhere/{node}", False),
        (("beside",), "HOME/data/{node}", True),
        (("beside",), "HOME/data", True),
        (("beside",), "HOME/data more", False),
        (("beside",), "HOME/link/x", True),
    ],
)
async def test_what_is_received_must_not_lie_in_what_is_sent(
    tmp_path: Path,
    nodes: dict[str, m.NodeInfo],
    recipients: tuple[str, ...],
    destination: str,
    refused: bool,
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    cluster = make_cluster(nodes)

    async def look(request: SendRequest) -> tuple[str, str, tuple[str, ...]]:
        return "digest", "here", recipients

    cluster.casts.look = look
    casts = ClusterCasts(FakeClusters([cluster]))  # type: ignore[arg-type]
    request = SendRequest(
        (str(tmp_path / "data"),), recipients, destination=destination.replace("HOME", str(tmp_path))
    )
    if refused:
        with pytest.raises(CastRayError) as caught:
            await casts.look(cluster.target, request)
        assert caught.value.failure.values["reason"] == "what beside receives would lie in what is sent"
    else:
        expected = Look("digest", recipients, frozenset({"off"} & set(recipients)))
        assert await casts.look(cluster.target, request) == expected


def test_which_files_are_here_and_which_cluster_is_meant(nodes: dict[str, m.NodeInfo]) -> None:
    clusters = FakeClusters([make_cluster(nodes)])
    casts = ClusterCasts(clusters)  # type: ignore[arg-type]
    target = clusters.current().target
    assert casts.is_ready(target)
    assert casts.is_ready("auto")
    assert not casts.is_ready("10.9.9.9:1")
    assert casts.is_here(target, m.THIS_COMPUTER)
    assert casts.is_here(target, "here")
    assert not casts.is_here(target, "far")
    assert not casts.is_here(target, "nobody")
    assert casts.is_here("local", "node_2")
    assert casts.runs("c0ffee")
    assert not casts.runs("beef")
    casts.hold({"auto", "local"})
    assert clusters.held == {target, "local"}
