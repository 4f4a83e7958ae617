"""docs/fault-matrix.md: read, renewed cell by cell, and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.fault_cells import Cell, Component, Fault, Moment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fault-matrix.md"
NOT_RUN = "not run"

_HEAD = """\
# Fault matrix

What happens to a cast when one part fails. `python -m tests.faults --write-docs` runs every cell over
real processes, sockets and files, and writes this page; `--rows` selects some, and `tests/faults` runs a
sample with the other tests.

In each cell is checked:

- **a** no final name ever has wrong or partial content;
- **b** every delivery ends in one terminal state, with a true reason;
- **c** the recipients that the fault does not concern complete, at most a fifth later than undisturbed,
  plus 2 s of noise and, where it is named, a bound of [timeouts-and-recovery.md](timeouts-and-recovery.md);
- **d** nothing stays behind: staging folders, part files, processes, sockets, records;
- **e** a retry or resume completes it, without sending verified bytes again: they are counted.

*passed*: all five hold, and the text says how the cast ends where that is not simply "complete". *—*: not
applicable, with the reason. *not run*: no result yet. The source's agent, a middle hop and the last hop are
those of a relay chain: with three recipients in the rows about disks and files; in those about processes and
links with four, on a real Ray cluster, each host in a network namespace behind 100 Mbit/s.

A delivery that fails for a reason that may pass keeps what it has received for a day, for a retry; so does
one that waits (`node_away`). What it keeps is removed once the cast is cleared, and **d** is checked after
that.
"""

_FAILED = "**FAILED**"


def read_page(path: Path = PAGE) -> dict[str, str]:
    """The text of each cell by its name; empty if there is no page."""
    found: dict[str, str] = {}
    fault = ""
    moments = tuple(Moment)
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("## "):
            fault = line[3:].strip()
        elif line.startswith("| ") and fault and not line.startswith(("| component", "| ---")):
            component, *texts = (text.strip() for text in line.strip("|").split("|"))
            texts = texts if len(texts) == len(moments) else texts * len(moments)
            found |= {
                f"{fault}/{component}/{moment}": text for moment, text in zip(moments, texts, strict=False)
            }
    return found


def cell_text(cell: Cell, problems: Sequence[str]) -> str:
    """What the page says about a cell that was run, or can't be."""
    if cell.run is None:
        return f"— {cell.note}"
    if problems:
        return f"{_FAILED} " + "; ".join(problems).replace("|", "/").replace("\n", " ")
    return f"passed: {cell.note}" if cell.note else "passed"


def render(texts: Mapping[str, str]) -> str:
    """The page, with a table for each fault."""
    parts = [_HEAD]
    for fault in Fault:
        rows = {
            component: [texts.get(f"{fault}/{component}/{moment}", "") for moment in Moment]
            for component in Component
        }
        rows = {component: row for component, row in rows.items() if any(row)}
        if not rows:
            continue
        lines = [f"## {fault}\n", f"| component | {' | '.join(Moment)} |", "| --- " * (len(Moment) + 1) + "|"]
        lines += [
            f"| {component} | {' | '.join(text or NOT_RUN for text in row)} |"
            for component, row in rows.items()
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)
