"""Text about the path of a cast: its slowest hop, its multicast stream, and whether it is encrypted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.casts.multicast_status import (
    MulticastStatus,
    RelayOnlyReason,
    datagram_share,
    explain_multicast_end,
    relay_only_reason,
    repaired_share,
)
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
)
from castray_desktop.core.routing.bottleneck import BottleneckCause, SlowestHop
from castray_desktop.ui.i18n.failure_text import in_window_language
from castray_desktop.ui.i18n.number_format import DASH, format_list, format_rate
from castray_desktop.ui.model.node_list import NodeList

translate = QCoreApplication.translate

NAMED = 4
"""Of the recipients in a line."""


def bottleneck_cause_text(hop: SlowestHop) -> str:
    """What holds the hop up: "disk of gpu-b2"; "" where that is not sure."""
    words = {
        BottleneckCause.UNKNOWN: "",
        BottleneckCause.LINK: translate("Relay", "the link"),
        BottleneckCause.LIMIT: translate("Relay", "the speed limit"),
        BottleneckCause.SHARED_LIMIT: translate("Relay", "the speed limit, shared with other casts"),
        BottleneckCause.DISK: translate("Relay", "the disk of {node}"),
        BottleneckCause.PROCESSOR: translate("Relay", "the processor of {node}"),
        BottleneckCause.SOURCE_DISK: translate("Relay", "the disk of {upstream}"),
        BottleneckCause.SOURCE_PROCESSOR: translate("Relay", "the processor of {upstream}"),
    }
    return words[hop.cause].format(node=hop.node, upstream=hop.upstream)


def slowest_lines(hop: SlowestHop) -> tuple[str, ...]:
    """The slowest hop: its name and speed, and in a second line what limits it, if that is sure."""
    which = translate("Relay", "Slowest: {upstream} → {node}, {rate}")
    why = translate("Relay", "Limited by {cause}")
    first = which.format(upstream=hop.upstream, node=hop.node, rate=format_rate(hop.rate))
    cause = bottleneck_cause_text(hop)
    return (first, why.format(cause=cause)) if cause else (first,)


def bottleneck_short_line(hop: SlowestHop) -> str:
    """The slowest hop in one line, for the status bar."""
    cause = bottleneck_cause_text(hop)
    template = (
        translate("Relay", "slowest {upstream} → {node}: {cause}")
        if cause
        else translate("Relay", "slowest {upstream} → {node}")
    )
    return template.format(upstream=hop.upstream, node=hop.node, cause=cause)


def held_up_line(hop: SlowestHop) -> str:
    """For the slowest node's own facts."""
    cause = bottleneck_cause_text(hop)
    if not cause:
        return translate("Relay", "The slowest hop leads here")
    return translate("Relay", "Limits the cast: {cause}").format(cause=cause)


def share_text(share: float) -> str:
    """A share in percent, with a decimal where it is small; never "0" for what is not nothing."""
    percent = share * 100
    if 0 < percent < 0.1:
        return "<0.1%"
    if 0 < percent < 9.95:
        return f"{percent:.1f}%"
    return f"{int(percent + 1e-9)}%"


def rate_line(listening: MulticastStatus) -> str:
    """How fast, and to how many: "Multicast: 118 MB/s to 4 at once"."""
    count = len(listening.listeners)
    template = (
        translate("Multicast", "Multicast: {rate} to {count} listener")
        if count == 1
        else translate("Multicast", "Multicast: {rate} to {count} at once")
    )
    return template.format(rate=format_rate(listening.rate), count=count)


def shares(datagrams: float, repaired: float) -> list[str]:
    """What came by the stream, and what had to be repaired, where anything had."""
    parts = [translate("Multicast", "{share} by datagrams").format(share=share_text(datagrams))]
    if repaired:
        parts.append(translate("Multicast", "{share} repaired").format(share=share_text(repaired)))
    return parts


def shares_line(datagrams: float, repaired: float) -> str:
    """The same in one line."""
    return " · ".join(shares(datagrams, repaired))


def left_line(left: Mapping[str, RelayOnlyReason]) -> str:
    """Who gets everything by the relay, and why; "" for nobody."""
    if not left:
        return ""
    if len(left) == 1:
        node, why = next(iter(left.items()))
        template = {
            RelayOnlyReason.CANT_FOLLOW: translate("Multicast", "{node} by relay: can't keep up"),
            RelayOnlyReason.HEARS_NOTHING: translate("Multicast", "{node} by relay: receives no multicast"),
        }[why]
        return template.format(node=node)
    slow = sum(why is RelayOnlyReason.CANT_FOLLOW for why in left.values())
    if slow == len(left):
        return translate("Multicast", "{count} by relay: can't keep up").format(count=slow)
    if not slow:
        return translate("Multicast", "{count} by relay: receive no multicast").format(count=len(left))
    template = translate("Multicast", "{count} by relay: {slow} can't keep up, {deaf} receive no multicast")
    return template.format(count=len(left), slow=slow, deaf=len(left) - slow)


