"""Everything about one cast: its facts, and each delivery with its way, its hash and its reason."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from castray_desktop.core.casts.multicast_status import multicast_status
from castray_desktop.core.protocol.messages import CastSummary, DeliverySnapshot, DeliveryState, Transport
from castray_desktop.ui.i18n.number_format import DASH, format_bytes, format_duration, format_rate
from castray_desktop.ui.model.desktop_services import copy
from castray_desktop.ui.model.node_list import delivery_glyph
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers import path_text
from castray_desktop.ui.transfers.transfer_text import (
    cast_status,
    cast_title,
    delivery_rate,
    delivery_status,
    elapsed,
    failure_text,
    full_time,
    hook_text,
)
from castray_desktop.ui.widgets.basic_widgets import button, label
from castray_desktop.ui.widgets.sheet import Sheet
from castray_desktop.ui.widgets.text_table import TableCell, TextTable, TextTableModel

translate = QCoreApplication.translate


def transport_word(transport: Transport | None) -> str:
    """The way that a delivery's bytes took."""
    words = {
        Transport.DIRECT: translate("CastDetails", "Direct"),
        Transport.REVERSE: translate("CastDetails", "Direct, dialled back"),
        Transport.RAY: translate("CastDetails", "Through Ray"),
        Transport.UDP: translate("CastDetails", "Multicast"),
        Transport.LOCAL: translate("CastDetails", "Same machine"),
    }
    return words[transport] if transport is not None else DASH


def make_delivery_table(theme: Theme) -> tuple[TextTableModel, TextTable]:
    """A table of deliveries, to be filled with `delivery_rows`."""
    headings = (
        lambda: translate("CastDetails", "Node"),
        lambda: translate("CastDetails", "State"),
        lambda: translate("CastDetails", "Size"),
        lambda: translate("CastDetails", "Rate"),
        lambda: translate("CastDetails", "Took"),
        lambda: translate("CastDetails", "Upstream"),
        lambda: translate("CastDetails", "Way"),
        lambda: translate("CastDetails", "Path, or why not"),
        lambda: translate("CastDetails", "Hash"),
    )
    model = TextTableModel(headings, frozenset({2, 3, 4}))
    table = TextTable(
        theme,
        model,
        lambda: translate("CastDetails", "Deliveries"),
        (130, 104, 70, 80, 52, 100, 104, 240, 120),
        7,
    )
    model.setParent(table)
    return model, table


def delivery_rows(deliveries: Sequence[DeliverySnapshot]) -> list[tuple[object, list[TableCell]]]:
    """The rows of `make_delivery_table`; the object of each is its delivery."""
    return [(delivery, _cells(delivery)) for delivery in deliveries]


def _cells(delivery: DeliverySnapshot) -> list[TableCell]:
    rate = delivery_rate(delivery)
    tone = {DeliveryState.FAILED: "bad", DeliveryState.COMPLETED: "ok"}.get(delivery.state, "text")
    where = "\n".join(delivery.paths)
    if delivery.failure is not None:
        where = failure_text(delivery.failure)
    where = "\n".join(part for part in (where, hook_text(delivery)) if part)
    return [
        TableCell(delivery.node, glyph=delivery_glyph(delivery), tip=delivery.address),
        TableCell(delivery_status(delivery), tone),
        TableCell(format_bytes(delivery.bytes), "text_2"),
        TableCell(format_rate(rate) if rate >= 1 else DASH, "text_2"),
        TableCell(format_duration(delivery.seconds or None), "text_2"),
        TableCell(delivery.upstream or DASH, "text_2"),
        TableCell(transport_word(delivery.transport), "text_2", tip=path_text.came_line(delivery)),
        TableCell(where or DASH, "bad" if delivery.failure is not None else "text_2", tip=where),
        TableCell(delivery.hash or DASH, "text_2", tip=delivery.hash),
    ]


