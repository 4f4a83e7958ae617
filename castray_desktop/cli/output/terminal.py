"""Lines, tables and JSON on standard output, whatever the names in them contain."""

from __future__ import annotations

import contextlib
import enum
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from castray_desktop.core.casts.json_views import JSON_SCHEMA
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import Explanation, explain

WIDE = 10_000


class ColorChoice(enum.StrEnum):
    """When the output has colors."""

    AUTO = "auto"  # on a terminal, unless the environment says otherwise
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True)
class OutputStyle:
    """How much a command prints, and how: the options that every command has."""

    quiet: bool = False  # nothing but requested data, warnings and errors
    verbose: bool = False  # details of deliveries, and the engine's log
    progress: bool = True
    color: ColorChoice = ColorChoice.AUTO

    @property
    def shows_progress(self) -> bool:
        """Whether progress is printed."""
        return self.progress and not self.quiet


_STYLE: ContextVar[OutputStyle] = ContextVar("castray_output_style")


def output_style() -> OutputStyle:
    """The style of the running command; outside of one, the default."""
    return _STYLE.get(OutputStyle())


@contextlib.contextmanager
def use_output_style(style: OutputStyle) -> Iterator[None]:
    """Print in this style while entered, also in tasks that are started meanwhile."""
    token = _STYLE.set(style)
    try:
        yield
    finally:
        _STYLE.reset(token)


def has_color(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a stream gets colors: as `--color` says, else NO_COLOR, else CLICOLOR_FORCE, else on a
    terminal that is not dumb.
    """
    choice = output_style().color
    if choice is not ColorChoice.AUTO:
        return choice is ColorChoice.ALWAYS
    if environment.get("NO_COLOR"):
        return False
    if environment.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def new_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """A console on standard output or standard error, with colors if the stream has them."""
    colored = has_color(sys.stderr if stderr else sys.stdout)
    return Console(
        stderr=stderr,
        width=width,
        color_system="standard" if colored else None,
        force_terminal=True if colored else None,
        no_color=not colored,
        highlight=False,
    )


def escape_unprintable() -> None:
    """From now on, escape what the encoding of the output can't represent, instead of raising an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: object) -> None:
    """Print a value on one line; with escapes only where the output can't encode every character.

    An object gets `schema`, and so does each object of a list.
    """
    ascii_only = not (sys.stdout.encoding or "ascii").lower().startswith("utf")
    print(json.dumps(_with_schema(value), ensure_ascii=ascii_only), flush=True)


def _with_schema(value: object) -> object:
    if isinstance(value, dict):
        return {"schema": JSON_SCHEMA} | value
    return [_with_schema(item) for item in value] if isinstance(value, list) else value


def print_error(kind: str, message: str, remedy: str = "", *, as_json: bool) -> None:
    """Print why a command failed on standard error; `as_json`, also as an object on standard output."""
    if as_json:
        print_error_object(kind, message, remedy)
    print(f"castray: {Explanation(message, remedy).text}", file=sys.stderr, flush=True)


def print_error_object(kind: str, message: str, remedy: str) -> None:
    """Print why a command failed as an object on standard output."""
    print_json({"event": "error", "error": {"kind": kind, "message": message, "remedy": remedy or None}})


def print_failure(failure: Failure, *, as_json: bool) -> None:
    """Print a failure as `print_error` does."""
    explained = explain(failure)
    print_error(failure.kind.value, explained.happened, explained.remedy, as_json=as_json)


def say(line: str) -> None:
    """Print what a command did, for people; nothing with `--quiet`."""
    if not output_style().quiet:
        print_line(line)


def print_line(line: str) -> None:
    """Print text without control characters."""
    print(without_controls(line), flush=True)


def print_note(line: str) -> None:
    """Print a message of the program on standard error, without control characters."""
    print(f"castray: {without_controls(line)}", file=sys.stderr)


def without_controls(line: str) -> str:
    """Replace what a terminal would interpret as a command: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table as wide as the terminal; where there is none, one line for each row."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(without_controls(cell)) for cell in row))  # square brackets are no markup
    new_console(width=None if sys.stdout.isatty() else WIDE).print(table)


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
