"""The progress of a cast, for a person at a terminal or in a notebook."""

from __future__ import annotations

import html
import sys
from collections.abc import Callable
from typing import Any, Self

from castray_desktop.core.casts.json_views import CastForm, cast_form
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot

MAX_BARS = 24

Progress = bool | Callable[[CastForm], None] | None
"""None: bars on a terminal or in a notebook, True: always bars, False: nothing; or a function to call."""


def in_notebook() -> bool:
    """Whether this runs in a notebook's kernel, which can display HTML."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


def has_viewer() -> bool:
    """Whether progress can be shown to a person."""
    return in_notebook() or sys.stderr.isatty()


def bars_for(progress: Progress) -> NoBars:
    """The bars for this setting and this output."""
    if callable(progress):
        return CallBars(progress)
    if progress is False or (progress is None and not has_viewer()):
        return NoBars()
    return NotebookBars() if in_notebook() else TerminalBars()


class NoBars:
    """Shows nothing. Base of those that show a cast while entered."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Show the cast with all of its deliveries, after a change."""


class CallBars(NoBars):
    """Calls a function of the program for each change."""

    def __init__(self, call: Callable[[CastForm], None]) -> None:
        self._call = call

    def show(self, cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Call the function with the state of the cast."""
        self._call(cast_form(cast, deliveries))


class TerminalBars(NoBars):
    """A bar for each recipient, as the command line has."""

    def __init__(self) -> None:
        from castray_desktop.cli.output.cast_reporters import BarReporter

        self._bars = BarReporter(keep=True)

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Update the bars."""
        self._bars.progress(cast, deliveries)


class NotebookBars(NoBars):
    """A table below the cell that changes in place; it needs no widgets in the notebook."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Replace the table."""
        from IPython.display import HTML, display  # type: ignore[import-not-found,unused-ignore]

        page = HTML(as_html(cast, deliveries))
        if self._handle is None:
            self._handle = display(page, display_id=True)
        else:
            self._handle.update(page)


def as_html(cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> str:
    """A cast as a table with a bar for each recipient."""
    total = max(1, cast.bytes)
    rows = "".join(
        f"<tr><td>{html.escape(item.node)}</td>"
        f'<td><progress max="{total}" value="{_done(item, total)}"></progress></td>'
        f"<td>{format_bytes(item.bytes)} of {format_bytes(cast.bytes)}</td>"
        f"<td>{'' if item.state.finished else format_bytes(item.rate) + '/s'}</td>"
        f"<td>{item.state.value}</td></tr>"
        for item in deliveries[:MAX_BARS]
    )
    left_out = len(deliveries) - MAX_BARS
    more = f"<tr><td>and {left_out} more</td></tr>" if left_out > 0 else ""
    state = cast.state.value.replace("_", " ")
    return f"<table><caption>{html.escape(cast.name)}: {state}</caption>{rows}{more}</table>"


def _done(item: DeliverySnapshot, total: int) -> int:
    return total if item.state.delivered else item.bytes
