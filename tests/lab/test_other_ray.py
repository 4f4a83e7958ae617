"""The command line with a cluster of another Ray version, by a driver that is prepared for it.

The other host has a /dev/shm that is too small for Ray.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_clusters import LabCluster
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.workers.clusters.driver_environments import DriverEnvironments, RayVersions
from tests.lab.test_bare_ray import DATA_PORT, digest

THERE = RayVersions("2.49.2", platform.python_version())
SIZE = 20_000_001


def prepared() -> Path:
    """The environment for a driver of that Ray version, created once in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "castray-tests"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        drivers = DriverEnvironments(cache, cache / "logs")
        if not drivers.use("cluster", THERE):
            try:
                asyncio.run(drivers.prepare(THERE, lambda step: None))
            except CastRayError as error:
                if os.environ.get("CI"):
                    raise
                pytest.skip(sentence(error.failure))
            assert drivers.use("cluster", THERE)
        return Path(drivers.interpreter("cluster")).parent.parent


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_of_another_ray_is_sent_to_by_a_driver_prepared_for_it(
    make_lab: Callable[..., Lab], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lab = make_lab(2, "1gbit")
    environment = prepared()
    folder = tmp_path_factory.mktemp("other")
    drivers = folder / "castray" / "drivers"
    drivers.mkdir(parents=True)
    (drivers / environment.name).symlink_to(environment)
    path = folder / "big.bin"
    path.write_bytes(os.urandom(SIZE))
    python = environment / "bin" / "python"
    with LabCluster(lab, python, folder, DATA_PORT, shared_memory="16m") as cluster:
        started = cluster.castray("engine", "start", "--cluster", cluster.address)
        assert started.returncode == 0, started.stderr
        assert "\n/dev/shm is too small on " in started.stderr
        log = (folder / "castray" / "logs" / "engine.log").read_text()
        assert f"connected to {cluster.address}, Ray {THERE.ray}, Python {THERE.python}" in log
        for transport in ("direct", "ray"):
            sent = cluster.send(path, "--to", "all", "--dest", folder / transport / "{node}")
            assert sent.status == 0, sent.errors
            assert list(sent.states.values()) == ["completed"]
            assert sent.transports == {transport}
            asked = max(cluster.asked(sent).values(), default=0)
            assert asked == 0 if transport == "direct" else 1 <= asked <= 2  # then, after 2 s, Ray is used
            for delivery in sent.result["deliveries"]:
                assert digest(Path(*delivery["paths"])) == digest(path)
            for host in lab.hosts:
                lab.block(host, "in", DATA_PORT)
        checks = json.loads(cluster.castray("doctor", "--json").stdout)
        assert {check["kind"] for check in checks} >= {"shared_memory", "object_store"}  # of either host
        stopped = cluster.castray("engine", "stop")
        assert stopped.returncode == 0, stopped.stderr
    assert not list((folder / "castray" / "runs").iterdir())
    assert not (folder / ".ray").exists()
