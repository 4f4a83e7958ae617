"""The nodes on loopback, the laboratory, and one real run that several tests look at."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_clusters import ray_alone
from tests.lab.conftest import make_lab, why_not
from tests.strangers.watched_run import WatchedRun
from tests.workers.agent.transfer.conftest import home, lab, refusing

__all__ = ["home", "lab", "make_lab", "refusing", "watched", "why_not"]


@pytest.fixture(scope="package")
def watched(why_not: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedRun]:
    """The run; its hosts are still there, its engines have ended."""
    if why_not:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why_not)
    python = ray_alone(tmp_path_factory.mktemp("ray") / "environment")
    with tempfile.TemporaryDirectory(prefix="castray-w", dir="/tmp") as folder, Lab(4, "400mbit") as lab:
        run = WatchedRun(lab, Path(folder), python)
        run.carry_out()
        yield run
