"""Check everything that casts need: this computer, every node, and the connections between them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.check_sentences import ALL_PAIRS_MAX_NODES
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.messages import (
    Check,
    CheckState,
    ClusterPhase,
    ClusterStatus,
    Diagnosis,
    DiagnosisProgress,
    NodeState,
)
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.diagnostics import local_checks

AT_ONCE = 32
DIAL_SECONDS = 3.0
NEIGHBOURS = 3
"""With more than `ALL_PAIRS_MAX_NODES` nodes, each tests this many others."""

CLOCK_SECONDS = 5.0
MIN_FREE_BYTES = 1_000_000_000
MIN_SHARED_MEMORY = 96 * 1024 * 1024  # Ray's minimum object store plus a margin
SHARED_MEMORY = "/dev/shm"
MIN_OPEN_FILES = 1024

Step = Callable[[], Awaitable[list[Check]]]


class DiagnosisJobs:
    """Runs diagnoses, each under its job's name. Progress goes to `publish`."""

    def __init__(self, publish: Callable[[DiagnosisProgress], None]) -> None:
        self._publish = publish
        self._cancelled: dict[str, asyncio.Event] = {}

    async def diagnose(self, job: str, status: ClusterStatus, agents: AgentDirectory) -> Diagnosis:
        """Run all checks. If the job is cancelled, the results so far are returned."""
        cancelled = self._cancelled.setdefault(job, asyncio.Event())
        try:
            look = _DiagnosisRun(
                agents, lambda done, total: self._publish(DiagnosisProgress(job, done, total))
            )
            return Diagnosis(tuple(await look.run(status, cancelled)))
        finally:
            self._cancelled.pop(job, None)

    def cancel(self, job: str) -> None:
        """Cancel a diagnosis; does nothing if there is none."""
        if (event := self._cancelled.get(job)) is not None:
            event.set()


