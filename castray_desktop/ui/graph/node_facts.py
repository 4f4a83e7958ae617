"""The facts that the side card shows about a node: plain values, no widget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.casts.multicast_status import datagram_share, repaired_share
from castray_desktop.core.protocol.messages import (
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeInfo,
    NodeState,
)
from castray_desktop.ui.i18n.number_format import format_ago, format_bytes, format_rate
from castray_desktop.ui.model.node_list import NodeList, glyph_word, node_glyph
from castray_desktop.ui.transfers.path_text import held_up_line, left_text, shares, stopped_text
from castray_desktop.ui.transfers.transfer_text import (
    cast_share,
    cast_status,
    cast_title,
    delivery_share,
    delivery_status,
    failure_text,
    percent_text,
)
from castray_desktop.ui.widgets.status_glyphs import GlyphState

CastOnNode = tuple[CastSummary, DeliverySnapshot | None]
"""A cast that a node takes part in, and the delivery to it; none for the source."""

translate = QCoreApplication.translate

MOST_CASTS = 3
MOST_FED = 2


@dataclass(frozen=True)
class Fact:
    """One line: what it is about, "" as the line above, and what is so."""

    title: str
    value: str


@dataclass(frozen=True)
class Remark:
    """A sentence about what is the matter, in the tone of a `label`."""

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
        template = translate("NodeFacts", "The route was repaired: it fetched from {upstream} before")
        yield Remark(template.format(upstream=before), "2")


def _path(name: str, delivery: DeliverySnapshot | None, nodes: NodeList) -> Iterable[Fact]:
    """The nodes that it receives from and sends to now, by multicast and by the relay."""
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
        yield Fact(translate("NodeFacts", "Way"), came)
        yield from (Fact("", part) for part in repaired)
    yield from _fed(name, nodes)


def _fed(name: str, nodes: NodeList) -> Iterable[Fact]:
    title = translate("NodeFacts", "To")
    listening = nodes.listening
    if listening is not None and listening.sending and name == listening.source:
        template = translate("NodeFacts", "{count} at once at {rate}")
        rate = format_rate(listening.rate)
        yield Fact(title, template.format(count=len(listening.listeners), rate=rate))
        title = ""
    heard = frozenset(listening.listeners) if listening is not None else frozenset()
    below = [other for other in nodes.deliveries() if other.upstream == name and _receives(other)]
    fed = [other for other in below if other.node not in heard]
    for number, other in enumerate(fed[:MOST_FED]):
        yield Fact(title if not number else "", _at(other.node, other.rate))
    if len(fed) > MOST_FED:
        yield Fact("", _more(len(fed) - MOST_FED))
    repaired = [other.node for other in below if other.node in heard and other.node in nodes.repairs]
    for number, node in enumerate(repaired[:MOST_FED]):
        heading = translate("NodeFacts", "Repairs") if not number else ""
        yield Fact(heading, _at(node, nodes.repairs[node]))
    if len(repaired) > MOST_FED:
        yield Fact("", _more(len(repaired) - MOST_FED))


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
    for number, (cast, delivery) in enumerate(casts[:MOST_CASTS]):
        yield Fact(
            translate("NodeFacts", "Cast") if not number else "",
            f"{cast_title(cast)} · {_progress(cast, delivery)}",
        )
    if len(casts) > MOST_CASTS:
        yield Fact("", _more(len(casts) - MOST_CASTS))
    if not casts:
        yield Fact(translate("NodeFacts", "Cast"), translate("NodeFacts", "none under way"))


def _progress(cast: CastSummary, delivery: DeliverySnapshot | None) -> str:
    if delivery is not None:
        if _receives(delivery):
            return percent_text(delivery_share(cast, delivery))
        return delivery_status(delivery)
    return cast_status(cast) if cast.state.finished else percent_text(cast_share(cast))


def _more(count: int) -> str:
    return translate("NodeFacts", "and {count} more").format(count=count)


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
        format_rate(node.link) if node.link else translate("NodeFacts", "speed not known"),
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
