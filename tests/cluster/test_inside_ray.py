"""Programs inside Ray: they call a node's agent, and connect to the cluster in which they run."""

from __future__ import annotations

import contextlib
import filecmp
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray
from tests.helpers.trees import make_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

SCRIPT = """
import json, sys, time
import ray
from castray_desktop import connect
address, path, dest = sys.argv[1:]
ray.init(address=address, namespace="castray", log_to_driver=False, logging_level="error")
agent = ray.get_actor("castray-agent-node_1", namespace="castray")
before = ray.get(agent.get_file_transfer_stats.remote())
cast = ray.get(agent.initiate_file_transfer.remote(path, ["node_2"], "unicast"))
try:
    ray.get(agent.initiate_file_transfer.remote(path, ["nobody"], "unicast"))
    refusal = ""
except ray.exceptions.RayTaskError as error:
    refusal = str(error)
deadline = time.monotonic() + 60
while ray.get(agent.get_active_transfers_count.remote()) and time.monotonic() < deadline:
    time.sleep(0.05)
after = ray.get(agent.get_file_transfer_stats.remote())
with connect() as cluster:  # this program is a driver of that cluster: it is the one that is meant
    result = cluster.send(path, to="all", dest=dest + "/{node}")
    known = [one.cast for one in cluster.casts()]
print(json.dumps({
    "cast": cast,
    "refusal": refusal,
    "sent": after["sent_bytes"] - before["sent_bytes"],
    "delivered": result.delivered,
    "paths": [item.paths[0] for item in result.deliveries],
    "known": cast in known and result.cast in known,
}))
"""


CALLS = """
import json, sys
import ray
ray.init(address=sys.argv[1], namespace="castray", log_to_driver=False, logging_level="error")

@ray.remote(num_cpus=0)
class Witness:
    def call(self):
        return 1

witness = Witness.remote()
agent = ray.get_actor("castray-agent-node_1", namespace="castray")
for _ in range(50):
    ray.get([witness.call.remote(), agent.get_active_transfers_count.remote()])
seen = set()
while not any("Witness" in name for name in seen):  # events arrive once a second
    seen |= {event["cat"] for event in ray.timeline()}
print(json.dumps(sorted(seen)))
"""


def ray_variables(cluster: Castray) -> dict[str, str]:
    """The environment that Ray needs for a cluster on loopback with its own token."""
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token_of(cluster),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # otherwise Ray replaces 127.0.0.1
    }


def token_of(cluster: Castray) -> str:
    for pid in cluster.processes():
        with contextlib.suppress(OSError):
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            for variable in variables:
                if variable.startswith(b"RAY_AUTH_TOKEN="):
                    return variable.partition(b"=")[2].decode()
    raise AssertionError("no process has a token")


def test_a_program_inside_ray_sends(cluster: Castray, tmp_path: Path) -> None:
    file = make_file(tmp_path / "from inside.bin", 3_000_000)
    status = json.loads(cluster("engine", "status", "--json").stdout)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, status["address"], str(file), str(tmp_path / "in")],
        env=cluster.environment | ray_variables(cluster),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert "There is no node named nobody" in said["refusal"]
    (result,) = [
        cast for cast in json.loads(cluster("casts", "--json").stdout) if cast["cast"] == said["cast"]
    ]
    assert result["state"] == "completed"
    assert said["sent"] >= 3_000_000
    assert (said["delivered"], said["known"], len(said["paths"])) == (True, True, 3)
    assert all(filecmp.cmp(file, path, shallow=False) for path in said["paths"])
    (node,) = [node for node in cluster.nodes() if node["name"] == "node_2"]
    assert filecmp.cmp(file, Path(node["inbox"]) / file.name, shallow=False)


def test_calls_of_agents_do_not_fill_the_head_s_memory(cluster: Castray) -> None:
    """The head keeps an event of each of the last 100,000 calls of others, more than 100 MB."""
    status = json.loads(cluster("engine", "status", "--json").stdout)
    done = subprocess.run(
        [sys.executable, "-c", CALLS, status["address"]],
        env=cluster.environment | ray_variables(cluster),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout.splitlines()[-1])
    assert [name for name in names if "Agent" in name] == []
