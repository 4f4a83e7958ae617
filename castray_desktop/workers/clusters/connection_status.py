"""The connection status of a cluster, as clients see it, and waiting for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import driver_protocol

ATTEMPTS = 3
SLOW_SECONDS = 9.5
"""Clients that wait for a cluster get a reason after this time, even if attempts go on."""

CONNECTED_PHASES = (ClusterPhase.PLACING, ClusterPhase.READY)
ACTIVE_PHASES = (ClusterPhase.STARTING, ClusterPhase.PREPARING, ClusterPhase.RECONNECTING, *CONNECTED_PHASES)
_SETTLED = (ClusterPhase.READY, ClusterPhase.FAILED, ClusterPhase.NONE)


class ConnectionStatus:
    """The cluster status. `publish` is called with each changed status; failures name the driver's `log`."""

    def __init__(self, publish: Callable[[ClusterStatus], None], log: str) -> None:
        self.status = ClusterStatus()
        self._publish = publish
        self._log = log
        self.starts_node = False
        """Whether a Ray node is started on this machine, which takes longer."""
        self._slow_timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()  # set at each change, for those who wait already

    @property
    def phase(self) -> ClusterPhase:
        """The phase of the status."""
        return self.status.phase

    @property
    def settled(self) -> bool:
        """Whether the cluster is ready, failed or none."""
        return self.phase in _SETTLED

    async def until_settled(self) -> ClusterStatus:
        """Wait until the status is settled and return it."""
        while not self.settled:
            await self._changed.wait()
        return self.status

    # --- what becomes of it ---------------------------------------------------------------------

    def start(self, target: str) -> None:
        """Connecting has started."""
        self._set(ClusterStatus(ClusterPhase.STARTING, target=target, attempts=ATTEMPTS))

    def preparing(self, step: str) -> None:
        """A driver environment is being prepared, at this step."""
        self._change(phase=ClusterPhase.PREPARING, attempt=1, preparing=step, failure=None)

    def try_again(self, failure: Failure, attempt: int, phase: ClusterPhase) -> None:
        """The driver has ended for this reason; another attempt follows."""
        self._change(phase=phase, attempt=attempt, nodes_ready=0, failure=failure)

    def connected(self, up: driver_protocol.ClusterUp, target: str, attempt: int, nodes: int) -> None:
        """The driver is connected; agents start on this many nodes."""
        self._set(
            ClusterStatus(
                ClusterPhase.PLACING,
                target=target,
                address=up.address,
                attempt=attempt,
                attempts=ATTEMPTS,
                nodes_total=nodes,
                ray_version=up.ray_version,
                python_version=up.python_version,
                **_totals(up.nodes),
            )
        )

    def ray_nodes_seen(self, nodes: tuple[driver_protocol.RayNode, ...]) -> None:
        """Update the Ray nodes that are alive."""
        self._change(**_totals(nodes))

    def count(self, nodes: Iterable[NodeInfo]) -> None:
        """Update the number of online nodes; the cluster is ready when no agent is starting any more."""
        if self.phase not in CONNECTED_PHASES:
            return
        states = [node.state for node in nodes]
        placing = self.phase is ClusterPhase.PLACING and NodeState.STARTING in states
        self._change(
            phase=ClusterPhase.PLACING if placing else ClusterPhase.READY,
            nodes_ready=states.count(NodeState.ONLINE),
            nodes_total=len(states),
            failure=None,
        )

    def notice(self, notice: Failure) -> None:
        """Add a notice about a problem that is no failure."""
        self._change(notice=notice)

    def stop(self) -> None:
        """Leaving the cluster."""
        if self.phase is not ClusterPhase.FAILED:
            self._change(phase=ClusterPhase.STOPPING)

    def give_up(self, failure: Failure, attempts: int) -> None:
        """Connecting has failed after this many attempts."""
        failure = self.detailed(failure, attempts)
        self._set(ClusterStatus(ClusterPhase.FAILED, target=self.status.target, failure=failure))

    def clear(self) -> None:
        """There is no cluster."""
        if self.phase is not ClusterPhase.NONE:
            self._set(ClusterStatus())

    def detailed(self, failure: Failure, attempts: int) -> Failure:
        """Add the values that the failure's text needs."""
        return Failure(failure.kind, {"log": self._log} | failure.values | {"attempts": str(attempts)})

    # --- inside ---------------------------------------------------------------------------------

    def _change(self, **changes: Any) -> None:
        self._set(msgspec.structs.replace(self.status, **changes))

    def _set(self, status: ClusterStatus) -> None:
        if status == self.status:
            return
        self._set_slow_timer(status.phase is ClusterPhase.STARTING)
        self.status = status
        self._publish(status)
        self._changed.set()
        self._changed.clear()

    def _set_slow_timer(self, starting: bool) -> None:
        """Start a timer that reports a slow start."""
        if starting and self.phase is ClusterPhase.STARTING:
            return
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None
        if starting:
            self._slow_timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._report_slow)

    def _report_slow(self) -> None:
        kind = FailureKind.START_SLOW if self.starts_node else FailureKind.CLUSTER_SLOW
        values = {"target": self.status.target, "seconds": str(round(SLOW_SECONDS))}
        self.notice(Failure(kind, values))


def _totals(nodes: tuple[driver_protocol.RayNode, ...]) -> dict[str, Any]:
    """The resources of the cluster according to Ray."""
    return {
        "cpus": sum(node.cpus for node in nodes),
        "gpus": sum(node.gpus for node in nodes),
        "memory": sum(node.memory for node in nodes),
    }
