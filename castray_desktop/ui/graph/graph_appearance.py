"""What the graph shows of each node, each hop and the shown cast: text and shapes, no items."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.casts.multicast_status import received_mostly_multicast
from castray_desktop.core.multicast.datagrams import MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeInfo,
    NodeState,
)
from castray_desktop.ui.graph.node_items import NodeAppearance, NodeHighlights
from castray_desktop.ui.i18n.failure_text import failure_text
from castray_desktop.ui.i18n.number_format import format_bytes, format_duration, format_rate
from castray_desktop.ui.model.node_list import NodeList, glyph_word, node_glyph
from castray_desktop.ui.transfers.path_text import delivery_encryption_line, delivery_lines, held_up_line
from castray_desktop.ui.transfers.transfer_text import (
    cast_share,
    cast_status,
    cast_title,
    delivery_share,
    percent_text,
)
from castray_desktop.ui.widgets.status_glyphs import GlyphState

translate = QCoreApplication.translate

BADGES = frozenset({GlyphState.LAGGING, GlyphState.VERIFIED, GlyphState.FAILED, GlyphState.CHECKING})
BAR_ROLES = {
    GlyphState.LAGGING: "warn_fill",
    GlyphState.VERIFIED: "ok_fill",
    GlyphState.FAILED: "bad_fill",
    GlyphState.PAUSED: "offline",
}


def node_appearance(
    node: NodeInfo,
    cast: CastSummary | None,
    delivery: DeliverySnapshot | None,
    highlights: NodeHighlights,
    *,
    source: bool,
    next_source: bool,
    now: float,
) -> NodeAppearance:
    """All that is drawn of a node; `next_source` is one that was chosen while another one's cast is shown."""
    offline = node.state is NodeState.OFFLINE
    glyph = node_glyph(node, delivery)
    share = None
    if cast is not None and delivery is not None and not offline and not source:
        share = None if delivery.state is DeliveryState.CANCELLED else delivery_share(cast, delivery)
    if next_source:
        facts, role = translate("GraphCard", "Next source"), "text_2"
    elif source:
        facts, role = translate("GraphCard", "{name} · source").format(name=node.name), "text_2"
    else:
        facts, role = _node_facts(node, delivery, now)
    here = source and node.this_computer
    return NodeAppearance(
        title=translate("GraphCard", "This computer") if here else node.name,
        facts=facts,
        facts_role=role,
        source=source,
        offline=offline,
        highlights=highlights,
        share=share,
        bar_role=BAR_ROLES.get(glyph, "accent"),
        glyph=glyph,
        badge=glyph if glyph in BADGES else None,
    )


def _node_facts(node: NodeInfo, delivery: DeliverySnapshot | None, now: float) -> tuple[str, str]:
    """The line below a node's name, and its colour role."""
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
    return _machine_facts(node), "text_2"


def _machine_facts(node: NodeInfo) -> str:
    """ "8 CPU · 1 GPU" """
    parts = []
    if node.cpus:
        parts.append(translate("GraphCard", "{count} CPU").format(count=f"{node.cpus:g}"))
    if node.gpus:
        parts.append(translate("GraphCard", "{count} GPU").format(count=f"{node.gpus:g}"))
    return " · ".join(parts) or node.address


def tool_tip(node: NodeInfo, nodes: NodeList, source: str) -> str:
    """A node's facts, one on each line; `source` is that of the cast."""
    delivery = nodes.activity(node.name)
    lines = [f"{node.name} — {glyph_word(node_glyph(node, delivery))}"]
    if delivery is not None:
        lines += _route_lines(delivery, nodes, source)
    if node.address:
        lines.append(translate("GraphCard", "Address: {address}").format(address=node.address))
    if node.cpus or node.gpus:
        lines.append(_machine_facts(node))
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


