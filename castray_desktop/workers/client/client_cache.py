"""A client's copy of the engine's state, kept up to date by events."""

from __future__ import annotations

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastSummary,
    ClusterStatus,
    DeliverySnapshot,
    NodeInfo,
    Throughput,
)


class ClientCache:
    """The cluster, its nodes, casts and deliveries, as reported by the engine.

    `version` counts the changes, so that derived data can be cached.
    """

    def __init__(self, welcome: messages.Welcome | None = None) -> None:
        self.version = 0
        self._started_over(welcome)

    def _started_over(self, welcome: messages.Welcome | None) -> None:
        self.pid = welcome.pid if welcome else 0
        self.cluster = welcome.cluster if welcome else ClusterStatus()
        self.nodes: dict[str, NodeInfo] = {node.name: node for node in welcome.nodes} if welcome else {}
        self.casts: dict[str, CastSummary] = {cast.cast: cast for cast in welcome.casts} if welcome else {}
        self._deliveries: dict[str, dict[str, DeliverySnapshot]] = {}
        self.throughput: Throughput | None = None
        for cast, deliveries in (welcome.deliveries if welcome else {}).items():
            self._deliveries[cast] = {item.node: item for item in deliveries}

    def apply_event(self, event: messages.Event) -> None:
        """Apply an event. Events without effect here are ignored."""
        self.version += 1
        match event:
            case messages.Welcome():
                self._started_over(event)
            case messages.ClusterChanged(status):
                self.cluster = status
            case messages.NodesChanged(changed, removed):
                self.nodes.update({node.name: node for node in changed})
                for name in removed:
                    self.nodes.pop(name, None)
            case messages.CastChanged(summary):
                self.casts[summary.cast] = summary
            case messages.DeliveriesChanged(cast, deliveries):
                self._deliveries.setdefault(cast, {}).update({item.node: item for item in deliveries})
            case messages.CastResult(summary, deliveries):
                self.casts[summary.cast] = summary
                self._deliveries[summary.cast] = {item.node: item for item in deliveries}
            case messages.CastsRemoved(casts):
                for cast in casts:
                    self.casts.pop(cast, None)
                    self._deliveries.pop(cast, None)
            case Throughput():
                self.throughput = event

    def deliveries(self, cast: str) -> tuple[DeliverySnapshot, ...]:
        """A cast's deliveries; none for an unknown cast."""
        return tuple(self._deliveries.get(cast, {}).values())

    @property
    def active(self) -> tuple[CastSummary, ...]:
        """The casts that have not ended, oldest first."""
        return tuple(cast for cast in self.casts.values() if not cast.state.finished)

    def find(self, cast: str) -> CastSummary | None:
        """The cast with that id, or with the only id that starts with it."""
        fitting = [summary for known, summary in self.casts.items() if known.startswith(cast)] if cast else []
        return fitting[0] if len(fitting) == 1 else None
