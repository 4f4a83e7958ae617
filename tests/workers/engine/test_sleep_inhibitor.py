"""The computer stays awake while casts run, and no longer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastResult,
    CastsRemoved,
    CastState,
    Throughput,
)
from castray_desktop.workers.engine.sleep_inhibitor import SleepInhibitor
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import make_cast


@pytest.fixture
def tool(tmp_path: Path) -> tuple[str, ...]:
    """Replaces the system's program: a file exists while it runs."""
    program = tmp_path / "keeper"
    mark = tmp_path / "awake"
    program.write_text(f"#!/bin/sh\ntrap 'rm -f {mark}' EXIT\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    return (str(program),)


async def become(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110, neither a file nor a process tells
            await asyncio.sleep(0.01)


async def until(tmp_path: Path, there: bool) -> None:
    await become(lambda: (tmp_path / "awake").exists() is there)


async def test_sleep_is_prevented_while_a_cast_runs(tool: tuple[str, ...], tmp_path: Path) -> None:
    awake = SleepInhibitor(lambda: True, tool)
    awake.record_event(CastChanged(make_cast("a", state=CastState.QUEUED)))
    awake.record_event(Throughput(1.0, 1.0, 1.0, ()))
    assert awake._task is None
    awake.record_event(CastChanged(make_cast("a")))
    awake.record_event(CastChanged(make_cast("b")))
    await until(tmp_path, there=True)
    awake.record_event(CastResult(make_cast("a", state=CastState.COMPLETED), (), 1.0))
    awake.record_event(CastChanged(make_cast("b", state=CastState.PAUSED)))
    await until(tmp_path, there=False)
    awake.record_event(CastChanged(make_cast("b")))
    await until(tmp_path, there=True)
    awake.record_event(CastsRemoved(("b",)))
    await until(tmp_path, there=False)
    await awake.close()


async def test_the_setting_holds_at_once(tool: tuple[str, ...], tmp_path: Path) -> None:
    wanted = False
    awake = SleepInhibitor(lambda: wanted, tool)
    awake.record_event(CastChanged(make_cast("a")))
    assert awake._task is None
    wanted = True
    awake.settings_changed()
    await until(tmp_path, there=True)
    wanted = False
    awake.settings_changed()
    await until(tmp_path, there=False)
    await awake.close()


async def test_close_allows_sleep(tool: tuple[str, ...], tmp_path: Path) -> None:
    awake = SleepInhibitor(lambda: True, tool)
    awake.record_event(CastChanged(make_cast("a")))
    await until(tmp_path, there=True)
    await become(lambda: awake._process is not None)  # the tool may run before its start has returned
    process = awake._process
    assert process is not None
    await awake.close()
    assert process.returncode is not None  # the system's tool holds the inhibitor as long as it runs


@pytest.mark.parametrize("command", [(), ("/there/is/no/such/tool",)])
async def test_where_there_is_no_tool_nothing_happens(command: tuple[str, ...]) -> None:
    awake = SleepInhibitor(lambda: True, command)
    awake.record_event(CastChanged(make_cast("a")))
    awake.record_event(CastChanged(make_cast("b")))
    await asyncio.sleep(0)
    await awake.close()


async def test_a_tool_that_is_refused_does_no_harm() -> None:
    awake = SleepInhibitor(lambda: True, ("false",))
    awake.record_event(CastChanged(make_cast("a")))
    await become(lambda: awake._process is not None and awake._process.returncode is not None)
    awake.record_event(CastResult(make_cast("a", state=CastState.COMPLETED), (), 1.0))
    await awake.close()


async def test_it_ends_with_a_killed_engine(tool: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from castray_desktop.core.protocol.messages import CastChanged\n"
        "from castray_desktop.workers.engine.sleep_inhibitor import SleepInhibitor\n"
        "from tests.helpers.samples import make_cast\n"
        "async def main():\n"
        "    SleepInhibitor(lambda: True, [sys.argv[1]]).record_event(CastChanged(make_cast('a')))\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    engine = await asyncio.create_subprocess_exec(sys.executable, "-c", code, *tool)
    await until(tmp_path, there=True)
    os.kill(engine.pid, signal.SIGKILL)
    await engine.wait()
    await until(tmp_path, there=False)
