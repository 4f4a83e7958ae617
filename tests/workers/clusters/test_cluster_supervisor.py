"""The supervisor, with fake drivers and a clock that the test advances."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    ClusterPhase,
    ClusterStatus,
    EngineSettings,
    NodeInfo,
    NodeState,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.clusters import cluster_supervisor
from castray_desktop.workers.clusters.agent_liveness import IDLE_SECONDS, SILENT_SECONDS
from castray_desktop.workers.clusters.cluster_supervisor import ClusterSupervisor
from castray_desktop.workers.clusters.node_inventory import local_node_name
from tests.helpers.fake_driver import RAY_NODE, FakeDriver, hello
from tests.helpers.patience import PATIENCE

LOCAL_NAMES = (local_node_name(), "node_1", "node_2", "node_3")
REFUSED = driver_protocol.ClusterFailed(Failure(FailureKind.CLUSTER_START_FAILED, {"reason": "no room"}))


class Stage:
    """A supervisor, its calls to its listener, and the drivers that it started."""

    def __init__(self, tmp_path: Path) -> None:
        self.now = 100.0
        self.drivers: list[FakeDriver] = []
        self.script: Callable[[FakeDriver], None] = lambda driver: None
        self.start_error: OSError | None = None
        self.casts: tuple[str, ...] = ("c0ffee",)
        self.token = ""
        self.running: tuple[str, ...] = ()  # the clusters that this machine is a node of
        self.shown: list[bool] = []
        self.away: Failure | None = None
        self.pauses: list[float] = []
        self.phases: list[ClusterPhase] = []
        self.lost: list[str] = []
        self.up: list[str] = []
        self.changes: list[NodeInfo] = []
        self.removed: list[str] = []
        self.reports: list[str] = []
        self.left_with: list[ClusterPhase] = []
        self.news = asyncio.Condition()
        self.supervisor = ClusterSupervisor(
            Paths(tmp_path, tmp_path / "s.sock"),
            self,
            start_driver=self.start_driver,
            clock=lambda: self.now,
            pause=self.pause,
            probe=self.probe,
            token_origin=lambda environment: self.token,
            running=lambda: self.running,
        )

    async def start_driver(self, paths: Paths, target: str, *, show_token: bool, join: bool) -> FakeDriver:
        self.shown.append(show_token)
        if self.start_error is not None:
            raise self.start_error
        driver = FakeDriver()
        self.drivers.append(driver)
        self.script(driver)
        return driver

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    async def probe(self, target: str) -> None:
        if self.away is not None:
            raise CastRayError.of(self.away)

    # the calls of the supervisor

    def cluster_changed(self, status: ClusterStatus) -> None:
        if not self.phases or self.phases[-1] is not status.phase:
            self.phases.append(status.phase)
        self._notify()

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        self.changes.extend(changed)
        self.removed.extend(removed)
        self._notify()

    def agent_reported(self, node: str, report: agent_reports.AgentReport) -> None:
        self.reports.append(node)
        self._notify()

    def unfinished_casts(self) -> tuple[str, ...]:
        return self.casts

    def kept_casts(self) -> tuple[str, ...]:
        return self.casts

    def agent_up(self, node: str) -> None:
        self.up.append(node)

    def agent_lost(self, node: str) -> None:
        self.lost.append(node)
        self._notify()

    async def cluster_leaving(self) -> None:
        self.left_with.append(self.supervisor.status.phase)

    # helpers

    def _notify(self) -> None:
        async def notify() -> None:
            async with self.news:
                self.news.notify_all()

        asyncio.get_running_loop().create_task(notify())

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(lambda: bool(condition()))

    async def phase(self, phase: ClusterPhase) -> None:
        await self.until(lambda: self.supervisor.status.phase is phase)

    def state(self, name: str) -> NodeState:
        return self.supervisor.agents.nodes[name].state

    @property
    def driver(self) -> FakeDriver:
        return self.drivers[-1]

    async def ready(self, target: str = "local") -> FakeDriver:
        """A cluster with all its nodes."""
        self.script = FakeDriver.come_up
        await self.supervisor.use(target)
        await self.phase(ClusterPhase.READY)
        return self.driver


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.supervisor.leave()
    assert all(driver.stopped == 1 for driver in stage.drivers)
    leftovers = {task.get_name() for task in asyncio.all_tasks()} & {"cluster", "watch agents"}
    await asyncio.sleep(0)
    assert not leftovers


async def test_it_plans_the_local_nodes_and_counts_them(stage: Stage) -> None:
    stage.script = lambda driver: driver.say(driver.up())
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.PLACING)
    assert tuple(stage.supervisor.agents.nodes) == LOCAL_NAMES
    assert [order.name for order in stage.driver.sent(driver_protocol.PlaceAgent)] == list(LOCAL_NAMES)
    for name in LOCAL_NAMES[:-1]:
        stage.driver.say(driver_protocol.AgentUp(hello(name)))
    await stage.until(lambda: stage.supervisor.status.nodes_ready == 3)
    assert stage.supervisor.status.phase is ClusterPhase.PLACING
    stage.driver.say(driver_protocol.AgentUp(hello(LOCAL_NAMES[-1])))
    await stage.phase(ClusterPhase.READY)
    assert stage.supervisor.status.nodes_ready == stage.supervisor.status.nodes_total == 4
    assert stage.phases == [ClusterPhase.STARTING, ClusterPhase.PLACING, ClusterPhase.READY]


async def test_a_head_that_has_answered_has_more_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_supervisor.ANSWERED_SECONDS > cluster_supervisor.ATTACH_SECONDS
    monkeypatch.setattr(cluster_supervisor, "ATTACH_SECONDS", 600.0)
    monkeypatch.setattr(cluster_supervisor, "ANSWERED_SECONDS", 1.0)
    stage.script = lambda driver: driver.say(driver_protocol.HeadAnswered())
    await stage.supervisor.use("10.0.0.1:6379")
    await stage.phase(ClusterPhase.FAILED)
    failure = stage.supervisor.status.failure
    assert failure is not None
    assert (failure.kind, failure.values["seconds"]) == (FailureKind.CLUSTER_TIMED_OUT, "1")


async def test_other_demo_nodes_are_those_of_the_next_local_cluster(stage: Stage, tmp_path: Path) -> None:
    settings = SettingsFile(Paths(tmp_path, tmp_path / "s.sock").settings)
    settings.change(EngineSettings(demo_nodes=1))
    await stage.ready()
    assert tuple(stage.supervisor.agents.nodes) == LOCAL_NAMES[:2]
    settings.change(EngineSettings(demo_nodes=0))
    stage.driver.end()
    await stage.until(lambda: len(stage.drivers) == 2)
    await stage.phase(ClusterPhase.READY)
    assert tuple(stage.supervisor.agents.nodes) == LOCAL_NAMES[:2]
    await stage.supervisor.leave()
    await stage.ready()
    assert tuple(stage.supervisor.agents.nodes) == LOCAL_NAMES[:1]


async def test_one_agent_for_each_node_of_another_cluster(stage: Stage) -> None:
    def up(driver: FakeDriver) -> None:
        nodes = [("aa", "10.0.0.1", "gpu"), ("bb", "10.0.0.2", "gpu"), ("cc", "10.0.0.3", "cpu")]
        driver.say(driver.up(*(driver_protocol.RayNode(id_, address, host) for id_, address, host in nodes)))

    stage.script = up
    await stage.supervisor.use("10.0.0.1:6379")
    await stage.phase(ClusterPhase.PLACING)
    assert list(stage.supervisor.agents.nodes) == ["gpu-10.0.0.1", "gpu-10.0.0.2", "cpu"]
    placed = stage.driver.sent(driver_protocol.PlaceAgent)
    assert [(order.address, order.node_id) for order in placed] == [
        ("10.0.0.1", "aa"),
        ("10.0.0.2", "bb"),
        ("10.0.0.3", "cc"),
    ]


async def test_three_attempts_then_the_failure_stays(stage: Stage) -> None:
    stage.script = lambda driver: driver.say(REFUSED)
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 3
    assert stage.pauses == [1.0, 3.0]
    failure = stage.supervisor.status.failure
    assert failure is not None
    assert failure.values["reason"] == "no room"
    assert failure.values["attempts"] == "3"
    assert failure.values["log"].endswith("driver.log")


async def test_a_cluster_that_can_not_be_shared_is_tried_once(stage: Stage) -> None:
    refused = Failure(FailureKind.NOT_SHARED, {"reason": "Ray 2.49.2 does not support tokens"})
    stage.script = lambda driver: driver.say(driver_protocol.ClusterFailed(refused))
    await stage.supervisor.use("shared")
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 1


async def test_the_address_of_another_cluster_is_tried_once(stage: Stage) -> None:
    stage.script = lambda driver: driver.say(REFUSED)
    await stage.supervisor.use("10.0.0.1:6379")
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 1
    assert stage.supervisor.status.failure is not None
    assert stage.supervisor.status.failure.values["attempts"] == "1"


async def test_another_cluster_that_was_lost_is_tried_three_times(stage: Stage) -> None:
    driver = await stage.ready("10.0.0.1:6379")
    stage.script = lambda driver: driver.say(REFUSED)
    driver.end()
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 4


async def test_an_interpreter_that_is_not_there(stage: Stage) -> None:
    stage.start_error = FileNotFoundError(2, "No such file or directory", "/no/python")
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.FAILED)
    assert stage.supervisor.status.failure is not None
    assert "/no/python" in stage.supervisor.status.failure.values["reason"]


async def test_a_driver_that_sends_invalid_messages_is_replaced(stage: Stage) -> None:
    driver = await stage.ready()
    driver.say(ValueError("not a message of this protocol"))
    await stage.until(lambda: len(stage.drivers) == 2)
    await stage.phase(ClusterPhase.READY)


async def test_an_internal_error_is_a_failure(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.script = lambda driver: driver.say(driver_protocol.ClusterUp("a", "2", "3", ()))
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.FAILED)
    assert stage.supervisor.status.failure is not None
    assert stage.supervisor.status.failure.kind is FailureKind.INTERNAL
    assert "IndexError" in caplog.text


async def test_a_lost_driver_is_replaced(stage: Stage) -> None:
    driver = await stage.ready()
    stage.phases.clear()
    driver.end()
    await stage.until(lambda: len(stage.drivers) == 2)
    await stage.phase(ClusterPhase.READY)
    assert sorted(stage.lost) == sorted(LOCAL_NAMES)
    assert stage.phases == [ClusterPhase.RECONNECTING, ClusterPhase.PLACING, ClusterPhase.READY]
    assert driver.stopped == 1


async def test_calls_end_with_the_driver(stage: Stage) -> None:
    driver = await stage.ready()
    call = asyncio.create_task(stage.supervisor.agents.call("node_1", agent_orders.CancelCast("c")))
    await driver.wait_for(driver_protocol.AgentCall)
    driver.end()
    with pytest.raises(CastRayError) as caught:
        await call
    assert caught.value.failure.kind is FailureKind.NODE_OFFLINE


async def test_calls_and_their_answers(stage: Stage) -> None:
    driver = await stage.ready()
    reply = agent_orders.DestinationReply("/inbox", "storage", 5)
    calls = [
        asyncio.create_task(stage.supervisor.agents.call(node, agent_orders.CancelCast(node)))
        for node in ("node_1", "node_2", "node_3")
    ]
    await driver.wait_for(driver_protocol.AgentCall, 3)
    numbers = {call.agent: call.number for call in driver.sent(driver_protocol.AgentCall)}
    driver.say(driver_protocol.AgentCallResult(numbers["node_2"], reply))
    driver.say(driver_protocol.AgentCallResult(numbers["node_1"], error="it is not there"))
    driver.say(driver_protocol.AgentCallResult(numbers["node_3"], error="ValueError: no", raised=True))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(outcomes[0], CastRayError)
    assert outcomes[0].failure.kind is FailureKind.NODE_OFFLINE
    assert outcomes[1] == reply
    assert isinstance(outcomes[2], CastRayError)
    assert outcomes[2].failure == Failure(FailureKind.INTERNAL, {"reason": "node_3: ValueError: no"})


async def test_a_lost_agent_is_replaced_three_times(stage: Stage) -> None:
    driver = await stage.ready()
    for count in (1, 2, 3):
        driver.say(driver_protocol.AgentLost("node_1", "killed"))
        await stage.until(lambda: stage.state("node_1") is NodeState.OFFLINE)
        await driver.wait_for(driver_protocol.PlaceAgent, 4 + count)
        driver.say(driver_protocol.AgentUp(hello("node_1")))
        await stage.until(lambda: stage.state("node_1") is NodeState.ONLINE)
    assert stage.pauses == [1.0, 2.0, 3.0]
    driver.say(driver_protocol.AgentLost("node_1", "killed"))
    await stage.until(lambda: stage.state("node_1") is NodeState.OFFLINE)
    await driver.wait_for(driver_protocol.PlaceAgent, 8)
    assert stage.pauses == [1.0, 2.0, 3.0, 30.0]
    assert stage.supervisor.status.nodes_ready == 3
    assert stage.lost == ["node_1"] * 4


async def test_a_long_uptime_resets_the_restart_count(stage: Stage) -> None:
    driver = await stage.ready()
    for count in range(1, 6):
        stage.now += 61.0
        driver.say(driver_protocol.AgentLost("node_1", "killed"))
        await driver.wait_for(driver_protocol.PlaceAgent, 4 + count)
        driver.say(driver_protocol.AgentUp(hello("node_1")))
        await stage.until(lambda: stage.state("node_1") is NodeState.ONLINE)
    assert stage.pauses == [1.0] * 5


async def test_calls_to_a_lost_agent_end_with_it(stage: Stage) -> None:
    driver = await stage.ready()
    call = asyncio.create_task(stage.supervisor.agents.call("node_1", agent_orders.CancelCast("c")))
    await driver.wait_for(driver_protocol.AgentCall)
    driver.say(driver_protocol.AgentLost("node_1", "killed"))
    with pytest.raises(CastRayError):
        await call


async def test_an_agent_that_could_not_start_says_why(stage: Stage) -> None:
    stage.script = lambda driver: driver.say(driver.up())
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.PLACING)
    stage.driver.say(driver_protocol.AgentLost("node_1", "ValueError: no port"))
    await stage.until(lambda: stage.state("node_1") is NodeState.OFFLINE)
    failure = stage.supervisor.agents.nodes["node_1"].failure
    values = {"node": "node_1", "reason": "ValueError: no port"}
    assert failure == Failure(FailureKind.AGENT_NOT_PLACED, values)


# --- silence ------------------------------------------------------------------------------------


def pass_time(stage: Stage, seconds: int, *speakers: str) -> None:
    """Advance the clock second by second, with the watch running, while some agents report."""
    for _ in range(seconds):
        stage.now += 1.0
        for name in speakers:
            stage.supervisor.agents.reported(name, agent_reports.AgentReport())
        stage.supervisor.check_heartbeats()


async def test_a_silent_agent_is_offline_removed_and_placed_again(stage: Stage) -> None:
    driver = await stage.ready()
    others = (LOCAL_NAMES[0], "node_2", "node_3")
    pass_time(stage, int(SILENT_SECONDS) - 1, *others)
    assert stage.state("node_1") is NodeState.ONLINE
    pass_time(stage, 1, *others)
    assert stage.state("node_1") is NodeState.OFFLINE
    assert stage.lost == ["node_1"]
    failure = stage.supervisor.agents.nodes["node_1"].failure
    assert failure == Failure(FailureKind.NODE_SILENT, {"node": "node_1", "seconds": "10"})
    assert driver.sent(driver_protocol.RemoveAgent) == [driver_protocol.RemoveAgent("node_1", keep=True)]
    await driver.wait_for(driver_protocol.PlaceAgent, 5)
    driver.say(driver_protocol.AgentUp(hello("node_1")))
    await stage.until(lambda: stage.state("node_1") is NodeState.ONLINE)
    pass_time(stage, 30, *LOCAL_NAMES)
    assert stage.lost == ["node_1"]


async def test_when_nobody_says_anything_it_is_the_driver(stage: Stage) -> None:
    driver = await stage.ready()
    pass_time(stage, int(SILENT_SECONDS))
    await stage.until(lambda: len(stage.drivers) == 2)
    await stage.phase(ClusterPhase.READY)
    assert driver.hung_up
    assert not driver.sent(driver_protocol.RemoveAgent)


async def test_a_suspended_engine_drops_no_agents(stage: Stage) -> None:
    await stage.ready()
    pass_time(stage, 2, *LOCAL_NAMES)
    stage.now += 300.0
    stage.supervisor.check_heartbeats()
    assert all(stage.state(name) is NodeState.ONLINE for name in LOCAL_NAMES)
    pass_time(stage, 3, *LOCAL_NAMES)
    assert stage.lost == []


async def test_an_agent_that_never_starts_does_not_hold_up_the_cluster(stage: Stage) -> None:
    stage.script = lambda driver: driver.say(driver.up())
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.PLACING)
    for name in LOCAL_NAMES[:-1]:
        stage.driver.say(driver_protocol.AgentUp(hello(name)))
    await stage.until(lambda: stage.supervisor.status.nodes_ready == 3)
    pass_time(stage, 61, *LOCAL_NAMES[:-1])
    assert stage.supervisor.status.phase is ClusterPhase.READY
    assert stage.state("node_3") is NodeState.OFFLINE


# --- changing -----------------------------------------------------------------------------------


async def test_leaving_leaves_nothing(stage: Stage) -> None:
    driver = await stage.ready()
    await stage.supervisor.leave()
    assert driver.stopped == 1
    assert stage.supervisor.status == ClusterStatus()
    assert not stage.supervisor.agents.nodes
    assert stage.left_with == [ClusterPhase.STOPPING]
    assert sorted(stage.removed) == sorted(LOCAL_NAMES)
    assert stage.phases[-2:] == [ClusterPhase.STOPPING, ClusterPhase.NONE]


async def test_leaving_while_it_starts(stage: Stage) -> None:
    await stage.supervisor.use("local")
    await asyncio.sleep(0)
    await stage.supervisor.leave()
    assert stage.supervisor.status == ClusterStatus()
    assert stage.left_with == [ClusterPhase.STOPPING]  # casts may wait for it


async def test_the_cluster_in_use_is_not_started_again(stage: Stage) -> None:
    stage.script = FakeDriver.come_up
    await asyncio.gather(stage.supervisor.use("local"), stage.supervisor.use("local"))
    await stage.phase(ClusterPhase.READY)
    await stage.supervisor.use("local")
    assert len(stage.drivers) == 1


async def test_of_two_clients_the_later_one_gets_its_cluster(stage: Stage) -> None:
    await stage.ready()
    await asyncio.gather(stage.supervisor.use("a:1"), stage.supervisor.use("b:1"), stage.supervisor.leave())
    assert stage.supervisor.status.phase is ClusterPhase.NONE
    await stage.ready("c:1")
    assert all(driver.stopped == 1 for driver in stage.drivers[:-1])


async def test_a_client_disconnects_while_the_cluster_is_left(stage: Stage) -> None:
    driver = await stage.ready()
    driver.stop_allowed.clear()
    leaving = asyncio.create_task(stage.supervisor.use("other:1"))
    await driver.stopping.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    assert not leaving.done()  # it waits until the driver has ended
    driver.stop_allowed.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert driver.stopped == 1
    assert stage.supervisor.status.phase is ClusterPhase.NONE


async def test_a_node_is_added_and_removed(stage: Stage) -> None:
    driver = await stage.ready()
    adding = asyncio.create_task(stage.supervisor.agents.add_node("extra", "/in"))
    order = await driver.wait_for(driver_protocol.PlaceAgent, 5)
    assert (order.name, order.inbox, order.node_id) == ("extra", "/in", RAY_NODE.node_id)
    assert not adding.done()
    driver.say(driver_protocol.AgentUp(hello("extra")))
    await adding
    assert stage.supervisor.agents.nodes["extra"].removable
    stage.supervisor.agents.remove_node("extra")
    assert driver.sent(driver_protocol.RemoveAgent) == [driver_protocol.RemoveAgent("extra")]
    assert "extra" not in stage.supervisor.agents.nodes
    assert stage.supervisor.status.nodes_total == 4
    driver.say(driver_protocol.AgentUp(hello("extra")))  # too late
    driver.say(driver_protocol.Reported("node_1", agent_reports.AgentReport()))
    await stage.until(lambda: stage.reports == ["node_1"])
    assert "extra" not in stage.supervisor.agents.nodes


async def test_an_added_node_comes_back_with_the_next_driver(stage: Stage) -> None:
    driver = await stage.ready()
    adding = asyncio.create_task(stage.supervisor.agents.add_node("extra", "/in"))
    await driver.wait_for(driver_protocol.PlaceAgent, 5)
    driver.say(driver_protocol.AgentUp(hello("extra")))
    await adding
    driver.end()
    await stage.until(lambda: len(stage.drivers) == 2)
    await stage.phase(ClusterPhase.READY)
    again = stage.driver.sent(driver_protocol.PlaceAgent)[-1]
    assert (again.name, again.inbox) == ("extra", "/in")


async def test_an_added_node_is_there_again_when_the_local_cluster_is(stage: Stage) -> None:
    driver = await stage.ready()
    adding = asyncio.create_task(stage.supervisor.agents.add_node("extra", "/in"))
    await driver.wait_for(driver_protocol.PlaceAgent, 5)
    driver.say(driver_protocol.AgentUp(hello("extra")))
    await adding
    await stage.supervisor.leave()
    driver = await stage.ready()
    again = driver.sent(driver_protocol.PlaceAgent)[-1]
    assert (again.name, again.inbox) == ("extra", "/in")
    assert stage.supervisor.agents.nodes["extra"].removable
    stage.supervisor.agents.remove_node("extra")
    await stage.supervisor.leave()
    await stage.ready()
    assert "extra" not in stage.supervisor.agents.nodes


async def test_a_node_that_can_not_be_placed_is_not_kept(stage: Stage) -> None:
    driver = await stage.ready()
    adding = asyncio.create_task(stage.supervisor.agents.add_node("extra", ""))
    await driver.wait_for(driver_protocol.PlaceAgent, 5)
    driver.say(driver_protocol.AgentLost("extra", "OSError: disk"))
    with pytest.raises(CastRayError) as caught:
        await adding
    assert "disk" in caught.value.failure.values["reason"]
    assert "extra" not in stage.supervisor.agents.nodes


async def test_adding_a_node_that_is_removed_meanwhile_ends_at_once(stage: Stage) -> None:
    driver = await stage.ready()
    adding = asyncio.create_task(stage.supervisor.agents.add_node("extra", ""))
    await driver.wait_for(driver_protocol.PlaceAgent, 5)
    stage.supervisor.agents.remove_node("extra")
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(CastRayError) as caught:
            await adding
    assert caught.value.failure.kind is FailureKind.NODE_OFFLINE


async def test_adding_a_node_while_the_cluster_stops_ends_at_once(stage: Stage) -> None:
    driver = await stage.ready()
    adding = asyncio.create_task(stage.supervisor.agents.add_node("extra", ""))
    await driver.wait_for(driver_protocol.PlaceAgent, 5)
    await stage.supervisor.leave()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(CastRayError) as caught:
            await adding
    assert caught.value.failure.kind is FailureKind.CLUSTER_STOPPED
    with pytest.raises(CastRayError) as caught:
        await stage.supervisor.agents.add_node("extra", "")
    assert caught.value.failure.kind is FailureKind.NO_CLUSTER


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("all", FailureKind.BAD_NODE_NAME),
        ("-x", FailureKind.BAD_NODE_NAME),
        ("a/b", FailureKind.BAD_NODE_NAME),
        ("", FailureKind.BAD_NODE_NAME),
        ("x" * 61, FailureKind.BAD_NODE_NAME),
        ("node_1", FailureKind.NODE_EXISTS),
    ],
)
async def test_names_that_nodes_can_not_have(stage: Stage, name: str, kind: FailureKind) -> None:
    await stage.ready()
    with pytest.raises(CastRayError) as caught:
        await stage.supervisor.agents.add_node(name, "")
    assert caught.value.failure.kind is kind


async def test_adding_where_this_computer_is_no_node(stage: Stage) -> None:
    def up(driver: FakeDriver) -> None:
        driver.say(
            driver.up(driver_protocol.RayNode("aa", "10.0.0.1", "far")), driver_protocol.AgentUp(hello("far"))
        )

    stage.script = up
    await stage.supervisor.use("10.0.0.1:6379")
    await stage.phase(ClusterPhase.READY)
    with pytest.raises(CastRayError) as caught:
        await stage.supervisor.agents.add_node("extra", "")
    assert caught.value.failure.kind is FailureKind.NODE_UNKNOWN


async def test_only_added_nodes_can_be_removed(stage: Stage) -> None:
    await stage.ready()
    for name, kind in (("node_1", FailureKind.NODE_NOT_REMOVABLE), ("x", FailureKind.NODE_UNKNOWN)):
        with pytest.raises(CastRayError) as caught:
            stage.supervisor.agents.remove_node(name)
        assert caught.value.failure.kind is kind


async def test_no_replacement_outlives_its_driver(stage: Stage) -> None:
    driver = await stage.ready()
    gate = asyncio.Event()

    async def wait(seconds: float) -> Any:
        await gate.wait()

    stage.supervisor.agents._pause = wait
    driver.say(driver_protocol.AgentLost("node_1", "killed"))
    await stage.until(lambda: stage.state("node_1") is NodeState.OFFLINE)
    await stage.supervisor.leave()
    gate.set()
    await stage.ready()
    assert [order.name for order in stage.driver.sent(driver_protocol.PlaceAgent)].count("node_1") == 1


# --- nodes that come and go -----------------------------------------------------------------------

FAR = "10.0.0.1:6379"


def ray_node(number: int, host: str = "", start: int = 1) -> driver_protocol.RayNode:
    """The Ray node of a host in its start of that number."""
    return driver_protocol.RayNode(
        f"{number}-{start}", f"10.0.0.{number}", host or f"host-{number}", cpus=2.0
    )


def placed(driver: FakeDriver) -> list[tuple[str, str]]:
    return [(order.name, order.node_id) for order in driver.sent(driver_protocol.PlaceAgent)]


async def attached(stage: Stage, *nodes: driver_protocol.RayNode) -> FakeDriver:
    stage.script = lambda driver: driver.come_up(*nodes)
    await stage.supervisor.use(FAR)
    await stage.phase(ClusterPhase.READY)
    return stage.driver


async def test_an_agent_is_placed_on_a_node_that_joins(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1))
    driver.say(
        driver_protocol.NodesSeen((ray_node(1), ray_node(2))), driver_protocol.AgentUp(hello("host-2"))
    )
    await stage.until(lambda: stage.supervisor.status.nodes_ready == 2)
    assert placed(driver) == [("host-1", "1-1"), ("host-2", "2-1")]
    assert stage.supervisor.status.cpus == 4.0
    assert stage.supervisor.status.phase is ClusterPhase.READY


async def test_a_node_that_ray_has_lost_is_offline_and_forgotten_after_long(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1), ray_node(2))
    driver.say(driver_protocol.NodesSeen((ray_node(1),)))
    await stage.until(lambda: stage.lost == ["host-2"])
    assert stage.state("host-2") is NodeState.OFFLINE
    assert driver.sent(driver_protocol.RemoveAgent) == [driver_protocol.RemoveAgent("host-2", keep=True)]
    assert stage.pauses == []  # no attempt to place it again
    stage.now += 601.0
    stage.casts = ("c0ffee",)
    stage.supervisor.agents.forget_gone_nodes()
    assert "host-2" in stage.supervisor.agents.nodes
    stage.casts = ()
    stage.supervisor.agents.forget_gone_nodes()
    assert list(stage.supervisor.agents.nodes) == ["host-1"]
    assert stage.supervisor.status.nodes_total == 1


async def test_a_node_that_comes_back_has_its_name_again(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1), ray_node(2))
    driver.say(driver_protocol.NodesSeen((ray_node(1),)))
    await stage.until(lambda: stage.lost == ["host-2"])
    driver.say(
        driver_protocol.NodesSeen((ray_node(1), ray_node(2, start=2))),
        driver_protocol.AgentUp(hello("host-2")),
    )
    await stage.until(lambda: stage.state("host-2") is NodeState.ONLINE)
    assert placed(driver)[-1] == ("host-2", "2-2")
    assert stage.supervisor.status.nodes_total == 2


async def test_a_raylet_that_is_started_again_before_ray_has_noticed_its_end(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1), ray_node(2))
    driver.say(driver_protocol.AgentLost("host-2", "its worker has died"))
    await stage.until(lambda: stage.lost == ["host-2"])
    both = (ray_node(1), ray_node(2), ray_node(2, start=2))
    driver.say(driver_protocol.NodesSeen(both), driver_protocol.AgentUp(hello("host-2")))
    await stage.until(lambda: stage.state("host-2") is NodeState.ONLINE)
    assert placed(driver)[-1] == ("host-2", "2-2")
    driver.say(driver_protocol.NodesSeen((ray_node(1), ray_node(2, start=2))))
    driver.say(
        driver_protocol.NodesSeen(both), driver_protocol.Reported("host-1", agent_reports.AgentReport())
    )
    await stage.until(lambda: stage.reports)
    assert list(stage.supervisor.agents.nodes) == ["host-1", "host-2"]
    assert stage.state("host-2") is NodeState.ONLINE


async def test_names_stay_when_another_host_of_that_name_joins(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1, "gpu"), ray_node(2, "cpu"))
    later = (ray_node(1, "gpu"), ray_node(2, "cpu"), ray_node(3, "gpu"))
    driver.say(driver_protocol.NodesSeen(later))
    await stage.until(lambda: len(stage.supervisor.agents.nodes) == 3)
    assert list(stage.supervisor.agents.nodes) == ["gpu", "cpu", "gpu-10.0.0.3"]


async def test_names_outlive_the_engine(stage: Stage, tmp_path: Path) -> None:
    driver = await attached(stage, ray_node(1, "gpu"))
    driver.say(driver_protocol.NodesSeen((ray_node(1, "gpu"), ray_node(2, "gpu"))))
    await stage.until(lambda: len(stage.supervisor.agents.nodes) == 2)
    again = Stage(tmp_path)
    await attached(again, ray_node(2, "gpu", start=2), ray_node(1, "gpu", start=2))
    assert {name: node.address for name, node in again.supervisor.agents.nodes.items()} == {
        "gpu": "10.0.0.1",
        "gpu-10.0.0.2": "10.0.0.2",
    }
    await again.supervisor.leave()


async def test_two_ray_nodes_of_one_host_and_address(stage: Stage) -> None:
    one, other = ray_node(1, "host"), ray_node(1, "host", start=2)
    driver = await attached(stage, one, other)
    assert list(stage.supervisor.agents.nodes) == ["host-10.0.0.1", "host-10.0.0.1-2"]
    driver.end()
    await stage.until(lambda: len(stage.drivers) == 2)
    await stage.phase(ClusterPhase.READY)
    assert placed(stage.driver) == placed(driver)


async def test_a_cluster_whose_head_is_gone_is_attached_again_when_it_is_back(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1), ray_node(2))
    stage.away = Failure(FailureKind.CLUSTER_UNREACHABLE, {"target": FAR})
    lost = Failure(FailureKind.CLUSTER_LOST, {"target": FAR})
    driver.say(driver_protocol.ClusterFailed(lost))
    await stage.until(lambda: stage.supervisor.status.phase is ClusterPhase.RECONNECTING)
    assert stage.supervisor.status.failure == lost
    stage.now += 61.0
    await stage.phase(ClusterPhase.FAILED)
    assert len(stage.drivers) == 1
    stage.away = None
    await stage.phase(ClusterPhase.READY)
    assert placed(stage.driver) == placed(driver)
    assert stage.supervisor.status.failure is None


async def test_joining_is_the_drivers_business(stage: Stage) -> None:
    stage.script = lambda driver: driver.come_up()
    await stage.supervisor.use("10.0.0.1:6379", join=True)
    await stage.phase(ClusterPhase.READY)
    assert stage.driver.sent(driver_protocol.StartCluster)[0].join


async def test_somebody_may_wait_until_it_is_ready_or_has_failed(stage: Stage) -> None:
    assert (await stage.supervisor.until_settled()).phase is ClusterPhase.NONE
    await stage.supervisor.use("10.0.0.1:6379")
    waiting = asyncio.create_task(stage.supervisor.until_settled())
    await asyncio.sleep(0)
    assert not waiting.done()
    await stage.until(lambda: stage.drivers)
    stage.driver.come_up()
    assert (await waiting).phase is ClusterPhase.READY


# --- tokens ---------------------------------------------------------------------------------------

NEEDED = driver_protocol.ClusterFailed(Failure(FailureKind.TOKEN_NEEDED, {"target": FAR}))


async def test_a_token_is_sent_to_a_cluster_that_requires_one(stage: Stage) -> None:
    stage.token = "~/.ray/auth_token"
    stage.script = lambda driver: driver.come_up() if stage.shown[-1] else driver.say(NEEDED)
    await stage.supervisor.use(FAR)
    await stage.phase(ClusterPhase.READY)
    assert stage.shown == [False, True]
    await stage.supervisor.use("other:1")  # that one has not asked
    await stage.until(lambda: len(stage.shown) == 4)
    assert stage.shown == [False, True, False, True]


async def test_without_a_token_the_cluster_is_not_asked_again(stage: Stage) -> None:
    stage.script = lambda driver: driver.say(NEEDED)
    await stage.supervisor.use(FAR)
    await stage.phase(ClusterPhase.FAILED)
    assert stage.shown == [False]
    stage.token = "~/.ray/auth_token"  # the user has put it there
    await stage.supervisor.use(FAR)
    await stage.until(lambda: stage.shown == [False, False, True])


# --- facts, ports, idle shutdown ------------------------------------------------------------------


async def test_facts_are_told_once_a_second(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1), ray_node(2))
    facts = [
        agent_reports.MachineFacts(cpus=2.0, disk_total=10, load=load, link=125) for load in (0.1, 0.2, 0.3)
    ]
    for load in facts:
        driver.say(driver_protocol.Reported("host-1", agent_reports.AgentReport(facts=load)))
    await stage.until(lambda: len(stage.reports) == 3)
    told = [node.load for node in stage.changes if node.name == "host-1" and node.disk_total]
    assert told == [0.1]  # the first ones are awaited
    stage.supervisor.agents.publish_facts()
    stage.supervisor.agents.publish_facts()
    told = [node.load for node in stage.changes if node.name == "host-1" and node.disk_total]
    assert told == [0.1, 0.3]
    assert stage.supervisor.agents.nodes["host-1"].link == 125


async def test_data_ports_that_are_all_taken(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTRAY_DATA_PORTS", "7000-7001")
    stage.script = lambda driver: driver.say(driver.up())
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.PLACING)
    stage.driver.say(driver_protocol.AgentLost("node_1", "OSError: [Errno 98] Address already in use"))
    await stage.until(lambda: stage.state("node_1") is NodeState.OFFLINE)
    failure = stage.supervisor.agents.nodes["node_1"].failure
    assert failure == Failure(FailureKind.PORTS_TAKEN, {"node": "node_1", "ports": "7000-7001"})


async def rested(stage: Stage) -> FakeDriver:
    """An autoscaled cluster of two hosts, the first of which is this computer; it has been idle for long."""
    driver = await attached(stage, dataclasses.replace(ray_node(1), mine=True), ray_node(2))
    stage.casts = ()
    stage.supervisor.agents.shut_down_idle()
    stage.now += IDLE_SECONDS
    stage.supervisor.agents.shut_down_idle()
    return driver


async def test_an_idle_agent_is_removed_and_its_node_stays(stage: Stage) -> None:
    driver = await rested(stage)
    assert driver.sent(driver_protocol.RemoveAgent) == [driver_protocol.RemoveAgent("host-2")]
    assert stage.state("host-2") is NodeState.ONLINE
    assert stage.lost == []
    pass_time(stage, 20, "host-1")  # it need not send anything
    assert stage.state("host-2") is NodeState.ONLINE


async def test_no_agent_is_removed_while_casts_run(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1), ray_node(2))
    for _ in range(3):
        stage.supervisor.agents.shut_down_idle()
        stage.now += IDLE_SECONDS
    assert driver.sent(driver_protocol.RemoveAgent) == []


async def test_an_order_starts_an_idle_agent_again(stage: Stage) -> None:
    driver = await rested(stage)
    calls = [
        asyncio.create_task(stage.supervisor.agents.call("host-2", agent_orders.CancelCast(cast)))
        for cast in "ab"
    ]
    await driver.wait_for(driver_protocol.PlaceAgent, 3)
    assert placed(driver)[-1] == ("host-2", "2-1")
    assert stage.state("host-2") is NodeState.STARTING
    driver.say(driver_protocol.AgentUp(hello("host-2")))
    await driver.wait_for(driver_protocol.AgentCall, 2)
    for call in driver.sent(driver_protocol.AgentCall):
        driver.say(driver_protocol.AgentCallResult(call.number))
    await asyncio.gather(*calls)
    assert len(driver.sent(driver_protocol.PlaceAgent)) == 3
    assert stage.state("host-2") is NodeState.ONLINE


async def test_an_order_waits_for_an_agent_that_is_starting(stage: Stage) -> None:
    driver = await attached(stage, ray_node(1))
    driver.say(driver_protocol.NodesSeen((ray_node(1), ray_node(2))))
    await driver.wait_for(driver_protocol.PlaceAgent, 2)
    call = asyncio.create_task(stage.supervisor.agents.call("host-2", agent_orders.CancelCast("c")))
    await stage.until(lambda: stage.state("host-2") is NodeState.STARTING)
    driver.say(driver_protocol.AgentUp(hello("host-2")))
    await driver.wait_for(driver_protocol.AgentCall)
    driver.say(driver_protocol.AgentCallResult(driver.sent(driver_protocol.AgentCall)[0].number))
    await call


async def test_an_agent_that_can_not_be_woken(stage: Stage) -> None:
    driver = await rested(stage)
    call = asyncio.create_task(stage.supervisor.agents.call("host-2", agent_orders.CancelCast("c")))
    await driver.wait_for(driver_protocol.PlaceAgent, 3)
    driver.say(driver_protocol.AgentLost("host-2", "the node is gone"))
    with pytest.raises(CastRayError) as caught:
        await call
    assert caught.value.failure.kind is FailureKind.NODE_OFFLINE


async def test_an_order_has_one_bound_also_where_the_agent_has_to_start_first(stage: Stage) -> None:
    driver = await rested(stage)
    order = agent_orders.CancelCast("c")
    for node in ("host-2", "host-1"):  # the one starts and never comes up, the other never answers
        with pytest.raises(CastRayError) as caught:
            await stage.supervisor.agents.call(node, order, seconds=0.01)
        assert caught.value.failure == Failure(FailureKind.NODE_SILENT, {"node": node, "seconds": "0"})
    assert [call.agent for call in driver.sent(driver_protocol.AgentCall)] == ["host-1"]
