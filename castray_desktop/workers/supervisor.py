"""Keeps one cluster: starts its driver, again where that helps, and knows its nodes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import re
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, NodeInfo, NodeState
from castray_desktop.workers.driver_process import LOCAL_TARGET, DriverProcess
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side import protocol

ATTEMPTS = 3
BACK_OFF_SECONDS = (1.0, 3.0)
LOCAL_START_SECONDS = 60.0
ATTACH_SECONDS = 10.0
PLACE_SECONDS = 30.0
REPLACE_SECONDS = 1.0
REPLACE_TIMES = 3
DEMO_NODES = ("node_1", "node_2", "node_3")
LOOPBACK = "127.0.0.1"

_NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")

log = logging.getLogger("castray.cluster")


class ClusterListener(Protocol):
    """Whom the supervisor tells; called in the engine's loop."""

    def cluster_changed(self, status: ClusterStatus) -> None:
        """The cluster's state is another one."""

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """Nodes are new, have changed or are gone."""

    def agent_reported(self, node: str, report: protocol.AgentReport) -> None:
        """An agent's report."""

    def agent_lost(self, node: str) -> None:
        """A node can't send or receive any more."""


class ClusterSupervisor:
    """Owns the driver. `use` and `leave` return at once; the listener hears the rest."""

    def __init__(self, places: Places, listener: ClusterListener) -> None:
        self.status = ClusterStatus()
        self._places = places
        self._listener = listener
        self._nodes: dict[str, NodeInfo] = {}
        self._placements: dict[str, protocol.PlaceAgent] = {}
        self._hellos: dict[str, protocol.AgentHello] = {}
        self._deaths: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._calls: dict[int, asyncio.Future[protocol.Returned]] = {}
        self._numbers = itertools.count(1)
        self._driver: DriverProcess | None = None
        self._life: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()

    # --- what the engine asks for ---------------------------------------------------------------

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""
        return self._nodes

    def hello(self, node: str) -> protocol.AgentHello:
        """Where a node's agent can be reached. Raises CastRayError(NODE_OFFLINE)."""
        try:
            return self._hellos[node]
        except KeyError:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node) from None

    async def use(self, target: str) -> None:
        """Start or attach to a cluster in the background, after leaving the one before."""
        await self.leave()
        self._set_status(ClusterStatus(ClusterPhase.STARTING, target=target, attempts=ATTEMPTS))
        self._life = asyncio.create_task(self._live(target), name="cluster")

    async def leave(self) -> None:
        """Stop a local cluster, or detach. Nothing of it is left when this returns."""
        if self._life is not None:
            if self.status.phase is not ClusterPhase.FAILED:
                self._set_phase(ClusterPhase.STOPPING)
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
            self._life = None
        self._drop_all_nodes()
        if self.status.phase is not ClusterPhase.NONE:
            self._set_status(ClusterStatus())

    async def call(self, node: str, order: protocol.Order) -> protocol.PreflightReply | None:
        """Have an agent carry out an order. Raises CastRayError(NODE_OFFLINE) when it can't be reached."""
        driver = self._driver
        if driver is None or node not in self._hellos:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        number = next(self._numbers)
        future: asyncio.Future[protocol.Returned] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            driver.send(protocol.Call(number, node, order))
            returned = await future
        finally:
            self._calls.pop(number, None)
        if returned.error:
            log.warning("%s on %s: %s", type(order).__name__, node, returned.error)
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        return returned.reply

    async def add_node(self, name: str, inbox: str) -> None:
        """Add a node to the local cluster; it can be used when this returns. Raises CastRayError."""
        if _NODE_NAME.fullmatch(name) is None or name == "all":
            raise CastRayError(FailureKind.BAD_NODE_NAME, node=name)
        if name in self._nodes:
            raise CastRayError(FailureKind.NODE_EXISTS, node=name)
        if self.status.phase not in (ClusterPhase.READY, ClusterPhase.PLACING):
            raise CastRayError(FailureKind.NO_CLUSTER)
        own = next(node for node in self._nodes.values() if node.this_computer)
        placement = self._placement(name, LOOPBACK, self._placements[own.name].node_id, inbox)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        try:
            self._place(placement, NodeInfo(name, NodeState.STARTING, address=LOOPBACK, removable=True))
            async with asyncio.timeout(PLACE_SECONDS):
                await future
        except TimeoutError:
            await self.remove_node(name)
            raise CastRayError(FailureKind.NODE_SILENT, node=name, seconds=int(PLACE_SECONDS)) from None
        finally:
            self._waiting.pop(name, None)

    async def remove_node(self, name: str) -> None:
        """Remove a node that was added. Raises CastRayError."""
        node = self._nodes.get(name)
        if node is None:
            raise CastRayError(FailureKind.NODE_UNKNOWN, node=name, nodes=", ".join(self._nodes))
        if not node.removable:
            raise CastRayError(FailureKind.NODE_NOT_REMOVABLE, node=name)
        self._placements.pop(name, None)
        if self._driver is not None:
            self._driver.send(protocol.RemoveAgent(name))
        self._lose(name)
        self._forget_node(name)

    # --- the driver's life ----------------------------------------------------------------------

    async def _live(self, target: str) -> None:
        """Start drivers until one stays, at most `ATTEMPTS` in a row."""
        attempt = 1
        while True:
            failure = await self._drive(target, attempt)
            was_up = self.status.phase in (ClusterPhase.PLACING, ClusterPhase.READY)
            self._drop_agents()
            log.error("cluster %s, attempt %d of %d: %s", target, attempt, ATTEMPTS, failure)
            attempt = 1 if was_up else attempt + 1
            if attempt > ATTEMPTS or (target != LOCAL_TARGET and not was_up):
                self._give_up(failure)
                return
            phase = ClusterPhase.RECONNECTING if was_up else ClusterPhase.STARTING
            self._set_status(
                msgspec.structs.replace(
                    self.status, phase=phase, attempt=attempt, nodes_ready=0, failure=failure
                )
            )
            await asyncio.sleep(BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS)) - 1])

    def _give_up(self, failure: Failure) -> None:
        values = dict(failure.values) | {
            "attempts": str(ATTEMPTS),
            "log": str(self._places.log / "driver.log"),
        }
        self._set_status(
            ClusterStatus(
                ClusterPhase.FAILED, target=self.status.target, failure=Failure(failure.kind, values)
            )
        )

    async def _drive(self, target: str, attempt: int) -> Failure:
        """One driver from its start to its end. Returns why it ended."""
        try:
            driver = await DriverProcess.start(self._places, target)
        except OSError as error:
            return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": str(error)})
        self._driver = driver
        limit = LOCAL_START_SECONDS if target == LOCAL_TARGET else ATTACH_SECONDS
        failure = Failure(FailureKind.CLUSTER_START_FAILED, {"reason": "the driver has ended"})
        try:
            async with asyncio.timeout(limit) as timer:
                driver.send(protocol.StartCluster(target, str(driver.temp_dir)))
                async for message in driver.messages():
                    if isinstance(message, protocol.ClusterFailed):
                        failure = message.failure
                        break
                    if isinstance(message, protocol.ClusterUp):
                        timer.reschedule(None)
                    self._handle(message, target, attempt)
        except TimeoutError:
            values = {"target": target, "seconds": str(int(limit))}
            failure = Failure(FailureKind.CLUSTER_TIMED_OUT, values)
        finally:
            self._driver = None
            await driver.stop()
        return failure

    def _handle(self, message: object, target: str, attempt: int) -> None:
        match message:
            case protocol.ClusterUp():
                self._cluster_up(message, target, attempt)
            case protocol.AgentUp(hello):
                self._agent_up(hello)
            case protocol.AgentLost(name, reason):
                self._agent_down(name, reason)
            case protocol.Reported(name, report):
                self._reported(name, report)
            case protocol.Returned():
                future = self._calls.get(message.number)
                if future is not None and not future.done():
                    future.set_result(message)

    def _cluster_up(self, up: protocol.ClusterUp, target: str, attempt: int) -> None:
        log.info("connected to %s, Ray %s, Python %s", up.address, up.ray_version, up.python_version)
        if target == LOCAL_TARGET:
            self._plan_local_nodes(up.nodes[0])
        else:
            self._plan_nodes(up.nodes)
        self._set_status(
            ClusterStatus(
                ClusterPhase.PLACING,
                target=target,
                address=up.address,
                attempt=attempt,
                attempts=ATTEMPTS,
                nodes_total=len(self._nodes),
                cpus=sum(node.cpus for node in up.nodes),
                gpus=sum(node.gpus for node in up.nodes),
                memory=sum(node.memory for node in up.nodes),
                ray_version=up.ray_version,
                python_version=up.python_version,
            )
        )

    # --- nodes ----------------------------------------------------------------------------------

    def _plan_local_nodes(self, ray_node: protocol.RayNode) -> None:
        """This computer and the demo nodes: several agents on the one Ray node."""
        added = [name for name, node in self._nodes.items() if node.removable]
        for name in (own_name(), *DEMO_NODES, *added):
            previous = self._placements.get(name)
            placement = self._placement(
                name, ray_node.address, ray_node.node_id, previous.inbox if previous else ""
            )
            info = NodeInfo(
                name,
                NodeState.STARTING,
                address=ray_node.address,
                node_id=ray_node.node_id,
                this_computer=name == own_name(),
                removable=name in added,
            )
            self._place(placement, info)

    def _plan_nodes(self, ray_nodes: tuple[protocol.RayNode, ...]) -> None:
        """One agent for each live Ray node; equal host names are told apart by the address."""
        names = [node_name(node.hostname) for node in ray_nodes]
        for ray_node, short in zip(ray_nodes, names, strict=True):
            unique = names.count(short) == 1
            name = short if unique else node_name(f"{short}-{ray_node.address}")
            info = NodeInfo(
                name,
                NodeState.STARTING,
                address=ray_node.address,
                node_id=ray_node.node_id,
                this_computer=ray_node.mine,
                zone=ray_node.labels.get("ray.io/availability-zone", ""),
                gpus=ray_node.gpus,
                labels=ray_node.labels,
            )
            self._place(self._placement(name, ray_node.address, ray_node.node_id, ""), info)

    def _placement(self, name: str, address: str, node_id: str, inbox: str) -> protocol.PlaceAgent:
        return protocol.PlaceAgent(
            name=name,
            inbox=inbox or str(Path("~/CastRay") / name),
            address=address,
            node_id=node_id,
            runtime_dir=str(self._places.socket.parent),
            ports=os.environ.get("CASTRAY_DATA_PORTS", ""),
        )

    def _place(self, placement: protocol.PlaceAgent, info: NodeInfo) -> None:
        self._placements[placement.name] = placement
        self._set_node(info)
        if self._driver is not None:
            self._driver.send(placement)

    def _agent_up(self, hello: protocol.AgentHello) -> None:
        if hello.node not in self._nodes:  # removed meanwhile
            return
        log.info("the agent of %s is process %d, port %d", hello.node, hello.pid, hello.port)
        self._hellos[hello.node] = hello
        self._set_node(
            msgspec.structs.replace(
                self._nodes[hello.node],
                state=NodeState.ONLINE,
                inbox=hello.inbox,
                last_seen=time.time(),
                failure=None,
            )
        )
        if (future := self._waiting.get(hello.node)) and not future.done():
            future.set_result(None)
        self._count_ready()

    def _agent_down(self, name: str, reason: str) -> None:
        if name not in self._placements:
            return
        log.error("the agent of %s is lost: %s", name, reason)
        self._lose(name)
        if (future := self._waiting.get(name)) and not future.done():
            future.set_exception(CastRayError(FailureKind.NODE_OFFLINE, node=name))
        self._count_ready()
        self._deaths[name] = self._deaths.get(name, 0) + 1
        if self._deaths[name] <= REPLACE_TIMES:
            chore = asyncio.create_task(self._replace_agent(name), name=f"replace agent {name}")
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def _replace_agent(self, name: str) -> None:
        await asyncio.sleep(REPLACE_SECONDS * self._deaths[name])
        placement = self._placements.get(name)
        if placement is not None and name not in self._hellos and self._driver is not None:
            self._driver.send(placement)

    def _reported(self, name: str, report: protocol.AgentReport) -> None:
        node = self._nodes.get(name)
        if node is None or name not in self._hellos:
            return
        if report.facts is not None:
            facts = report.facts
            self._set_node(
                msgspec.structs.replace(
                    node,
                    cpus=facts.cpus,
                    memory=facts.memory,
                    memory_free=facts.memory_free,
                    disk_free=facts.disk_free,
                    disk_total=facts.disk_total,
                    load=facts.load,
                    last_seen=time.time(),
                )
            )
        self._listener.agent_reported(name, report)

    def _lose(self, name: str) -> None:
        """The node can't be used now. Its place in the list stays."""
        node = self._nodes.get(name)
        was_up = self._hellos.pop(name, None) is not None
        if node is not None and node.state is not NodeState.OFFLINE:
            failure = Failure(FailureKind.NODE_OFFLINE, {"node": name})
            self._set_node(msgspec.structs.replace(node, state=NodeState.OFFLINE, failure=failure))
        if was_up:
            self._listener.agent_lost(name)

    def _forget_node(self, name: str) -> None:
        self._nodes.pop(name, None)
        self._placements.pop(name, None)
        self._deaths.pop(name, None)
        self._listener.nodes_changed((), (name,))
        self._count_ready()

    def _drop_agents(self) -> None:
        """The driver has gone, and with it every agent."""
        for future in self._calls.values():
            if not future.done():
                future.set_result(protocol.Returned(0, error="the driver has ended"))
        for name in tuple(self._nodes):
            self._lose(name)
        self._deaths.clear()

    def _drop_all_nodes(self) -> None:
        self._drop_agents()
        names = tuple(self._nodes)
        self._nodes.clear()
        self._placements.clear()
        if names:
            self._listener.nodes_changed((), names)

    def _set_node(self, info: NodeInfo) -> None:
        if self._nodes.get(info.name) != info:
            self._nodes[info.name] = info
            self._listener.nodes_changed((info,), ())

    # --- status ---------------------------------------------------------------------------------

    def _count_ready(self) -> None:
        if self.status.phase not in (ClusterPhase.PLACING, ClusterPhase.READY):
            return
        ready = sum(node.state is NodeState.ONLINE for node in self._nodes.values())
        starting = any(node.state is NodeState.STARTING for node in self._nodes.values())
        placing = self.status.phase is ClusterPhase.PLACING and starting
        self._set_status(
            msgspec.structs.replace(
                self.status,
                phase=ClusterPhase.PLACING if placing else ClusterPhase.READY,
                nodes_ready=ready,
                nodes_total=len(self._nodes),
                failure=None,
            )
        )

    def _set_phase(self, phase: ClusterPhase) -> None:
        self._set_status(msgspec.structs.replace(self.status, phase=phase))

    def _set_status(self, status: ClusterStatus) -> None:
        if status != self.status:
            self.status = status
            self._listener.cluster_changed(status)


def node_name(text: str) -> str:
    """A node's name made from a host name or address: what names may not hold becomes a hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("-._")[:60] or "node"


def own_name() -> str:
    """The name of *this computer*."""
    return node_name(socket.gethostname())
