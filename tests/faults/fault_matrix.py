"""All cells, from the modules that have them. A new module of rows is added here."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.faults.fault_cells import Cell, Fault
from tests.faults.fault_checks import problems
from tests.faults.rows import disk_rows, engine_rows, file_rows, power_rows, process_rows, untouched_rows

MODULES = (disk_rows, file_rows, power_rows, engine_rows, untouched_rows, process_rows)
"""Each has `CELLS`, a tuple of `Cell`."""

CELL_SECONDS = 180.0
MEMORY = Path("/dev/shm")
"""Where cells are run if it is there: the time that a disk takes is no part of them."""


def all_cells() -> tuple[Cell, ...]:
    """Every cell, by fault, component and moment."""
    found = [cell for module in MODULES for cell in module.CELLS]
    faults = list(Fault)
    return tuple(sorted(found, key=lambda cell: faults.index(cell.fault)))


def chosen_cells(patterns: list[str]) -> tuple[Cell, ...]:
    """Cells whose names contain one of the texts; all without one."""
    return tuple(
        cell
        for cell in all_cells()
        if not patterns or any(pattern.lower() in cell.name.lower() for pattern in patterns)
    )


async def run_cell(cell: Cell, below: Path | None = None) -> list[str]:
    """Run a cell in a folder of its own, which is removed; returns what does not hold."""
    import asyncio

    assert cell.run is not None
    if below is None and MEMORY.is_dir():
        below = MEMORY
    folder = Path(tempfile.mkdtemp(prefix="castray-fault-", dir=below))
    try:
        async with asyncio.timeout(CELL_SECONDS):
            return problems(await cell.run(cell, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
