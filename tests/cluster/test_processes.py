"""Nothing is left running, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray, make_home

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]


def engine_pid(castray: Castray) -> int:
    status = json.loads(castray("engine", "status", "--json").stdout)
    return int(status["pid"])


def test_a_killed_engine_takes_everything_along(own_castray: Castray) -> None:
    assert own_castray("engine", "start").returncode == 0
    assert len(own_castray.processes()) > 8
    os.kill(engine_pid(own_castray), signal.SIGKILL)
    assert own_castray.wait_until_gone() == []
    runs = own_castray.home / "castray" / "runs"
    deadline = time.monotonic() + 2
    while list(runs.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(runs.iterdir()) == []


def test_an_engine_without_clients_ends_by_itself(own_castray: Castray) -> None:
    """A client that is killed is a client that has gone."""
    code = (
        "import asyncio\n"
        "from castray_desktop.workers.client import EngineClient\n"
        "from castray_desktop.workers.places import find_places\n"
        "from castray_desktop.core import messages\n"
        "async def main():\n"
        "    client = await EngineClient.connect(find_places(), 'test')\n"
        "    await client.request(messages.UseCluster('local'), messages.Done)\n"
        "    async for event in client.events():\n"
        "        if getattr(getattr(event, 'cluster', None), 'phase', '') == 'ready':\n"
        "            print('ready', flush=True)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=own_castray.environment, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        client.kill()
    assert own_castray.wait_until_gone(seconds=10.0) == []


def test_killing_engine_and_reaper_together_is_swept_by_the_next_start(own_castray: Castray) -> None:
    assert own_castray("engine", "start").returncode == 0
    run = next((own_castray.home / "castray" / "runs").glob("*.json"))
    temp_dir = Path(json.loads(run.read_text())["temp_dir"])
    for pid in own_castray.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"reaper.py" in command:
            os.kill(pid, signal.SIGKILL)
    os.kill(engine_pid(own_castray), signal.SIGKILL)
    assert own_castray("engine", "start").returncode == 0
    assert not temp_dir.exists()
    assert not run.exists()


def test_a_killed_driver_is_replaced(own_castray: Castray, tmp_path: Path) -> None:
    assert own_castray("engine", "start").returncode == 0
    driver = next(
        pid
        for pid in own_castray.processes()
        if b"ray_side.driver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(driver, signal.SIGKILL)
    (tmp_path / "x").write_text("x")
    deadline = time.monotonic() + 60
    while own_castray("send", tmp_path / "x", "--to", "node_1", "--dest", tmp_path / "out").returncode != 0:
        assert time.monotonic() < deadline
    assert (tmp_path / "out" / "x").read_text() == "x"


def test_two_first_starts_at_once_make_one_engine(tmp_path: Path) -> None:
    castray = make_home(tmp_path)
    starts = [castray.start("engine", "start") for _ in range(2)]
    for start in starts:
        _, errors = start.communicate(timeout=60)
        assert start.returncode == 0, errors
    engines = [
        pid for pid in castray.processes() if b"workers.engine" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    assert len(engines) == 1
    assert castray("engine", "stop", timeout=30).returncode == 0
    assert castray.wait_until_gone() == []
