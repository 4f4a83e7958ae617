"""The status messages of a slow or incorrect cluster while the connection attempt continues."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.clusters import connection_status
from tests.helpers.fake_driver import FakeDriver, hello
from tests.workers.clusters.test_cluster_supervisor import Stage

TARGET = "10.0.0.1:6379"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(connection_status, "SLOW_SECONDS", 0.01)
    stage = Stage(tmp_path)
    yield stage
    await stage.supervisor.leave()


def kind_of(notice: Failure | None) -> FailureKind | None:
    return notice.kind if notice is not None else None


@pytest.mark.parametrize(
    ("target", "join", "kind"),
    [
        (TARGET, False, FailureKind.CLUSTER_SLOW),
        ("ray://10.0.0.1:10001", False, FailureKind.CLUSTER_SLOW),
        (TARGET, True, FailureKind.START_SLOW),
        ("local", False, FailureKind.START_SLOW),
    ],
)
async def test_a_slow_start_gives_a_notice_and_continues(
    stage: Stage, target: str, join: bool, kind: FailureKind
) -> None:
    await stage.supervisor.use(target, join=join)
    await stage.until(lambda: stage.supervisor.status.notice)
    status = stage.supervisor.status
    assert (status.phase, kind_of(status.notice), status.failure) == (ClusterPhase.STARTING, kind, None)
    stage.driver.come_up()
    await stage.phase(ClusterPhase.READY)
    assert stage.supervisor.status.notice is None


async def test_a_cluster_that_is_left_in_time_gives_no_notice(stage: Stage) -> None:
    await stage.supervisor.use(TARGET)
    await stage.supervisor.leave()
    await stage.ready("local")
    assert stage.supervisor.status.notice is None


async def test_a_driver_that_ray_has_ended_before_it_was_connected(stage: Stage) -> None:
    stage.script = FakeDriver.end
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.FAILED)
    assert kind_of(stage.supervisor.status.failure) is FailureKind.CLUSTER_UNREACHABLE
    await stage.supervisor.use("local")
    await stage.phase(ClusterPhase.STARTING)
    await stage.phase(ClusterPhase.FAILED)
    assert kind_of(stage.supervisor.status.failure) is FailureKind.CLUSTER_START_FAILED


async def test_a_node_of_other_clusters_is_told_which(stage: Stage) -> None:
    values = {"target": TARGET, "host": "10.0.0.1"}
    not_a_node = driver_protocol.ClusterFailed(Failure(FailureKind.NOT_A_NODE, values))
    stage.script = lambda driver: driver.say(not_a_node)
    stage.running = ("10.9.0.1:6379", "10.9.0.2:6379")
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.FAILED)
    failure = stage.supervisor.status.failure
    assert failure is not None
    assert failure.kind is FailureKind.NODE_OF_ANOTHER
    assert failure.values["others"] == "10.9.0.1:6379, 10.9.0.2:6379"
    stage.running = ()
    await stage.supervisor.use(TARGET)
    await stage.phase(ClusterPhase.STARTING)
    await stage.phase(ClusterPhase.FAILED)
    assert kind_of(stage.supervisor.status.failure) is FailureKind.NOT_A_NODE


@pytest.mark.parametrize(
    ("target", "store", "told"),
    [
        (TARGET, "/tmp/ray", True),
        (TARGET, "/dev/shm", False),
        (TARGET, "", False),
        ("local", "/tmp/ray", False),  # nothing goes through Ray there
    ],
)
async def test_objects_on_disk_give_a_notice_where_they_make_transfers_slow(
    stage: Stage, target: str, store: str, told: bool
) -> None:
    driver = await stage.ready(target)
    name = next(iter(stage.supervisor.agents.nodes))
    driver.say(
        driver_protocol.AgentLost(name, "gone"),
        driver_protocol.AgentUp(dataclasses.replace(hello(name), store=store)),
    )
    await stage.until(lambda: stage.up.count(name) == 2)
    assert (kind_of(stage.supervisor.status.notice) is FailureKind.SHARED_MEMORY_SMALL) is told
    assert stage.supervisor.status.phase is ClusterPhase.READY
