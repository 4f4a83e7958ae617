"""The side card: facts about one node, beside that node."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from castray_desktop.core.casts.multicast_status import datagram_share, repaired_share
from castray_desktop.core.protocol.messages import (
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeInfo,
    NodeState,
)
from castray_desktop.ui.i18n.failure_text import failure_text
from castray_desktop.ui.i18n.number_format import format_ago, format_bytes, format_rate
from castray_desktop.ui.model.node_list import NodeList, glyph_word, node_glyph
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers.path_text import (
    encryption_state,
    held_up_line,
    left_text,
    shares,
    stopped_text,
)
from castray_desktop.ui.transfers.transfer_text import (
    cast_share,
    cast_status,
    cast_title,
    delivery_share,
    delivery_status,
    percent_text,
)
from castray_desktop.ui.widgets.basic_widgets import (
    INNER_RADIUS,
    Card,
    ElidedLabel,
    GlyphLabel,
    icon_button,
    label,
    lay_in,
    set_tone,
)
from castray_desktop.ui.widgets.painting import metrics
from castray_desktop.ui.widgets.status_glyphs import GlyphState

CastOnNode = tuple[CastSummary, DeliverySnapshot | None]
"""A cast that a node takes part in, and the delivery to it; none for the source."""

translate = QCoreApplication.translate

MAX_CASTS = 3
MAX_DOWNSTREAM = 2


@dataclass(frozen=True)
class Fact:
    """One line: its title, empty for the same as above, and its value."""

    title: str
    value: str


@dataclass(frozen=True)
class Remark:
    """A sentence about a problem, in the tone of a `label`."""

    text: str
    tone: str


@dataclass(frozen=True)
class NodeFacts:
    """Everything on the card."""

    name: str
    glyph: GlyphState
    state: str
    remarks: tuple[Remark, ...]
    facts: tuple[Fact, ...]


def facts_of(node: NodeInfo, nodes: NodeList, under_way: Iterable[CastOnNode], now: float) -> NodeFacts:
    """The node's facts as they are now; its casts are the watched one and those of `under_way`."""
    delivery = nodes.activity(node.name)
    casts = _with_watched(node.name, nodes, under_way)
    glyph = node_glyph(node, delivery)
    return NodeFacts(
        name=node.name,
        glyph=glyph,
        state=glyph_word(glyph),
        remarks=tuple(_remarks(node, delivery, nodes)),
        facts=(*_path(node.name, delivery, nodes), *_casts(casts), *_machine(node, now)),
    )


def _remarks(node: NodeInfo, delivery: DeliverySnapshot | None, nodes: NodeList) -> Iterable[Remark]:
    if node.failure is not None:
        yield Remark(failure_text(node.failure), "bad")
    if delivery is not None and delivery.failure is not None:
        yield Remark(failure_text(delivery.failure), "bad")
    if nodes.slowest is not None and nodes.slowest.node == node.name:
        yield Remark(held_up_line(nodes.slowest), "warn")
    if nodes.listening is not None and (why := nodes.listening.left.get(node.name)) is not None:
        yield Remark(left_text(why), "warn")
    own = nodes.listening if nodes.listening is not None and nodes.listening.source == node.name else None
    if own is not None and (stopped := stopped_text(own.multicast, node.name)):
        yield Remark(stopped, "2")
    if before := nodes.upstream_before(node.name):
        template = translate("NodeFacts", "The route was repaired; it previously received from {upstream}")
        yield Remark(template.format(upstream=before), "2")


def _path(name: str, delivery: DeliverySnapshot | None, nodes: NodeList) -> Iterable[Fact]:
    """The current upstream and downstream nodes, by multicast and by the relay."""
    heard = nodes.listening.listeners if nodes.listening is not None else ()
    source = nodes.cast.source if nodes.cast is not None else ""
    if delivery is not None and _receives(delivery):
        if name in heard:
            yield Fact(
                translate("NodeFacts", "From"),
                translate("NodeFacts", "multicast at {rate}").format(rate=format_rate(delivery.rate)),
            )
        else:
            yield Fact(translate("NodeFacts", "From"), _at(delivery.upstream or source, delivery.rate))
        if rate := nodes.repairs.get(name):
            yield Fact(translate("NodeFacts", "Repair"), _at(delivery.upstream or source, rate))
    if delivery is not None and delivery.datagram_bytes:
        came, *repaired = shares(datagram_share(delivery), repaired_share(delivery))
        yield Fact(translate("NodeFacts", "Transport"), came)
        yield from (Fact("", part) for part in repaired)
    if delivery is not None and delivery.encrypted is not None:
        yield Fact(translate("NodeFacts", "Connection"), encryption_state(delivery.encrypted))
    yield from _downstream(name, nodes)


