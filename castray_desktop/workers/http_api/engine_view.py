"""The API's view of the engine: responses from its cache, Prometheus metrics, events of WebSocket clients."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import msgspec
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import castray_desktop
from castray_desktop.core.casts.json_views import cluster_form, message_to_json, node_form
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import NodeState
from castray_desktop.workers.client.client_cache import ClientCache, ReconnectingClient
from castray_desktop.workers.http_api.responses import StatusForm, TotalsForm


def prometheus_text(cache: ClientCache, connected: bool, report: messages.StatisticsReport | None) -> bytes:
    """All metrics in Prometheus' text format; statistics only if available."""
    return generate_latest(_EngineCollector(cache, connected, report))


@dataclass(frozen=True)
class _EngineCollector(Collector):
    """Metrics collected for one request."""

    cache: ClientCache
    connected: bool
    report: messages.StatisticsReport | None

    def collect(self) -> Iterator[Metric]:
        cache = self.cache
        yield GaugeMetricFamily("castray_engine_up", "Whether the engine answers.", int(self.connected))
        yield GaugeMetricFamily(
            "castray_cluster_ready",
            "Whether the cluster can be used.",
            int(cache.cluster.phase is messages.ClusterPhase.READY),
        )
        yield _labelled_gauge(
            "castray_nodes", "Nodes by state.", "state", Counter(n.state.value for n in cache.nodes.values())
        )
        yield _labelled_gauge(
            "castray_casts_active",
            "Casts that have not ended, by state.",
            "state",
            Counter(cast.state.value for cast in cache.active),
        )
        throughput = cache.throughput
        rates = throughput.nodes if throughput is not None and cache.active else ()
        yield _labelled_gauge(
            "castray_received_bytes_per_second",
            "What a node receives now.",
            "node",
            {rate.node: rate.received for rate in rates},
        )
        yield _labelled_gauge(
            "castray_sent_bytes_per_second",
            "What a node passes on now.",
            "node",
            {rate.node: rate.sent for rate in rates},
        )
        yield _labelled_gauge(
            "castray_disk_free_bytes",
            "Room where a node's inbox lies.",
            "node",
            {node.name: node.disk_free for node in cache.nodes.values()},
        )
        if self.report is not None:
            yield from _since_ever(self.report.ever)


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


def _labelled_gauge(
    name: str, text: str, label: str, values: dict[str, float] | Counter[str]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def status_form(engine: ReconnectingClient) -> StatusForm:
    cache = engine.cache
    active = cache.active
    throughput = cache.throughput if active else None
    return StatusForm(
        state="running" if engine.connected else "away",
        version=castray_desktop.__version__,
        cluster=cluster_form(cache.cluster),
        nodes=tuple(node_form(node) for node in cache.nodes.values()),
        totals=TotalsForm(
            nodes=len(cache.nodes),
            nodes_online=sum(node.state is NodeState.ONLINE for node in cache.nodes.values()),
            casts=len(cache.casts),
            casts_active=len(active),
            received_rate=round(throughput.total) if throughput else 0,
            upload_rate=round(throughput.upload) if throughput else 0,
        ),
    )


async def find_statistics(engine: ReconnectingClient) -> messages.StatisticsReport | None:
    """The engine's statistics; None if unavailable."""
    try:
        return await engine.request(messages.GetStatistics(), messages.StatisticsReport)
    except CastRayError:
        return None


MAX_QUEUED = 20_000
"""A client with more queued results than this is disconnected; it gets the complete state when it
reconnects.
"""


class OutgoingEvent:
    """An event for any number of clients; its JSON is encoded once."""

    def __init__(self, event: messages.Event) -> None:
        self.event = event

    @functools.cached_property
    def text(self) -> str:
        return msgspec.json.encode(message_to_json(_without_secrets(self.event))).decode()


def _without_secrets(event: messages.Event) -> messages.Event:
    """The event as clients may see it: addresses of web servers can hold passwords and signatures."""
    if not isinstance(event, messages.SchedulesChanged):
        return event
    replace = msgspec.structs.replace
    return messages.SchedulesChanged(
        tuple(
            replace(info, schedule=replace(info.schedule, request=info.schedule.request.redacted()))
            for info in event.schedules
        )
    )


class EventQueue:
    """The queue of one client. Of messages that replace each other, only the last one stays."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, OutgoingEvent] = {}
        self._numbers = 0
        self._filled = asyncio.Event()
        self.overrun = False

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, outgoing: OutgoingEvent) -> None:
        """Append an event."""
        key = _key(outgoing.event)
        if key is not None and (earlier := self._waiting.pop(key, None)) is not None:
            outgoing = _merged(earlier, outgoing)
        if key is None or _is_end(outgoing.event):
            self._numbers += 1
            key = self._numbers
        self._waiting[key] = outgoing
        self.overrun = self.overrun or len(self._waiting) > MAX_QUEUED
        self._filled.set()

    async def pop(self) -> str:
        """Wait for the next message; returns it as JSON."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.pop(next(iter(self._waiting))).text


def _key(event: messages.Event) -> Hashable | None:
    """A key that is equal for events of which the later replaces the earlier; None for all others."""
    match event:
        case messages.CastChanged(summary):
            return ("cast", summary.cast)
        case messages.DeliveriesChanged(cast):
            return ("deliveries", cast)
        case (
            messages.Throughput()
            | messages.ClusterChanged()
            | messages.NodesChanged()
            | messages.SchedulesChanged()
            | messages.SettingsChanged()
            | messages.HistoryChanged()
            | messages.VerifyProgress()
            | messages.DiagnosisProgress()
        ):
            return type(event).__name__
    return None


def _is_end(event: messages.Event) -> bool:
    """Whether it is a final event, which later events must not replace."""
    match event:
        case messages.CastChanged(summary):
            return summary.state.finished
        case messages.DeliveriesChanged(_, deliveries):
            return any(item.state.finished for item in deliveries)
    return False


def _merged(earlier: OutgoingEvent, later: OutgoingEvent) -> OutgoingEvent:
    """The later event, with fields that only the earlier one has."""
    match earlier.event, later.event:
        case messages.DeliveriesChanged(cast, before), messages.DeliveriesChanged(_, after):
            deliveries = {item.node: item for item in (*before, *after)}
            return OutgoingEvent(messages.DeliveriesChanged(cast, tuple(deliveries.values())))
        case messages.NodesChanged(before_nodes, before_gone), messages.NodesChanged(after_nodes, gone):
            nodes = {node.name: node for node in before_nodes if node.name not in gone}
            nodes |= {node.name: node for node in after_nodes}
            removed = tuple(name for name in dict.fromkeys((*before_gone, *gone)) if name not in nodes)
            return OutgoingEvent(messages.NodesChanged(tuple(nodes.values()), removed))
    return later
