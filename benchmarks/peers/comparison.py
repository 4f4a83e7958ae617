"""The results of a comparison: medians, ratios and targets, as a terminal table, Markdown and JSON.

Nothing here measures; `benchmarks.compare` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

BEGIN = "<!-- comparison: begin -->"
END = "<!-- comparison: end -->"


@dataclass(frozen=True)
class Row:
    """One tool in one comparison."""

    key: str  # the name on the command line
    name: str
    seconds: tuple[float, ...] = ()  # of successful runs
    sent: tuple[float, ...] = ()  # bytes on the source's link, including headers, divided by the size
    failures: tuple[str, ...] = ()
    runs_with: str = ""

    @property
    def median(self) -> float | None:
        """Median seconds; None if no run succeeded."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def copies(self) -> float | None:
        """Median of the copies that the source sent; None if there was no link."""
        return statistics.median(self.sent) if self.sent else None


@dataclass(frozen=True)
class Comparison:
    """One case with one number of recipients."""

    case: str
    recipients: int
    size: int  # bytes
    files: int
    link: str  # as text
    tcp: str  # congestion control of the hosts for programs that do not request another
    limit: str  # the source of `rates`: iperf3 or the link
    rates: tuple[float, ...]  # bytes per second, one for each round
    rows: tuple[Row, ...]

    @property
    def one_copy(self) -> float:
        """Seconds that one copy takes at the median rate."""
        return self.size / statistics.median(self.rates)

    def row(self, key: str) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def median(self, key: str) -> float | None:
        row = self.row(key)
        return row.median if row else None


@dataclass(frozen=True)
class Results:
    """The contents of one results file."""

    machine: dict[str, str] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()

    def with_comparison(self, new: Comparison) -> Results:
        """A copy in which this comparison replaces an older one of the same kind, or is appended."""
        kinds = [(item.case, item.recipients, item.tcp) for item in self.comparisons]
        kind = (new.case, new.recipients, new.tcp)
        if kind not in kinds:
            return Results(self.machine, (*self.comparisons, new))
        at = kinds.index(kind)
        return Results(self.machine, (*self.comparisons[:at], new, *self.comparisons[at + 1 :]))


