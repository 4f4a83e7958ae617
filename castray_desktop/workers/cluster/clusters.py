"""The clusters of one engine: each with a driver, nodes and casts of its own, and what a client sees of them.

A client looks at one cluster. It sees what happens there, and the casts that wait for a cluster which
nobody uses; a window sees the casts of every cluster. A cluster that nobody needs any more is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, Event, NodeInfo
from castray_desktop.workers.casts.cast_records import CastRecord
from castray_desktop.workers.casts.node_limit import NodeLimit
from castray_desktop.workers.cluster.cluster_roles import ClusterListener
from castray_desktop.workers.cluster.supervisor import ClusterSupervisor
from castray_desktop.workers.dispatcher import Dispatcher
from castray_desktop.workers.ray_side import protocol

IDLE_SECONDS = 5.0
"""How long a cluster is used after the last one who needed it."""

log = logging.getLogger("castray.engine")


@dataclass(frozen=True)
class Parts:
    """What makes the parts of a cluster."""

    supervise: Callable[[ClusterListener], ClusterSupervisor]
    dispatch: Callable[[ClusterSupervisor, Callable[[Event], None]], Dispatcher]
    limit: Callable[[ClusterSupervisor], NodeLimit]


class Cluster:
    """One cluster: where its connection stands, its casts, and the limit of its nodes."""

    def __init__(self, target: str, parts: Parts, clusters: Clusters) -> None:
        self.target = target
        self.kept = False
        """It is used although nobody looks at it."""
        self.used = 0
        """The later it was chosen, the higher."""
        self.idle_since: float | None = None
        self._clusters = clusters
        self.supervisor = parts.supervise(self)
        self.casts = parts.dispatch(self.supervisor, self._publish)
        self.limit = parts.limit(self.supervisor)

    @property
    def status(self) -> ClusterStatus:
        """Where the connection stands."""
        return self.supervisor.status

    @property
    def in_use(self) -> bool:
        """Whether it was chosen, and not left since."""
        return self.status.phase is not ClusterPhase.NONE

    def cluster_changed(self, status: ClusterStatus) -> None:
        """See `ClusterListener`."""
        self._publish(messages.ClusterChanged(status))
        self.casts.cluster_changed()
        self._clusters.changed(self)

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """See `ClusterListener`."""
        self.limit.nodes_changed(changed, removed)
        self._publish(messages.NodesChanged(changed, removed))
        for node in removed:
            self.casts.node_removed(node)

    def agent_reported(self, node: str, report: protocol.AgentReport) -> None:
        """See `ClusterListener`."""
        self.casts.agent_reported(node, report)

    def unfinished_casts(self) -> tuple[str, ...]:
        """See `ClusterListener`. Those of all clusters: their nodes may be on one machine."""
        return tuple(itertools.chain.from_iterable(cluster.casts.unfinished for cluster in self._clusters))

    def agent_up(self, node: str) -> None:
        """See `ClusterListener`."""
        self.casts.agent_up(node)

    def agent_lost(self, node: str) -> None:
        """See `ClusterListener`."""
        self.casts.agent_lost(node)

    async def cluster_leaving(self) -> None:
        """See `ClusterListener`."""
        await self.casts.end_all(Failure(FailureKind.CLUSTER_STOPPED))

    async def close(self) -> None:
        """End its casts, and leave it."""
        await self.casts.close()
        await self.supervisor.leave()

    def _publish(self, event: Event) -> None:
        self._clusters.publish(self, event)


class Clusters:
    """All clusters by what they were asked for.

    `tell` sends an event to those who look at a target (True), or to everybody else (False); `tell_windows`
    to the windows among the latter, which show the casts of all clusters.
    """

    def __init__(
        self,
        parts: Parts,
        tell: Callable[[Event, str, bool], None],
        tell_windows: Callable[[Event, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._parts = parts
        self._tell = tell
        self._tell_windows = tell_windows
        self._clock = clock
        self._clusters: dict[str, Cluster] = {}
        self._chores: dict[str, asyncio.Task[None]] = {}
        self._uses = itertools.count(1)
        self._waiting_shown: dict[str, tuple[str, ...]] = {}  # by target: casts that everybody sees
        self.held: set[str] = set()
        """Targets that are used although nobody looks at them, for as long as somebody wants that."""
        self.nowhere = self.get("")
        """What a client looks at before any cluster was chosen."""

    def __iter__(self) -> Iterator[Cluster]:
        return iter(tuple(self._clusters.values()))

    def get(self, target: str) -> Cluster:
        """The cluster with that target, whether it is in use or not."""
        if target not in self._clusters:
            self._clusters[target] = Cluster(target, self._parts, self)
        return self._clusters[target]

    def current(self, windows: Collection[str] = ()) -> Cluster:
        """What somebody who does not choose looks at.

        One in use before one that was; of those one that is kept, or that a window looks at; the latest then.
        """

        def rank(cluster: Cluster) -> tuple[bool, bool, int]:
            return cluster.in_use, cluster.kept or cluster.target in windows, cluster.used

        return max(self._clusters.values(), key=rank)

    @property
    def active(self) -> int:
        """How many casts have not ended."""
        return sum(cluster.casts.active for cluster in self)

    def chosen(self, target: str) -> Cluster:
        """The cluster that somebody has chosen just now."""
        cluster = self.get(target)
        cluster.used = next(self._uses)
        cluster.idle_since = None
        return cluster

    def keep(self, cluster: Cluster | None) -> None:
        """Use this one although nobody looks at it, and no others; None is none."""
        for other in self:
            other.kept = other is cluster

    def casts_with(self, cast: str) -> Dispatcher:
        """Where a cast with this id is, or with this beginning of it. Raises CastRayError(CAST_UNKNOWN)."""
        fitting = [cluster.casts for cluster in self if cluster.casts.knows(cast)]
        if len(fitting) != 1:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return fitting[0]

    def go_on(self, records: Iterable[CastRecord], paused: bool) -> None:
        """Go on with casts of an earlier engine once their clusters are in use, or have them paused."""
        for record in records:
            self.get(record.target).casts.go_on(record, paused)
        for cluster in self:
            self.changed(cluster)

    @property
    def awaits(self) -> bool:
        """Whether nodes of a cluster that is in use are waited for, in order to be served."""
        return any(
            cluster.in_use and cluster.status.phase is not ClusterPhase.FAILED and cluster.casts.awaits
            for cluster in self
        )

    async def settings_changed(self, settings: messages.EngineSettings) -> None:
        """Other settings hold; every node that answers keeps to their limit when this returns."""
        for cluster in self:
            cluster.casts.change_at_once(settings.casts_at_once)
        await asyncio.gather(*(cluster.limit.tell() for cluster in self))

    # --- what clients see -----------------------------------------------------------------------

    def picture(
        self, cluster: Cluster, *, everything: bool = False
    ) -> tuple[tuple[messages.CastSummary, ...], dict[str, tuple[messages.DeliverySnapshot, ...]]]:
        """The casts that a client sees that looks at a cluster, and their deliveries; or those of all."""
        summaries, deliveries = cluster.casts.summaries(), cluster.casts.deliveries()
        if everything:
            for other in self:
                summaries += other.casts.summaries() if other is not cluster else ()
                deliveries |= other.casts.deliveries()
            return summaries, deliveries
        for other in self:
            waiting = () if other is cluster else self._waiting_shown.get(other.target, ())
            summaries += tuple(item for item in other.casts.summaries() if item.cast in waiting)
            deliveries |= {cast: rows for cast, rows in other.casts.deliveries().items() if cast in waiting}
        return summaries, deliveries

    def publish(self, cluster: Cluster, event: Event) -> None:
        """Tell an event of a cluster to those who look at it, and one of a waiting cast to the others too."""
        self._tell(event, cluster.target, True)
        if _cast_of(event) in self._waiting_shown.get(cluster.target, ()):
            self._tell(event, cluster.target, False)
        elif _cast_of(event) or isinstance(event, messages.CastsRemoved):
            self._tell_windows(event, cluster.target)

    def changed(self, cluster: Cluster) -> None:
        """A cluster is in use now, or not any more: others see what waits for it, or no longer."""
        before = self._waiting_shown.get(cluster.target, ())
        after = () if cluster.in_use else cluster.casts.waiting
        if before == after:
            return
        self._waiting_shown[cluster.target] = after
        if not after:
            self._tell(messages.CastsRemoved(before), cluster.target, False)
            for summary in cluster.casts.summaries():
                rows = cluster.casts.deliveries()[summary.cast]
                self._tell_windows(messages.CastChanged(summary), cluster.target)
                self._tell_windows(messages.DeliveriesChanged(summary.cast, rows), cluster.target)
            return
        for summary in cluster.casts.summaries():
            if summary.cast in after:
                rows = cluster.casts.deliveries()[summary.cast]
                self._tell(messages.CastChanged(summary), cluster.target, False)
                self._tell(messages.DeliveriesChanged(summary.cast, rows), cluster.target, False)

    # --- those that nobody needs ----------------------------------------------------------------

    def part_with_unused(self, looked_at: Iterable[str]) -> None:
        """Leave clusters that nobody has needed for a while, and forget those of which nothing is left."""
        seen, now = set(looked_at), self._clock()
        current = self.current()
        for cluster in self:
            if (
                cluster.target in seen
                or cluster.kept
                or cluster.target in self.held
                or (
                    cluster.in_use
                    and cluster.status.phase is not ClusterPhase.FAILED
                    and (cluster.casts.active or cluster.casts.awaits)
                )
            ):
                cluster.idle_since = None
            elif cluster.idle_since is None:
                cluster.idle_since = now
            elif now - cluster.idle_since >= IDLE_SECONDS:
                self._part_with(cluster, keep=cluster is current or cluster is self.nowhere)

    def _part_with(self, cluster: Cluster, keep: bool) -> None:
        if cluster.in_use:
            if cluster.target not in self._chores:
                log.info("nobody needs %s", cluster.target)
                self._begin(cluster.target, cluster.supervisor.leave())
        elif not (keep or cluster.casts.summaries() or cluster.target in self._chores):
            del self._clusters[cluster.target]
            self._begin(cluster.target, cluster.casts.close())

    def _begin(self, target: str, work: Awaitable[None]) -> None:
        chore = asyncio.ensure_future(work)
        self._chores[target] = chore
        chore.add_done_callback(lambda _: self._chores.pop(target, None))

    async def close(self) -> None:
        """End every cast, and leave every cluster."""
        await asyncio.gather(*(cluster.close() for cluster in self))
        with contextlib.suppress(ValueError):  # nothing to wait for
            await asyncio.wait(self._chores.values())


def welcome_status(status: ClusterStatus, target: str) -> ClusterStatus:
    """What a client is greeted with that has just chosen a cluster: it is on its way at least."""
    if status.phase in (ClusterPhase.NONE, ClusterPhase.FAILED, ClusterPhase.STOPPING):
        return ClusterStatus(ClusterPhase.STARTING, target=target)
    return status


def _cast_of(event: Event) -> str:
    """The cast that an event is about, or nothing."""
    match event:
        case messages.CastChanged(summary) | messages.CastResult(summary, _, _):
            return summary.cast
        case messages.DeliveriesChanged(cast):
            return cast
    return ""
