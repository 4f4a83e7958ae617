"""The command line with a Ray cluster whose hosts have only Ray."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_clusters import LabCluster, Sent, ray_alone
from tests.lab.test_lab import alive

SIZE = 20_000_001
DATA_PORT = 7000


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with only Ray."""
    return ray_alone(tmp_path_factory.mktemp("ray") / "environment")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_hosts_with_ray_alone_get_everything_by_every_way(
    make_lab: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory, python: Path
) -> None:
    folder = tmp_path_factory.mktemp("bare")
    path = folder / "big.bin"
    path.write_bytes(os.urandom(SIZE))
    lab = make_lab(3, "1gbit")

    def assert_sent(sent: Sent, recipients: list[str], transport: str) -> None:
        assert sent.status == 0, sent.errors
        assert sent.states == dict.fromkeys(recipients, "completed")
        assert sent.transports == {transport}
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
        asked = cluster.asked(sent)
        assert 1 <= max(asked.values()) <= 2  # then, after 2 s, Ray is used
        checks = doctor(cluster, 1)
        assert len([check for check in checks if check["kind"] == "connection"]) == 6  # each pair, both ways
        stopped = cluster.castray("engine", "stop")
        assert stopped.returncode == 0, stopped.stderr
    assert not list((folder / "castray" / "runs").iterdir())
    assert not (folder / ".ray").exists()
    of_ray = [process for host in lab.hosts for process in lab.processes(host)]
    assert len(of_ray) > 6
    lab.close()
    assert not any(map(alive, of_ray))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_host_joins_with_the_command_that_it_was_given(
    make_lab: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory, python: Path
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    lab = make_lab(2, "1gbit")
    own, other = lab.hosts
    cluster = LabCluster(lab, python, folder)
    shared = cluster.castray("cluster", "share", "--json")
    try:
        assert shared.returncode == 0, shared.stderr
        command = json.loads(shared.stdout)["command"]
        (folder / "ray").mkdir()
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"PATH": f"{python.parent}:/usr/bin:/bin", "RAY_TMPDIR": str(folder / "ray")}
        words = ["env", *command.split()]
        words[words.index("ray")] = f"{python} -m ray.scripts.scripts"
        script = f"{' '.join(words)} --node-ip-address={other.address} --disable-usage-stats"
        joined = lab.run(other, ["sh", "-c", script], env=environment, capture_output=True, text=True)
        assert joined.returncode == 0, joined.stdout + joined.stderr
        deadline = time.monotonic() + 15
        while len(addresses := online(cluster)) < 2:
            assert time.monotonic() < deadline
        assert set(addresses) == {own.address, other.address}
        token = command.partition("RAY_AUTH_TOKEN=")[2].split()[0]
        logs = [path.read_text(errors="replace") for path in (folder / "castray" / "logs").iterdir()]
        assert not [text for text in logs if token in text]
    finally:
        cluster.castray("engine", "stop")
    assert not list((folder / "castray" / "runs").iterdir())


def online(cluster: LabCluster) -> list[str]:
    listed = cluster.castray("nodes", "--json")
    assert listed.returncode == 0, listed.stderr
    return [node["address"] for node in json.loads(listed.stdout) if node["state"] == "online"]


def doctor(cluster: LabCluster, status: int) -> list[dict[str, str]]:
    looked = cluster.castray("doctor", "--json")
    assert looked.returncode == status, looked.stdout + looked.stderr
    checks: list[dict[str, str]] = json.loads(looked.stdout)
    return checks


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
