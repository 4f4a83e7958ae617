"""No process keeps running, whichever process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def engine_pid(castray: Castray) -> int:
    status = json.loads(castray("engine", "status", "--json").stdout)
    return int(status["pid"])


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_of_two_first_starts_one_makes_an_engine_which_takes_everything_along_when_it_is_killed(
    own_castray: Castray,
) -> None:
    starts = [own_castray.start("engine", "start") for _ in range(2)]
    for start in starts:
        _, errors = start.communicate(timeout=60)
        assert start.returncode == 0, errors
    engine = engine_pid(own_castray)
    found = own_castray.processes()
    assert [pid for pid in found if b"workers.engine" in Path(f"/proc/{pid}/cmdline").read_bytes()] == [
        engine
    ]
    assert len(found) > 8
    os.kill(engine, signal.SIGKILL)
    assert own_castray.wait_until_gone() == []
    runs = own_castray.home / "castray" / "runs"
    deadline = time.monotonic() + 2
    while list(runs.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(runs.iterdir()) == []


def test_the_next_start_sweeps_what_engine_and_reaper_left_and_an_engine_without_clients_ends(
    own_castray: Castray,
) -> None:
    """A killed client counts as disconnected."""
    assert own_castray("engine", "start").returncode == 0
    run = next((own_castray.home / "castray" / "runs").glob("*.json"))
    temp_dir = Path(json.loads(run.read_text())["temp_dir"])
    for pid in own_castray.processes():
        if b"reaper.py" in command_line(pid):
            os.kill(pid, signal.SIGKILL)
    os.kill(engine_pid(own_castray), signal.SIGKILL)

    with subprocess.Popen(
        [sys.executable, "-c", CLIENT], env=own_castray.environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        assert not temp_dir.exists()
        assert not run.exists()
        client.kill()
    assert own_castray.wait_until_gone(seconds=10.0) == []


CLIENT = """
import asyncio
from castray_desktop.core.protocol import messages
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.base.paths import find_paths

async def main():
    client = await EngineClient.connect(find_paths(), 'test')
    await client.request(messages.UseCluster('local'), messages.Done)
    async for event in client.events():
        if getattr(getattr(event, 'cluster', None), 'phase', '') == 'ready':
            print('ready', flush=True)

asyncio.run(main())
"""
