"""Which node downloads the files of web servers: who is asked, how much is measured, who is chosen."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.protocol.messages import DownloadPlacement, NodeInfo, PlacementReason, StoreSpeed

MAX_ASKED = 4
"""Number of nodes that are measured at once."""

SMALL_BYTES = 64 << 20
"""A download below this size is not measured: the range for it would be too short to tell anything."""

MAX_MEASURED_BYTES = 4 << 20
MEASURED_SHARE = 128
"""All nodes together download at most this part of the files for a measurement."""

SIMILAR = 0.9
"""Of nodes that are nearly as fast as the fastest, the first is taken."""

OTHERS_FACTOR = 1.5
"""A node that is no recipient has to be faster than all recipients by this factor."""


def nodes_to_ask(nodes: Iterable[NodeInfo], count: int = MAX_ASKED) -> tuple[str, ...]:
    """Names of at most `count` of these nodes: one of each zone, then a second one of each, and this computer
    last.
    """
    zones: dict[str, list[str]] = defaultdict(list)
    here = []
    for node in nodes:
        if node.this_computer:
            here.append(node.name)
        else:
            zones[node.zone].append(node.name)
    turns = itertools.zip_longest(*zones.values())
    spread = [name for turn in turns for name in turn if name is not None]
    return tuple([*spread, *here][:count])


def bytes_to_measure(size: int, nodes: int) -> int:
    """How much each of the nodes downloads of files of this size."""
    return max(1, min(MAX_MEASURED_BYTES, size // (MEASURED_SHARE * max(1, nodes))))


def fastest_node(rates: Mapping[str, float], recipients: Collection[str]) -> str | None:
    """The node to download with, by their rates in the order in which they were asked; None if there are
    none.
    """
    weighed = {name: rate if name in recipients else rate / OTHERS_FACTOR for name, rate in rates.items()}
    best = max(weighed.values(), default=0.0)
    return next((name for name, rate in weighed.items() if rate >= best * SIMILAR), None)


PLACEMENT_TEMPLATES: Mapping[PlacementReason, str] = {
    PlacementReason.AWAITED: "the fastest node, which is measured when the cast starts",
    PlacementReason.NAMED: "chosen by you",
    PlacementReason.MEASURED: "fastest of the nodes that were measured with {host}",
    PlacementReason.REMEMBERED: "fastest of the nodes when {host} was last measured",
    PlacementReason.SMALL: "nodes were not measured, because the download is small or its server sends only"
    " whole files",
    PlacementReason.ONLY: "no other node that was tried can reach {host}",
    PlacementReason.ONLY_HERE: "only this computer can reach {host}",
    PlacementReason.SUCCESSOR: "the node that downloaded before was lost",
    PlacementReason.AGAIN: "it downloaded the same files before",
    PlacementReason.RESUMED: "it received the most in the previous attempt",
}
"""Why a node downloads, to follow its name."""

NOT_REACHED = "not reached"


def explain_placement(download: DownloadPlacement, translate: Callable[[str], str] = str) -> str:
    """Why the node downloads, and how fast the nodes are that were asked; to follow its name."""
    why = translate(PLACEMENT_TEMPLATES[download.reason]).format(host=download.host)
    known = speeds_text(download.speeds, translate)
    return f"{why} ({known})" if known else why


def speeds_text(speeds: Iterable[StoreSpeed], translate: Callable[[str], str] = str) -> str:
    """How fast nodes are, the fastest first."""
    ordered = sorted(speeds, key=lambda speed: speed.rate, reverse=True)
    return ", ".join(
        f"{speed.node} {format_bytes(speed.rate)}/s"
        if speed.rate
        else f"{speed.node} {translate(NOT_REACHED)}"
        for speed in ordered
        if speed.rate or speed.failure is not None
    )
