"""A diagnosis of fake nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace

from castray_desktop.core.failures.check_sentences import ALL_PAIRS_MAX_NODES
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    Check,
    CheckState,
    ClusterPhase,
    ClusterStatus,
    DiagnosisProgress,
    NodeInfo,
    NodeState,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS, answer_within
from castray_desktop.workers.diagnostics.diagnosis import NEIGHBOURS, DiagnosisJobs

READY = ClusterStatus(ClusterPhase.READY, target="10.0.0.1:6379", nodes_ready=3, nodes_total=3)
FINE = agent_orders.NodeInspection(
    ray_version="2.60.0",
    python_version="3.11.7",
    system="Linux",
    shared_free=10**9,
    shared_total=10**9,
    open_files=4096,
    inbox="/inbox",
    inbox_free=10**12,
)


class Nodes:
    """Fake nodes: `blocked` pairs can't connect; the node that `hangs` never answers."""

    target = "10.0.0.1:6379"
    settled = True

    def __init__(self, *names: str) -> None:
        self.nodes: Mapping[str, NodeInfo] = {name: NodeInfo(name, NodeState.ONLINE) for name in names}
        self.blocked: set[tuple[str, str]] = set()
        self.examined: dict[str, agent_orders.NodeInspection] = {}
        self.hanging = asyncio.Event()
        self.hangs = ""
        self.dialled: list[tuple[str, int]] = []

    def hello(self, node: str) -> agent_reports.AgentHello:
        return agent_reports.AgentHello(node, 1, f"addr-{node}", 7000, "host", "", "/inbox")

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        async with answer_within(node, seconds):
            return await self._answer(node, order)

    async def _answer(self, node: str, order: agent_orders.Order) -> agent_orders.OrderReply | None:
        if node == self.hangs:
            self.hanging.set()
            await asyncio.Event().wait()
        if isinstance(order, agent_orders.InspectNode):
            if node == "lost":
                raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
            reply = self.examined.get(node, FINE)
            return replace(reply, time=reply.time or time.time())
        assert isinstance(order, agent_orders.DialPeers)
        self.dialled.append((node, len(order.peers)))
        reasons = [(peer.node, (node, peer.node) in self.blocked) for peer in order.peers]
        return agent_orders.DialReply(
            tuple(
                agent_orders.DialResult(peer, 0.001, "timed out" if blocked else "")
                for peer, blocked in reasons
            )
        )


async def look(nodes: Nodes, status: ClusterStatus = READY) -> list[Check]:
    return list((await DiagnosisJobs(lambda event: None).diagnose("job", status, nodes)).checks)


def of_kind(checks: list[Check], kind: str) -> list[Check]:
    return [check for check in checks if check.kind == kind]


async def test_all_is_well() -> None:
    checks = await look(Nodes("a", "b", "c"))
    assert {check.state for check in checks if check.node} == {CheckState.GOOD}
    (connections,) = of_kind(checks, "connections")
    assert (connections.state, connections.values["count"]) == (CheckState.GOOD, "6")
    assert [check.node for check in of_kind(checks, "node")] == ["a", "b", "c"]
    (cluster,) = of_kind(checks, "cluster")
    assert cluster.values["target"] == "10.0.0.1:6379"
    assert of_kind(checks, "qt")[0].state is CheckState.GOOD


async def test_a_firewall_one_way_and_both_ways() -> None:
    nodes = Nodes("a", "b", "c")
    nodes.blocked = {("a", "b"), ("b", "c"), ("c", "b")}
    checks = await look(nodes)
    states = {(check.node, check.values["peer"]): check.state for check in of_kind(checks, "connection")}
    assert states == {
        ("a", "b"): CheckState.NOTICE,
        ("b", "c"): CheckState.BAD,
        ("c", "b"): CheckState.BAD,
    }
    (connections,) = of_kind(checks, "connections")
    assert (connections.state, connections.values["failed"]) == (CheckState.NOTICE, "3")
    assert of_kind(checks, "connection")[0].values["address"] == "addr-b:7000"