def _size(cast: CastSummary) -> str:
    one = QCoreApplication.translate("Transfers", "{count} file")
    many = QCoreApplication.translate("Transfers", "{count} files")
    return (
        f"{format_bytes(cast.bytes)} · {(one if cast.files == 1 else many).format(count=f'{cast.files:,}')}"
    )


def cast_facts(cast: CastSummary, deliveries: Sequence[DeliverySnapshot] = ()) -> list[tuple[str, str]]:
    """The facts about a cast, by name."""
    facts = [
        (translate("CastDetails", "State"), cast_status(cast)),
        (translate("CastDetails", "Size"), _size(cast)),
        (translate("CastDetails", "Source"), cast.source),
        (
            translate("CastDetails", "Saved to"),
            cast.destination or translate("CastDetails", "Inbox of each node"),
        ),
        (translate("CastDetails", "Started"), full_time(cast.started)),
        (translate("CastDetails", "Took"), format_duration(elapsed(cast))),
        (
            translate("CastDetails", "Relay"),
            " → ".join(cast.chain[:12]) + (" …" if len(cast.chain) > 12 else ""),
        ),
        (translate("CastDetails", "Copies from the source"), f"{cast.source_copies:.2f}"),
        (
            translate("CastDetails", "Speed limit"),
            format_rate(cast.limit) if cast.limit else translate("CastDetails", "None"),
        ),
        (translate("CastDetails", "Id"), cast.cast),
    ]
    if cast.followed_links:
        facts.append((translate("CastDetails", "Links sent as files"), f"{cast.followed_links:,}"))
    if cast.kept_links:
        facts.append((translate("CastDetails", "Links sent as links"), f"{cast.kept_links:,}"))
    if cast.broken_links:
        names = ", ".join(cast.broken_names)
        dead = f"{cast.broken_links:,} ({names})" if names else f"{cast.broken_links:,}"
        facts.append((translate("CastDetails", "Links that lead nowhere"), dead))
    if stream := path_text.multicast_cast_text(cast, multicast_status(cast, deliveries)):
        facts.insert(7, (translate("CastDetails", "Multicast"), stream))
    if cast.failure is not None:
        facts.insert(1, (translate("CastDetails", "Reason"), failure_text(cast.failure)))
    return facts


class CastDetails(Sheet):
    """A sheet about one cast; `show_cast` brings it up to date."""

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        self.cast = ""
        self._told: tuple[CastSummary, tuple[DeliverySnapshot, ...]] | None = None
        super().__init__(theme, lambda: translate("CastDetails", "Details"), parent, size=(980, 520))
        self._model, self.table = make_delivery_table(theme)
        self._facts = label("", 12, 400, "1", tabular=True)
        self._facts.setWordWrap(True)
        self._facts.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        copy_button = button(theme, lambda: translate("CastDetails", "Copy all"), "copy")
        copy_button.clicked.connect(self._copy)
        body = QVBoxLayout()
        body.setSpacing(12)
        body.addWidget(self._facts)
        body.addWidget(self.table, 1)
        self.set_body(body)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(copy_button)
        self.set_foot(row)

    def show_cast(self, cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> None:
        """Show the current state of a cast."""
        self.cast, self._told = cast.cast, (cast, deliveries)
        self.retranslate()

    def retranslate(self) -> None:
        super().retranslate()
        if self._told is None:
            return
        cast, deliveries = self._told
        self.set_fixed_title(cast_title(cast))
        self._facts.setText("\n".join(f"{name}: {value}" for name, value in cast_facts(cast, deliveries)))
        self._model.set_rows(delivery_rows(deliveries))

    def text(self) -> str:
        """All of it as text."""
        if self._told is None:
            return ""
        lines = [cast_title(self._told[0]), self._facts.text(), ""]
        for _, cells in delivery_rows(self._told[1]):
            lines.append("\t".join(cell.text for cell in cells))
        return "\n".join(lines)

    def _copy(self) -> None:
        copy(self.text())
