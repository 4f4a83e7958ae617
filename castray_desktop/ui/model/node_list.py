"""The nodes as the window knows them now, and what the watched cast does on each.

`NodeList` is filled by the window from the engine's events and read by the views. Give it every
`NodesChanged` through `apply`, and the cast that the window shows through `watch`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from PySide6.QtCore import QCoreApplication, QObject, QTimer, Signal

from castray_desktop.core.casts.multicast_status import MulticastStatus, RepairRates, multicast_status
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeInfo,
    NodeState,
)
from castray_desktop.core.routing.bottleneck import SlowestHop, slowest_hop
from castray_desktop.ui.widgets.status_glyphs import GlyphState

translate = QCoreApplication.translate

REPAIRS_MS = 600
MANY = 200
REPAIRED_IN = (CastState.SENDING, CastState.VERIFYING)


@lru_cache(maxsize=16_384)
def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts node_2 before node_10, whatever the case of the letters."""
    parts = re.findall(r"\d+|\D+", name.casefold())
    return tuple((0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts)


class NodeList(QObject):
    """The known nodes, sorted by name, and the watched cast.

    Of the watched cast, `slowest` is the slowest hop, `listening` describes its multicast stream, and
    `repairs` has the rate at which each listener is repaired, in bytes per second. `state_version` changes
    when a node or a delivery has another state or upstream, not with its progress. Signals: `changed()` when
    a node is new, gone or has other facts; `activity_changed()` when the watched cast or one of its
    deliveries has changed.
    """

    changed = Signal()
    activity_changed = Signal()

    def __init__(self, parent: QObject | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds and never goes back."""
        super().__init__(parent)
        self._clock = clock
        self._nodes: dict[str, NodeInfo] = {}
        self._sorted: tuple[NodeInfo, ...] = ()
        self.cast: CastSummary | None = None  # the watched one
        self._deliveries: dict[str, DeliverySnapshot] = {}
        self._upstreams_before: dict[str, str] = {}  # of nodes that have changed their upstream
        self.limit = 0  # over all casts, in bytes per second; 0 for none
        self.state_version = 0
        # of the deliveries, when `state_version` was increased last
        self._states: list[tuple[str, DeliveryState, bool, str]] = []
        self.slowest: SlowestHop | None = None
        self.listening: MulticastStatus | None = None
        self.repairs: Mapping[str, float] = {}
        self._repair_rates = RepairRates()
        self._repairs_due = 0.0  # with many deliveries, when the rates are computed next
        self._repairs_end = QTimer(self, interval=REPAIRS_MS)  # an ended repair is no longer reported
        self._repairs_end.timeout.connect(self._see_repairs_again)

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Every node, in the natural order of the names."""
        return self._sorted

    def get(self, name: str) -> NodeInfo | None:
        """The node of that name."""
        return self._nodes.get(name)

    def is_here(self, delivery: DeliverySnapshot) -> bool:
        """Whether this computer is the recipient."""
        return self.runs_here(delivery.node, delivery.address)

    def runs_here(self, name: str, address: str = "") -> bool:
        """Whether a node is on this computer; `address` is used where the node is not known any more."""
        node = self.get(name)
        address = (node.address if node else "") or address
        return bool(node and node.this_computer) or address.startswith("127.") or address == "::1"

    def apply(self, changed: Iterable[NodeInfo], removed: Iterable[str] = ()) -> None:
        """Take over what the engine reported."""
        before = dict(self._nodes)
        self._nodes.update((node.name, node) for node in changed)
        for name in removed:
            self._nodes.pop(name, None)
        self._finish(before)

    def replace(self, nodes: Iterable[NodeInfo]) -> None:
        """Take over the complete state, as on connecting."""
        before = self._nodes
        self._nodes = {node.name: node for node in nodes}
        self._finish(before)

    def _finish(self, before: dict[str, NodeInfo]) -> None:
        if self._nodes == before:
            return
        if self._nodes.keys() != before.keys():
            self._sorted = tuple(sorted(self._nodes.values(), key=lambda node: natural_key(node.name)))
        else:
            self._sorted = tuple(self._nodes[node.name] for node in self._sorted)
        if any(name not in before or before[name].state is not n.state for name, n in self._nodes.items()):
            self.state_version += 1
        self.changed.emit()

    def watch(
        self,
        cast: CastSummary | None,
        deliveries: Iterable[DeliverySnapshot] = (),
        others: Iterable[DeliverySnapshot] = (),
    ) -> None:
        """Show this cast with all its deliveries on the nodes; None shows none.

        `others` are the deliveries of the other running casts there.
        """
        found = {delivery.node: delivery for delivery in deliveries} if cast is not None else {}
        if cast == self.cast and found == self._deliveries:
            return
        another = cast is None or self.cast is None or cast.cast != self.cast.cast
        states = [(item.node, item.state, item.lagging, item.upstream) for item in found.values()]
        if another:
            self._upstreams_before = {}
            self._repair_rates, self._repairs_due = RepairRates(), 0.0
        elif states != self._states:
            self._note_changed_upstreams(found)
        if another or states != self._states:
            self._states = states
            self.state_version += 1
        self.cast, self._deliveries = cast, found
        self.slowest = slowest_hop(cast, found.values(), self.limit, others) if cast is not None else None
        self.listening = multicast_status(cast, found.values()) if cast is not None else None
        self._see_repairs()
        self.activity_changed.emit()

    def _see_repairs(self) -> None:
        under_way = self.listening is not None and self.cast is not None and self.cast.state in REPAIRED_IN
        now = self._clock()
        if under_way and len(self._deliveries) > MANY and now < self._repairs_due:
            return
        self._repairs_due = now + REPAIRS_MS / 1000
        self.repairs = self._repair_rates.update(self._deliveries.values() if under_way else (), now)
        if bool(self.repairs) is not self._repairs_end.isActive():
            self._repairs_end.start() if self.repairs else self._repairs_end.stop()

    def _see_repairs_again(self) -> None:
        before = self.repairs
        self._see_repairs()
        if self.repairs.keys() != before.keys():
            self.activity_changed.emit()

    def _note_changed_upstreams(self, found: dict[str, DeliverySnapshot]) -> None:
        for name, before in self._deliveries.items():
            now = found.get(name, before)
            if before.upstream and now.upstream != before.upstream:
                self._upstreams_before[name] = before.upstream

    def upstream_before(self, name: str) -> str:
        """The node that this one fetched from before the watched cast's route was repaired; "" for none."""
        return self._upstreams_before.get(name, "")

    def activity(self, name: str) -> DeliverySnapshot | None:
        """What the watched cast does on that node."""
        return self._deliveries.get(name)

    def deliveries(self) -> tuple[DeliverySnapshot, ...]:
        """Every delivery of the watched cast."""
        return tuple(self._deliveries.values())


DELIVERY_GLYPHS = {
    DeliveryState.WAITING: GlyphState.QUEUED,
    DeliveryState.RECEIVING: GlyphState.RECEIVING,
    DeliveryState.VERIFYING: GlyphState.CHECKING,
    DeliveryState.PAUSED: GlyphState.PAUSED,
    DeliveryState.COMPLETED: GlyphState.VERIFIED,
    DeliveryState.SKIPPED: GlyphState.VERIFIED,
    DeliveryState.SHARED: GlyphState.VERIFIED,
    DeliveryState.AWAITED: GlyphState.QUEUED,
    DeliveryState.FAILED: GlyphState.FAILED,
    DeliveryState.CANCELLED: GlyphState.CANCELLED,
}


def delivery_glyph(delivery: DeliverySnapshot) -> GlyphState:
    """The glyph of a delivery's state."""
    if delivery.lagging and delivery.state is DeliveryState.RECEIVING:
        return GlyphState.LAGGING
    return DELIVERY_GLYPHS[delivery.state]


def node_glyph(node: NodeInfo, delivery: DeliverySnapshot | None) -> GlyphState:
    """The glyph of a node's state, or of the watched cast's delivery to it."""
    if node.state is NodeState.OFFLINE:
        return GlyphState.OFFLINE
    if delivery is not None and delivery.state is not DeliveryState.CANCELLED:
        return delivery_glyph(delivery)
    return GlyphState.QUEUED if node.state is NodeState.STARTING else GlyphState.ONLINE


def glyph_word(state: GlyphState) -> str:
    """The state in one word, for tool tips, legend and screen readers."""
    words = {
        GlyphState.ONLINE: translate("State", "Online"),
        GlyphState.SELECTED: translate("State", "Selected"),
        GlyphState.RECEIVING: translate("State", "Receiving"),
        GlyphState.CHECKING: translate("State", "Checking hash"),
        GlyphState.VERIFIED: translate("State", "Verified"),
        GlyphState.LAGGING: translate("State", "Lagging"),
        GlyphState.FAILED: translate("State", "Failed"),
        GlyphState.OFFLINE: translate("State", "Offline"),
        GlyphState.QUEUED: translate("State", "Waiting"),
        GlyphState.PAUSED: translate("State", "Paused"),
        GlyphState.CANCELLED: translate("State", "Cancelled"),
    }
    return words[state]
