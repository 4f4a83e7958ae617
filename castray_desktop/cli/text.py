"""What commands print for people: tables, progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from castray_desktop.core.cast import cast_name
from castray_desktop.core.errors import sentence
from castray_desktop.core.messages import (
    CastCluster,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    EngineStatus,
    NodeInfo,
    NodeState,
    PreflightReport,
    VerifyReport,
)
from castray_desktop.core.multicast_words import why_stopped
from castray_desktop.core.quantities import format_bytes

LINE_SECONDS = 5.0
MAX_BARS = 24
WIDE = 10_000


def print_json(value: object) -> None:
    """A value as one line; with escapes only where the output can't take every character."""
    ascii_only = not (sys.stdout.encoding or "ascii").lower().startswith("utf")
    print(json.dumps(value, ensure_ascii=ascii_only), flush=True)


def accept_any_name() -> None:
    """From now on, what the output can't show is escaped instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_nodes(nodes: Collection[NodeInfo]) -> None:
    """The nodes as a table, and what is the matter with those that are there."""
    table = table_of("Node", "Address", "State", "CPU", "Memory", "Free", "Inbox")
    for node in nodes:
        add_row(
            table,
            node.name,
            node.address,
            node.state.value,
            f"{node.cpus:g}",
            format_bytes(node.memory),
            format_bytes(node.disk_free),
            node.inbox,
        )
    print_table(table)
    for node in nodes:
        if node.state is NodeState.ONLINE and node.failure is not None:
            print(f"castray: {_tame(sentence(node.failure))}", file=sys.stderr)


def print_casts(casts: Sequence[CastSummary]) -> None:
    """The casts as a table."""
    if not casts:
        print("No casts.")
        return
    table = table_of("Cast", "Name", "State", "Size", "Done", "Recipients")
    for cast in casts:
        done = f"{100 * cast.done_bytes // cast.bytes} %" if cast.bytes else ""
        recipients = f"{cast.verified}/{len(cast.recipients)}"
        add_row(
            table,
            cast.cast,
            cast_name(cast),
            state_word(cast.state),
            format_bytes(cast.bytes),
            done,
            recipients,
        )
    print_table(table)


def print_status(status: EngineStatus | None) -> None:
    """The engine in a few lines."""
    if status is None:
        print("No engine is running.")
        return
    cluster = status.cluster
    where = f"{cluster.target}, {cluster.phase.value}" if cluster.target else "none"
    print(f"The engine runs (process {status.pid}). Cluster: {where}.")
    print(f"{status.nodes} nodes, {status.casts} casts going on, {status.clients - 1} other clients.")
    if status.limit:
        print_limit(status.limit)


def print_limit(limit: int, cast: str = "") -> None:
    """What a node may pass on, over all casts or for one."""
    what = f"for cast {cast}" if cast else "over all casts"
    if limit:
        print(f"Every node passes on at most {format_bytes(limit)}/s {what}.")
    else:
        print(f"There is no limit {what}.")


def print_preflight(report: PreflightReport) -> None:
    """What would be sent, and what is in the way."""
    print(f"{report.files} files, {format_bytes(report.bytes)}, to {', '.join(report.recipients)}.")
    if report.cluster.target:
        say(f"Cluster: {where(report.cluster)}")
    print_links(report)
    for problem in report.problems:
        print(f"{problem.node}: {sentence(problem.failure)}", file=sys.stderr)
    for item in report.left_out:
        print(f"castray: not sent: {_tame(sentence(item.failure))}", file=sys.stderr)
    if report.left_out_count > len(report.left_out):
        print(f"castray: not sent: {report.left_out_count - len(report.left_out)} more", file=sys.stderr)
    for removal in report.removals:
        print(f"{removal.node} would lose {removal.count}, since the source has them no longer:")
        for path in removal.paths:
            print(f"  {path}")
        if removal.count > len(removal.paths):
            print(f"  and {removal.count - len(removal.paths)} more")
    if report.left_out_count:
        print(f"Nothing was sent. Entries that can't be sent: {report.left_out_count}.")
    elif not report.problems:
        print("Every recipient can take it. Nothing was sent.")


def print_links(found: CastSummary | PreflightReport) -> None:
    """What becomes of symbolic links; on stderr those that point to nothing at the recipients."""
    parts = []
    if found.followed_links:
        parts.append(f"{found.followed_links} sent as what they point to")
    if found.kept_links:
        parts.append(f"{found.kept_links} as links")
    if parts:
        say(f"Symbolic links: {', '.join(parts)}.")
    warn_of_links(found)


def warn_of_links(found: CastSummary | PreflightReport) -> None:
    """On stderr, the links that point to nothing at the recipients, the first ones by name."""
    if found.broken_links:
        names = ", ".join(found.broken_names)
        more = found.broken_links - len(found.broken_names)
        listed = f"{names} and {more} more" if more else names
        print(
            f"castray: warning: links that lead nowhere at the recipients: {found.broken_links}"
            f" ({_tame(listed)}). What they point to is not there, or is not sent.",
            file=sys.stderr,
        )


def print_added(report: PreflightReport) -> None:
    """Who receives a cast as well from now on, and who can't."""
    problems = {problem.node for problem in report.problems}
    added = [node for node in report.recipients if node not in problems]
    if added:
        print(f"Also to {', '.join(added)}.")
    for problem in report.problems:
        print(f"{problem.node}: {sentence(problem.failure)}", file=sys.stderr)


