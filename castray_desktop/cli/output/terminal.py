"""Lines, tables and JSON on standard output, whatever the names in them contain."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timedelta

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDE = 10_000


def escape_unprintable() -> None:
    """From now on, escape what the encoding of the output can't represent, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Print a value on one line; with escapes only where the output can't encode every character."""
    ascii_only = not (sys.stdout.encoding or "ascii").lower().startswith("utf")
    print(json.dumps(value, ensure_ascii=ascii_only), flush=True)


def print_line(line: str) -> None:
    """Print text without control characters."""
    print(without_controls(line), flush=True)


def print_note(line: str) -> None:
    """Print a message of the program on standard error, without control characters."""
    print(f"castray: {without_controls(line)}", file=sys.stderr)


def without_controls(line: str) -> str:
    """Replace what a terminal would interpret as a command: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def new_table(*columns: str) -> Table:
    """An empty table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """Add cells as plain text: square brackets in them are no markup."""
    table.add_row(*(Text(without_controls(cell)) for cell in cells))


def print_table(table: Table) -> None:
    """Print a table as wide as the terminal; where there is none, one line for each row."""
    (Console() if sys.stdout.isatty() else Console(width=WIDE)).print(table)


def format_count(number: int, noun: str) -> str:
    """A number with its noun, which takes an s in the plural: `1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_moment(at: float) -> str:
    """POSIX seconds as local date and time; nothing for 0."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M") if at else ""


def format_duration(seconds: float) -> str:
    """A number of seconds, as hours and minutes from one minute on."""
    if seconds < 60:
        return f"{max(seconds, 0.0):.3g} s"
    return str(timedelta(seconds=round(seconds)))