def _downstream(name: str, nodes: NodeList) -> Iterable[Fact]:
    title = translate("NodeFacts", "To")
    listening = nodes.listening
    if listening is not None and listening.sending and name == listening.source:
        template = translate("NodeFacts", "{count} at once at {rate}")
        rate = format_rate(listening.rate)
        yield Fact(title, template.format(count=len(listening.listeners), rate=rate))
        title = ""
    heard = frozenset(listening.listeners) if listening is not None else frozenset()
    below = [other for other in nodes.deliveries() if other.upstream == name and _receives(other)]
    by_relay = [_at(other.node, other.rate) for other in below if other.node not in heard]
    yield from _listed(title, by_relay, MAX_DOWNSTREAM)
    repaired = [other.node for other in below if other.node in heard and other.node in nodes.repairs]
    rates = [_at(node, nodes.repairs[node]) for node in repaired]
    yield from _listed(translate("NodeFacts", "Repairs"), rates, MAX_DOWNSTREAM)


def _listed(title: str, values: Sequence[str], most: int) -> Iterable[Fact]:
    """The first values below one title, and how many more there are."""
    for number, value in enumerate(values[:most]):
        yield Fact("" if number else title, value)
    if len(values) > most:
        yield Fact("", translate("NodeFacts", "and {count} more").format(count=len(values) - most))


def _receives(delivery: DeliverySnapshot) -> bool:
    return delivery.state is DeliveryState.RECEIVING


def _at(name: str, rate: float) -> str:
    return translate("NodeFacts", "{node} at {rate}").format(node=name, rate=format_rate(rate))


def _with_watched(name: str, nodes: NodeList, under_way: Iterable[CastOnNode]) -> list[CastOnNode]:
    watched, delivery = nodes.cast, nodes.activity(name)
    if watched is None or (delivery is None and name not in (watched.source, *watched.recipients)):
        return list(under_way)
    return [(watched, delivery), *(found for found in under_way if found[0].cast != watched.cast)]


def _casts(casts: Sequence[CastOnNode]) -> Iterable[Fact]:
    found = [f"{cast_title(cast)} · {_progress(cast, delivery)}" for cast, delivery in casts]
    yield from _listed(
        translate("NodeFacts", "Cast"), found or [translate("NodeFacts", "none in progress")], MAX_CASTS
    )


def _progress(cast: CastSummary, delivery: DeliverySnapshot | None) -> str:
    if delivery is not None:
        if _receives(delivery):
            return percent_text(delivery_share(cast, delivery))
        return delivery_status(delivery)
    return cast_status(cast) if cast.state.finished else percent_text(cast_share(cast))


def _machine(node: NodeInfo, now: float) -> Iterable[Fact]:
    if node.state is NodeState.OFFLINE and node.last_seen:
        yield Fact(translate("NodeFacts", "Last seen"), format_ago(max(0.0, now - node.last_seen)))
    if node.address:
        yield Fact(translate("NodeFacts", "Address"), node.address)
    if node.zone:
        yield Fact(translate("NodeFacts", "Zone"), node.zone)
    if node.cpus:
        busy = translate("NodeFacts", "{count}, {share}% busy").format(
            count=f"{node.cpus:g}", share=round(node.load * 100)
        )
        yield Fact("CPU", busy)
    if node.gpus:
        yield Fact("GPU", f"{node.gpus:g}")
    if node.memory:
        yield Fact(translate("NodeFacts", "Memory"), _free(node.memory_free, node.memory))
    if node.disk_total:
        yield Fact(translate("NodeFacts", "Disk"), _free(node.disk_free, node.disk_total))
    yield Fact(
        translate("NodeFacts", "Link"),
        format_rate(node.link) if node.link else translate("NodeFacts", "speed unknown"),
    )
    if node.labels:
        yield Fact(
            translate("NodeFacts", "Labels"),
            ", ".join(f"{key}={value}" for key, value in sorted(node.labels.items())),
        )


def _free(free: int, total: int) -> str:
    return translate("NodeFacts", "{free} of {total} free").format(
        free=format_bytes(free), total=format_bytes(total)
    )


WIDTH = 246
SIDE = 14
LINE = 18
COLUMN_GAP = 20
MOST_COLUMNS = 2


