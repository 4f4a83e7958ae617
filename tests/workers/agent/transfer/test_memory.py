"""A gigabyte does not increase a node's memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MIB = 1 << 20

SEND = """
import json, sys
from pathlib import Path
from tests.workers.agent.transfer.lab import Lab

def memory(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) << 10

lab = Lab(Path(sys.argv[1]))
nodes = lab.chain(2, local=sys.argv[2] == "local")
lab.send(nodes, [lab.file("small", 3 << 20)])
with open(lab.files / "big", "wb") as file:
    file.truncate(1 << 30)
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
results = lab.send(nodes, [lab.files / "big"])
print(json.dumps([[result.state for result in results], memory("VmHWM") - before]))
lab.close()
"""


@pytest.fixture
def roomy() -> Iterator[Path]:
    """A folder in memory, so that the disk's speed does not matter."""
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("transport", ["tcp", "local"])
def test_memory_does_not_grow_with_the_file(roomy: Path, transport: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEND, str(roomy), transport],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    states, growth = json.loads(done.stdout)
    assert states == ["completed", "completed"]
    assert growth < 64 * MIB
