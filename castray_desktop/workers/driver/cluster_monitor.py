"""Monitor the cluster for the driver: which nodes are alive, and whether the head is.

Ray notices a killed raylet after some seconds, a disconnected machine after 15 seconds, and a lost head
after a minute. So the ports are probed every second.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
from typing import Any, Callable

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes import driver_protocol

PROBE_SECONDS = 1.0
MAX_SILENT_PROBES = 2
"""A node that answered before is gone after this many failed probes in a row."""

MAX_PARALLEL_PROBES = 50
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.3
MAX_HEAD_FAILURES = 2
"""The head is gone after this many failed connections in a row."""

MAX_RAY_ERRORS = 5
"""The head is also gone after this many errors of Ray in a row: Ray's own connection is broken."""

TIMEOUTS_PER_ERROR = 3
"""A query that Ray does not answer counts as a third of an error for each second."""

log = logging.getLogger("castray.driver")

Nodes = tuple[driver_protocol.RayNode, ...]


class ProbeResult(enum.Enum):
    """Result of a probe."""

    THERE = "there"
    REFUSED = "refused"  # the machine answers, and nothing listens
    SILENT = "silent"


async def probe_port(host: str, port: int) -> ProbeResult:
    """Connect and close at once."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), port), PROBE_SECONDS)
    except ConnectionRefusedError:
        return ProbeResult.REFUSED
    except (OSError, asyncio.TimeoutError):
        return ProbeResult.SILENT
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ProbeResult.THERE


class NodeProbes:
    """Probes the raylet ports of nodes, at most fifty at a time."""

    def __init__(self) -> None:
        self._answered: set[str] = set()  # ids of nodes that have answered
        self._silences: dict[str, int] = {}
        self._gone: set[str] = set()
        self._next = 0

    async def reachable(self, nodes: Nodes) -> Nodes:
        """The nodes that are still reachable. A node that has never answered counts as reachable."""
        ids = {node.node_id for node in nodes}
        self._answered &= ids
        self._gone &= ids
        turn = [node for node in nodes if node.port]
        if len(turn) > MAX_PARALLEL_PROBES:
            turn = (turn[self._next :] + turn)[:MAX_PARALLEL_PROBES]
            self._next = (self._next + MAX_PARALLEL_PROBES) % len(nodes)
        answers = await asyncio.gather(*(probe_port(node.address, node.port) for node in turn))
        for node, answer in zip(turn, answers):
            self._heard(node.node_id, answer)
        return tuple(node for node in nodes if node.node_id not in self._gone)

    def _heard(self, node: str, answer: ProbeResult) -> None:
        if answer is ProbeResult.THERE:
            self._answered.add(node)
            self._gone.discard(node)
            self._silences.pop(node, None)
        elif node in self._answered:
            silences = self._silences[node] = self._silences.get(node, 0) + 1
            if answer is ProbeResult.REFUSED or silences >= MAX_SILENT_PROBES:
                self._gone.add(node)


class ClusterMonitor:
    """Queries once a second; `tell` gets changes.

    `look` queries Ray's nodes, `is_autoscaled` whether it removes idle nodes; both may block.
    """

    def __init__(
        self,
        target: str,
        up: driver_protocol.ClusterUp,
        look: Callable[[], Nodes],
        is_autoscaled: Callable[[], bool] = bool,
    ) -> None:
        self._target = target
        self._address = up.address
        self._through_head = any(node.mine and not node.node_id for node in up.nodes)
        self._nodes = self._alive = up.nodes
        self._look = look
        self._is_autoscaled = is_autoscaled
        self._probes = NodeProbes()
        self._looking: Any = None
        self._errors = 0.0

    async def run(self, tell: Callable[[Any], None]) -> None:
        """Watch until the head or every node is gone, and report that as `ClusterFailed`."""
        failures = 0
        while failures < MAX_HEAD_FAILURES and self._errors < MAX_RAY_ERRORS:
            await asyncio.sleep(RETRY_SECONDS if failures else POLL_SECONDS)
            host, _, port = self._address.rpartition(":")
            failures = 0 if await probe_port(host, int(port)) is ProbeResult.THERE else failures + 1
            if not failures:
                await self._compare(tell)
            if not self._nodes:
                break
        log.error("the cluster at %s does not respond", self._address)
        tell(driver_protocol.ClusterFailed(Failure(FailureKind.CLUSTER_LOST, {"target": self._target})))

    async def _compare(self, tell: Callable[[Any], None]) -> None:
        """Report the nodes if they have changed."""
        self._alive = await self._seen()
        nodes = await self._probes.reachable(self._alive)
        head_gone = any(node.head for node in self._alive) and not any(node.head for node in nodes)
        if head_gone and self._through_head:
            nodes = ()  # Ray's client server ends with the head's raylet
        if nodes != self._nodes:
            self._nodes = nodes
            if nodes:
                ask = asyncio.get_running_loop().run_in_executor
                tell(driver_protocol.NodesSeen(nodes, await ask(None, self._is_autoscaled)))

    async def _seen(self) -> Nodes:
        """The current nodes, or the previous ones while Ray does not answer; Ray is queried by one thread."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().run_in_executor(None, self._look)
        done, _ = await asyncio.wait([self._looking], timeout=POLL_SECONDS)
        if not done:
            self._errors += 1 / TIMEOUTS_PER_ERROR
            return self._alive
        looked, self._looking = self._looking, None
        if (error := looked.exception()) is not None:  # the head is queried and probed again
            self._errors += 1
            log.warning("Ray did not return its nodes: %s", error)
            return self._alive
        self._errors = 0.0
        nodes: Nodes = looked.result()
        return nodes