def _route_lines(delivery: DeliverySnapshot, nodes: NodeList, source: str) -> list[str]:
    """How a node receives the data of the cast from `source`, and its problem if it has one."""
    listening, slowest = nodes.listening, nodes.slowest
    lines = list(delivery_lines(delivery, listening, nodes.repairs.get(delivery.node, 0.0)))
    by_multicast = listening is not None and delivery.node in listening.listeners
    if delivery.state is DeliveryState.RECEIVING and delivery.upstream and not by_multicast:
        rate = format_rate(delivery.rate)
        template = translate("GraphCard", "From {upstream} at {rate}")
        lines.append(template.format(upstream=delivery.upstream, rate=rate))
    if encryption := delivery_encryption_line(delivery, source):
        lines.append(encryption)
    if before := nodes.upstream_before(delivery.node):
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
    repair: bool = False  # brings only what multicast has lost, at `rate`
    paused: bool = False  # no data uses this hop until the node is resumed
    encrypted: bool | None = None  # None: inside a machine, or not known yet


def hops(nodes: NodeList, receivers: Collection[str] = ()) -> list[Hop]:
    """The shown cast's path as it is: where each node fetches from, else the planned chain.

    The hop to a node that failed is part of it, as one that failed. `receivers` of multicast
    have a hop only while they are repaired, at the rate of the repair.
    """
    cast, repairs = nodes.cast, nodes.repairs
    if cast is None or cast.state is CastState.CANCELLED:
        return []
    chain = list(cast.chain) or [cast.source, *cast.recipients]
    before = dict(pairwise(reversed(chain)))
    order = dict.fromkeys(name for name in chain if name != cast.source)
    order |= dict.fromkeys(delivery.node for delivery in nodes.deliveries())
    result = []
    for index, name in enumerate(order):
        repair = name in receivers
        if repair and name not in repairs:
            continue
        delivery = nodes.activity(name)
        state = delivery.state if delivery is not None else None
        if state in (DeliveryState.CANCELLED, DeliveryState.AWAITED):
            continue
        receiving = state is DeliveryState.RECEIVING
        rate = delivery.rate if delivery is not None and receiving else 0.0
        result.append(
            Hop(
                upstream=(delivery.upstream if delivery else "") or before.get(name, cast.source),
                node=name,
                first=index / len(order),
                last=(index + 1) / len(order),
                rate=repairs[name] if repair else rate,
                lagging=bool(receiving and delivery and delivery.lagging and not repair),
                moving=receiving and rate >= 1 and not cast.state.finished and not repair,
                failed=state is DeliveryState.FAILED,
                rerouted=bool(nodes.upstream_before(name)) and not cast.state.finished and not repair,
                repair=repair,
                paused=state is DeliveryState.PAUSED,
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


def stream(nodes: NodeList) -> MulticastStream | None:
    """The multicast stream to its receivers; after its end, to those that got most data by it."""
    cast, listening = nodes.cast, nodes.listening
    if cast is None or listening is None or cast.state is CastState.CANCELLED:
        return None
    if listening.sending:
        rate = listening.rate
        return MulticastStream(listening.listeners, rate, format_rate(rate), sending=True)
    if listening.multicast.state is not MulticastState.DONE:
        return None
    gone = (DeliveryState.FAILED, DeliveryState.CANCELLED)
    receivers = tuple(
        item.node for item in nodes.deliveries() if received_mostly_multicast(item) and item.state not in gone
    )
    label = translate("GraphCard", "Multicast")
    return MulticastStream(receivers, 0.0, label, sending=False) if receivers else None


def cast_lines(cast: CastSummary) -> tuple[str, str, str]:
    """The shown cast in three lines: name, mean percent, bytes and time left."""
    return cast_title(cast), percent_text(cast_share(cast)), _cast_facts(cast)


def cast_line(cast: CastSummary) -> str:
    """The shown cast in one short line, where there is no space for three."""
    left = "" if cast.state.finished else _time_left(cast)
    return f"{percent_text(cast_share(cast))} · {left or cast_status(cast)}"


def _time_left(cast: CastSummary) -> str:
    if cast.eta is None:
        return ""
    return translate("GraphCard", "{time} left").format(time=format_duration(cast.eta))


def _cast_facts(cast: CastSummary) -> str:
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
    left = _time_left(cast)
    return f"{text} · {left}" if left else text
