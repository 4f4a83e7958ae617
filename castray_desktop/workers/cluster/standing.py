"""Where the connection to a cluster stands: the status that everybody sees, and those who wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, NodeInfo, NodeState
from castray_desktop.workers.ray_side import protocol

ATTEMPTS = 3
SLOW_SECONDS = 9.5
"""Whoever waits for a cluster hears why within ten seconds, also where it is tried for longer."""

UP = (ClusterPhase.PLACING, ClusterPhase.READY)
WORKING = (ClusterPhase.STARTING, ClusterPhase.PREPARING, ClusterPhase.RECONNECTING, *UP)
_SETTLED = (ClusterPhase.READY, ClusterPhase.FAILED, ClusterPhase.NONE)


class Standing:
    """The status. `tell` hears of each that differs from the one before; failures name the driver's `log`."""

    def __init__(self, tell: Callable[[ClusterStatus], None], log: str) -> None:
        self.status = ClusterStatus()
        self._tell = tell
        self._log = log
        self._ours = False
        self._patience: asyncio.TimerHandle | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def phase(self) -> ClusterPhase:
        """Of the status."""
        return self.status.phase

    @property
    def settled(self) -> bool:
        """Whether it is ready, has failed, or there is none."""
        return self.phase in _SETTLED

    async def until_settled(self) -> ClusterStatus:
        """Wait until it is; returns the status."""
        while not self.settled:
            news = asyncio.get_running_loop().create_future()
            self._waiting.add(news)
            try:
                await news
            finally:
                self._waiting.discard(news)
        return self.status

    # --- what becomes of it ---------------------------------------------------------------------

    def start(self, target: str, *, ours: bool = False) -> None:
        """It is on its way; `ours` where a node of Ray is started for it on this machine."""
        self._ours = ours
        self._set(ClusterStatus(ClusterPhase.STARTING, target=target, attempts=ATTEMPTS))

    def prepare(self, step: str) -> None:
        """A driver is being made for it, which is at this step."""
        self._change(phase=ClusterPhase.PREPARING, attempt=1, preparing=step, failure=None)

    def try_again(self, failure: Failure, attempt: int, phase: ClusterPhase) -> None:
        """The last driver has ended for this reason, and another one is tried."""
        self._change(phase=phase, attempt=attempt, nodes_ready=0, failure=failure)

    def connected(self, up: protocol.ClusterUp, target: str, attempt: int, nodes: int) -> None:
        """The driver is connected; agents are being placed on so many nodes."""
        status = ClusterStatus(
            ClusterPhase.PLACING,
            target=target,
            address=up.address,
            attempt=attempt,
            attempts=ATTEMPTS,
            nodes_total=nodes,
            ray_version=up.ray_version,
            python_version=up.python_version,
        )
        self._set(msgspec.structs.replace(status, **_totals(up.nodes)))

    def ray_nodes_seen(self, nodes: Iterable[protocol.RayNode]) -> None:
        """These are alive now, as Ray counts them."""
        self._change(**_totals(nodes))

    def count(self, nodes: Iterable[NodeInfo]) -> None:
        """Say how many of the nodes are there; it is ready once none is on its way any more."""
        if self.phase not in UP:
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
        """Something that is not as it should be, but does not end anything."""
        self._change(notice=notice)

    def stop(self) -> None:
        """It is being left."""
        if self.phase is not ClusterPhase.FAILED:
            self._change(phase=ClusterPhase.STOPPING)

    def give_up(self, failure: Failure, attempts: int) -> None:
        """It has failed, after so many attempts."""
        failure = self.detailed(failure, attempts)
        self._set(ClusterStatus(ClusterPhase.FAILED, target=self.status.target, failure=failure))

    def clear(self) -> None:
        """There is none."""
        if self.phase is not ClusterPhase.NONE:
            self._set(ClusterStatus())

    def detailed(self, failure: Failure, attempts: int) -> Failure:
        """With what its sentence names beside the reason."""
        return Failure(failure.kind, {"log": self._log} | failure.values | {"attempts": str(attempts)})

    # --- inside ---------------------------------------------------------------------------------

    def _change(self, **changes: Any) -> None:
        self._set(msgspec.structs.replace(self.status, **changes))

    def _set(self, status: ClusterStatus) -> None:
        if status == self.status:
            return
        self._be_patient(status.phase is ClusterPhase.STARTING)
        self.status = status
        self._tell(status)
        for news in self._waiting:
            if not news.done():
                news.set_result(None)

    def _be_patient(self, starting: bool) -> None:
        """See to it that a start which takes long is spoken of, reckoned from its beginning."""
        if starting and self.phase is ClusterPhase.STARTING:
            return
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if starting:
            self._patience = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._say_slow)

    def _say_slow(self) -> None:
        kind = FailureKind.START_SLOW if self._ours else FailureKind.CLUSTER_SLOW
        values = {"target": self.status.target, "seconds": str(round(SLOW_SECONDS))}
        self.notice(Failure(kind, values))


def _totals(nodes: Iterable[protocol.RayNode]) -> dict[str, Any]:
    """What the cluster has, as Ray counts it."""
    listed = tuple(nodes)
    return {
        "cpus": sum(node.cpus for node in listed),
        "gpus": sum(node.gpus for node in listed),
        "memory": sum(node.memory for node in listed),
    }
