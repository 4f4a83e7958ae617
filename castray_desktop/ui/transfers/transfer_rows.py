"""What the transfer model keeps of each cast, and what it asks about single rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from castray_desktop.core.messages import CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.graph import stream_words
from castray_desktop.ui.transfers.transfer_columns import Column
from castray_desktop.ui.transfers.transfer_text import (
    cast_status,
    cast_title,
    delivery_text,
    failure_text,
    full_time,
    hash_text,
    hook_text,
)


@dataclass(eq=False)
class CastRow:
    """A cast with what is known of its deliveries."""

    serial: int  # the internal id of its children
    summary: CastSummary
    deliveries: list[DeliverySnapshot] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)  # of each node's delivery

    def take(self, deliveries: Iterable[DeliverySnapshot]) -> None:
        """Take over deliveries that nobody sees."""
        for delivery in deliveries:
            place = self.position.setdefault(delivery.node, len(self.deliveries))
            self.deliveries[place : place + 1] = [delivery]

    @property
    def hash(self) -> str:
        """The hash of a single file, shortened, as the first delivery tells it."""
        return next((hash_text(item) for item in self.deliveries if item.hash), "")


def passes(cast: CastSummary, words: list[str]) -> bool:
    """Whether a cast's name, nodes, destination and state hold every one of the words."""
    if not words:
        return True
    names = (cast_title(cast), cast.source, *cast.recipients, cast.destination, cast_status(cast))
    text = " ".join(names).casefold()
    return all(word in text for word in words)


def drawn(before: CastSummary, after: CastSummary, column: Column) -> bool:
    """Whether a cell looks different though its text is the same: bars are finer than percents."""
    if column is Column.PROGRESS:
        return (before.done_bytes, before.bytes, before.state) != (after.done_bytes, after.bytes, after.state)
    if column is Column.STATUS:
        return (before.state, before.failed, before.lagging) != (after.state, after.failed, after.lagging)
    return column is Column.NAME and (before.files, before.folder) != (after.files, after.folder)


def runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs without gaps: first and last of each."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def tool_tip(cast: CastSummary, item: CastSummary | DeliverySnapshot, column: Column) -> str | None:
    if isinstance(item, CastSummary):
        if column is Column.DESTINATION:
            return item.destination or None
        if column is Column.STARTED:
            return full_time(item.started)
        if column is Column.STATUS and item.failure is not None:
            return failure_text(item.failure)
        if column is Column.STATUS:
            return stream_words.stopped_text(item.multicast, item.source) or None
        return cast_title(item) if column is Column.NAME else None
    if column is Column.STATUS and item.hook_status:
        return hook_text(item)
    if item.state is DeliveryState.FAILED or item.failure is not None:
        return delivery_text(cast, item, Column.ETA) if column >= Column.SPEED else None
    if column is Column.STATUS:
        return "\n".join(stream_words.came_lines(cast, item)) or None
    if column >= Column.RECIPIENTS and item.hash:
        return item.hash
    return "\n".join(item.paths) or None if column is Column.NAME else None