async def test_of_many_nodes_each_tries_its_neighbours() -> None:
    names = [f"n{number:02}" for number in range(ALL_PAIRS_MAX_NODES + 5)]
    nodes = Nodes(*names)
    nodes.blocked = {("n00", "n01"), (names[-1], "n00")}
    checks = await look(nodes)
    assert sorted(nodes.dialled) == [(name, NEIGHBOURS) for name in names]
    assert {check.node for check in of_kind(checks, "one_way")} == {"n00", names[-1]}


async def test_what_a_node_lacks() -> None:
    nodes = Nodes("far", "full", "small", "disk", "locked", "lost")
    nodes.examined = {
        "far": replace(FINE, time=time.time() - 3600),
        "full": replace(FINE, inbox_free=5),
        "small": replace(FINE, shared_free=10**6, open_files=256),
        "disk": replace(FINE, shared_free=16 * 10**6, shared_total=16 * 10**6, store="/tmp/ray"),
        "locked": replace(FINE, inbox_writable=False),
    }
    found = {(check.node, check.kind): check for check in await look(nodes)}
    assert found["far", "clock"].state is CheckState.NOTICE
    assert 3590 < int(found["far", "clock"].values["seconds"]) < 3610
    assert found["full", "clock"].state is CheckState.GOOD
    assert found["full", "room"].state is CheckState.NOTICE
    assert found["small", "shared_memory"].state is CheckState.NOTICE
    assert found["disk", "object_store"].state is CheckState.NOTICE
    assert found["disk", "object_store"].values["folder"] == "/tmp/ray"
    assert found["small", "open_files"].state is CheckState.NOTICE
    assert found["locked", "room"].state is CheckState.BAD
    assert found["lost", "node"].values == {"node": "lost", "because": "node_offline"}


async def test_nodes_that_are_not_there_are_not_asked() -> None:
    nodes = Nodes("a")
    nodes.nodes = {
        "a": NodeInfo("a", NodeState.STARTING),
        "b": NodeInfo("b", NodeState.OFFLINE),
    }
    checks = await look(nodes)
    assert [(check.kind, check.node) for check in checks if check.node] == [("starting", "a"), ("node", "b")]
    assert nodes.dialled == []


async def test_without_a_cluster_the_computer_is_looked_at_and_why_is_said() -> None:
    nothing = await look(Nodes(), ClusterStatus())
    assert of_kind(nothing, "cluster")[0].state is CheckState.NOTICE
    assert of_kind(nothing, "castray")
    assert not of_kind(nothing, "connections")
    failure = Failure(FailureKind.CLUSTER_UNREACHABLE, {"target": "x:1", "reason": "no"})
    failed = await look(Nodes(), ClusterStatus(ClusterPhase.FAILED, failure=failure))
    assert of_kind(failed, "cluster")[0].values["because"] == "cluster_unreachable"


async def test_progress_is_told_and_a_cancelled_one_gives_what_it_has() -> None:
    nodes = Nodes("a", "b")
    nodes.hangs = "b"
    told: list[DiagnosisProgress] = []
    diagnoses = DiagnosisJobs(told.append)
    looking = asyncio.create_task(diagnoses.diagnose("job", READY, nodes))
    async with asyncio.timeout(30):
        await nodes.hanging.wait()
        while told[-1].done < 4:  # noqa: ASYNC110 - all of the first round but the examination of b
            await asyncio.sleep(0.01)
    diagnoses.cancel("another")
    assert not looking.done()
    diagnoses.cancel("job")
    checks = list((await looking).checks)
    assert [check.node for check in of_kind(checks, "node")] == ["a"]
    assert told[0] == DiagnosisProgress("job", 0, told[0].total)
    assert [event.done for event in told] == sorted(event.done for event in told)
