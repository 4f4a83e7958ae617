"""The selected cluster, the local clusters, and the remembered clusters."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes.driver_protocol import RAY_FOLDER
from castray_desktop.workers.clusters.cluster_discovery import (
    MAX_CLUSTERS,
    ClusterHistory,
    choose_target,
    find_running_clusters,
    head_addresses,
    list_clusters,
)
from castray_desktop.workers.clusters.reaper import make_temp_dir
from tests.helpers.patience import PATIENCE

NONE = ClusterStatus()
HERE, OTHER = "10.0.0.1:6379", "10.0.0.2:6379"


def status(target: str, phase: ClusterPhase = ClusterPhase.READY, nodes: int = 3) -> ClusterStatus:
    return ClusterStatus(phase, target=target, nodes_total=nodes, ray_version="2.60.0")


@pytest.mark.parametrize(
    ("wanted", "current", "running", "named", "meant"),
    [
        ("local", status(HERE), (HERE,), "", "local"),
        (OTHER, status(HERE), (HERE,), "", OTHER),
        ("ray://head:10001", NONE, (), "", "ray://head:10001"),
        ("", status(OTHER), (HERE,), "", OTHER),
        ("", status(OTHER, ClusterPhase.FAILED), (HERE,), "", OTHER),
        ("", NONE, (HERE,), "", HERE),
        ("", NONE, (), "", "local"),
        ("auto", status(OTHER), (HERE,), "", HERE),
        ("auto", NONE, (HERE,), OTHER, OTHER),
        ("auto", NONE, (HERE,), "auto", HERE),
        ("", NONE, (), "ray://head:10001", "ray://head:10001"),
    ],
)
def test_what_is_meant(
    wanted: str, current: ClusterStatus, running: tuple[str, ...], named: str, meant: str
) -> None:
    assert choose_target(wanted, current, running, {"RAY_ADDRESS": named} if named else {}) == meant


@pytest.mark.parametrize(
    ("wanted", "running", "kind"),
    [
        ("auto", (), FailureKind.CLUSTER_NOT_HERE),
        ("auto", (HERE, OTHER), FailureKind.CLUSTER_AMBIGUOUS),
        ("", (HERE, OTHER), FailureKind.CLUSTER_AMBIGUOUS),
        ("head", (), FailureKind.CLUSTER_UNREACHABLE),
    ],
)
def test_what_can_not_be_meant(wanted: str, running: tuple[str, ...], kind: FailureKind) -> None:
    with pytest.raises(CastRayError) as caught:
        choose_target(wanted, NONE, running, {})
    assert caught.value.failure.kind is kind


def test_the_demo_is_for_homes_that_have_used_nothing_else() -> None:
    assert choose_target("", NONE, (), {}, others=None) == "local"
    assert choose_target("", NONE, (HERE,), {}, others=(OTHER,)) == HERE
    assert choose_target("", status("local"), (), {}, others=(OTHER,)) == "local"  # the user has named it
    for others, said in (((OTHER, "shared"), f"{OTHER}, shared"), ((), "a cluster that was removed")):
        with pytest.raises(CastRayError) as caught:
            choose_target("", NONE, (), {}, others=others)
        assert caught.value.failure.kind is FailureKind.CLUSTER_NOT_NAMED
        assert caught.value.failure.values == {"clusters": said}


def test_the_command_lines_of_raylets(tmp_path: Path) -> None:
    raylet = b"/opt/ray/core/src/ray/raylet/raylet"
    ours = tmp_path / "castray-0123456789ab"
    make_temp_dir(ours)
    commands = [
        [raylet, b"--gcs-address=10.0.0.1:6379", b"--temp_dir=/tmp/ray"],
        [raylet, b"--gcs-address=127.0.0.1:7001", b"--temp_dir=" + os.fsencode(ours)],
        [raylet, b"--gcs-address=127.0.0.1:7002", b"--temp_dir=" + os.fsencode(ours / RAY_FOLDER)],
        [b"/usr/bin/python3", b"--gcs-address=10.0.0.9:6379"],
        [],
    ]
    assert list(head_addresses(commands)) == ["10.0.0.1:6379"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_process_that_looks_like_a_raylet(tmp_path: Path) -> None:
    raylet = tmp_path / "raylet"
    address = "10.99.0.1:6379"
    process = subprocess.Popen(
        [str(raylet), "-c", "echo; read line", f"--gcs-address={address}"],
        executable="/bin/sh",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()  # it runs
    try:
        assert address in find_running_clusters()
    finally:
        process.communicate(b"\n", timeout=PATIENCE)
    assert address not in find_running_clusters()


def test_clusters_are_remembered(tmp_path: Path) -> None:
    known = ClusterHistory(tmp_path / "clusters.json")
    assert known.last == ""
    known.record_status(status(HERE, ClusterPhase.STARTING), 1.0)
    known.record_choice(HERE, 2.0)  # it has never been reached
    assert known.remembered == ()
    known.record_status(status(HERE), 3.0)
    known.record_status(status("local", nodes=4), 4.0)
    known.record_status(status(HERE, nodes=5), 5.0)  # that is ambiguous
    assert known.last == "local"
    known.record_choice(HERE, 6.0)
    again = ClusterHistory(tmp_path / "clusters.json")
    assert [(item.target, item.last_used, item.nodes) for item in again.remembered] == [
        (HERE, 6.0, 5),
        ("local", 4.0, 4),
    ]
    again.forget_cluster(HERE)
    again.forget_cluster("never")
    assert ClusterHistory(tmp_path / "clusters.json").last == "local"
    for number in range(MAX_CLUSTERS + 5):
        again.record_status(status(f"h{number}:1"), 10.0 + number)
    assert len(again.remembered) == MAX_CLUSTERS


def test_a_home_remembers_for_good_that_it_has_used_another_cluster(tmp_path: Path) -> None:
    file = tmp_path / "clusters.json"
    known = ClusterHistory(file)
    known.record_status(status("local"), 1.0)
    assert ClusterHistory(file).others is None
    known.record_status(status(HERE), 2.0)
    assert known.others == ClusterHistory(file).others == (HERE,)
    known.forget_cluster(HERE)
    assert known.others == ClusterHistory(file).others == ()
    for name in ("damaged", "older"):
        home = tmp_path / name
        home.mkdir()
        older = b'[{"target":"10.0.0.1:6379","last_used":1.0}]'
        (home / "clusters.json").write_bytes(older if name == "older" else b"{")
        assert ClusterHistory(home / "clusters.json").others is not None
        (home / "clusters.json").unlink(missing_ok=True)
        assert ClusterHistory(home / "clusters.json").others == ()


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "clusters.json").write_text("{")
    known = ClusterHistory(tmp_path / "clusters.json")
    assert known.last == ""
    known.record_status(status(HERE), 3.0)
    assert ClusterHistory(tmp_path / "clusters.json").last == HERE


def test_the_list_has_running_ones_first(tmp_path: Path) -> None:
    known = ClusterHistory(tmp_path / "clusters.json")
    for number, target in enumerate(("old:1", "used:1", "new:1")):
        known.record_status(status(target), float(number))
    listed = list_clusters(("here:1",), (status("used:1", nodes=9),), known)
    assert [(item.target, item.running, item.in_use, item.nodes) for item in listed] == [
        ("here:1", True, False, 0),
        ("used:1", False, True, 9),
        ("new:1", False, False, 3),
        ("old:1", False, False, 3),
    ]


@pytest.mark.parametrize("phase", [ClusterPhase.RECONNECTING, ClusterPhase.FAILED])
def test_a_cluster_that_cannot_be_reached_is_not_in_use(tmp_path: Path, phase: ClusterPhase) -> None:
    known = ClusterHistory(tmp_path / "clusters.json")
    listed = list_clusters((), (status("far:1", phase), status("near:1")), known)
    assert [(item.target, item.in_use) for item in listed] == [("near:1", True), ("far:1", False)]