def print_verified(report: VerifyReport) -> None:
    """What stands on every node, and what is not as it should be."""
    table = table_of("Node", "State", "Files", "Size", "Hash")
    for node in report.nodes:
        add_row(table, node.node, node.state.value, str(node.files), format_bytes(node.bytes), node.hash)
    print_table(table)
    for node in report.nodes:
        if node.failure is not None:
            print(f"castray: {_tame(sentence(node.failure))}", file=sys.stderr)
        for path in node.differing:
            say(f"{node.node}: {path}")
        if node.differing_count > len(node.differing):
            say(f"{node.node}: and {node.differing_count - len(node.differing)} more")


@contextlib.contextmanager
def reading_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar for what is read back, on a terminal; called with the bytes read and those there are."""
    if not sys.stderr.isatty():
        yield lambda read, total: None
        return
    columns = (TextColumn("Reading back"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=None)
        yield lambda read, total: bars.update(task, completed=read, total=total or None)


def state_word(state: CastState | DeliveryState) -> str:
    """A state in words."""
    return state.value.replace("_", " ")


class LineReporter:
    """Plain lines: each change of state, and progress every few seconds."""

    def __init__(self) -> None:
        self._warned = False
        self._states: dict[str, DeliveryState] = {}
        self._next = time.monotonic() + LINE_SECONDS

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Print what is new in it."""
        if summary is None:
            return
        if summary.broken_links and not self._warned:
            self._warned = True
            warn_of_links(summary)
        for item in deliveries:
            if item.state is not self._states.get(item.node, DeliveryState.WAITING):
                self._states[item.node] = item.state
                if not item.state.finished:
                    say(f"{item.node}: {state_word(item.state)}")
        if summary.bytes and time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_SECONDS
            share = 100 * summary.done_bytes // summary.bytes
            say(f"{cast_name(summary)}: {share} % on average, {format_bytes(summary.rate)}/s")

    def result(self, result: CastResult) -> None:
        """Print how it ended."""
        print_result(result)


class BarReporter:
    """A progress bar for each recipient, on a terminal."""

    def __init__(self) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}
        self._running = False
        self._warned = False

    def progress(self, summary: CastSummary | None, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Move the bars."""
        if summary is None:
            return
        if summary.broken_links and not self._warned:
            self._warned = True
            warn_of_links(summary)
        if not summary.bytes:
            return
        if not self._running:
            self._bars.start()
            self._running = True
        for item in deliveries:
            task = self._tasks.get(item.node)
            if task is None:
                if len(self._tasks) >= MAX_BARS:
                    continue
                task = self._tasks[item.node] = self._bars.add_task(item.node, state="")
            self._bars.update(task, total=summary.bytes, completed=item.bytes, state=state_word(item.state))

    def result(self, result: CastResult) -> None:
        """Take the bars down and print how it ended."""
        self.stop()
        print_result(result)

    def stop(self) -> None:
        """Leave the bars as they are."""
        if self._running:
            self._bars.stop()
            self._running = False


def print_result(result: CastResult) -> None:
    """One line for each recipient, failures on stderr, and one for the whole."""
    for item in result.deliveries:
        if item.failure is not None and not item.state.delivered:
            print(f"castray: {_tame(sentence(item.failure))}", file=sys.stderr)
        else:
            parts = (f"{item.node}: {state_word(item.state)}", ", ".join(item.paths), item.hash)
            say(" ".join(part for part in parts if part))
        if item.hook_status:
            say(f"{item.node}: hook: {item.hook_status}")
    summary = result.summary
    if summary.cluster.target:
        say(f"Cluster: {where(summary.cluster)}")
    rate = format_bytes(summary.bytes / result.seconds) if result.seconds > 0 else "0 B"
    say(
        f"{cast_name(summary)}: {state_word(summary.state)},"
        f" {summary.verified} of {len(summary.recipients)} recipients,"
        f" {format_bytes(summary.bytes)} in {result.seconds:.1f} s ({rate}/s),"
        f" {summary.source_copies:.2f} copies uploaded"
    )
    print_multicast(summary)
    if summary.verified or summary.state is CastState.PARTLY_FAILED:
        print_links(summary)


def where(cluster: CastCluster) -> str:
    """Which cluster it is."""
    if cluster.local:
        return "the demo on this computer"
    return cluster.address or cluster.target


def print_multicast(cast: CastSummary) -> None:
    """How much was sent to all recipients at once, and on stderr why that has stopped."""
    why = why_stopped(cast.multicast, cast.source)
    if why is not None and cast.state is not CastState.CANCELLED:
        print(f"castray: {_tame(why.text)}", file=sys.stderr)
    elif cast.multicast is not None and cast.multicast.bytes:
        say(f"{format_bytes(cast.multicast.bytes)} by multicast, once for all.")


def say(line: str) -> None:
    """A line of text, whatever is in it."""
    print(_tame(line), flush=True)


def _tame(line: str) -> str:
    """Without what a terminal would take for a command: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)


def add_row(table: Table, *cells: str) -> None:
    """Cells are shown as they are, square brackets too."""
    table.add_row(*(Text(_tame(cell)) for cell in cells))


def print_table(table: Table) -> None:
    """A table as wide as the terminal; elsewhere as wide as it wants, a line for each row."""
    (Console() if sys.stdout.isatty() else Console(width=WIDE)).print(table)


def table_of(*columns: str) -> Table:
    """An empty table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
