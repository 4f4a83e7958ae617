"""The view of schedules on the engine's clusters."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import SendRequest
from castray_desktop.workers.schedules.schedule_manager import ScheduleClusters
from castray_desktop.workers.schedules.schedule_runner import SourceSnapshot


def make_cluster(nodes: dict[str, m.NodeInfo], target: str = "10.0.0.1:6379") -> Any:
    """The part of a cluster that is used."""
    casts = SimpleNamespace(dry_runs=SimpleNamespace(snapshot=None), unfinished=("c0ffee",))
    status = m.ClusterStatus(m.ClusterPhase.READY, target=target)
    agents = SimpleNamespace(settled=True, nodes=nodes)
    return SimpleNamespace(target=target, casts=casts, status=status, agents=agents)


class FakeClusters(list[Any]):
    """The part of `ClusterRegistry` that is used."""

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
async def test_the_destination_must_not_be_inside_of_the_source(
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

    cluster.casts.dry_runs.snapshot = look
    casts = ScheduleClusters(FakeClusters([cluster]))  # type: ignore[arg-type]
    request = SendRequest(
        (str(tmp_path / "data"),),
        recipients,
        options=TransferOptions(destination=destination.replace("HOME", str(tmp_path))),
    )
    if refused:
        with pytest.raises(CastRayError) as caught:
            await casts.snapshot(cluster.target, request)
        assert (
            caught.value.failure.values["reason"]
            == "beside would receive the files inside the folder that is sent"
        )
    else:
        expected = SourceSnapshot("digest", recipients, frozenset({"off"} & set(recipients)))
        assert await casts.snapshot(cluster.target, request) == expected


def test_which_files_are_here_and_which_cluster_is_meant(nodes: dict[str, m.NodeInfo]) -> None:
    clusters = FakeClusters([make_cluster(nodes)])
    casts = ScheduleClusters(clusters)  # type: ignore[arg-type]
    target = clusters.current().target
    assert casts.is_ready(target)
    assert casts.is_ready("auto")
    assert not casts.is_ready("10.9.9.9:1")
    assert casts.is_local(target, m.THIS_COMPUTER)
    assert casts.is_local(target, "here")
    assert not casts.is_local(target, "far")
    assert not casts.is_local(target, "nobody")
    assert casts.is_local("local", "node_2")
    assert casts.is_running("c0ffee")
    assert not casts.is_running("beef")
    casts.keep_in_use({"auto", "local"})
    assert clusters.held == {target, "local"}
