"""What became of files, in the window's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.protocol.messages import CastFile, DeliverySnapshot, FileAtRecipients, FileState
from castray_desktop.ui.i18n.failure_text import reason_text
from castray_desktop.ui.i18n.number_format import format_list
from castray_desktop.ui.transfers.transfer_text import hash_text
from castray_desktop.ui.widgets.status_glyphs import GlyphState

translate = QCoreApplication.translate

FILE_GLYPHS: Mapping[FileState, GlyphState] = {
    FileState.PENDING: GlyphState.QUEUED,
    FileState.RECEIVED: GlyphState.CHECKING,
    FileState.SENT: GlyphState.VERIFIED,
    FileState.IDENTICAL: GlyphState.VERIFIED,
    FileState.RENAMED: GlyphState.LAGGING,
    FileState.OVERWRITTEN: GlyphState.LAGGING,
    FileState.FAILED: GlyphState.FAILED,
    FileState.UNKNOWN: GlyphState.OFFLINE,
}

NAMED = 3
"""Recipients that are named where there are several groups of them."""


def file_state_word(state: FileState) -> str:
    """A state in a word or two."""
    return {
        FileState.PENDING: translate("Files", "Not yet"),
        FileState.RECEIVED: translate("Files", "Received"),
        FileState.SENT: translate("Files", "Sent"),
        FileState.IDENTICAL: translate("Files", "Identical"),
        FileState.RENAMED: translate("Files", "Renamed"),
        FileState.OVERWRITTEN: translate("Files", "Overwritten"),
        FileState.FAILED: translate("Files", "Failed"),
        FileState.UNKNOWN: translate("Files", "Not known"),
    }[state]


def group_text(group: FileAtRecipients) -> str:
    """What became of a file at some recipients."""
    if group.state is FileState.RENAMED:
        return translate("Files", "Kept as {name}").format(name=group.place.rpartition("/")[2] or group.place)
    if group.state is FileState.IDENTICAL and group.place:
        return translate("Files", "Identical to {name}").format(name=group.place.rpartition("/")[2])
    if group.failure is not None:
        return translate("Files", "Failed: {reason}").format(reason=reason_text(group.failure))
    return file_state_word(group.state)


def outcome_text(file: CastFile) -> str:
    """What became of a file everywhere, in one line."""
    groups = file.recipients
    if len(groups) == 1:
        return group_text(groups[0])
    template = translate("Files", "{outcome} ({nodes})")
    return " · ".join(
        template.format(outcome=group_text(group), nodes=_nodes(group.nodes)) for group in groups
    )


def outcome_lines(file: CastFile) -> str:
    """The same with every recipient, a line for each group."""
    line = translate("CastDetails", "{name}: {value}")
    return "\n".join(
        line.format(name=format_list(group.nodes), value=group_text(group)) for group in file.recipients
    )


def _nodes(nodes: Sequence[str]) -> str:
    if len(nodes) <= NAMED:
        return format_list(nodes)
    return translate("Files", "{count} nodes").format(count=len(nodes))


def telling_counts(counts: FileCounts | None) -> str:
    """How many files have ended in each way: "15 identical, 1 kept as (2)"; "" where all are simply sent."""
    if counts is None or counts == FileCounts(sent=counts.sent):
        return ""
    named = (
        (counts.sent, translate("Files", "{count} sent")),
        (counts.identical, translate("Files", "{count} identical")),
        (counts.renamed, translate("Files", "{count} kept as (2)")),
        (counts.overwritten, translate("Files", "{count} overwritten")),
        (counts.failed, translate("Files", "{count} failed")),
    )
    parts = [text.format(count=f"{count:,}") for count, text in named if count]
    return translate("Files", ", ").join(parts)


def row_end_text(delivery: DeliverySnapshot) -> str:
    """What the row of a delivery ends with: what became of its files, or the hash of its only one."""
    return telling_counts(delivery.counts) or hash_text(delivery)
