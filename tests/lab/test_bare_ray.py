"""A cluster whose hosts have only Ray: every way to send, and what somebody who taps its network records."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_clusters import LabCluster, Sent, ray_alone
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions, TransportOption
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import EngineClient
from tests.lab.test_encryption import MIB, marked_file
from tests.lab.test_lab import alive
from tests.lab.traffic_recorder import recorded

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(240)]

SIZE = 20_000_001
DATA_PORT = 7000


@pytest.fixture(scope="module")
def cluster(why_not: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabCluster]:
    """Three hosts with only Ray, and an engine in the first one, of which nothing may remain."""
    if why_not:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why_not)
    folder = tmp_path_factory.mktemp("bare")
    python = ray_alone(folder / "environment")
    with Lab(3, "1gbit") as lab, LabCluster(lab, python, folder, DATA_PORT) as cluster:
        started = cluster.castray("engine", "start", "--cluster", cluster.address)
        assert started.returncode == 0, started.stderr
        yield cluster
        stopped = cluster.castray("engine", "stop")
        assert stopped.returncode == 0, stopped.stderr
        assert not list((folder / "castray" / "runs").iterdir())
        assert not (folder / ".ray").exists()
        of_ray = [process for host in lab.hosts for process in lab.processes(host)]
        assert len(of_ray) > 6
        lab.close()
        assert not any(map(alive, of_ray))


async def test_the_traffic_of_a_real_cluster_does_not_contain_the_file(cluster: LabCluster) -> None:
    """A Ray without TLS: also what goes through its calls is encrypted."""
    lab, folder = cluster.lab, cluster.folder
    client = await EngineClient.connect(find_paths(cluster.environment), "test", start=False)
    (node,) = [node.name for node in client.welcome.nodes if node.address == lab.hosts[1].address]
    for choice, transport, tapped in (
        (Encryption.AUTO, TransportOption.AUTO, False),
        (Encryption.ALWAYS, TransportOption.RAY, False),
        (Encryption.NEVER, TransportOption.AUTO, True),
    ):
        path = folder / f"{choice.value}.bin"
        mark = marked_file(path, 4 * MIB)
        options = TransferOptions(destination=str(folder / "{node}"), encrypt=choice, transport=transport)
        with recorded(lab, lab.hosts[1], folder) as traffic:
            request = messages.SendRequest((str(path),), (node,), options=options)
            cast = (await client.request(messages.Send(request), messages.Accepted)).cast
            result = await client.request(messages.GetResult(cast), messages.CastResult)
        assert result.summary.state is messages.CastState.COMPLETED, result
        assert digest(folder / node / path.name) == digest(path)
        assert result.summary.encrypted is not tapped, result
        found = traffic.read_bytes()
        assert len(found) > 4 * MIB
        assert (mark in found) is tapped
    await client.close()


def test_hosts_with_ray_alone_get_everything_by_every_way(cluster: LabCluster) -> None:
    lab, folder = cluster.lab, cluster.folder
    path = folder / "big.bin"
    path.write_bytes(os.urandom(SIZE))

    def assert_sent(sent: Sent, recipients: list[str], transport: str) -> None:
        assert sent.status == 0, sent.errors
        assert sent.states == dict.fromkeys(recipients, "completed")
        assert sent.transports == {transport}
        for delivery in sent.result["deliveries"]:
            (copy,) = map(Path, delivery["paths"])
            assert copy.parent.name == delivery["node"]
            assert delivery["hash"].startswith("blake3:")  # it was shipped with the agent
            assert digest(copy) == digest(path)

    names = cluster.nodes()
    head, second, third = (names[host.address] for host in lab.hosts)
    sent = cluster.send(path, "--to", "all", "--transport", "direct", "--dest", folder / "one" / "{node}")
    assert_sent(sent, [second, third], "direct")
    sent = cluster.send(
        path, "--to", "all", "--transport", "direct", "--from", second, "--dest", folder / "two" / "{node}"
    )
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


def doctor(cluster: LabCluster, status: int) -> list[dict[str, str]]:
    looked = cluster.castray("doctor", "--json")
    assert looked.returncode == status, looked.stdout + looked.stderr
    checks: list[dict[str, str]] = json.loads(looked.stdout)
    return checks


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
