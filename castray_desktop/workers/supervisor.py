"""Keeps one cluster: starts its driver, again where that helps, and knows its nodes."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import THIS_COMPUTER, ClusterPhase, ClusterStatus, NodeInfo, NodeState
from castray_desktop.workers.driver_process import DriverProcess
from castray_desktop.workers.ledger import offline
from castray_desktop.workers.node_plan import attached_nodes, local_nodes, may_be_named, own_name
from castray_desktop.workers.places import Places
from castray_desktop.workers.pulse import CHECK_SECONDS, SILENT_SECONDS, Pulse
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.tasks import to_the_end
from castray_desktop.workers.who import find_node

ATTEMPTS = 3
BACK_OFF_SECONDS = (1.0, 3.0)
LOCAL_START_SECONDS = 60.0
ATTACH_SECONDS = 10.0
PLACE_SECONDS = 30.0
REPLACE_SECONDS = 1.0
REPLACE_TIMES = 3
STEADY_SECONDS = 60.0
"""What an agent died of before it has run for so long does not count any more."""

_UP = (ClusterPhase.PLACING, ClusterPhase.READY)
_WORKING = (ClusterPhase.STARTING, ClusterPhase.RECONNECTING, *_UP)

log = logging.getLogger("castray.cluster")


class ClusterListener(Protocol):
    """Whom the supervisor tells; called in the engine's loop."""

    def cluster_changed(self, status: ClusterStatus) -> None:
        """The cluster's state is another one."""

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """Nodes are new, have changed or are gone."""

    def agent_reported(self, node: str, report: protocol.AgentReport) -> None:
        """An agent's report."""

    def unfinished_casts(self) -> tuple[str, ...]:
        """What agents keep the part files of."""

    def agent_up(self, node: str) -> None:
        """A node can send and receive; its agent is a new one."""

    def agent_lost(self, node: str) -> None:
        """A node can't send or receive now. It may come back."""

    async def cluster_leaving(self) -> None:
        """The cluster is going to be left as soon as this returns. Its agents still answer."""


class Driver(Protocol):
    """What the supervisor needs of a `DriverProcess`."""

    @property
    def temp_dir(self) -> Path:
        """For the files of a local cluster."""

    def send(self, message: Any) -> None:
        """Send an order."""

    def messages(self) -> AsyncIterator[Any]:
        """What the driver says, until its end. Raises ValueError when that makes no sense."""

    def hang_up(self) -> None:
        """End `messages`."""

    async def stop(self) -> None:
        """End the driver and everything that it started."""


