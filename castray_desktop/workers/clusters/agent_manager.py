"""The agents of a cluster: places, monitors, replaces and calls them."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from castray_desktop.core.casts.node_selector import find_node
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import THIS_COMPUTER, ClusterStatus, NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol
from castray_desktop.core.protocol.nodes.data_variables import PORTS_VARIABLE
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS, answer_within
from castray_desktop.workers.casts.session.cast_status import offline_failure
from castray_desktop.workers.clusters.agent_liveness import (
    SILENT_SECONDS,
    Heartbeats,
    IdleShutdown,
    RestartBackoff,
)
from castray_desktop.workers.clusters.connection_status import CONNECTED_PHASES, ConnectionStatus
from castray_desktop.workers.clusters.node_inventory import (
    NodeInventory,
    added_node_info,
    is_valid_node_name,
    local_node_name,
    with_facts,
)

if TYPE_CHECKING:
    from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority

log = logging.getLogger("castray.cluster")


def new_certificate_authority() -> CertificateAuthority | None:
    """An authority for one cluster; None without the package that it needs."""
    try:  # here, since it takes a moment that only an engine with a cluster has to spend
        from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority
    except ImportError as error:
        log.warning("connections between machines are not encrypted: %s", error)
        return None
    return CertificateAuthority()


class PendingCalls:
    """Numbers calls and passes each answer to its waiting caller."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[str, asyncio.Future[driver_protocol.AgentCallResult]]] = {}
        self._numbers = itertools.count(1)

    async def call(
        self, send: Callable[[Any], None], node: str, order: agent_orders.Order
    ) -> agent_orders.OrderReply | None:
        """Send an order to an agent and wait for the answer.

        Raises CastRayError: NODE_OFFLINE when it can't be reached, INTERNAL when it could not do it.
        """
        number = next(self._numbers)
        future: asyncio.Future[driver_protocol.AgentCallResult] = asyncio.get_running_loop().create_future()
        self._waiting[number] = node, future
        try:
            send(driver_protocol.AgentCall(number, node, order))
            returned = await future
        finally:
            self._waiting.pop(number, None)
        if not returned.error:
            return returned.reply
        log.warning("%s on %s: %s", type(order).__name__, node, returned.error)
        if returned.raised:
            raise CastRayError(FailureKind.INTERNAL, reason=f"{node}: {returned.error}")
        raise CastRayError(FailureKind.NODE_OFFLINE, node=node)

    def returned(self, returned: driver_protocol.AgentCallResult) -> None:
        """Handle an answer."""
        _, future = self._waiting.get(returned.number, (None, None))
        if future is not None and not future.done():
            future.set_result(returned)

    def agent_lost(self, node: str) -> None:
        """Fail all calls to that node's agent."""
        for called, future in self._waiting.values():
            if called == node and not future.done():
                future.set_result(driver_protocol.AgentCallResult(0, error="the agent is lost"))


PLACE_SECONDS = 30.0

FORGET_NODE_SECONDS = 600.0
"""A lost Ray node stays in the list for this time, and until no cast is running."""


class ClusterListener(Protocol):
    """Gets the events of the cluster connection, in the engine's event loop."""

    def cluster_changed(self, status: ClusterStatus) -> None:
        """The cluster's state has changed."""

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """Nodes were added, changed or removed."""

    def agent_reported(self, node: str, report: agent_reports.AgentReport) -> None:
        """An agent sent a report."""

    def unfinished_casts(self) -> tuple[str, ...]:
        """Casts that have not ended."""

    def kept_casts(self) -> tuple[str, ...]:
        """Casts whose part files agents have to keep: unfinished ones, and those that may be retried."""

    def agent_up(self, node: str) -> None:
        """A node can send and receive; its agent is new."""

    def agent_lost(self, node: str) -> None:
        """A node can't send or receive now; it may come back."""

    async def cluster_leaving(self) -> None:
        """The cluster is left as soon as this returns; its agents still answer."""


