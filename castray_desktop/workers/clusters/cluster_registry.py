"""All clusters of the engine, and what each client sees of them.

A client watches one cluster. It sees what happens there, and the casts that wait for a cluster which is
not in use. A cluster that nobody needs any more is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from castray_desktop.core.casts.node_selector import nobody_online
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, Event, NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint
from castray_desktop.workers.clusters.agent_manager import ClusterListener
from castray_desktop.workers.clusters.cluster_supervisor import ClusterSupervisor
from castray_desktop.workers.history.history_store import PastCast

IDLE_SECONDS = 5.0
"""How long an unused cluster stays connected."""

APPLY_SECONDS = 5.0
"""How long a changed rate limit waits for agents that do not answer."""

log = logging.getLogger("castray.engine")


class NodeRateLimit:
    """The rate limit of each node of one cluster, as in the settings; 0 is no limit."""

    def __init__(self, settings: SettingsFile, agents: AgentDirectory) -> None:
        self._settings = settings
        self._agents = agents
        self._online: set[str] = set()  # the nodes that are online, as far as they were seen
        self._background = BackgroundTasks()

    async def apply(self) -> None:
        """The setting changed; every agent that answers applies it before this returns."""
        online = [node.name for node in self._agents.nodes.values() if node.state is NodeState.ONLINE]
        if online:
            await asyncio.wait([self._spawn(name) for name in online], timeout=APPLY_SECONDS)

    def nodes_changed(self, changed: Iterable[NodeInfo], removed: Iterable[str]) -> None:
        """Send the limit to new agents."""
        for node in changed:
            if node.state is not NodeState.ONLINE:
                self._online.discard(node.name)
            elif node.name not in self._online:
                self._online.add(node.name)
                if self._settings.current.limit:  # a new agent has no limit
                    self._spawn(node.name)
        self._online.difference_update(removed)

    def _spawn(self, node: str) -> asyncio.Task[None]:
        return self._background.run(self._tell(node), f"limit {node}")

    async def _tell(self, node: str) -> None:
        try:
            await self._agents.call(node, agent_orders.SetNodeLimit(self._settings.current.limit))
        except CastRayError as error:  # a lost agent gets the limit when it is back
            log.warning("the limit was not sent to %s: %s", node, error)


@dataclass(frozen=True)
class ClusterFactories:
    """Factories of a cluster's parts."""

    supervise: Callable[[ClusterListener], ClusterSupervisor]
    manage_casts: Callable[[AgentDirectory, Callable[[Event], None]], CastManager]


class ManagedCluster:
    """One cluster: its connection, its casts, and the rate limit of its nodes."""

    def __init__(self, target: str, parts: ClusterFactories, clusters: ClusterRegistry) -> None:
        self.target = target
        self.kept = False
        """Stay connected without clients."""
        self.used = 0
        """Increases with each choice; the latest chosen has the highest value."""
        self.idle_since: float | None = None
        self._clusters = clusters
        self.supervisor = parts.supervise(self)
        self.agents = self.supervisor.agents
        self.casts = parts.manage_casts(self.agents, self._publish)
        self.limit = NodeRateLimit(clusters.settings, self.agents)

    @property
    def status(self) -> ClusterStatus:
        """The state of the connection."""
        return self.supervisor.status

    @property
    def in_use(self) -> bool:
        """Whether it was chosen and not left since."""
        return self.status.phase is not ClusterPhase.NONE

    @property
    def is_alive(self) -> bool:
        """Whether it is in use and has not failed."""
        return self.in_use and self.status.phase is not ClusterPhase.FAILED

    @property
    def has_deferred(self) -> bool:
        """Whether deliveries wait for its nodes."""
        return self.is_alive and self.casts.has_deferred

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

    def agent_reported(self, node: str, report: agent_reports.AgentReport) -> None:
        """See `ClusterListener`."""
        self.casts.agent_reported(node, report)

    def unfinished_casts(self) -> tuple[str, ...]:
        """See `ClusterListener`."""
        return self._clusters.unfinished

    def kept_casts(self) -> tuple[str, ...]:
        """See `ClusterListener`."""
        return (*self._clusters.unfinished, *self.casts.retryable)

    def agent_up(self, node: str) -> None:
        """See `ClusterListener`."""
        self.casts.agent_up(node)

    def agent_lost(self, node: str) -> None:
        """See `ClusterListener`."""
        self.casts.agent_lost(node)

    async def apply_limit(self) -> None:
        """The rate limit may have changed: rates that casts have measured until each agent has it count no
        more.
        """
        self.casts.limit_changed()
        await self.limit.apply()
        self.casts.limit_changed()

    async def cluster_leaving(self) -> None:
        """See `ClusterListener`."""
        await self.casts.end_all(Failure(FailureKind.CLUSTER_STOPPED))

    async def close(self) -> None:
        """End its casts and leave it."""
        await self.casts.close()
        await self.supervisor.leave()

    def _publish(self, event: Event) -> None:
        self._clusters.publish(self, event)


