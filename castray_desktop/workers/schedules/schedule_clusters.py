"""The clusters and casts that schedules use."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from castray_desktop.core.casts.node_selector import find_node
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import THIS_COMPUTER, ClusterPhase, NodeState, SendRequest
from castray_desktop.core.protocol.nodes.driver_protocol import LOCAL_TARGET
from castray_desktop.workers.clusters.cluster_registry import ClusterRegistry, ManagedCluster
from castray_desktop.workers.schedules.schedule_runner import SourceSnapshot

CONNECT_RETRY_SECONDS = 60.0
"""Minimum interval between attempts to reach a cluster."""

log = logging.getLogger("castray.schedules")


class ScheduleClusters:
    """Follows `schedule_life.Casts`."""

    def __init__(self, clusters: ClusterRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clusters = clusters
        self._clock = clock
        self._tried: dict[str, float] = {}
        self._left: set[str] = set()

    def left(self, target: str) -> None:
        """The user left this cluster: it is not connected until it is used again."""
        self._left.add(target)

    def used(self, target: str) -> None:
        """The user wants this cluster."""
        self._left.discard(target)

    def is_ready(self, target: str) -> bool:
        """See `ScheduledCasts`."""
        cluster = self._known(target)
        return (
            cluster is not None
            and cluster.agents.settled
            and any(node.state is NodeState.ONLINE for node in cluster.agents.nodes.values())
        )

    async def bring_up(self, target: str) -> None:
        """See `ScheduledCasts`."""
        cluster, now = self._clusters.get(self._meant(target)), self._clock()
        if (
            cluster.target in self._left
            or not cluster.target
            or cluster.status.phase not in (ClusterPhase.NONE, ClusterPhase.FAILED)
        ):
            return
        if now - self._tried.get(target, -CONNECT_RETRY_SECONDS) >= CONNECT_RETRY_SECONDS:
            self._tried[target] = now
            log.info("connecting to %s for a schedule", target)
            await cluster.supervisor.use(target)

    def is_local(self, target: str, source: str) -> bool:
        """See `ScheduledCasts`."""
        if source == THIS_COMPUTER or target == LOCAL_TARGET:
            return True
        cluster = self._known(target)
        if cluster is None:
            return False
        try:
            return find_node(source, cluster.agents.nodes).this_computer
        except CastRayError:
            return False

    async def snapshot(self, target: str, request: SendRequest) -> SourceSnapshot:
        """See `ScheduledCasts`."""
        cluster = self._clusters.get(self._meant(target))
        digest, source, recipients = await cluster.casts.dry_runs.snapshot(request)
        await asyncio.to_thread(_check_apart, cluster, request, source, recipients)
        nodes = cluster.agents.nodes
        offline = (node for node in recipients if nodes[node].state is not NodeState.ONLINE)
        return SourceSnapshot(digest, recipients, frozenset(offline))

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        """See `ScheduledCasts`."""
        return self._clusters.get(self._meant(target)).casts.send(request, schedule=schedule)

    def is_running(self, cast: str) -> bool:
        """See `ScheduledCasts`."""
        return any(cast in cluster.casts.unfinished for cluster in self._clusters)

    def keep_in_use(self, targets: set[str]) -> None:
        """See `ScheduledCasts`."""
        self._clusters.held = {self._meant(target) for target in targets}

    def _meant(self, target: str) -> str:
        """The schedule's cluster; the current one if it names none."""
        return self._clusters.current().target if target in ("", "auto") else target

    def _known(self, target: str) -> ManagedCluster | None:
        meant = self._meant(target)
        return next((cluster for cluster in self._clusters if cluster.target == meant), None)


def _check_apart(
    cluster: ManagedCluster, request: SendRequest, source: str, recipients: tuple[str, ...]
) -> None:
    """Check that the destination is not part of what is sent, or every run would find new files.

    Only recipients on the source's machine matter. Raises CastRayError(BAD_SCHEDULE).
    """
    nodes = cluster.agents.nodes
    for node in (name for name in recipients if nodes[name].address == nodes[source].address):
        folder = os.path.realpath((request.options.destination or nodes[node].inbox).replace("{node}", node))
        for path in request.paths:
            if (folder + "/").startswith(os.path.realpath(path).rstrip("/") + "/"):
                raise CastRayError(
                    FailureKind.BAD_SCHEDULE,
                    name=path,
                    reason=f"what {node} receives would lie in what is sent",
                )