class AgentManager:
    """The nodes of the cluster and their agents; implements `AgentDirectory`.

    `connection` counts the nodes and those that are online.
    """

    def __init__(
        self,
        paths: Paths,
        listener: ClusterListener,
        connection: ConnectionStatus,
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
        new_authority: Callable[[], CertificateAuthority | None] = new_certificate_authority,
    ) -> None:
        self._new_authority = new_authority
        self._authority: CertificateAuthority | None = None  # made with the first agent
        self._runtime_dir = str(paths.socket.parent)
        self._engine = f"{local_node_name()}-{paths.socket.stem}"
        self._listener = listener
        self._connection = connection
        self._clock = clock
        self._pause = pause
        self._heartbeats = Heartbeats(clock)
        self.calls = PendingCalls()
        self._send: Callable[[Any], None] | None = None  # sends to the driver, if there is one
        self.nodes: dict[str, NodeInfo] = {}
        self._placements: dict[str, driver_protocol.PlaceAgent] = {}
        self._hellos: dict[str, agent_reports.AgentHello] = {}
        self._backoff = RestartBackoff(clock)
        self._placed: set[str] = set()  # nodes with agents of the current driver
        self._idle = IdleShutdown(clock)
        self._starting: dict[str, asyncio.Future[Failure | None]] = {}  # what is waited for; why it failed
        self._unpublished: set[str] = set()  # nodes with unpublished facts
        self._gone: dict[str, float] = {}  # times at which Ray nodes were lost
        self._inventory = NodeInventory(paths)
        self._background = BackgroundTasks()

    @property
    def target(self) -> str:
        """The target of the cluster in use; empty for none."""
        return self._connection.status.target

    @property
    def address(self) -> str:
        """The address of its head; empty while it is not known."""
        return self._connection.status.address

    @property
    def settled(self) -> bool:
        """Whether an absent node counts as missing: not while the cluster is being connected."""
        return self._connection.settled

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        """The hello of a node's agent; None while it is offline."""
        return self._hellos.get(node)

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        """Send an order to an agent, after it has started; it is started if it was stopped.

        It may take `seconds` in all, and its start `ORDER_SECONDS` of these. Raises CastRayError, see
        `AgentDirectory`.
        """
        async with answer_within(node, seconds):
            async with answer_within(node, ORDER_SECONDS):
                await self._wait_for_start(node)
            if self._send is None or node not in self._hellos:
                raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
            return await self.calls.call(self._send, node, order)

    # --- the driver -----------------------------------------------------------------------------

    def connect(self, send: Callable[[Any], None], target: str) -> None:
        """Send orders to a driver for `target` from now on."""
        self._send = send
        self._inventory.begin(target)

    def disconnect(self) -> None:
        """There is no driver."""
        self._send = None

    def ray_nodes_changed(self, ray_nodes: Sequence[driver_protocol.RayNode]) -> None:
        """Handle the list of live Ray nodes, the head first: start agents on new ones, drop those of lost
        ones.
        """
        plan = self._inventory.plan(ray_nodes, self._is_away)
        for name in self.nodes.keys() - plan.keys():
            self._ray_node_gone(name)
        for info in plan.values():
            self._ray_node_found(info)
        self._connection.count(self.nodes.values())

    def _is_away(self, name: str) -> bool:
        node = self.nodes.get(name)
        return node is not None and node.state is NodeState.OFFLINE

    def _ray_node_found(self, info: NodeInfo) -> None:
        """Start an agent on it, unless there is or will be one."""
        placement = self._placements.get(info.name)
        if info.name in self._placed and info.name not in self._gone:
            if placement is not None and placement.node_id == info.node_id:
                return
            self._send_to_driver(driver_protocol.RemoveAgent(info.name, keep=True))
            self._mark_offline(info.name, offline_failure(info.name))
        self._gone.pop(info.name, None)
        self._backoff.forget_node(info.name)
        self._place(info, placement.inbox if placement else self._inventory.inbox(info.name))

    def _ray_node_gone(self, name: str) -> None:
        """The Ray node was lost together with its agent."""
        if name in self._gone:
            return
        log.warning("Ray has lost the node %s", name)
        self._gone[name] = self._clock()
        self._send_to_driver(driver_protocol.RemoveAgent(name, keep=True))
        self._mark_offline(name, offline_failure(name))

    def forget_gone_nodes(self) -> None:
        """Remove Ray nodes from the list that were lost long ago."""
        long_ago = self._clock() - FORGET_NODE_SECONDS
        old = [name for name, since in self._gone.items() if since < long_ago]
        if old and not self._listener.unfinished_casts():
            for name in old:
                if not self._inventory.is_added(name):
                    self._remove(name)

    def drop_agents(self, failure: Failure | None = None) -> None:
        """The driver and with it every agent has ended."""
        self._background.cancel()
        for name in tuple(self.nodes):
            self._mark_offline(name, failure or offline_failure(name))
        self._heartbeats.clear()
        self._backoff.clear()
        self._placed.clear()
        self._idle.clear()

    def clear(self) -> None:
        """The cluster was left; `drop_agents` was called before."""
        names = tuple(self.nodes)
        self.nodes.clear()
        self._placements.clear()
        self._gone.clear()
        self._inventory.clear()
        self._authority = None
        if names:
            self._listener.nodes_changed((), names)

    def drop_silent(self) -> bool:
        """Drop agents without reports. Returns True if all are silent: the driver has failed then."""
        silent = self._heartbeats.silent()
        if silent and self._hellos and self._hellos.keys() <= set(silent):
            log.error("no reports of any agent for %.0f seconds", SILENT_SECONDS)
            self._heartbeats.clear()
            return True
        for name in silent:
            log.error("no reports of the agent of %s", name)
            self._send_to_driver(driver_protocol.RemoveAgent(name, keep=True))
            seconds = str(int(SILENT_SECONDS))
            self._agent_down(name, Failure(FailureKind.NODE_SILENT, {"node": name, "seconds": seconds}))
        return False

    # --- what the user asks for -----------------------------------------------------------------

    async def add_node(self, name: str, inbox: str, on: str = "") -> None:
        """Add a node beside another one (default: this computer); it is usable when this returns.

        Raises CastRayError; the node was not added then.
        """
        if not is_valid_node_name(name):
            raise CastRayError(FailureKind.BAD_NODE_NAME, node=name)
        if name in self.nodes:
            raise CastRayError(FailureKind.NODE_EXISTS, node=name)
        if self._connection.phase not in CONNECTED_PHASES:
            raise CastRayError(FailureKind.NO_CLUSTER)
        beside = find_node(on or THIS_COMPUTER, self.nodes)
        info = added_node_info(name, beside)
        self._inventory.add_node(name, beside.name)
        try:
            self._place(info, inbox)
            async with answer_within(name, PLACE_SECONDS):
                failure = await self._wait_for_start(name)
            if failure is not None:
                raise CastRayError.of(failure)
            self._inventory.save_node(name, inbox)
        except CastRayError:
            self._remove(name)
            raise

    def remove_node(self, name: str) -> None:
        """Remove a node that was added. Raises CastRayError."""
        node = self.nodes.get(name)
        if node is None:
            raise CastRayError(FailureKind.NODE_UNKNOWN, node=name, nodes=", ".join(self.nodes))
        if not node.removable:
            raise CastRayError(FailureKind.NODE_NOT_REMOVABLE, node=name)
        self._remove(name)
        self._inventory.remove_saved_node(name)

    # --- what the driver says -------------------------------------------------------------------

    def agent_up(self, hello: agent_reports.AgentHello) -> None:
        """An agent has started."""
        if hello.node not in self._placements:  # removed meanwhile
            return
        log.info("the agent of %s is process %d, port %d", hello.node, hello.pid, hello.port)
        self._heartbeats.record(hello.node)
        self._hellos[hello.node] = hello
        self._backoff.agent_up(hello.node)
        self._set_node(
            msgspec.structs.replace(
                self.nodes[hello.node],
                state=NodeState.ONLINE,
                inbox=hello.inbox,
                last_seen=time.time(),
                failure=None,
            )
        )
        self._wake_waiters(hello.node)
        self._listener.agent_up(hello.node)
        self._connection.count(self.nodes.values())

    def agent_lost(self, name: str, reason: str) -> None:
        """An agent could not be started or has died."""
        log.error("the agent of %s: %s", name, reason)
        never_up = name not in self._hellos
        self._agent_down(name, self._not_placed(name, reason) if never_up else offline_failure(name))

    def _not_placed(self, name: str, reason: str) -> Failure:
        ports = self._placements[name].ports if name in self._placements else ""
        if ports and "already in use" in reason:
            return Failure(FailureKind.PORTS_TAKEN, {"node": name, "ports": ports})
        return Failure(FailureKind.AGENT_NOT_PLACED, {"node": name, "reason": reason.rstrip(".")})

    def reported(self, name: str, report: agent_reports.AgentReport) -> None:
        """An agent's report."""
        node = self.nodes.get(name)
        if node is None or name not in self._hellos:
            return
        self._heartbeats.record(name)
        if report.facts is not None:
            self.nodes[name] = with_facts(node, report.facts, time.time())
            self._unpublished.add(name)
            if not node.disk_total:  # the first facts are waited for
                self.publish_facts()
        self._listener.agent_reported(name, report)

    def publish_facts(self) -> None:
        """Publish changed facts. They are collected, since there are many."""
        changed = tuple(self.nodes[name] for name in self._unpublished if name in self.nodes)
        self._unpublished.clear()
        if changed:
            self._listener.nodes_changed(changed, ())

    # --- inside ---------------------------------------------------------------------------------

    def _send_to_driver(self, message: Any) -> None:
        if self._send is not None:
            self._send(message)

    def _place(self, info: NodeInfo, inbox: str) -> None:
        placement = driver_protocol.PlaceAgent(
            name=info.name,
            inbox=inbox or str(Path("~/CastRay") / info.name),
            address=info.address,
            node_id=info.node_id,
            runtime_dir=self._runtime_dir,
            ports=os.environ.get(PORTS_VARIABLE, ""),
        )
        self._placements[info.name] = placement
        self._set_node(info)
        self._send_placement(placement)

    def _send_placement(self, placement: driver_protocol.PlaceAgent) -> None:
        if self._send is not None:
            self._heartbeats.expect(placement.name)
            self._placed.add(placement.name)
            keep = self._listener.kept_casts()
            if self._authority is None:
                self._authority = self._new_authority()
            certificate = self._authority.issue(placement.name) if self._authority is not None else None
            self._send(
                dataclasses.replace(placement, engine=self._engine, keep=keep, certificate=certificate)
            )

    def _agent_down(self, name: str, failure: Failure) -> None:
        if name not in self._placements:
            return
        self._mark_offline(name, failure)
        self._connection.count(self.nodes.values())
        due = self._backoff.restart_delay(name)
        if name not in self._gone:
            self._background.run(self._replace_agent(name, due), f"replace agent {name}")

    def shut_down_idle(self) -> None:
        """Remove idle agents; their nodes stay in the list unchanged."""
        workers = [name for name in self._hellos if not self.nodes[name].this_computer]
        for name in self._idle.due(workers, busy=bool(self._listener.unfinished_casts())):
            log.info("removing the idle agent of %s", name)
            del self._hellos[name]
            self._heartbeats.forget_node(name)
            self._send_to_driver(driver_protocol.RemoveAgent(name))

    async def _wait_for_start(self, node: str) -> Failure | None:
        """Wait until the agent of a node has started, or return why it failed; start it if it was stopped."""
        if node in self._idle and node in self._placements:
            self._idle.record_use(node)
            self._set_node(msgspec.structs.replace(self.nodes[node], state=NodeState.STARTING))
            self._send_placement(self._placements[node])
        info, failure = self.nodes.get(node), None
        if info is not None and info.state is NodeState.STARTING:
            if node not in self._starting:
                self._starting[node] = asyncio.get_running_loop().create_future()
            starting = self._starting[node]
            await asyncio.wait([starting])  # which others may await as well
            failure = starting.result()
        self._idle.record_use(node)
        return failure

    def _wake_waiters(self, node: str, failure: Failure | None = None) -> None:
        """The agent has started, or else this is why it failed."""
        if (starting := self._starting.pop(node, None)) is not None:
            starting.set_result(failure)

    async def _replace_agent(self, name: str, seconds: float) -> None:
        await self._pause(seconds)
        placement = self._placements.get(name)
        if placement is not None and name not in self._hellos and name not in self._gone:
            self._send_placement(placement)

    def _mark_offline(self, name: str, failure: Failure) -> None:
        """Mark the node as offline; it stays in the list."""
        self._heartbeats.forget_node(name)
        node = self.nodes.get(name)
        was_up = self._hellos.pop(name, None) is not None
        if node is not None:
            self._set_node(msgspec.structs.replace(node, state=NodeState.OFFLINE, failure=failure))
        self.calls.agent_lost(name)
        self._wake_waiters(name, failure)
        self._idle.record_use(name)
        if was_up:
            self._listener.agent_lost(name)

    def _remove(self, name: str) -> None:
        """Remove the node and its agent. Does nothing the second time."""
        if name not in self.nodes:
            return
        del self._placements[name]
        self._inventory.forget_node(name)
        self._gone.pop(name, None)
        self._placed.discard(name)
        self._send_to_driver(driver_protocol.RemoveAgent(name))
        self._mark_offline(name, offline_failure(name))
        del self.nodes[name]
        self._backoff.forget_node(name)
        self._listener.nodes_changed((), (name,))
        self._connection.count(self.nodes.values())

    def _set_node(self, info: NodeInfo) -> None:
        if self.nodes.get(info.name) != info:
            self.nodes[info.name] = info
            self._unpublished.discard(info.name)
            self._listener.nodes_changed((info,), ())
