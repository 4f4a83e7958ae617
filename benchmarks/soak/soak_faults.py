"""The faults of a soak, one at a time: apply, hold, heal, and wait until everything is back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable

from benchmarks.laboratory.lab import Host
from benchmarks.soak.soak_cluster import SoakClient, SoakCluster
from benchmarks.soak.soak_records import FaultRecord
from castray_desktop.core.failures.kinds import FailureKind

RECOVERY_SECONDS = 120.0
NOTICE_SECONDS = 1.0
SLACK_SECONDS = 15.0
"""A delivery may still say what a fault did to it for so long after everything is back."""

UNEXPECTED = "away without a fault"

NODE_FAULTS = {
    "kill agent": 4,
    "stop agent": 3,
    "pull cable": 3,
    "kill raylet": 2,
    "node leaves": 2,
    "slow link": 2,
    "lossy link": 2,
}
GENTLE = ("pull cable", "slow link", "lossy link")
"""What the first two hosts get as well, whose agents live long, so that a leak of theirs shows."""

CENTRAL_FAULTS = (
    ("kill driver", 1 / 12),
    ("kill engine", 2 / 12),
    ("stop driver", 3 / 12),
    ("stop engine", 4 / 12),
    ("kill driver", 11 / 12),
)
"""Faults of engine and driver, and when, as a share of the run: between 1/3 and 11/12 both live, so that
a leak of theirs shows."""

LOST_NODE_KINDS = frozenset(
    {
        FailureKind.FOLDER_SILENT,
        FailureKind.INBOX_SILENT,
        FailureKind.NOBODY_HAS_IT,
        FailureKind.NODE_AWAY,
        FailureKind.NODE_OFFLINE,
        FailureKind.NODE_SILENT,
        FailureKind.NO_AGENT,
        FailureKind.NO_WAY,
        FailureKind.PARCEL_CHANGED,
        FailureKind.UPSTREAM_LOST,
    }
)
CENTRAL_KINDS = frozenset(
    {
        FailureKind.CLUSTER_LOST,
        FailureKind.CLUSTER_STOPPED,
        FailureKind.NODE_AWAY,
        FailureKind.NODE_OFFLINE,
        FailureKind.NODE_SILENT,
        FailureKind.NO_AGENT,
        FailureKind.NO_CLUSTER,
    }
)


class FaultInjector:
    """Runs the faults. `explains` tells which failures they account for."""

    def __init__(
        self,
        cluster: SoakCluster,
        client: SoakClient,
        chance: random.Random,
        now: Callable[[], float],
        write: Callable[[FaultRecord], None],
    ) -> None:
        self._cluster = cluster
        self._client = client
        self._chance = chance
        self._now = now
        self._write = write
        self._faults: list[tuple[str, str, float, float]] = []  # kind, node, begun, over
        self._away: dict[str, int] = {}  # nodes that have gone without a fault: their number in `_faults`

    def explains(self, kind: FailureKind | None, node: str, source: str, since: float) -> bool:
        """Whether a fault since then accounts for a delivery's failure; kind None: for a refused request."""
        for fault, victim, _, over in self._faults:
            if over + SLACK_SECONDS < since:
                continue
            if kind is None:
                return True
            if victim in (node, source) and kind in LOST_NODE_KINDS:
                return True
            if not victim and kind in CENTRAL_KINDS and fault:
                return True
        return False

    def node_changed(self, node: str, online: bool) -> None:
        """A node's state may have changed. One that is away without a fault is a record of its own."""
        now = self._now()
        if online and node in self._away:
            number = self._away.pop(node)
            begun = self._faults[number][2]
            self._faults[number] = (UNEXPECTED, node, begun, now)
            self._write(FaultRecord(now, UNEXPECTED, node, begun, begun, now - begun))
        elif not online and node not in self._away and not self._is_disturbed(node, now):
            self._away[node] = len(self._faults)
            self._faults.append((UNEXPECTED, node, now, float("inf")))

    def _is_disturbed(self, node: str, now: float) -> bool:
        """Whether a fault of the node, of the engine or of the driver may still have an effect."""
        return any(victim in (node, "") and over + SLACK_SECONDS > now for _, victim, _, over in self._faults)

    async def run(self, until: float, gap: tuple[float, float]) -> None:
        """Faults until then, with pauses of `gap` seconds between them."""
        central = [(kind, share * until) for kind, share in CENTRAL_FAULTS]
        while True:
            await asyncio.sleep(self._chance.uniform(*gap))
            if self._now() > until - min(30.0, until / 6):
                return
            if central and central[0][1] < self._now():
                await self._one(central.pop(0)[0], None)
            else:
                kind = self._chance.choices(list(NODE_FAULTS), list(NODE_FAULTS.values()))[0]
                hosts = self._cluster.lab.hosts
                await self._one(kind, self._chance.choice(hosts[1:] if kind in GENTLE else hosts[2:]))

    async def _one(self, kind: str, host: Host | None) -> None:
        node = self._client.name_of(host) if host else ""
        begun = self._now()
        number = len(self._faults)
        self._faults.append((kind, node, begun, float("inf")))
        hold = self._chance.uniform(3.0, 20.0)
        with contextlib.suppress(ProcessLookupError):
            await (self._node_fault(kind, host, hold) if host else self._central_fault(kind, hold))
        healed = self._now()
        await asyncio.sleep(NOTICE_SECONDS)
        if kind.endswith("engine"):
            await asyncio.to_thread(self._cluster.start_engine)
        try:
            await self._client.until_whole(RECOVERY_SECONDS)
            recovered = self._now() - healed
        except TimeoutError:
            recovered = -1.0
        self._faults[number] = (kind, node, begun, self._now())
        self._write(FaultRecord(self._now(), kind, node, begun, healed, recovered))

    async def _node_fault(self, kind: str, host: Host, hold: float) -> None:
        lab = self._cluster.lab
        if kind == "kill agent":
            _signal(self._cluster.agent_pid(host), signal.SIGKILL)
        elif kind == "stop agent":
            await _stop(self._cluster.agent_pid(host), hold)
        elif kind == "pull cable":
            lab.set_link(host, up=False)
            await self._held(hold, lambda: lab.set_link(host, up=True))
        elif kind == "slow link":
            lab.set_rate(host, "4mbit")
            await self._held(hold, lambda: lab.set_rate(host, self._cluster.rate))
        elif kind == "lossy link":
            lab.set_loss(host, 0.05)
            await self._held(hold, lambda: lab.set_loss(host, 0.0))
        else:
            if kind == "kill raylet":
                _signal(self._cluster.raylet_pid(host), signal.SIGKILL)
            else:
                await asyncio.to_thread(lab.end_ray, host)
                hold *= 3
            await asyncio.sleep(hold)
            await asyncio.to_thread(self._cluster.start_node, host)

    async def _central_fault(self, kind: str, hold: float) -> None:
        what = self._cluster.driver_pid() if kind.endswith("driver") else self._cluster.engine_pid
        if kind.startswith("kill"):
            _signal(what, signal.SIGKILL)
        else:
            await _stop(what, hold)

    async def _held(self, hold: float, heal: Callable[[], object]) -> None:
        try:
            await asyncio.sleep(hold)
        finally:
            heal()


def _signal(pid: int, number: signal.Signals) -> None:
    if pid:
        os.kill(pid, number)


async def _stop(pid: int, hold: float) -> None:
    _signal(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(hold)
    finally:
        _signal(pid, signal.SIGCONT)