class ClusterRegistry:
    """All clusters by target.

    `tell` sends an event to clients that show a target (True) or to all others (False).
    """

    def __init__(
        self,
        parts: ClusterFactories,
        settings: SettingsFile,
        tell: Callable[[Event, str, bool], None],
        tell_others: Callable[[Event, str], None],
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._parts = parts
        self._tell = tell
        self._tell_others = tell_others
        self._clock = clock
        self._clusters: dict[str, ManagedCluster] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}
        self._uses = itertools.count(1)
        self._waiting_shown: dict[str, tuple[str, ...]] = {}  # by target: waiting casts shown to all
        self._background = BackgroundTasks()
        self.held: set[str] = set()
        """Targets that stay connected without clients, for schedules."""
        self.nowhere = self.get("")
        """Shown to clients before any cluster was chosen."""

    def __iter__(self) -> Iterator[ManagedCluster]:
        return iter(tuple(self._clusters.values()))

    def get(self, target: str) -> ManagedCluster:
        """The cluster with that target, in use or not."""
        if target not in self._clusters:
            self._clusters[target] = ManagedCluster(target, self._parts, self)
        return self._clusters[target]

    def current(self, windows: Collection[str] = ()) -> ManagedCluster:
        """The default cluster for clients that choose none.

        Preferred: in use, then kept connected or shown by a window, then the latest chosen.
        """

        def rank(cluster: ManagedCluster) -> tuple[bool, bool, int]:
            return cluster.in_use, cluster.kept or cluster.target in windows, cluster.used

        return max(self._clusters.values(), key=rank)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """Unfinished casts of all clusters."""
        return tuple(itertools.chain.from_iterable(cluster.casts.unfinished for cluster in self))

    @property
    def active(self) -> int:
        """The number of unfinished casts."""
        return len(self.unfinished)

    def chosen(self, target: str) -> ManagedCluster:
        """Mark a cluster as chosen."""
        cluster = self.get(target)
        cluster.used = next(self._uses)
        cluster.idle_since = None
        return cluster

    def keep(self, cluster: ManagedCluster | None) -> None:
        """Keep this cluster connected without clients, and no other; None: no cluster."""
        for other in self:
            other.kept = other is cluster

    def casts_with(self, cast: str) -> CastManager:
        """The casts of the cluster that has this id or id prefix. Raises CastRayError(CAST_UNKNOWN)."""
        fitting = [cluster.casts for cluster in self if cluster.casts.knows(cast)]
        if len(fitting) != 1:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return fitting[0]

    def restore(self, checkpoint: CastCheckpoint, paused: bool) -> None:
        """Resume a cast of an earlier engine when its cluster is connected, or show it paused."""
        cluster = self.get(checkpoint.target)
        cluster.casts.restore(checkpoint, paused)
        self.changed(cluster)

    async def retry(self, past: PastCast, recipients: tuple[str, ...]) -> tuple[ManagedCluster, str]:
        """Repeat failed deliveries of a cast on its own cluster, which is connected to if it is not in use.

        Returns that cluster, and the cast's id. Raises CastRayError.
        """
        if not past.target:
            raise CastRayError(FailureKind.NO_CLUSTER)
        cluster = self.get(past.target)
        cluster.idle_since = None
        if not past.result.summary.awaited:
            await cluster.supervisor.use(cluster.target)
        cast = cluster.casts.retry(past, recipients)
        if cluster.casts.is_waiting(cast):
            self._background.run(self._await_cluster(cluster, cast), f"connect for {cast}")
        return cluster, cast

    async def _await_cluster(self, cluster: ManagedCluster, cast: str) -> None:
        """End the cast that waits for its cluster, if that can't be connected to."""
        status, nodes = await cluster.supervisor.until_settled(), cluster.agents.nodes
        if status.phase is not ClusterPhase.READY:
            cluster.casts.give_up_waiting(cast, status.failure or Failure(FailureKind.CLUSTER_STOPPED))
        elif not any(node.state is NodeState.ONLINE for node in nodes.values()):
            cluster.casts.give_up_waiting(cast, nobody_online(nodes, cluster.target).failure)

    @property
    def has_deferred(self) -> bool:
        """Whether deliveries wait for nodes of a connected cluster."""
        return any(cluster.has_deferred for cluster in self)

    async def settings_changed(self, settings: messages.EngineSettings) -> None:
        """Apply changed settings; when this returns, reachable nodes use the new limits."""
        for cluster in self:
            cluster.casts.set_max_running(settings.casts_at_once)
        await asyncio.gather(*(cluster.apply_limit() for cluster in self))

    # --- what clients see -----------------------------------------------------------------------

    def visible_casts(
        self, cluster: ManagedCluster, *, everything: bool
    ) -> tuple[tuple[messages.CastSummary, ...], dict[str, tuple[messages.DeliverySnapshot, ...]]]:
        """The casts that a client sees that looks at a cluster, and their deliveries; or those of all."""
        summaries, deliveries = cluster.casts.summaries(), cluster.casts.deliveries()
        for other in self:
            if other is not cluster:
                rows = other.casts.deliveries()
                shown = rows if everything else self._waiting_shown.get(other.target, ())
                summaries += tuple(item for item in other.casts.summaries() if item.cast in shown)
                deliveries |= {cast: rows[cast] for cast in rows if cast in shown}
        return summaries, deliveries

    def publish(self, cluster: ManagedCluster, event: Event) -> None:
        """Publish an event to the cluster's clients, and events of waiting casts to all clients."""
        self._tell(event, cluster.target, True)
        if messages.cast_of(event) in self._waiting_shown.get(cluster.target, ()):
            self._tell(event, cluster.target, False)
        elif messages.cast_of(event) or isinstance(event, messages.CastsRemoved):
            self._tell_others(event, cluster.target)

    def changed(self, cluster: ManagedCluster) -> None:
        """A cluster is used now or not any more: update the waiting casts shown to all clients."""
        before = self._waiting_shown.get(cluster.target, ())
        after = () if cluster.in_use else cluster.casts.waiting
        if before == after:
            return
        self._waiting_shown[cluster.target] = after
        if not after:
            self._tell(messages.CastsRemoved(before), cluster.target, False)
        for summary in cluster.casts.summaries():
            for event in cluster.casts.present(summary.cast):
                if not after:
                    self._tell_others(event, cluster.target)
                elif summary.cast in after:
                    self._tell(event, cluster.target, False)

    # --- unused clusters -----------------------------------------------------------------------

    def is_kept(self, cluster: ManagedCluster) -> bool:
        """Whether it stays connected without clients and without running casts."""
        return cluster.kept or cluster.target in self.held or cluster.has_deferred

    def close_unused(self, targets_in_use: Iterable[str]) -> None:
        """Leave clusters unused for a while, and drop those without any state."""
        seen, now = set(targets_in_use), self._clock()
        current = self.current()
        for cluster in self:
            if (
                cluster.target in seen
                or self.is_kept(cluster)
                or (cluster.is_alive and cluster.casts.unfinished)
            ):
                cluster.idle_since = None
            elif cluster.idle_since is None:
                cluster.idle_since = now
            elif now - cluster.idle_since >= IDLE_SECONDS:
                self._close_cluster(cluster, keep=cluster is current or cluster is self.nowhere)

    def _close_cluster(self, cluster: ManagedCluster, keep: bool) -> None:
        if cluster.in_use:
            if cluster.target not in self._leaving:
                log.info("leaving %s: unused", cluster.target)
                self._run_in_background(cluster.target, cluster.supervisor.leave())
        elif not (keep or cluster.casts.summaries() or cluster.target in self._leaving):
            del self._clusters[cluster.target]
            self._run_in_background(cluster.target, cluster.casts.close())

    def _run_in_background(self, target: str, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._leaving[target] = task
        task.add_done_callback(lambda _: self._leaving.pop(target, None))

    async def close(self) -> None:
        """End all casts and leave all clusters."""
        self._background.cancel()
        await asyncio.gather(*(cluster.close() for cluster in self))
        with contextlib.suppress(ValueError):  # nothing to wait for
            await asyncio.wait(self._leaving.values())


def welcome_status(status: ClusterStatus, target: str) -> ClusterStatus:
    """The status for a client that has just chosen a cluster: at least connecting."""
    if status.phase in (ClusterPhase.NONE, ClusterPhase.FAILED, ClusterPhase.STOPPING):
        return ClusterStatus(ClusterPhase.STARTING, target=target)
    return status
