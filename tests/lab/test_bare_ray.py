"""The command line against a Ray cluster whose hosts have Ray and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.lab import Lab
from benchmarks.lab_clusters import LabCluster, Sent, ray_alone

SIZE = 20_000_001
DATA_PORT = 7000


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_hosts_with_ray_alone_get_everything_by_every_way(
    make_lab: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    python = ray_alone(folder / "environment")
    path = folder / "big.bin"
    path.write_bytes(os.urandom(SIZE))
    lab = make_lab(3, "1gbit")

    def assert_sent(sent: Sent, recipients: list[str], way: str) -> None:
        assert sent.status == 0, sent.errors
        assert sent.states == dict.fromkeys(recipients, "completed")
        assert sent.ways == {way}
        for delivery in sent.result["deliveries"]:
            (copy,) = map(Path, delivery["paths"])
            assert copy.parent.name == delivery["node"]
            assert delivery["hash"].startswith("blake3:")  # it was shipped with the agent
            assert digest(copy) == digest(path)

    with LabCluster(lab, python, folder, DATA_PORT) as cluster:
        started = cluster.castray("engine", "start", "--cluster", cluster.address)
        assert started.returncode == 0, started.stderr
        names = cluster.nodes()
        head, second, third = (names[host.address] for host in lab.hosts)
        sent = cluster.send(path, "--to", "all", "--dest", folder / "one" / "{node}")
        assert_sent(sent, [second, third], "direct")
        sent = cluster.send(path, "--to", "all", "--from", second, "--dest", folder / "two" / "{node}")
        assert_sent(sent, [head, third], "direct")
        sent = cluster.send(path, "--to", second, "--transport", "ray", "--dest", folder / "three" / "{node}")
        assert_sent(sent, [second], "ray")
        checks = doctor(cluster, 0)
        assert {check["node"] for check in checks if check["kind"] == "node"} == {head, second, third}
        assert {check["state"] for check in checks if check["kind"].startswith("connection")} == {"good"}
        for host in lab.hosts:
            lab.block(host, "in", DATA_PORT)
        sent = cluster.send(path, "--to", "all", "--dest", folder / "four" / "{node}")
        assert_sent(sent, [second, third], "ray")
        assert sent.first_byte < 3
        checks = doctor(cluster, 1)
        assert len([check for check in checks if check["kind"] == "connection"]) == 6  # each pair, both ways
        stopped = cluster.castray("engine", "stop")
        assert stopped.returncode == 0, stopped.stderr
    assert not list((folder / "castray" / "runs").iterdir())
    assert not (folder / ".ray").exists()


def doctor(cluster: LabCluster, status: int) -> list[dict[str, str]]:
    looked = cluster.castray("doctor", "--json")
    assert looked.returncode == status, looked.stdout + looked.stderr
    checks: list[dict[str, str]] = json.loads(looked.stdout)
    return checks


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
