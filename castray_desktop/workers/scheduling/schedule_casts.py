"""What schedules need of the engine's clusters."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import THIS_COMPUTER, ClusterPhase, NodeState, SendRequest
from castray_desktop.workers.cluster.clusters import Cluster, Clusters
from castray_desktop.workers.ray_side.protocol import LOCAL_TARGET
from castray_desktop.workers.scheduling.schedule_life import Look
from castray_desktop.workers.who import find_node

TRY_SECONDS = 60.0
"""A cluster that could not be reached is tried again this often at most."""

log = logging.getLogger("castray.schedules")


class ClusterCasts:
    """Follows `schedule_life.Casts`."""

    def __init__(self, clusters: Clusters, clock: Callable[[], float] = time.monotonic) -> None:
        self._clusters = clusters
        self._clock = clock
        self._tried: dict[str, float] = {}
        self._left: set[str] = set()

    def left(self, target: str) -> None:
        """The user has left this cluster: it is not brought up until it is used again."""
        self._left.add(target)

    def used(self, target: str) -> None:
        """The user wants this cluster."""
        self._left.discard(target)

    def is_ready(self, target: str) -> bool:
        """See `Casts`."""
        cluster = self._known(target)
        return (
            cluster is not None
            and cluster.supervisor.settled
            and any(node.state is NodeState.ONLINE for node in cluster.supervisor.nodes.values())
        )

    async def bring_up(self, target: str) -> None:
        """See `Casts`."""
        cluster, now = self._clusters.get(self._meant(target)), self._clock()
        if (
            cluster.target in self._left
            or not cluster.target
            or cluster.status.phase not in (ClusterPhase.NONE, ClusterPhase.FAILED)
        ):
            return
        if now - self._tried.get(target, -TRY_SECONDS) >= TRY_SECONDS:
            self._tried[target] = now
            log.info("a schedule needs %s", target)
            await cluster.supervisor.use(target)

    def is_here(self, target: str, source: str) -> bool:
        """See `Casts`. All nodes of a local cluster are."""
        if source == THIS_COMPUTER or target == LOCAL_TARGET:
            return True
        cluster = self._known(target)
        if cluster is None:
            return False
        try:
            return find_node(source, cluster.supervisor.nodes).this_computer
        except CastRayError:
            return False

    async def look(self, target: str, request: SendRequest) -> Look:
        """See `Casts`."""
        cluster = self._clusters.get(self._meant(target))
        digest, source, recipients = await cluster.casts.surveys.look(request)
        await asyncio.to_thread(_check_apart, cluster, request, source, recipients)
        nodes = cluster.supervisor.nodes
        offline = (node for node in recipients if nodes[node].state is not NodeState.ONLINE)
        return Look(digest, recipients, frozenset(offline))

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        """See `Casts`."""
        return self._clusters.get(self._meant(target)).casts.send(request, schedule=schedule)

    def runs(self, cast: str) -> bool:
        """See `Casts`."""
        return any(cast in cluster.casts.unfinished for cluster in self._clusters)

    def hold(self, targets: set[str]) -> None:
        """See `Casts`."""
        self._clusters.held = {self._meant(target) for target in targets}

    def _meant(self, target: str) -> str:
        """Whoever named no cluster means the one that is in use."""
        return self._clusters.current().target if target in ("", "auto") else target

    def _known(self, target: str) -> Cluster | None:
        meant = self._meant(target)
        return next((cluster for cluster in self._clusters if cluster.target == meant), None)


def _check_apart(cluster: Cluster, request: SendRequest, source: str, recipients: tuple[str, ...]) -> None:
    """What is written must not become part of what is sent, or every run would have something new to send.

    Looks at the recipients on the source's machine. Raises CastRayError(BAD_SCHEDULE).
    """
    nodes = cluster.supervisor.nodes
    for node in (name for name in recipients if nodes[name].address == nodes[source].address):
        folder = os.path.realpath((request.destination or nodes[node].inbox).replace("{node}", node))
        for path in request.paths:
            if (folder + "/").startswith(os.path.realpath(path).rstrip("/") + "/"):
                raise CastRayError(
                    FailureKind.BAD_SCHEDULE,
                    name=path,
                    reason=f"what {node} receives would lie in what is sent",
                )