class SideCard(Card):
    """Shows the facts given to `show_facts`, over the graph.

    Signal: `close_requested()` on Esc or its button. Not seen at first.
    """

    close_requested = Signal()

    def __init__(self, theme: Theme, parent: QWidget) -> None:
        super().__init__(theme, parent, radius=INNER_RADIUS, border="line_strong")
        self.shown: NodeFacts | None = None
        self._lines: list[FactLabel] = []
        self._columns = 1
        self._remarks: list[QLabel] = []
        self._glyph = GlyphLabel(theme, GlyphState.ONLINE)
        self._name = ElidedLabel(size=13, weight=600, mode=Qt.TextElideMode.ElideMiddle)
        self._state = label(size=12, tone="2")
        self.close_button = icon_button(theme, "x", lambda: self.tr("Close details"), side=24, size=14)
        self.close_button.clicked.connect(self.close_requested)
        self._build()
        self.hide()

    def _build(self) -> None:
        parts = (self._glyph, (self._name, 1), self._state, self.close_button)
        head = lay_in(QHBoxLayout(), *parts, spacing=8, margins=(SIDE, 0, 8, 0))
        content = QWidget()
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(COLUMN_GAP)
        self._grid.setVerticalSpacing(1)
        self._body = lay_in(QVBoxLayout(content), self._grid, None, spacing=1, margins=(SIDE, 0, SIDE, 0))
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(content)
        lay_in(QVBoxLayout(self), head, (self._scroll, 1), spacing=6, margins=(1, 8, 1, 10))

    def show_facts(self, facts: NodeFacts) -> None:
        """Show these facts."""
        if facts == self.shown:
            return
        self.shown = facts
        self.setAccessibleName(self.tr("Details of {name}").format(name=facts.name))
        self.setAccessibleDescription(_spoken(facts))
        self._glyph.set_state(facts.glyph)
        self._glyph.setAccessibleName(facts.state)
        self._name.set_full_text(facts.name)
        self._state.setText(facts.state)
        self._show_remarks(facts.remarks)
        self._show_lines(facts.facts)

    def _show_remarks(self, remarks: tuple[Remark, ...]) -> None:
        while len(self._remarks) < len(remarks):
            line = label(size=12)
            line.setWordWrap(True)
            line.setContentsMargins(0, 0, 0, 4)
            self._body.insertWidget(len(self._remarks), line)
            self._remarks.append(line)
        for number, line in enumerate(self._remarks):
            line.setVisible(number < len(remarks))
            if number < len(remarks):
                set_tone(line, remarks[number].tone)
                line.setText(remarks[number].text)

    def _show_lines(self, facts: tuple[Fact, ...]) -> None:
        """Fill the columns one after the other, each from top to bottom."""
        while len(self._lines) < len(facts):
            self._lines.append(FactLabel())
        rows = _rows(len(facts), self._columns)
        for number, line in enumerate(self._lines):
            line.setVisible(number < len(facts))
            if number < len(facts):
                column = number // rows
                self._grid.addWidget(line, number % rows, column)  # moves one that is there already
                line.show_fact(facts[number], _title_width(facts[column * rows : (column + 1) * rows]))
        for column in range(MOST_COLUMNS):
            self._grid.setColumnStretch(column, 1 if column < self._columns else 0)

    def set_columns(self, columns: int) -> None:
        """Show the facts in 1 or 2 columns."""
        if columns != self._columns:
            self._columns = columns
            if self.shown is not None:
                self._show_lines(self.shown.facts)

    def wanted_size(self, room: QSize, columns: int) -> QSize:
        """The size of the content, not larger than `room`; the rest scrolls.

        With two columns it is as wide as the room.
        """
        width = min(WIDTH, room.width()) if columns == 1 else room.width()
        inner = width - 2
        remarks = sum(
            line.heightForWidth(inner - 2 * SIDE) + 1 for line in self._remarks if not line.isHidden()
        )
        lines = (LINE + 1) * _rows(len(self.shown.facts), columns) if self.shown is not None else 0
        return QSize(width, min(room.height(), 8 + 24 + 6 + remarks + lines + 10))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        bar = self._scroll.verticalScrollBar()
        if event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_I):
            self.close_requested.emit()
        elif event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            bar.setValue(bar.value() + (LINE if event.key() == Qt.Key.Key_Down else -LINE))
        else:
            super().keyPressEvent(event)


class FactLabel(QWidget):
    """One fact: its title, and right of it its value, elided; the tool tip has all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedHeight(LINE)
        self._title = label(size=11, tone="3")
        self._value = ElidedLabel(size=12, mode=Qt.TextElideMode.ElideMiddle)
        lay_in(QHBoxLayout(self), self._title, (self._value, 1), spacing=10, margins=(0, 0, 0, 0))

    def show_fact(self, fact: Fact, width: int) -> None:
        """Show this fact, its title in a column of that width."""
        self._title.setFixedWidth(width)
        self._title.setText(fact.title)
        if fact.value != self._value.full_text():
            self._value.set_full_text(fact.value)


def _rows(count: int, columns: int) -> int:
    return max(1, -(-count // columns))


def _title_width(facts: tuple[Fact, ...]) -> int:
    return math.ceil(max((metrics(11).horizontalAdvance(fact.title) for fact in facts), default=0)) + 1


def _spoken(facts: NodeFacts) -> str:
    """All facts as one text, for a screen reader."""
    parts = [facts.state, *(remark.text for remark in facts.remarks)]
    parts += [f"{fact.title} {fact.value}".strip() for fact in facts.facts]
    return ", ".join(parts)
