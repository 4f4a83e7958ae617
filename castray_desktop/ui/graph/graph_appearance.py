"""What the graph shows of each node, each hop and the shown cast: text and shapes, no items."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.casts.multicast_status import MulticastStatus, received_mostly_multicast
from castray_desktop.core.multicast.datagrams import MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeInfo,
    NodeState,
)
from castray_desktop.core.routing.bottleneck import SlowestHop
from castray_desktop.ui.graph.node_items import NodeAppearance
from castray_desktop.ui.i18n.number_format import format_bytes, format_duration, format_rate
from castray_desktop.ui.model.node_list import glyph_word, node_glyph
from castray_desktop.ui.transfers.path_text import delivery_encryption_line, delivery_lines, held_up_line
from castray_desktop.ui.transfers.transfer_text import (
    cast_share,
    cast_status,
    cast_title,
    delivery_share,
    failure_text,
    percent_text,
)
from castray_desktop.ui.widgets.status_glyphs import GlyphState

BADGES = frozenset({GlyphState.LAGGING, GlyphState.VERIFIED, GlyphState.FAILED, GlyphState.CHECKING})
BAR_ROLES = {
    GlyphState.LAGGING: "warn_fill",
    GlyphState.VERIFIED: "ok_fill",
    GlyphState.FAILED: "bad_fill",
    GlyphState.PAUSED: "offline",
}


@dataclass(frozen=True)
class NodeHighlights:
    """What pointer, keyboard and drags change in a node's appearance."""

    selected: bool = False
    focused: bool = False
    target: bool = False
    dim: bool = False


def node_appearance(
    node: NodeInfo,
    cast: CastSummary | None,
    delivery: DeliverySnapshot | None,
    highlights: NodeHighlights,
    *,
    source: bool,
    next_source: bool = False,
    now: float,
) -> NodeAppearance:
    """All that is drawn of a node; `next_source` is one that was chosen while another one's cast is shown."""
    offline = node.state is NodeState.OFFLINE
    glyph = node_glyph(node, delivery)
    facts, role = node_facts(node, delivery, now)
    share = None
    if cast is not None and delivery is not None and not offline and not source:
        share = None if delivery.state is DeliveryState.CANCELLED else delivery_share(cast, delivery)
    if next_source:
        facts, role = QCoreApplication.translate("GraphCard", "Next source"), "text_2"
    elif source:
        facts, role = (
            QCoreApplication.translate("GraphCard", "{name} · source").format(name=node.name),
            "text_2",
        )
    return NodeAppearance(
        name=node.name,
        title=QCoreApplication.translate("GraphCard", "This computer")
        if source and node.this_computer
        else node.name,
        facts=facts,
        facts_role=role,
        source=source,
        offline=offline,
        selected=highlights.selected,
        focused=highlights.focused,
        target=highlights.target,
        dim=highlights.dim,
        share=share,
        bar_role=BAR_ROLES.get(glyph, "accent"),
        glyph=glyph,
        badge=glyph if glyph in BADGES else None,
    )


