"""Measure the relay in a laboratory, case by case, each with its target.

    python -m benchmarks.relay                              all cases
    python -m benchmarks.relay links killed --times 5
    python -m benchmarks.relay --scale 0.1 --times 1        a quick run; the targets apply to full sizes
    python -m benchmarks.relay --json

Every figure is the median of `--times` casts, and every recipient's bytes are compared with the source's.
*One copy* is the time of the bytes at the rate of iperf3 in the same laboratory. Needs the requirements of
`benchmarks.lab`, memory for all copies at once, and an idle machine. Ends with 1 if a target
was missed.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.namespaces import LabUnavailable, check_machine
from benchmarks.relay_cases import CASES, Case, Options, Row
from benchmarks.trials import MIB, TrialFailed, stopwatch
from castray_desktop.core.failures.kinds import CastRayError

HEAD = [
    "case",
    "what",
    "measured",
    "one copy",
    "ratio",
    "copies",
    "datagrams",
    "repaired",
    "CPU",
    "bar",
    "met",
]
"""The columns; columns without a figure are left out."""


async def run_case(name: str, case: Case, options: Options) -> list[Row]:
    """The rows of a case, or one row with the reason why it failed."""
    passed = stopwatch()
    try:
        rows = await case(options)
    except (TrialFailed, LabUnavailable, CastRayError, RuntimeError, TimeoutError, OSError) as error:
        rows = [Row(name, "did not succeed", error=f"{type(error).__name__}: {error}")]
    print(f"{name}: {passed():.0f} s", file=sys.stderr, flush=True)
    return rows


def table(rows: Sequence[Row]) -> str:
    """The rows as text, one for each line."""
    lines = [HEAD, *(cells(item) for item in rows)]
    used = [column for column, *found in zip(range(len(HEAD)), *lines[1:], strict=True) if any(found)]
    lines = [[line[column] for column in used] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    notes = [f"{item.case}: {item.error or item.note}" for item in rows if item.error or item.note]
    return "\n".join([*(line.rstrip() for line in text), *notes])


def cells(item: Row) -> list[str]:
    """A row as in the table."""
    verdict = {True: "yes", False: "NO", None: ""}[item.met]
    if item.error:
        return [item.case, item.what, *[""] * (len(HEAD) - 4), item.rule, verdict]
    bar = f"{item.bar:.2f} {item.unit}" if item.bar is not None and item.bar < float("inf") else ""
    return [
        item.case,
        item.what,
        f"{item.value:.2f} {item.unit}",
        f"{item.one_copy:.2f} s" if item.one_copy else "",
        f"{item.value / item.one_copy:.3f}" if item.one_copy and item.unit == "s" else "",
        f"{item.copies:.3f}" if item.copies else "",
        f"{item.by_datagrams:.1%}" if item.by_datagrams else "",
        f"{item.repaired / MIB:.1f} MiB" if item.repaired else "",
        f"{item.cpu:.1f} s" if item.cpu else "",
        f"{bar} ({item.rule})" if bar else item.rule,
        verdict,
    ]


def run(cases: Mapping[str, Case], module: str, description: str | None) -> int:
    """Run the cases on the command line of a benchmark, and print their table."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(cases)}; all by default")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes times this")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="folder on a disk, for memory")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - cases.keys():
        parser.error(f"no case {', '.join(sorted(unknown))}; there are {', '.join(cases)}")
    options = Options(arguments.times, arguments.scale, arguments.disk)
    rows: list[Row] = []
    try:
        check_machine()
        for name in arguments.cases or cases:
            rows += asyncio.run(run_case(name, cases[name], options))
    except LabUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if arguments.json:
        print(json.dumps([dataclasses.asdict(item) | {"met": item.met} for item in rows], indent=2))
    else:
        print(table(rows))
    return int(any(item.met is False for item in rows))


if __name__ == "__main__":
    sys.exit(run(CASES, "benchmarks.relay", __doc__))
