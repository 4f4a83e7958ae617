"""cp: one copy after the other, on one machine; the baseline for transfers without a link."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.peers.common import missing

NAME = "cp"
RUNS_WITH = "cp -a SOURCE DESTINATION, one after the other"


def available() -> str:
    return missing(("cp", "coreutils"))


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    began = time.monotonic()
    for folder in destinations:
        subprocess.run(["cp", "-a", source, folder], check=True)
    return time.monotonic() - began
