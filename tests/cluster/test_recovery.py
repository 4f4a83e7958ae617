"""Processes killed during a cast: every recipient still gets everything."""

from __future__ import annotations

import asyncio
import contextlib
import filecmp
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from castray_desktop.core.protocol.messages import ClusterPhase, NodeState
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.client_cache import ClientCache
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.clusters.node_inventory import local_node_name
from tests.cluster.conftest import Castray
from tests.helpers.trees import make_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

SIZE = 40 << 20
BACK_SECONDS = 90.0


@pytest.fixture
def whole(cluster: Castray) -> Iterator[Castray]:
    """The cluster, with all of its nodes online before and afterwards."""
    wait_for_nodes(cluster)
    yield cluster
    wait_for_nodes(cluster)


def wait_for_nodes(cluster: Castray) -> None:
    asyncio.run(_nodes_are_online(cluster))


async def _nodes_are_online(cluster: Castray) -> None:
    client = await EngineClient.connect(find_paths(cluster.environment), "test", start=False)
    known, events = ClientCache(client.welcome), client.events()
    try:
        async with asyncio.timeout(BACK_SECONDS):
            while (
                known.cluster.phase is not ClusterPhase.READY
                or not known.nodes
                or any(node.state is not NodeState.ONLINE for node in known.nodes.values())
            ):
                known.apply_event(await anext(events))
    finally:
        await client.close()


def start_slowly(cluster: Castray, file: Path, folder: Path) -> subprocess.Popen[str]:
    """A cast to all nodes that takes about four seconds, after every recipient has received some bytes."""
    command = cluster.start(
        "send", file, "--to", "all", "--dest", folder / "{node}", "--limit", "10MB/s", "--json"
    )
    assert command.stdout is not None
    for line in command.stdout:
        if all(item["bytes"] for item in json.loads(line)["deliveries"]):
            break
    return command


def finish(command: subprocess.Popen[str], file: Path, folder: Path) -> dict[str, Any]:
    """Wait for the result, and check that everything has arrived at every recipient."""
    output, errors = command.communicate(timeout=150)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert (command.returncode, result["state"]) == (0, "completed"), (errors, result)
    for item in result["deliveries"]:
        assert filecmp.cmp(file, folder / item["node"] / file.name, shallow=False)
    assert not list(folder.rglob(".castray*"))
    return result


def test_a_recipient_s_agent_is_killed(whole: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "slow.bin", SIZE)
    command = start_slowly(whole, file, tmp_path)
    os.kill(agent_pid(whole, "node_2"), signal.SIGKILL)
    finish(command, file, tmp_path)


def test_the_source_s_agent_is_killed(whole: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "slow.bin", SIZE)
    command = start_slowly(whole, file, tmp_path)
    os.kill(agent_pid(whole, local_node_name()), signal.SIGKILL)
    finish(command, file, tmp_path)


def test_the_driver_is_killed(whole: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "slow.bin", SIZE)
    command = start_slowly(whole, file, tmp_path)
    os.kill(process_of(whole, b"castray_desktop.workers.driver.ray_driver"), signal.SIGKILL)
    finish(command, file, tmp_path)


def test_the_driver_is_stopped_while_the_last_bytes_arrive(whole: Castray, tmp_path: Path) -> None:
    """A busy machine: the agents continue, and have everything when the engine replaces the driver."""
    file = make_file(tmp_path / "slow.bin", SIZE)
    command = start_slowly(whole, file, tmp_path)
    os.kill(process_of(whole, b"castray_desktop.workers.driver.ray_driver"), signal.SIGSTOP)
    finish(command, file, tmp_path)


def test_the_head_of_the_local_cluster_is_killed(whole: Castray, tmp_path: Path) -> None:
    """The cluster is started again, and the cast continues on it."""
    file = make_file(tmp_path / "slow.bin", SIZE)
    command = start_slowly(whole, file, tmp_path)
    heads = [pid for pid in whole.processes() if program(pid) in (b"gcs_server", b"raylet")]
    assert len(heads) == 2
    for pid in heads:
        os.kill(pid, signal.SIGKILL)
    finish(command, file, tmp_path)


def program(pid: int) -> bytes:
    """The name of a process's program; empty if it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].rpartition(b"/")[2]
    return b""


def agent_pid(cluster: Castray, node: str) -> int:
    """The process of a node's agent, from the engine's log."""
    log = (cluster.home / "castray" / "logs" / "engine.log").read_text()
    return int(log.rpartition(f"the agent of {node} is process ")[2].partition(",")[0])


def process_of(cluster: Castray, module: bytes) -> int:
    """The process of this home that runs a module."""
    for pid in cluster.processes():
        with contextlib.suppress(OSError):
            if module in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
    raise AssertionError(module)
