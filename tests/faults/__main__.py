"""Run the fault matrix, or some of its rows.

    python -m tests.faults [--rows TEXT ...] [--list] [--sample] [--jobs N] [--write-docs]

TEXT is a part of a cell's name, such as "disk full" or "middle hop/half". The status is 1 if a cell fails.
Rows about processes and links need root and a real Ray cluster, on which many cells are run one after
another; they come last, and take half a minute each. Ctrl+C and SIGTERM end the run as soon as it has removed
what it has started: processes, network namespaces, mounts, folders.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
import traceback
from collections.abc import Coroutine, Sequence
from typing import Any

from tests.faults.fault_cells import Cell
from tests.faults.fault_matrix import chosen_cells, run_cell
from tests.faults.fault_page import PAGE, cell_text, read_page, render
from tests.faults.rows.process_rows import run_alone
from tests.faults.stage_runner import run_on_stages


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Run the fault matrix.")
    parser.add_argument("--rows", nargs="+", default=[], metavar="TEXT", help="cells whose names contain it")
    parser.add_argument("--list", action="store_true", help="list the cells")
    parser.add_argument("--sample", action="store_true", help="only those that pytest runs")
    parser.add_argument("--write-docs", action="store_true", help="write the results to docs/fault-matrix.md")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="Ray clusters side by side")
    given = parser.parse_args(arguments)
    cells = [cell for cell in chosen_cells(given.rows) if cell.sample or not given.sample]
    if not cells:
        parser.error("no cell has such a name")
    if given.list:
        for cell in cells:
            sys.stdout.write(f"{cell.name}{'' if cell.run else '  — ' + cell.note}\n")
        return 0
    record = _Record(given.write_docs)
    if stopped_by := asyncio.run(_run_until_stopped(_run_all(cells, given.jobs, record))):
        sys.stdout.write(f"stopped by {stopped_by.name}\n")
        return 128 + stopped_by
    sys.stdout.write(f"{len(cells)} cells, {record.failed} failed\n")
    return int(record.failed > 0)


async def _run_until_stopped(work: Coroutine[Any, Any, None]) -> signal.Signals | None:
    """Do it; returns the signal that ended it. Only the first signal counts: the clean-up goes on."""
    task, came = asyncio.ensure_future(work), list[signal.Signals]()

    def stop(number: signal.Signals) -> None:
        came.append(number)
        if len(came) == 1:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await asyncio.wait([task])
    if came:
        return came[0]
    await task
    return None


async def _run_all(cells: Sequence[Cell], jobs: int, record: _Record) -> None:
    for cell in cells:
        if cell.run is None:
            record.not_applicable(cell)
        elif cell.run is not run_alone:
            began = time.monotonic()
            found = await _run(cell)
            record.done(cell, found, time.monotonic() - began)
    staged = [cell for cell in cells if cell.run is run_alone]
    if staged:
        await run_on_stages(staged, jobs, record.done)


class _Record:
    """Prints the result of each cell, and renews the page if it is to be written."""

    def __init__(self, write: bool) -> None:
        self.failed = 0
        self._write = write

    def not_applicable(self, cell: Cell) -> None:
        """It can't be run."""
        self._save(cell, [])

    def done(self, cell: Cell, found: list[str], seconds: float) -> None:
        """It was run in so many seconds; `found` does not hold."""
        self.failed += bool(found)
        sys.stdout.write(f"{'FAILED' if found else 'passed'} {seconds:6.1f} s  {cell.name}\n")
        for text in found:
            sys.stdout.write(f"    {text}\n")
        sys.stdout.flush()
        self._save(cell, found)

    def _save(self, cell: Cell, found: list[str]) -> None:
        if self._write:  # another run may write other cells meanwhile
            PAGE.write_text(render(read_page() | {cell.name: cell_text(cell, found)}))


async def _run(cell: Cell) -> list[str]:
    try:
        return await run_cell(cell)
    except Exception as error:  # noqa: BLE001 - the other cells are run
        traceback.print_exc()
        return [f"the cell was not run: {type(error).__name__}: {error}"]


if __name__ == "__main__":
    sys.exit(main())