class ClusterSupervisor:
    """Owns the driver. The listener hears what becomes of it."""

    def __init__(
        self,
        places: Places,
        listener: ClusterListener,
        *,
        start_driver: Callable[[Places, str], Awaitable[Driver]] = DriverProcess.start,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.status = ClusterStatus()
        self._places = places
        self._engine = f"{own_name()}-{places.socket.stem}"
        self._listener = listener
        self._start_driver = start_driver
        self._clock = clock
        self._pause = pause
        self._pulse = Pulse(clock)
        self._nodes: dict[str, NodeInfo] = {}
        self._placements: dict[str, protocol.PlaceAgent] = {}
        self._hellos: dict[str, protocol.AgentHello] = {}
        self._up_since: dict[str, float] = {}
        self._deaths: dict[str, int] = {}
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._calls: dict[int, tuple[str, asyncio.Future[protocol.Returned]]] = {}
        self._numbers = itertools.count(1)
        self._driver: Driver | None = None
        self._life: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()  # one change of the cluster at a time
        self._chores: set[asyncio.Task[None]] = set()

    # --- what the engine asks for ---------------------------------------------------------------

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""
        return self._nodes

    @property
    def target(self) -> str:
        """The cluster that is in use, as it was asked for; empty for none."""
        return self.status.target

    @property
    def settled(self) -> bool:
        """Whether a node that is not there is missing: not while the cluster itself is being connected to."""
        return self.status.phase in (ClusterPhase.READY, ClusterPhase.FAILED, ClusterPhase.NONE)

    def hello(self, node: str) -> protocol.AgentHello:
        """Where a node's agent can be reached. Raises CastRayError(NODE_OFFLINE)."""
        try:
            return self._hellos[node]
        except KeyError:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node) from None

    async def use(self, target: str) -> None:
        """Start or attach to a cluster in the background, after leaving the one before.

        Does nothing when that very cluster is in use already, or on its way.
        """
        async with self._changing:
            if self.status.target == target and self.status.phase in _WORKING:
                return
            await to_the_end(self._leave())
            self._set_status(ClusterStatus(ClusterPhase.STARTING, target=target, attempts=ATTEMPTS))
            self._life = asyncio.create_task(self._live(target), name="cluster")

    async def leave(self) -> None:
        """Stop a local cluster, or detach. Nothing of it is left when this returns."""
        async with self._changing:
            await to_the_end(self._leave())

    async def call(self, node: str, order: protocol.Order) -> protocol.Answers | None:
        """Have an agent carry out an order.

        Raises CastRayError: NODE_OFFLINE when it can't be reached, INTERNAL when it could not do it.
        """
        driver = self._driver
        if driver is None or node not in self._hellos:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        number = next(self._numbers)
        future: asyncio.Future[protocol.Returned] = asyncio.get_running_loop().create_future()
        self._calls[number] = node, future
        try:
            driver.send(protocol.Call(number, node, order))
            returned = await future
        finally:
            self._calls.pop(number, None)
        if returned.error:
            log.warning("%s on %s: %s", type(order).__name__, node, returned.error)
            if returned.raised:
                raise CastRayError(FailureKind.INTERNAL, reason=f"{node}: {returned.error}")
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        return returned.reply

    async def add_node(self, name: str, inbox: str, on: str = "") -> None:
        """Add a node beside another one, else this computer; it can be used when this returns.

        Raises CastRayError; the node does not exist then.
        """
        if not may_be_named(name):
            raise CastRayError(FailureKind.BAD_NODE_NAME, node=name)
        if name in self._nodes:
            raise CastRayError(FailureKind.NODE_EXISTS, node=name)
        if self.status.phase not in _UP:
            raise CastRayError(FailureKind.NO_CLUSTER)
        beside = find_node(on or THIS_COMPUTER, self._nodes)
        info = NodeInfo(
            name, NodeState.STARTING, address=beside.address, node_id=beside.node_id, removable=True
        )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        try:
            self._place(info, inbox)
            async with asyncio.timeout(PLACE_SECONDS):
                await future
        except TimeoutError:
            self._remove(name)
            raise CastRayError(FailureKind.NODE_SILENT, node=name, seconds=int(PLACE_SECONDS)) from None
        except CastRayError:
            self._remove(name)
            raise
        finally:
            self._waiting.pop(name, None)

    async def remove_node(self, name: str) -> None:
        """Remove a node that was added. Raises CastRayError."""
        node = self._nodes.get(name)
        if node is None:
            raise CastRayError(FailureKind.NODE_UNKNOWN, node=name, nodes=", ".join(self._nodes))
        if not node.removable:
            raise CastRayError(FailureKind.NODE_NOT_REMOVABLE, node=name)
        self._remove(name)

    def check_pulse(self) -> None:
        """Part with agents that have gone silent, or with the driver when none says anything."""
        silent = self._pulse.silent()
        if silent and self._driver is not None and self._hellos and self._hellos.keys() <= set(silent):
            log.error("nothing was heard of any agent for %.0f seconds", SILENT_SECONDS)
            self._pulse.clear()
            self._driver.hang_up()
            return
        for name in silent:
            log.error("the agent of %s has gone silent", name)
            if self._driver is not None:
                self._driver.send(protocol.RemoveAgent(name))
            seconds = str(int(SILENT_SECONDS))
            self._agent_down(name, Failure(FailureKind.NODE_SILENT, {"node": name, "seconds": seconds}))

    # --- the driver's life ----------------------------------------------------------------------

    async def _leave(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            if self.status.phase is not ClusterPhase.FAILED:
                self._set_phase(ClusterPhase.STOPPING)
            await self._listener.cluster_leaving()
            life.cancel()
            await asyncio.wait([life])
        self._drop_agents(Failure(FailureKind.CLUSTER_STOPPED))
        names = tuple(self._nodes)
        self._nodes.clear()
        self._placements.clear()
        if names:
            self._listener.nodes_changed((), names)
        if self.status.phase is not ClusterPhase.NONE:
            self._set_status(ClusterStatus())

    async def _live(self, target: str) -> None:
        try:
            await self._keep_driving(target)
        except Exception as error:
            log.exception("cluster %s", target)
            self._drop_agents()
            self._give_up(Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"}), 1)

    async def _keep_driving(self, target: str) -> None:
        """Start drivers until one stays, at most `ATTEMPTS` in a row.

        The address of another cluster is tried once, unless it has been right before.
        """
        attempt, been_up = 1, False
        while True:
            failure = await self._drive(target, attempt)
            log.error("cluster %s, attempt %d of %d: %s", target, attempt, ATTEMPTS, failure)
            been_up = been_up or self.status.phase in _UP
            was_ready = self.status.phase is ClusterPhase.READY
            self._drop_agents()
            limit = ATTEMPTS if been_up or target == protocol.LOCAL_TARGET else 1
            if attempt >= limit and not was_ready:
                self._give_up(failure, attempt)
                return
            attempt = 1 if was_ready else attempt + 1
            phase = ClusterPhase.RECONNECTING if been_up else ClusterPhase.STARTING
            failure = self._detailed(failure, attempt)
            self._set_status(
                msgspec.structs.replace(
                    self.status, phase=phase, attempt=attempt, nodes_ready=0, failure=failure
                )
            )
            await self._pause(BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS)) - 1])

    def _give_up(self, failure: Failure, attempts: int) -> None:
        failure = self._detailed(failure, attempts)
        self._set_status(ClusterStatus(ClusterPhase.FAILED, target=self.status.target, failure=failure))

    def _detailed(self, failure: Failure, attempts: int) -> Failure:
        """With what its sentence names beside the reason."""
        log_file = str(self._places.log / "driver.log")
        return Failure(failure.kind, failure.values | {"attempts": str(attempts), "log": log_file})

    async def _drive(self, target: str, attempt: int) -> Failure:
        """One driver from its start to its end. Returns why it ended."""
        try:
            driver = await self._start_driver(self._places, target)
        except OSError as error:
            return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": str(error)})
        self._driver = driver
        watching = asyncio.create_task(self._watch(), name="watch agents")
        limit = LOCAL_START_SECONDS if target == protocol.LOCAL_TARGET else ATTACH_SECONDS
        try:
            async with asyncio.timeout(limit) as timer:
                driver.send(protocol.StartCluster(target, str(driver.temp_dir)))
                async for message in driver.messages():
                    if isinstance(message, protocol.ClusterFailed):
                        return message.failure
                    if isinstance(message, protocol.ClusterUp):
                        timer.reschedule(None)
                    self._handle(message, target, attempt)
        except TimeoutError:
            values = {"target": target, "seconds": str(int(limit))}
            return Failure(FailureKind.CLUSTER_TIMED_OUT, values)
        except ValueError as error:
            log.exception("the driver")
            return Failure(FailureKind.INTERNAL, {"reason": str(error)})
        finally:
            watching.cancel()
            self._driver = None
            await driver.stop()
        return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": "the driver has ended"})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check_pulse()

    def _handle(self, message: object, target: str, attempt: int) -> None:
        match message:
            case protocol.ClusterUp():
                self._cluster_up(message, target, attempt)
            case protocol.AgentUp(hello):
                self._agent_up(hello)
            case protocol.AgentLost(name, reason):
                log.error("the agent of %s: %s", name, reason)
                never_up = name not in self._hellos
                values = {"reason": f"{name}: {reason}"}
                self._agent_down(name, Failure(FailureKind.INTERNAL, values) if never_up else offline(name))
            case protocol.Reported(name, report):
                self._reported(name, report)
            case protocol.Returned():
                self._returned(message)

    def _cluster_up(self, up: protocol.ClusterUp, target: str, attempt: int) -> None:
        log.info("connected to %s, Ray %s, Python %s", up.address, up.ray_version, up.python_version)
        if target == protocol.LOCAL_TARGET:
            added = [name for name, node in self._nodes.items() if node.removable]
            planned = local_nodes(up.nodes[0], added)
        else:
            planned = attached_nodes(up.nodes)
        for info in planned:
            previous = self._placements.get(info.name)
            self._place(info, previous.inbox if previous else "")
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

    def _place(self, info: NodeInfo, inbox: str) -> None:
        placement = protocol.PlaceAgent(
            name=info.name,
            inbox=inbox or str(Path("~/CastRay") / info.name),
            address=info.address,
            node_id=info.node_id,
            runtime_dir=str(self._places.socket.parent),
            ports=os.environ.get("CASTRAY_DATA_PORTS", ""),
        )
        self._placements[info.name] = placement
        self._set_node(info)
        self._send_placement(placement)

    def _send_placement(self, placement: protocol.PlaceAgent) -> None:
        if self._driver is not None:
            self._pulse.expect(placement.name)
            keep = self._listener.unfinished_casts()
            self._driver.send(dataclasses.replace(placement, engine=self._engine, keep=keep))

    def _agent_up(self, hello: protocol.AgentHello) -> None:
        if hello.node not in self._placements:  # removed meanwhile
            return
        log.info("the agent of %s is process %d, port %d", hello.node, hello.pid, hello.port)
        self._pulse.heard(hello.node)
        self._hellos[hello.node] = hello
        self._up_since[hello.node] = self._clock()
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
        self._listener.agent_up(hello.node)
        self._count_ready()

    def _agent_down(self, name: str, failure: Failure) -> None:
        if name not in self._placements:
            return
        self._lose(name, failure)
        if (future := self._waiting.get(name)) and not future.done():
            future.set_exception(CastRayError.of(failure))
        self._count_ready()
        if self._clock() - self._up_since.pop(name, self._clock()) > STEADY_SECONDS:
            self._deaths.pop(name, None)
        self._deaths[name] = self._deaths.get(name, 0) + 1
        if self._deaths[name] <= REPLACE_TIMES:
            chore = asyncio.create_task(self._replace_agent(name), name=f"replace agent {name}")
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    async def _replace_agent(self, name: str) -> None:
        await self._pause(REPLACE_SECONDS * self._deaths[name])
        placement = self._placements.get(name)
        if placement is not None and name not in self._hellos:
            self._send_placement(placement)

    def _reported(self, name: str, report: protocol.AgentReport) -> None:
        node = self._nodes.get(name)
        if node is None or name not in self._hellos:
            return
        self._pulse.heard(name)
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

    def _returned(self, returned: protocol.Returned) -> None:
        _, future = self._calls.get(returned.number, (None, None))
        if future is not None and not future.done():
            future.set_result(returned)

    def _lose(self, name: str, failure: Failure) -> None:
        """The node can't be used now. Its place in the list stays."""
        self._pulse.forget(name)
        node = self._nodes.get(name)
        was_up = self._hellos.pop(name, None) is not None
        if node is not None:
            self._set_node(msgspec.structs.replace(node, state=NodeState.OFFLINE, failure=failure))
        for called, future in self._calls.values():
            if called == name and not future.done():
                future.set_result(protocol.Returned(0, error="the agent is lost"))
        if was_up:
            self._listener.agent_lost(name)

    def _remove(self, name: str) -> None:
        """Take the node out of the list, and its agent out of the cluster. Does nothing the second time."""
        if name not in self._nodes:
            return
        del self._placements[name]
        if self._driver is not None:
            self._driver.send(protocol.RemoveAgent(name))
        self._lose(name, offline(name))
        del self._nodes[name]
        self._deaths.pop(name, None)
        self._up_since.pop(name, None)
        self._listener.nodes_changed((), (name,))
        self._count_ready()

    def _drop_agents(self, failure: Failure | None = None) -> None:
        """The driver has gone, and with it every agent."""
        for chore in self._chores:
            chore.cancel()
        for name in tuple(self._nodes):
            self._lose(name, failure or offline(name))
        for name, future in self._waiting.items():
            if not future.done():
                future.set_exception(CastRayError.of(failure or offline(name)))
        self._pulse.clear()
        self._deaths.clear()
        self._up_since.clear()

    def _set_node(self, info: NodeInfo) -> None:
        if self._nodes.get(info.name) != info:
            self._nodes[info.name] = info
            self._listener.nodes_changed((info,), ())

    # --- status ---------------------------------------------------------------------------------

    def _count_ready(self) -> None:
        if self.status.phase not in _UP:
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