@dataclass
class _DiagnosisRun:
    """One diagnosis."""

    agents: AgentDirectory
    tell: Callable[[int, int], None]
    dialled: dict[tuple[str, str], agent_orders.DialResult] = field(default_factory=dict)
    peers: dict[str, agent_orders.Peer] = field(default_factory=dict)

    async def run(self, status: ClusterStatus, cancelled: asyncio.Event) -> list[Check]:
        nodes = self.agents.nodes
        steps: list[Step] = [self._this_computer, local_checks.window_checks, partial(self._cluster, status)]
        steps += [partial(self._examine, name) for name in nodes]
        online = [name for name, node in nodes.items() if node.state is NodeState.ONLINE]
        found = await self._all(steps, cancelled, 0, len(steps) + len(online))
        # Only now: an agent without connections was restarted for the inspection.
        self.peers = {name: peer for name in online if (peer := self._peer(name)) is not None}
        dials: list[Step] = [partial(self._dial, name, others) for name, others in self._pairs()]
        await self._all(dials, cancelled, len(steps), len(steps) + len(dials))
        return [*found, *connection_checks(self.dialled, self.peers)]

    async def _all(self, steps: list[Step], cancelled: asyncio.Event, before: int, total: int) -> list[Check]:
        """Run all steps, some concurrently; checks are in the order of the steps."""
        results: dict[int, list[Check]] = {}
        gate = asyncio.Semaphore(AT_ONCE)

        async def carry_out(number: int, step: Step) -> None:
            async with gate:
                results[number] = await step()
            self.tell(before + len(results), total)

        self.tell(before, total)
        tasks = [asyncio.create_task(carry_out(number, step)) for number, step in enumerate(steps)]
        everything: asyncio.Future[Any] = asyncio.gather(*tasks)
        waiting: asyncio.Future[Any] = asyncio.ensure_future(cancelled.wait())
        try:
            await asyncio.wait({everything, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if everything.done():
                everything.result()
        finally:
            for task in (*tasks, waiting):
                task.cancel()
            await asyncio.gather(*tasks, waiting, everything, return_exceptions=True)
        return [check for number in sorted(results) for check in results[number]]

    def _peer(self, name: str) -> agent_orders.Peer | None:
        hello = self.agents.hello(name)
        return agent_orders.Peer(name, hello.address, hello.port) if hello is not None else None

    def _pairs(self) -> list[tuple[str, list[str]]]:
        """The peers that each node tests: all others, or its neighbours in a ring if there are many nodes."""
        names = sorted(self.peers)
        if len(names) <= ALL_PAIRS_MAX_NODES:
            return [(name, [other for other in names if other != name]) for name in names if len(names) > 1]
        ring = names + names[:NEIGHBOURS]
        return [(name, ring[at + 1 : at + 1 + NEIGHBOURS]) for at, name in enumerate(names)]

    async def _this_computer(self) -> list[Check]:
        engine = Check("engine", CheckState.GOOD, values={"pid": str(os.getpid())})
        checks = [local_checks.castray_check(), engine, local_checks.data_ports_check()]
        inotify = local_checks.inotify_check()
        return checks if inotify is None else [*checks, inotify]

    async def _cluster(self, status: ClusterStatus) -> list[Check]:
        return [cluster_check(status)]

    async def _examine(self, name: str) -> list[Check]:
        state = self.agents.nodes[name].state
        if state is not NodeState.ONLINE:
            kind = "starting" if state is NodeState.STARTING else "node"
            return [Check(kind, CheckState.NOTICE, name)]
        before = time.time()
        try:
            reply = await self.agents.call(name, agent_orders.InspectNode())
        except CastRayError as error:
            return [local_checks.failed_check("node", error.failure, name)]
        if not isinstance(reply, agent_orders.NodeInspection):
            return []
        return node_checks(name, reply, before, time.time())

    async def _dial(self, name: str, others: list[str]) -> list[Check]:
        order = agent_orders.DialPeers(tuple(self.peers[other] for other in others), DIAL_SECONDS)
        try:
            reply = await self.agents.call(name, order)
        except CastRayError:  # its inspection reports that
            return []
        if isinstance(reply, agent_orders.DialReply):
            self.dialled.update({(name, result.node): result for result in reply.results})
        return []


def cluster_check(status: ClusterStatus) -> Check:
    """The check of the cluster's state."""
    if status.failure is not None and status.phase is not ClusterPhase.READY:
        return local_checks.failed_check("cluster", status.failure)
    if status.phase not in (ClusterPhase.READY, ClusterPhase.PLACING):
        return Check("cluster", CheckState.NOTICE)
    return Check(
        "cluster",
        CheckState.GOOD,
        values={
            "target": status.target,
            "ready": str(status.nodes_ready),
            "total": str(status.nodes_total),
            "ray": status.ray_version,
            "python": status.python_version,
        },
    )


def node_checks(name: str, reply: agent_orders.NodeInspection, before: float, after: float) -> list[Check]:
    """Checks from a node's inspection, requested at `before` and answered at `after` (local clock)."""

    def check(kind: str, state: CheckState, **values: object) -> Check:
        return Check(kind, state, name, {key: str(value) for key, value in values.items()})

    good, notice, bad = CheckState.GOOD, CheckState.NOTICE, CheckState.BAD
    versions = {"ray": reply.ray_version or "–", "python": reply.python_version, "system": reply.system}
    away = max(before - reply.time, reply.time - after, 0.0)
    checks = [
        check("node", good, **versions),
        check("clock", good if away <= CLOCK_SECONDS else notice, seconds=round(away)),
    ]
    if reply.shared_total:
        enough = reply.shared_free >= MIN_SHARED_MEMORY
        free, total = format_bytes(reply.shared_free), format_bytes(reply.shared_total)
        if reply.store and not reply.store.startswith(SHARED_MEMORY):
            checks.append(check("object_store", notice, folder=reply.store, total=total))
        else:
            checks.append(check("shared_memory", good if enough else notice, free=free, total=total))
    roomy = good if reply.inbox_free >= MIN_FREE_BYTES else notice
    state = roomy if reply.inbox_writable else bad
    checks.append(check("room", state, path=reply.inbox, free=format_bytes(reply.inbox_free)))
    if reply.kept_deliveries:
        checks.append(check("kept_parts", notice, size=format_bytes(reply.kept_bytes)))
    if reply.open_files:
        checks.append(
            check(
                "open_files", good if reply.open_files >= MIN_OPEN_FILES else notice, count=reply.open_files
            )
        )
    return checks


def connection_checks(
    dialled: dict[tuple[str, str], agent_orders.DialResult], peers: dict[str, agent_orders.Peer]
) -> Iterable[Check]:
    """One check for all connections, and one for each failed connection."""
    if not dialled:
        return
    failed = [(pair, result) for pair, result in dialled.items() if result.reason]
    slowest = max((result.seconds for result in dialled.values() if not result.reason), default=0.0)
    values = {
        "count": str(len(dialled)),
        "nodes": str(len(peers)),
        "failed": str(len(failed)),
        "milliseconds": f"{slowest * 1000:.1f}",
    }
    yield Check("connections", CheckState.NOTICE if failed else CheckState.GOOD, values=values)
    for (node, peer), result in failed:
        where = f"{peers[peer].address}:{peers[peer].port}"
        told = {"peer": peer, "address": where, "reason": result.reason}
        back = dialled.get((peer, node))
        if back is None:  # not tested in this sample
            yield Check("one_way", CheckState.NOTICE, node, told)
        else:
            yield Check("connection", CheckState.BAD if back.reason else CheckState.NOTICE, node, told)