def node_facts(node: NodeInfo, delivery: DeliverySnapshot | None, now: float) -> tuple[str, str]:
    """The line below a node's name, and its colour role."""
    translate = QCoreApplication.translate
    if node.state is NodeState.OFFLINE:
        minutes = int(max(0.0, now - node.last_seen) // 60) if node.last_seen else 0
        if not minutes:
            return translate("GraphCard", "Offline"), "text_3"
        if minutes < 100:
            return translate("GraphCard", "Offline {count} min").format(count=minutes), "text_3"
        return translate("GraphCard", "Offline {count} h").format(count=round(minutes / 60)), "text_3"
    if node.state is NodeState.STARTING:
        return translate("GraphCard", "Starting…"), "text_3"
    if delivery is not None and delivery.state is DeliveryState.RECEIVING and delivery.lagging:
        size = format_bytes(delivery.behind)
        return translate("GraphCard", "{size} behind").format(size=size), "warn"
    if delivery is not None and delivery.state is DeliveryState.FAILED:
        return glyph_word(GlyphState.FAILED), "bad"
    if delivery is not None and delivery.state is DeliveryState.VERIFYING:
        return glyph_word(GlyphState.CHECKING), "text_2"
    return machine_facts(node), "text_2"


def machine_facts(node: NodeInfo) -> str:
    """ "8 CPU · 1 GPU" """
    parts = []
    if node.cpus:
        parts.append(QCoreApplication.translate("GraphCard", "{count} CPU").format(count=f"{node.cpus:g}"))
    if node.gpus:
        parts.append(QCoreApplication.translate("GraphCard", "{count} GPU").format(count=f"{node.gpus:g}"))
    return " · ".join(parts) or node.address


def tool_tip(node: NodeInfo, delivery: DeliverySnapshot | None, route: Sequence[str] = ()) -> str:
    """A node's facts, one on each line; `route` are the lines about how it receives data."""
    translate = QCoreApplication.translate
    lines = [f"{node.name} — {glyph_word(node_glyph(node, delivery))}"]
    lines += route
    if node.address:
        lines.append(translate("GraphCard", "Address: {address}").format(address=node.address))
    if node.cpus or node.gpus:
        lines.append(machine_facts(node))
    if node.cpus:
        busy = f"{round(node.load * 100)}%"
        lines.append(translate("GraphCard", "Processors: {share} busy").format(share=busy))
    if node.memory:
        free, total = format_bytes(node.memory_free), format_bytes(node.memory)
        lines.append(translate("GraphCard", "Memory: {free} of {total} free").format(free=free, total=total))
    if node.disk_total:
        free, total = format_bytes(node.disk_free), format_bytes(node.disk_total)
        lines.append(translate("GraphCard", "Disk: {free} of {total} free").format(free=free, total=total))
    if node.inbox:
        lines.append(translate("GraphCard", "Inbox: {path}").format(path=node.inbox))
    return "\n".join(lines)


def route_lines(
    delivery: DeliverySnapshot | None,
    before: str,
    slowest: SlowestHop | None,
    listening: MulticastStatus | None = None,
    repairing: float = 0.0,
    source: str = "",
) -> list[str]:
    """How a node receives the data of the cast from `source`, and its problem if it has one."""
    translate = QCoreApplication.translate
    if delivery is None:
        return []
    lines = list(delivery_lines(delivery, listening, repairing))
    by_multicast = listening is not None and delivery.node in listening.listeners
    if delivery.state is DeliveryState.RECEIVING and delivery.upstream and not by_multicast:
        rate = format_rate(delivery.rate)
        template = translate("GraphCard", "From {upstream} at {rate}")
        lines.append(template.format(upstream=delivery.upstream, rate=rate))
    if encryption := delivery_encryption_line(delivery, source):
        lines.append(encryption)
    if before:
        template = translate("GraphCard", "The route was repaired; it previously received from {upstream}")
        lines.append(template.format(upstream=before))
    if slowest is not None and slowest.node == delivery.node:
        lines.append(held_up_line(slowest))
    if delivery.failure is not None:
        lines.append(failure_text(delivery.failure))
    return lines


@dataclass(frozen=True)
class Hop:
    """One link of the shown cast's path; `first` and `last`, 0..1, are its part of the path's gradient."""

    upstream: str
    node: str
    first: float
    last: float
    rate: float
    lagging: bool
    moving: bool
    failed: bool = False  # no more data uses this hop
    rerouted: bool = False  # the node fetched from another one before
    repair: bool = False  # brings what datagrams did not; `rate` is that of this alone
    paused: bool = False  # no data uses this hop until the node is resumed
    encrypted: bool | None = None  # None: inside a machine, or not known yet


def hops(
    cast: CastSummary | None,
    deliveries: Mapping[str, DeliverySnapshot],
    upstream_before: Callable[[str], str] = lambda name: "",
    receivers: Collection[str] = (),
    repairs: Mapping[str, float] | None = None,
) -> list[Hop]:
    """The shown cast's path as it is: where each node fetches from, else the planned chain.

    The hop to a node that failed is part of it, as one that failed. `receivers` of multicast
    have a hop only while they are repaired, at the rate in `repairs`.
    """
    if cast is None or cast.state is CastState.CANCELLED:
        return []
    chain = list(cast.chain) or [cast.source, *cast.recipients]
    before = dict(pairwise(reversed(chain)))
    order = [name for name in chain if name != cast.source]
    known = set(order)
    order += [name for name in deliveries if name not in known]
    result = []
    repairs = repairs or {}
    for index, name in enumerate(order):
        repair = name in receivers
        if repair and name not in repairs:
            continue
        delivery = deliveries.get(name)
        if delivery is not None and delivery.state in (DeliveryState.CANCELLED, DeliveryState.AWAITED):
            continue
        planned = before.get(name, cast.source)
        receiving = delivery is not None and delivery.state is DeliveryState.RECEIVING
        rate = delivery.rate if delivery is not None and receiving else 0.0
        result.append(
            Hop(
                upstream=(delivery.upstream if delivery else "") or planned,
                node=name,
                first=index / len(order),
                last=(index + 1) / len(order),
                rate=repairs[name] if repair else rate,
                lagging=bool(receiving and delivery and delivery.lagging and not repair),
                moving=receiving and rate >= 1 and not cast.state.finished and not repair,
                failed=delivery is not None and delivery.state is DeliveryState.FAILED,
                rerouted=bool(upstream_before(name)) and not cast.state.finished and not repair,
                repair=repair,
                paused=delivery is not None and delivery.state is DeliveryState.PAUSED,
                encrypted=delivery.encrypted if delivery is not None and not repair else None,
            )
        )
    return result


@dataclass(frozen=True)
class MulticastStream:
    """The multicast stream of a cast, as it is drawn."""

    receivers: tuple[str, ...]
    rate: float
    label: str
    sending: bool  # not all of it was sent once


def stream(
    cast: CastSummary | None, listening: MulticastStatus | None, deliveries: Iterable[DeliverySnapshot]
) -> MulticastStream | None:
    """The multicast stream to its receivers; after its end, to those that got most data by it."""
    if cast is None or listening is None or cast.state is CastState.CANCELLED:
        return None
    if listening.sending:
        rate = listening.rate
        return MulticastStream(listening.listeners, rate, format_rate(rate), sending=True)
    if listening.multicast.state is not MulticastState.DONE:
        return None
    gone = (DeliveryState.FAILED, DeliveryState.CANCELLED)
    receivers = tuple(
        item.node for item in deliveries if received_mostly_multicast(item) and item.state not in gone
    )
    label = QCoreApplication.translate("GraphCard", "Multicast")
    return MulticastStream(receivers, 0.0, label, sending=False) if receivers else None


def cast_lines(cast: CastSummary) -> tuple[str, str, str]:
    """The shown cast in three lines: name, mean percent, bytes and time left."""
    return cast_title(cast), percent_text(cast_share(cast)), _cast_facts(cast)


def cast_line(cast: CastSummary) -> str:
    """The shown cast in one short line, where there is no space for three."""
    parts = [percent_text(cast_share(cast))]
    if not cast.state.finished and cast.eta is not None:
        template = QCoreApplication.translate("GraphCard", "{time} left")
        parts.append(template.format(time=format_duration(cast.eta)))
    else:
        parts.append(cast_status(cast))
    return " · ".join(parts)


def _cast_facts(cast: CastSummary) -> str:
    translate = QCoreApplication.translate
    if cast.state is CastState.COMPLETED:
        size = format_bytes(cast.bytes)
        if len(cast.recipients) == 1:
            return translate("GraphCard", "{size} verified on 1 node").format(size=size)
        template = translate("GraphCard", "{size} verified on {count} nodes")
        return template.format(size=size, count=len(cast.recipients))
    if cast.state is not CastState.SENDING:
        return cast_status(cast)
    done, total = format_bytes(cast.done_bytes), format_bytes(cast.bytes)
    if done.split(" ")[-1] == total.split(" ")[-1]:
        done = done.split(" ")[0]
    template = (
        translate("GraphCard", "{done} of {total} each")
        if len(cast.recipients) > 1
        else translate("GraphCard", "{done} of {total}")
    )
    text = template.format(done=done, total=total)
    if cast.eta is None:
        return text
    left = translate("GraphCard", "{time} left").format(time=format_duration(cast.eta))
    return f"{text} · {left}"
