"""Run the fault matrix, or some of its rows.

    python -m tests.faults [--rows TEXT ...] [--list] [--sample] [--write-docs]

TEXT is a part of a cell's name, such as "disk full" or "middle hop/half". The status is 1 if a cell fails.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import traceback

from tests.faults.fault_cells import Cell
from tests.faults.fault_matrix import chosen_cells, run_cell
from tests.faults.fault_page import PAGE, cell_text, read_page, render


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Run the fault matrix.")
    parser.add_argument("--rows", nargs="+", default=[], metavar="TEXT", help="cells whose names contain it")
    parser.add_argument("--list", action="store_true", help="list the cells")
    parser.add_argument("--sample", action="store_true", help="only those that pytest runs")
    parser.add_argument("--write-docs", action="store_true", help="write the results to docs/fault-matrix.md")
    given = parser.parse_args(arguments)
    cells = [cell for cell in chosen_cells(given.rows) if cell.sample or not given.sample]
    if not cells:
        parser.error("no cell has such a name")
    if given.list:
        for cell in cells:
            sys.stdout.write(f"{cell.name}{'' if cell.run else '  — ' + cell.note}\n")
        return 0
    texts, failed = read_page(), 0
    for cell in cells:
        found = _run(cell) if cell.run is not None else []
        failed += bool(found)
        texts[cell.name] = cell_text(cell, found)
    if given.write_docs:
        PAGE.write_text(render(texts))
    sys.stdout.write(f"{len(cells)} cells, {failed} failed\n")
    return int(failed > 0)


def _run(cell: Cell) -> list[str]:
    began = time.monotonic()
    try:
        found = asyncio.run(run_cell(cell))
    except Exception as error:  # noqa: BLE001 - the other cells are run
        traceback.print_exc()
        found = [f"the cell was not run: {type(error).__name__}: {error}"]
    sys.stdout.write(f"{'FAILED' if found else 'passed'} {time.monotonic() - began:6.1f} s  {cell.name}\n")
    for text in found:
        sys.stdout.write(f"    {text}\n")
    sys.stdout.flush()
    return found


if __name__ == "__main__":
    sys.exit(main())