def read_out_lines(listening: MulticastStatus | None) -> tuple[str, ...]:
    """The stream in two or three lines; none where none is under way."""
    if listening is None:
        return ()
    state = listening.multicast.state
    shares = shares_line(listening.datagram_share, listening.repaired_share)
    if listening.sending:
        return tuple(filter(None, (rate_line(listening), shares, left_line(listening.left))))
    if state is MulticastState.DONE:
        return translate("Multicast", "Multicast: everything was sent once"), shares
    return ()


def stopped_line(multicast: MulticastSnapshot | None) -> str:
    """That it was stopped, in a few words; "" where it was not."""
    if multicast is None or multicast.state is not MulticastState.STOPPED:
        return ""
    return {
        MulticastEnd.ORDERED: translate("Multicast", "Multicast ended"),
        MulticastEnd.NOTHING_ARRIVES: translate("Multicast", "No multicast: no data arrives"),
        MulticastEnd.TOO_SLOW: translate("Multicast", "Multicast stopped: far too slow"),
        MulticastEnd.NOBODY: translate("Multicast", "Multicast stopped: no listeners left"),
        MulticastEnd.NO_NETWORK: translate("Multicast", "No multicast: the source can't send it"),
        MulticastEnd.ENCRYPTED: translate("Multicast", "No multicast: Ray encrypts here"),
        MulticastEnd.SOURCE_LOST: translate("Multicast", "Multicast stopped: the source is gone"),
        MulticastEnd.OVER: translate("Multicast", "No multicast: the cast ended first"),
    }[multicast.end or MulticastEnd.ORDERED]


def stopped_text(multicast: MulticastSnapshot | None, source: str) -> str:
    """Why it was stopped and what can be done; "" where it was not."""
    why = explain_multicast_end(multicast, source, in_window_language)
    return why.text if why is not None else ""


def multicast_cast_text(cast: CastSummary, listening: MulticastStatus | None) -> str:
    """Everything about a cast's stream in a line or two, for the details; "" where none was tried."""
    if cast.multicast is None or listening is None:
        return ""
    if cast.multicast.state is MulticastState.WAITING:
        return translate("Multicast", "Waiting for listeners")
    shares = shares_line(listening.datagram_share, listening.repaired_share)
    if cast.multicast.state is MulticastState.STOPPED:
        stopped = stopped_text(cast.multicast, cast.source)
        return f"{stopped} · {shares}" if listening.datagram_share else stopped
    if listening.sending:
        head = translate("Multicast", "{rate} to {count} at once").format(
            rate=format_rate(listening.rate), count=len(listening.listeners)
        )
    else:
        head = translate("Multicast", "Everything was sent once")
    return " · ".join(filter(None, (head, shares, left_line(listening.left))))


def multicast_short_line(listening: MulticastStatus | None) -> str:
    """The stream for the status bar; "" where there is nothing to say."""
    if listening is None:
        return ""
    if not listening.sending:
        return stopped_line(listening.multicast)
    heard, everybody = len(listening.listeners), len(listening.listeners) + len(listening.left)
    template = (
        translate("Multicast", "multicast to {count} of {total}")
        if listening.left
        else translate("Multicast", "multicast to {count}")
    )
    _, *repaired = shares(listening.datagram_share, listening.repaired_share)
    return ", ".join([template.format(count=heard, total=everybody), *repaired])


def transport_text(
    name: str, listening: MulticastStatus | None, repairs: Mapping[str, float]
) -> Iterable[str]:
    """How the bytes come to a node of a cast to a group, as a screen reader says it."""
    if listening is None:
        return
    if name in listening.listeners:
        yield translate("Multicast", "by multicast")
    if name in listening.left:
        yield translate("Multicast", "by relay")
    if name in repairs:
        yield translate("Multicast", "being repaired")


def repair_rate(rate: float, *, short: bool) -> str:
    """What is written beside a repair."""
    if short:
        return "+" + format_rate(rate).split(" ")[0]
    return translate("Multicast", "Repair {rate}").format(rate=format_rate(rate))


