"""Sending end to end: engine, driver, Ray, agents, sockets and files."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import blake3
import pytest

from tests.cluster.conftest import SEND_SECONDS, Castray
from tests.helpers.extent import TEST_ALL
from tests.helpers.trees import facts, make_file, make_tree

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

NODES = ("node_1", "node_2", "node_3")
MIB = 1 << 20


def committed_paths(result: dict[str, Any]) -> dict[str, Path]:
    """The path of the only top-level entry on each node."""
    return {item["node"]: Path(item["paths"][0]) for item in result["deliveries"]}


def assert_nothing_staged(*folders: Path) -> None:
    for folder in folders:
        assert not list(folder.rglob(".castray*")), folder


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 40 * MIB + 7])
def test_a_file_arrives_everywhere(cluster: Castray, tmp_path: Path, size: int) -> None:
    file = make_file(tmp_path / "模型.bin", size)
    status, result, errors = cluster.send(file, "--to", "all", "--dest", tmp_path / "{node}")
    assert (status, result["state"]) == (0, "completed"), errors
    assert result["source_copies"] == pytest.approx(1.0, abs=0.02)
    assert [item["node"] for item in result["deliveries"]] == list(NODES)
    digest = f"blake3:{blake3.blake3(file.read_bytes()).hexdigest()}"
    for node, path in committed_paths(result).items():
        assert path == tmp_path / node / "模型.bin"
        assert filecmp.cmp(file, path, shallow=False)
        assert path.stat().st_mtime_ns == file.stat().st_mtime_ns
    for item in result["deliveries"]:
        assert (item["state"], item["hash"], item["bytes"]) == ("completed", digest, size)
    assert_nothing_staged(tmp_path)


def test_a_large_file_arrives_everywhere(cluster: Castray) -> None:
    shared_memory = Path("/dev/shm")
    root = (shared_memory if shared_memory.is_dir() else cluster.home) / f"castray-test-{os.getpid()}"
    root.mkdir()
    try:
        file = make_file(root / "big.bin", (1024 if TEST_ALL else 300) * MIB)
        status, result, errors = cluster.send(file, "--to", "all", "--dest", root / "{node}")
        assert status == 0, errors
        for path in committed_paths(result).values():
            assert filecmp.cmp(file, path, shallow=False)
        assert result["source_copies"] == pytest.approx(1.0, abs=0.001)
    finally:
        shutil.rmtree(root)


@pytest.mark.parametrize(("asked", "taken"), [("ray", "ray"), ("direct", "local")])
def test_the_way_that_was_asked_for(cluster: Castray, tmp_path: Path, asked: str, taken: str) -> None:
    file = make_file(tmp_path / "big.bin", 100 * MIB)  # larger than the object store of a local cluster
    status, result, errors = cluster.send(
        file, "--to", "all", "--dest", tmp_path / "{node}", "--transport", asked
    )
    assert status == 0, errors
    assert {item["transport"] for item in result["deliveries"]} == {taken}
    assert result["source_copies"] == pytest.approx(1.0, abs=0.02)
    for path in committed_paths(result).values():
        assert filecmp.cmp(file, path, shallow=False)


def test_a_folder_of_two_thousand_files_arrives_as_it_is(cluster: Castray, tmp_path: Path) -> None:
    folder = make_tree(tmp_path / "数据集", 2000)
    status, result, errors = cluster.send(folder, "--to", "all", "--dest", tmp_path / "{node}")
    assert (status, result["files"]) == (0, 2002), errors
    expected = facts(folder)
    for path in committed_paths(result).values():
        assert facts(path) == expected


def test_a_git_repository_arrives_as_it_is(cluster: Castray, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    run = ["git", "-c", "user.name=n", "-c", "user.email=e", "-C", str(repository)]
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    make_tree(repository / "tree", 50)
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-qm", "first"], check=True)
    status, result, errors = cluster.send(repository / ".git", "--to", "all", "--dest", tmp_path / "{node}")
    assert status == 0, errors
    for path in committed_paths(result).values():
        assert facts(path) == facts(repository / ".git")
        subprocess.run(["git", "--git-dir", str(path), "fsck", "--strict"], check=True, capture_output=True)


def test_the_inbox_is_where_it_goes_without_a_destination(cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "to-inbox.bin", 1000)
    status, result, _ = cluster.send(file, "--to", "node_2")
    assert status == 0
    assert committed_paths(result) == {"node_2": cluster.home / "CastRay" / "node_2" / "to-inbox.bin"}


def test_two_nodes_with_one_folder_get_it_written_once(cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "once.bin", 3 * MIB)
    status, result, errors = cluster.send(file, "--to", "node_1,node_2", "--dest", tmp_path / "same")
    assert status == 0, errors
    assert [item["state"] for item in result["deliveries"]] == ["completed", "shared"]
    assert {item["paths"][0] for item in result["deliveries"]} == {str(tmp_path / "same" / "once.bin")}
    assert [path.name for path in (tmp_path / "same").iterdir()] == ["once.bin"]


def test_an_identical_file_is_left_and_a_different_one_kept(cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "a.bin", MIB)
    target = tmp_path / "target"
    arguments = (file, "--to", "node_1", "--dest", target)
    assert cluster.send(*arguments)[0] == 0
    before = (target / "a.bin").stat().st_ino
    status, result, _ = cluster.send(*arguments)
    assert (status, result["deliveries"][0]["state"]) == (0, "skipped")
    assert (target / "a.bin").stat().st_ino == before
    (target / "a.bin").write_bytes(b"the user's own")
    status, result, _ = cluster.send(*arguments)
    assert (status, committed_paths(result)["node_1"].name) == (0, "a (2).bin")
    assert (target / "a.bin").read_bytes() == b"the user's own"
    assert filecmp.cmp(file, target / "a (2).bin", shallow=False)


def test_nodes_come_and_go(cluster: Castray, tmp_path: Path) -> None:
    added = cluster("node", "add", "extra", "--inbox", tmp_path / "inbox")
    assert added.returncode == 0, added.stderr
    assert [node["name"] for node in cluster.nodes()][-1] == "extra"
    file = make_file(tmp_path / "for-extra.bin", 100)
    assert cluster.send(file, "--to", "extra")[0] == 0
    assert (tmp_path / "inbox" / "for-extra.bin").read_bytes() == file.read_bytes()
    assert cluster("node", "add", "extra").returncode == 2
    assert cluster("node", "remove", "node_1").returncode == 2
    assert cluster("node", "remove", "extra").returncode == 0
    assert "extra" not in [node["name"] for node in cluster.nodes()]


def test_what_is_known_of_the_nodes(cluster: Castray) -> None:
    nodes = cluster.nodes()
    assert [node["name"] for node in nodes[1:]] == list(NODES)
    assert nodes[0]["name"].split(".")[0] in socket.gethostname()
    for node in nodes:
        assert node["state"] == "online"
        assert node["address"].startswith("127.")
        assert node["memory"] > 0
        assert node["disk_free"] > 0
        assert node["inbox"].endswith(f"CastRay/{node['name']}")


def test_two_commands_share_one_engine(cluster: Castray) -> None:
    both = [cluster.start("engine", "status", "--json") for _ in range(2)]
    one, other = (json.loads(command.communicate(timeout=SEND_SECONDS)[0]) for command in both)
    assert one["pid"] == other["pid"]
    assert one["nodes"] == 4
    assert one["cluster"] == "local"


def test_everything_of_ray_listens_on_loopback_alone(cluster: Castray) -> None:
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = [f"pid={pid}," for pid in cluster.processes()]
    lines = [line for line in listening.splitlines() if any(pid in line for pid in ours)]
    addresses = {line.split()[3].rpartition(":")[0].strip("[]").removeprefix("::ffff:") for line in lines}
    assert len(lines) > 8  # gcs, raylet, Ray's agents, and one or two ports for each node
    assert addresses == {"127.0.0.1"}


def test_ctrl_c_cancels_and_leaves_nothing(cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "slow.bin", 200 * MIB)
    command = cluster.start(
        "send", file, "--to", "all", "--dest", tmp_path / "{node}", "--limit", "20MB/s", "--json"
    )
    assert command.stdout is not None
    for line in command.stdout:
        if any(item["bytes"] for item in json.loads(line)["deliveries"]):
            break
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=30)
    assert command.returncode == 130
    assert [path.name for path in tmp_path.iterdir()] == ["slow.bin"]
    casts = json.loads(cluster("casts", "--json").stdout)
    assert casts[-1]["state"] == "cancelled"
