"""The progress of a cast on a terminal: a line for the whole cast, and one for each recipient.

With more recipients than fit, only those with a problem have a line; one line counts the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from castray_desktop.cli.output.cast_text import MAX_ROWS, format_state, format_wait
from castray_desktop.cli.output.terminal import format_duration, without_controls
from castray_desktop.core.casts.states import cast_name, waits_for_server
from castray_desktop.core.content.quantities import format_bytes, format_rate
from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot, DeliveryState

OTHER_LINES = 4
"""Lines of a terminal that are not for recipients: the cast, the others, and the prompt around them."""

WIDE = 80
"""Columns from which on a line has its bytes and the time left."""

NARROW = 50
"""Columns below which a line has no bar."""

MAX_BAR = 40

_NARROW_CELLS, _MEDIUM_CELLS, _WIDE_CELLS = 28, 30, 52
"""What a line needs for all of its cells but name and bar, with the spaces between them."""

_STATE_CELLS = 9
"""Of these, for its state. A longer one takes room of the others."""

_PROBLEMS = (DeliveryState.FAILED, DeliveryState.CANCELLED, DeliveryState.AWAITED, DeliveryState.PAUSED)


def visible_deliveries(deliveries: Sequence[DeliverySnapshot], rows: int) -> list[DeliverySnapshot]:
    """The deliveries that have a line of their own among `rows`: all, or those with a problem.

    If there are too many of these as well, failed ones come before lagging ones.
    """
    if len(deliveries) <= rows:
        return list(deliveries)
    troubled = [item for item in deliveries if item.state in _PROBLEMS]
    lagging = [item for item in deliveries if item.lagging and item.state not in _PROBLEMS]
    lagging.sort(key=lambda item: item.bytes)
    return [*troubled, *lagging][:rows]


def count_states(deliveries: Iterable[DeliverySnapshot]) -> str:
    """How many deliveries are in each state: "20 receiving, 3 completed"."""
    numbers = Counter(item.state for item in deliveries)
    return ", ".join(f"{numbers[state]} {format_state(state)}" for state in DeliveryState if numbers[state])


class ProgressView:
    """What a terminal shows of a cast; `update` it, and render it for the terminal's size of the moment."""

    def __init__(self) -> None:
        self._summary: CastSummary | None = None
        self._deliveries: dict[str, DeliverySnapshot] = {}

    def update(self, summary: CastSummary, deliveries: Iterable[DeliverySnapshot]) -> None:
        """Take over the state of the cast, and of the deliveries that have changed."""
        self._summary = summary
        self._deliveries.update({item.node: item for item in deliveries})

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._summary is not None:
            yield from self._lines(self._summary, console.height, options.max_width)

    def _lines(self, cast: CastSummary, height: int, width: int) -> Iterator[RenderableType]:
        deliveries = list(self._deliveries.values())
        shown = visible_deliveries(deliveries, max(1, min(MAX_ROWS, height - OTHER_LINES)))
        rows = [_Row.of_delivery(item, cast) for item in shown]
        rows.append(_Row.of_cast(cast))
        width -= max(0, max(cell_len(row.state) for row in rows) - _STATE_CELLS)
        table = Table.grid(padding=(0, 1))
        for _ in range(6 if width >= WIDE else 5 if width >= NARROW else 4):
            table.add_column(no_wrap=True, overflow="ellipsis")
        longest = max(cell_len(row.name) for row in rows)
        name_width = min(longest, width // 4 if width >= NARROW else max(8, width - _NARROW_CELLS))
        for row in rows:
            table.add_row(*row.cells(width, name_width), style="bold" if row is rows[-1] else None)
        yield table
        if others := [item for item in deliveries if item not in shown]:
            noun = "others" if shown else "recipients"
            text = f"{len(others)} {noun}: {count_states(others)}"
            yield Text(text, no_wrap=True, overflow="ellipsis")


@dataclass(frozen=True)
class _Row:
    """What a line shows of a delivery, or of the cast."""

    name: str
    done: int
    total: int
    rate: float
    eta: float | None
    state: str

    @classmethod
    def of_delivery(cls, item: DeliverySnapshot, cast: CastSummary) -> Self:
        done = cast.bytes if item.state.delivered else item.bytes
        state = "lagging" if item.lagging else format_state(item.state)
        return cls(item.node, done, cast.bytes, item.rate, item.eta, state)

    @classmethod
    def of_cast(cls, cast: CastSummary) -> Self:
        finished = f"{cast.verified} of {len(cast.recipients)}"
        state = format_wait(cast) if waits_for_server(cast) else finished
        return cls(cast_name(cast), cast.done_bytes, cast.bytes, cast.rate, cast.eta, state)

    def cells(self, width: int, name_width: int) -> list[RenderableType]:
        """The cells of the line: as many as fit into the width."""
        title = Text(without_controls(self.name), no_wrap=True)
        title.truncate(name_width, overflow="ellipsis", pad=True)
        share = f"{100 * self.done // self.total if self.total else 0:3} %"
        speed = format_rate(self.rate) if self.rate else ""
        if width < NARROW:
            return [title, share, speed, self.state]
        room = width - name_width - (_WIDE_CELLS if width >= WIDE else _MEDIUM_CELLS)
        bar = ProgressBar(total=max(1, self.total), completed=self.done, width=min(max(room, 8), MAX_BAR))
        if width < WIDE:
            return [title, bar, share, speed, self.state]
        size = f"{format_bytes(self.done)} of {format_bytes(self.total)}"
        left = format_duration(round(self.eta)) if self.eta is not None else ""
        return [title, bar, size, speed, left, self.state]
