"""The engine's numbers for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from castray_desktop.core import messages
from castray_desktop.core.mirror import Mirror


def exposition(mirror: Mirror, connected: bool, report: messages.StatisticsReport | None) -> bytes:
    """Everything in Prometheus' text format; statistics only where there are any."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Numbers(mirror, connected, report))
    return generate_latest(registry)


class _Numbers(Collector):
    """One look at the engine."""

    def __init__(self, mirror: Mirror, connected: bool, report: messages.StatisticsReport | None) -> None:
        self._mirror = mirror
        self._connected = connected
        self._report = report

    def collect(self) -> Iterator[Metric]:
        mirror = self._mirror
        yield GaugeMetricFamily("castray_engine_up", "Whether the engine answers.", int(self._connected))
        yield GaugeMetricFamily(
            "castray_cluster_ready",
            "Whether the cluster can be used.",
            int(mirror.cluster.phase is messages.ClusterPhase.READY),
        )
        yield _by(
            "castray_nodes", "Nodes by state.", "state", Counter(n.state.value for n in mirror.nodes.values())
        )
        yield _by(
            "castray_casts_active",
            "Casts that have not ended, by state.",
            "state",
            Counter(cast.state.value for cast in mirror.active),
        )
        throughput = mirror.throughput
        rates = throughput.nodes if throughput is not None and mirror.active else ()
        yield _by(
            "castray_received_bytes_per_second",
            "What a node receives now.",
            "node",
            {rate.node: rate.received for rate in rates},
        )
        yield _by(
            "castray_sent_bytes_per_second",
            "What a node passes on now.",
            "node",
            {rate.node: rate.sent for rate in rates},
        )
        yield _by(
            "castray_disk_free_bytes",
            "Room where a node's inbox lies.",
            "node",
            {node.name: node.disk_free for node in mirror.nodes.values()},
        )
        if self._report is not None:
            yield from _since_ever(self._report.ever)


def _since_ever(ever: messages.Statistics) -> Iterator[Metric]:
    ended = CounterMetricFamily("castray_casts", "Casts that have ended.", labels=["state"])
    for state in ("completed", "partly_failed", "failed", "cancelled"):
        ended.add_metric([state], getattr(ever, state))
    yield ended
    deliveries = CounterMetricFamily("castray_deliveries", "Deliveries that have ended.", labels=["outcome"])
    deliveries.add_metric(["delivered"], ever.delivered)
    deliveries.add_metric(["failed"], ever.failed_deliveries)
    yield deliveries
    yield CounterMetricFamily("castray_delivered_bytes", "Bytes delivered to recipients.", ever.bytes)
    yield CounterMetricFamily("castray_uploaded_bytes", "Bytes that left the sources.", ever.uploaded)
    yield CounterMetricFamily("castray_cast_seconds", "Time that casts took, added up.", ever.seconds)
    by_node = CounterMetricFamily("castray_node_bytes", "Bytes delivered to a node.", labels=["node"])
    for node in ever.nodes:
        by_node.add_metric([node.node], node.bytes)
    yield by_node


def _by(name: str, text: str, label: str, values: dict[str, float] | Counter[str]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
