"""Run cells on stages that stay between cells, several side by side."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.laboratory.lab import LabUnavailable
from tests.faults.fault_cells import Cell
from tests.faults.fault_checks import problems
from tests.faults.ray_stage import RayStage
from tests.faults.rows.process_rows import run_on

CELL_SECONDS = 300.0
"""With the time that a lost node is waited for, and a retry."""

STARTS = 3
"""How often in a row a stage is started."""

CellDone = Callable[[Cell, list[str], float], None]


async def run_on_stages(cells: Sequence[Cell], jobs: int, done: CellDone) -> None:
    """Run these cells on so many stages. `done` gets each with what does not hold, and its seconds."""
    waiting = list(reversed(cells))
    async with asyncio.TaskGroup() as group:
        for _ in range(min(jobs, len(cells))):
            group.create_task(_work(waiting, done))


async def _work(waiting: list[Cell], done: CellDone) -> None:
    """Run cells on one stage after another: one on which a cell has failed is not used again."""
    failed_starts = 0
    while waiting:
        try:
            async with RayStage() as stage:
                failed_starts = 0
                await _run_until_failed(stage, waiting, done)
        except (LabUnavailable, RuntimeError, TimeoutError):  # Ray may not start on a loaded machine
            failed_starts += 1
            if failed_starts == STARTS:
                raise
            traceback.print_exc()


async def _run_until_failed(stage: RayStage, waiting: list[Cell], done: CellDone) -> None:
    while waiting:
        cell, began = waiting.pop(), time.monotonic()
        found = await _run(stage, cell)
        done(cell, found, time.monotonic() - began)
        if found:
            return


async def _run(stage: RayStage, cell: Cell) -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="cell-", dir=stage.folder))
    try:
        async with asyncio.timeout(CELL_SECONDS):
            return problems(await run_on(stage, cell, folder))
    except Exception as error:  # noqa: BLE001 - the other cells are run
        traceback.print_exc()
        return [f"the cell was not run: {type(error).__name__}: {error}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
