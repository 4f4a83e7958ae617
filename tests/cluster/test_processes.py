"""No process keeps running, whichever process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def engine_pid(castray: Castray) -> int:
    status = json.loads(castray("engine", "status", "--json").stdout)
    return int(status["pid"])


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_the_next_start_sweeps_what_a_killed_engine_and_its_reaper_left(
    own_castray: Castray,
) -> None:
    """Of two first starts, one has made the engine. A reaper that lives takes everything along, see
    `test_control.py`. An engine without clients ends, and a killed client counts as disconnected.
    """
    own_castray.demo_nodes(1)
    starts = [own_castray.start("engine", "start") for _ in range(2)]
    for start in starts:
        _, errors = start.communicate(timeout=120)
        assert start.returncode == 0, errors
    engine = engine_pid(own_castray)
    commands = {pid: command_line(pid) for pid in own_castray.processes()}
    assert [pid for pid, command in commands.items() if b"workers.engine" in command] == [engine]
    assert len(commands) > 8
    run = next((own_castray.home / "castray" / "runs").glob("*.json"))
    temp_dir = Path(json.loads(run.read_text())["temp_dir"])
    reapers = [pid for pid, command in commands.items() if b"reaper.py" in command]
    assert reapers
    for pid in (*reapers, engine):
        os.kill(pid, signal.SIGKILL)

    with subprocess.Popen(
        [sys.executable, "-c", CLIENT], env=own_castray.environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        assert not temp_dir.exists()
        assert not run.exists()
        client.kill()
    assert own_castray.wait_until_gone() == []


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