def delivery_lines(
    delivery: DeliverySnapshot, listening: MulticastStatus | None, repairing: float
) -> Iterable[str]:
    """How the stream serves one recipient, line by line."""
    if listening is None or delivery.state is not DeliveryState.RECEIVING:
        return
    if delivery.node in listening.listeners:
        template = translate("Multicast", "By multicast from {source} at {rate}")
        yield template.format(source=listening.source, rate=format_rate(delivery.rate))
    if repairing >= 1:
        template = translate("Multicast", "Repaired by {upstream} at {rate}")
        yield template.format(upstream=delivery.upstream or listening.source, rate=format_rate(repairing))
    if came := came_line(delivery):
        yield came
    if (why := listening.left.get(delivery.node)) is not None:
        yield left_text(why)


def came_line(delivery: DeliverySnapshot) -> str:
    """What came to one recipient by the stream; "" for nothing."""
    if not delivery.datagram_bytes and not delivery.repaired_bytes:
        return ""
    return shares_line(datagram_share(delivery), repaired_share(delivery))


def came_lines(cast: CastSummary, delivery: DeliverySnapshot) -> Iterable[str]:
    """The same, and why it is left to the relay."""
    if came := came_line(delivery):
        yield came
    if (why := relay_only_reason(cast, delivery)) is not None:
        yield left_text(why)


def left_text(why: RelayOnlyReason) -> str:
    """Why a recipient is served by the relay alone, and what can be done."""
    return {
        RelayOnlyReason.CANT_FOLLOW: translate(
            "Multicast",
            "Served by the relay: it lost more than half of the datagrams. Check its link, load and disk.",
        ),
        RelayOnlyReason.HEARS_NOTHING: translate(
            "Multicast",
            "Served by the relay: it receives no datagrams. Check its firewall and the switches in"
            " front of it.",
        ),
    }[why]


def encryption_word(encrypted: bool | None) -> str:
    """Whether it is encrypted between machines, in a word; a dash for nothing between machines."""
    if encrypted is None:
        return DASH
    return translate("Encryption", "Yes") if encrypted else translate("Encryption", "No")


def encryption_state(encrypted: bool | None) -> str:
    """The same, as a screen reader says it; "" for nothing between machines."""
    if encrypted is None:
        return ""
    return translate("Encryption", "encrypted") if encrypted else translate("Encryption", "not encrypted")


def hop_encryption_line(encrypted: bool | None, upstream: str, node: str) -> str:
    """Whether a hop is encrypted; "" for one inside a machine."""
    if encrypted is None:
        return ""
    template = (
        translate("Encryption", "Encrypted: {upstream} → {node}")
        if encrypted
        else translate("Encryption", "Not encrypted: data from {upstream} → {node} can be read in transit")
    )
    return template.format(upstream=upstream, node=node)


def delivery_encryption_line(delivery: DeliverySnapshot, source: str) -> str:
    """Whether what comes to a recipient is encrypted; "" where nothing comes from another machine."""
    return hop_encryption_line(delivery.encrypted, delivery.upstream or source, delivery.node)


def multicast_encryption_line() -> str:
    """That a multicast stream is not encrypted."""
    return translate("Encryption", "Multicast is not encrypted: anyone on the network can read it")


def cast_encryption_text(cast: CastSummary, deliveries: Iterable[DeliverySnapshot] = ()) -> str:
    """Whether a cast is encrypted between machines; "" where nothing went between machines."""
    if cast.encrypted is None:
        return ""
    if cast.encrypted:
        return translate("Encryption", "Encrypted between machines")
    told = tuple(deliveries)
    clear = [item.node for item in told if item.encrypted is False]
    if not clear or not any(item.encrypted for item in told):
        return translate("Encryption", "Not encrypted")
    nodes = format_list(clear[:NAMED]) + (" …" if len(clear) > NAMED else "")
    return translate("Encryption", "Not encrypted to {nodes}").format(nodes=nodes)


def path_lines(nodes: NodeList) -> tuple[tuple[str, ...], str]:
    """The lines and the icon beside them; no lines where there is nothing to say."""
    cast, slowest, listening = nodes.cast, nodes.slowest, nodes.listening
    if cast is None or cast.state.finished:
        return (), "gauge"
    if lines := read_out_lines(listening):
        return lines, "radio"
    lines = slowest_lines(slowest) if slowest is not None else ()
    stopped = stopped_line(cast.multicast)
    return (*lines, stopped) if stopped else lines, "gauge" if lines else "radio"
