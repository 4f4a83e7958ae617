"""Components, faults and moments, and what one cell of the matrix is."""

from __future__ import annotations

import enum
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.fault_checks import Observation


class Component(enum.StrEnum):
    """What fails."""

    SOURCE = "source's agent"
    MIDDLE = "middle hop"
    LAST = "last hop"
    ENGINE = "engine"
    WINDOW = "window"
    DRIVER = "driver"
    RAYLET = "raylet"
    HEAD = "head"


class Moment(enum.StrEnum):
    """When it fails."""

    PREFLIGHT = "preflight"  # the source scans, or the recipients are asked
    HALF = "half way"  # half of the bytes have passed the component
    LAST_PIECE = "last piece"  # all bytes but the last piece have, or during the commit


class Fault(enum.StrEnum):
    """How it fails."""

    KILLED = "SIGKILL"
    SUSPENDED = "SIGSTOP for 20 s, then SIGCONT"
    CUT = "network cut for 20 s"
    SLOW_LINK = "link at 1 %"
    LOSS = "5 % loss"
    DISK_FULL = "disk full"
    READ_ONLY = "disk remounted read-only"
    WRITE_ERROR = "I/O error on write"
    SYNC_ERROR = "I/O error on sync"
    READ_ERROR = "I/O error on read"
    POWER_LOSS = "power loss"
    HANGS = "inbox that hangs"
    CHANGED = "file changed while sent"
    TRUNCATED = "file truncated while sent"
    DELETED = "file deleted while sent"
    DESTINATION_REMOVED = "destination removed"
    CLOCK_MOVED = "clock moved by a day"
    TWO_ENGINES = "two engines, one destination"


@dataclass(frozen=True)
class Cell:
    """One component, fault and moment: how it is run, or why it can't be.

    `run(cell, folder)` makes the fault happen in a cast below an empty folder, and returns what was seen.
    """

    component: Component
    fault: Fault
    moment: Moment
    run: RunCell | None = None
    note: str = ""  # shown in the table: an explanation, or the reason why it can't be run
    sample: bool = False  # also run by pytest

    @property
    def name(self) -> str:
        """As selected by `--rows`."""
        return f"{self.fault}/{self.component}/{self.moment}"


RunCell = Callable[[Cell, Path], Coroutine[Any, Any, Observation]]


def cells_of(
    component: Component,
    fault: Fault,
    run: RunCell,
    note: str = "",
    *,
    notes: Mapping[Moment, str] | None = None,
    impossible: Mapping[Moment, str] | None = None,
    sample: tuple[Moment, ...] = (),
) -> tuple[Cell, ...]:
    """The cells of one row. `notes` replace `note` at single moments; at `impossible` ones it is not run."""
    found = []
    for moment in Moment:
        if impossible is not None and moment in impossible:
            found.append(Cell(component, fault, moment, None, impossible[moment]))
        else:
            said = (notes or {}).get(moment, note)
            found.append(Cell(component, fault, moment, run, said, moment in sample))
    return tuple(found)


def not_applicable(component: Component, fault: Fault, reason: str) -> tuple[Cell, ...]:
    """A row that can't be run at any moment."""
    return tuple(Cell(component, fault, moment, None, reason) for moment in Moment)