def load(path: Path) -> Results:
    """Read a results file. Raises OSError, msgspec.ValidationError."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def save(results: Results, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


# --- targets ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    """A target of the relay in a comparison, and the result."""

    what: str
    found: str
    met: bool | None  # None: not measured

    @property
    def word(self) -> str:
        return "not measured" if self.met is None else "met" if self.met else "not met"


def at_most(comparison: Comparison, factor: float, more: float = 0.0) -> Bar:
    """The relay takes at most `factor` times one copy plus this number of seconds."""
    what = f"at most {factor:g} x one copy" + (f" + {more:g} s" if more else "")
    seconds = comparison.median("relay")
    if seconds is None:
        return Bar(what, "", None)
    limit = factor * comparison.one_copy + more
    return Bar(what, f"{seconds:.3f} s, the bar is {limit:.3f} s", seconds <= limit)


def at_least(comparison: Comparison, share: float) -> Bar:
    """The relay reaches at least this share of the rate."""
    what = f"at least {share:g} of the rate that {comparison.limit} shows"
    seconds = comparison.median("relay")
    if seconds is None:
        return Bar(what, "", None)
    found = comparison.one_copy / seconds
    return Bar(what, f"{found:.2f}", found >= share)


def faster(comparison: Comparison, key: str, factor: float = 1.0) -> Bar:
    """The relay is at least `factor` times as fast as another tool."""
    row, ours = comparison.row(key), comparison.median("relay")
    name = row.name if row else key
    what = f"{factor:g} x faster than {name}" if factor != 1 else f"faster than {name}"
    if row is None or row.median is None or ours is None:
        return Bar(what, "", None)
    ratio = row.median / ours
    return Bar(what, f"{ratio:.2f} x", ratio > 1 if factor == 1 else ratio >= factor)


def no_slower(comparison: Comparison, key: str) -> Bar:
    theirs, ours = comparison.median(key), comparison.median("relay")
    what = f"no slower than {key}"
    if theirs is None or ours is None:
        return Bar(what, "", None)
    return Bar(what, f"{theirs / ours:.2f} x", ours <= theirs)


def _faster_than_all(comparison: Comparison) -> list[Bar]:
    return [faster(comparison, row.key) for row in comparison.rows if row.key != "relay"]


BARS: dict[str, Callable[[Comparison], list[Bar]]] = {
    "links": lambda it: [at_most(it, 1.05, 0.2), *_faster_than_all(it)],
    "loss": lambda it: [at_most(it, 1.25), *_faster_than_all(it)],
    "long": lambda it: [at_least(it, 0.8), faster(it, "rsync", 3), faster(it, "rsync-cubic", 3)],
    "loopback": lambda it: [
        at_least(it, 0.5),
        no_slower(it, "cp"),
        faster(it, "ray", 3),
        faster(it, "scp", 4),
    ],
    "small": lambda it: [faster(it, "rsync", 1.5)],
}


def bars(comparison: Comparison) -> list[Bar]:
    """The targets of the relay in this case, except those that need a tool that did not run."""
    return BARS[comparison.case](comparison)


# --- tables ----------------------------------------------------------------------------------------

HEAD = ("tool", "seconds", "x one copy", "x relay", "source sent", "runs")


def size_text(size: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= factor and size * 10 % factor == 0:
            return f"{size / factor:g} {unit}"
    return f"{size:,} bytes"


def title(comparison: Comparison) -> str:
    """A one-line description of the transfer."""
    return f"{what(comparison)}, {network(comparison)}"


def network(comparison: Comparison) -> str:
    return f"{comparison.link}, TCP with {comparison.tcp}"


def what(comparison: Comparison) -> str:
    words = size_text(comparison.size)
    if comparison.files > 1:
        words = f"{comparison.files:,} files of {size_text(comparison.size // comparison.files)}"
    many = "1 recipient" if comparison.recipients == 1 else f"{comparison.recipients} recipients"
    return f"{words}, {many}"


def cells(comparison: Comparison) -> list[tuple[str, ...]]:
    """The rows of the table without its header, the limit first."""
    one, ours = comparison.one_copy, comparison.median("relay")

    def over_relay(seconds: float) -> str:
        return f"{seconds / ours:.2f}" if ours else ""

    lines: list[tuple[str, ...]] = [
        (
            f"one copy ({comparison.limit})",
            f"{one:.3f}",
            "1.00",
            over_relay(one),
            "",
            _spread(_copies(comparison)),
        )
    ]
    for row in comparison.rows:
        if row.median is None:
            lines.append((row.name, "failed" if row.failures else "not run", "", "", "", ""))
            continue
        sent = f"{row.copies:.2f}" if row.copies is not None else ""
        runs = _spread(row.seconds) + (f", {len(row.failures)} failed" if row.failures else "")
        lines.append(
            (row.name, f"{row.median:.3f}", f"{row.median / one:.2f}", over_relay(row.median), sent, runs)
        )
    return lines


def _copies(comparison: Comparison) -> tuple[float, ...]:
    return tuple(comparison.size / rate for rate in comparison.rates)


def _spread(seconds: Sequence[float]) -> str:
    return f"{len(seconds)}: {min(seconds):.2f}-{max(seconds):.2f}"


def text(comparison: Comparison) -> str:
    """The results as text for a terminal."""
    lines = [HEAD, *cells(comparison)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    shown = [title(comparison)]
    for line in lines:
        name, *rest = (cell for cell in line)
        padded = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        shown.append("  " + "  ".join([name.ljust(widths[0]), *padded]).rstrip())
    shown += [f"  bar: {bar.what}: {bar.found or '-'}: {bar.word}" for bar in bars(comparison)]
    shown += [f"  {row.name} failed: {why}" for row in comparison.rows for why in row.failures]
    return "\n".join(shown)


def markdown(results: Results) -> str:
    """The results as Markdown for the documents."""
    if not results.comparisons:
        return "No figures yet.\n"
    parts = ["; ".join(f"{name}: {value}" for name, value in results.machine.items()) + "."]
    for comparison in results.comparisons:
        parts.append(f"### {title(comparison)}")
        parts.append(_table(HEAD, cells(comparison)))
        asked = [(bar.what, bar.found, bar.word) for bar in bars(comparison)]
        parts.append(_table(("bar", "found", ""), asked))
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def replace_between(document: str, new: str) -> str:
    """The document with `new` between its two marks. Raises ValueError without them."""
    if BEGIN not in document or END not in document:
        raise ValueError(f"the document has no {BEGIN} and {END}")
    before, after = document.split(BEGIN, 1)[0], document.split(END, 1)[1]
    return f"{before}{BEGIN}\n\n{new}\n{END}{after}"
