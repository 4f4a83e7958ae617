"""The nodes of a cluster and their agents: placed, heard, lost, and placed again."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import THIS_COMPUTER, NodeInfo, NodeState
from castray_desktop.workers.casts.ledger import offline
from castray_desktop.workers.cluster.agent_calls import AgentCalls
from castray_desktop.workers.cluster.cluster_roles import ClusterListener
from castray_desktop.workers.cluster.deaths import Deaths
from castray_desktop.workers.cluster.expected_nodes import ExpectedNodes, added_node
from castray_desktop.workers.cluster.node_plan import may_be_named, own_name, with_facts
from castray_desktop.workers.cluster.pulse import SILENT_SECONDS, Pulse
from castray_desktop.workers.cluster.resting import Resting
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.who import find_node

PLACE_SECONDS = 30.0

GONE_SECONDS = 600.0
"""A Ray node that has gone stays in the list for so long, and as long as any cast has not ended."""

log = logging.getLogger("castray.cluster")


class Roster:
    """Which nodes there are. `counted` is called whenever their number, or that of those online, changed."""

    def __init__(
        self,
        places: Places,
        listener: ClusterListener,
        counted: Callable[[], None],
        clock: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._runtime_dir = str(places.socket.parent)
        self._engine = f"{own_name()}-{places.socket.stem}"
        self._listener = listener
        self._counted = counted
        self._clock = clock
        self._pause = pause
        self._pulse = Pulse(clock)
        self._calls = AgentCalls()
        self._send: Callable[[Any], None] | None = None  # to the driver, while there is one
        self._nodes: dict[str, NodeInfo] = {}
        self._placements: dict[str, protocol.PlaceAgent] = {}
        self._hellos: dict[str, protocol.AgentHello] = {}
        self._deaths = Deaths(clock)
        self._placed: set[str] = set()  # by the present driver
        self._resting = Resting(clock)
        self._waking: dict[str, asyncio.Future[None]] = {}
        self._stale: set[str] = set()  # nodes with facts that nobody has been told
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._gone: dict[str, float] = {}  # whose Ray node has gone, and when
        self._expected = ExpectedNodes(places)
        self._chores: set[asyncio.Task[None]] = set()

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

    async def call(self, node: str, order: protocol.Order) -> protocol.Answers | None:
        """Have an agent carry out an order, placing it again if it rests.

        Raises CastRayError, see `AgentCalls.call`.
        """
        await self._wake(node)
        if self._send is None or node not in self._hellos:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        return await self._calls.call(self._send, node, order)

    # --- the driver -----------------------------------------------------------------------------

    def connect(self, send: Callable[[Any], None], target: str) -> None:
        """From now on orders go there, to a driver for `target`."""
        self._send = send
        self._expected.begin(target)

    def disconnect(self) -> None:
        """There is no driver."""
        self._send = None

    def follow(self, ray_nodes: Sequence[protocol.RayNode], *, local: bool) -> None:
        """These Ray nodes are alive, the head first: place agents on new ones, part with those of others.

        The first node of a `local` cluster is this computer, with several agents.
        """
        plan = self._expected.plan(ray_nodes, local, self._is_away)
        for name in self._nodes.keys() - plan.keys():
            self._ray_node_gone(name)
        for info in plan.values():
            self._ray_node_there(info)
        self._counted()

    def _is_away(self, name: str) -> bool:
        node = self._nodes.get(name)
        return node is not None and node.state is NodeState.OFFLINE

    def _ray_node_there(self, info: NodeInfo) -> None:
        """Place an agent on it, unless there is one, or there will be."""
        placement = self._placements.get(info.name)
        if info.name in self._placed and info.name not in self._gone:
            if placement is not None and placement.node_id == info.node_id:
                return
            self._tell_driver(protocol.RemoveAgent(info.name))
            self._lose(info.name, offline(info.name))
        self._gone.pop(info.name, None)
        self._deaths.forget(info.name)
        self._place(info, placement.inbox if placement else self._expected.inbox(info.name))

    def _ray_node_gone(self, name: str) -> None:
        """Its agent has gone with it."""
        if name in self._gone:
            return
        log.warning("Ray has lost the node %s", name)
        self._gone[name] = self._clock()
        self._tell_driver(protocol.RemoveAgent(name))
        self._lose(name, offline(name))

    def forget_gone(self) -> None:
        """Take Ray nodes out of the list that have gone for long."""
        long_ago = self._clock() - GONE_SECONDS
        old = [name for name, since in self._gone.items() if since < long_ago]
        if old and not self._listener.unfinished_casts():
            for name in old:
                if not self._expected.is_added(name):
                    self._remove(name)

    def drop_agents(self, failure: Failure | None = None) -> None:
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
        self._placed.clear()
        self._resting.clear()

    def clear(self) -> None:
        """The cluster has been left; `drop_agents` came before."""
        names = tuple(self._nodes)
        self._nodes.clear()
        self._placements.clear()
        self._gone.clear()
        self._expected.clear()
        if names:
            self._listener.nodes_changed((), names)

    def part_with_silent(self) -> bool:
        """Part with agents that have gone silent. True when none says anything: it is the driver then."""
        silent = self._pulse.silent()
        if silent and self._hellos and self._hellos.keys() <= set(silent):
            log.error("nothing was heard of any agent for %.0f seconds", SILENT_SECONDS)
            self._pulse.clear()
            return True
        for name in silent:
            log.error("the agent of %s has gone silent", name)
            self._tell_driver(protocol.RemoveAgent(name))
            seconds = str(int(SILENT_SECONDS))
            self._agent_down(name, Failure(FailureKind.NODE_SILENT, {"node": name, "seconds": seconds}))
        return False

    # --- what the user asks for -----------------------------------------------------------------

    async def add(self, name: str, inbox: str, on: str = "") -> None:
        """Add a node beside another one, else this computer; it can be used when this returns.

        Raises CastRayError; the node does not exist then.
        """
        beside = find_node(on or THIS_COMPUTER, self._nodes)
        info = added_node(name, beside)
        self._expected.add(name, beside.name)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[name] = future
        try:
            self._place(info, inbox)
            async with asyncio.timeout(PLACE_SECONDS):
                await future
            self._expected.keep(name, inbox)
        except TimeoutError:
            self._remove(name)
            raise CastRayError(FailureKind.NODE_SILENT, node=name, seconds=int(PLACE_SECONDS)) from None
        except CastRayError:
            self._remove(name)
            raise
        finally:
            self._waiting.pop(name, None)

    def check_name(self, name: str) -> None:
        """Whether a node that is added may have this name. Raises CastRayError."""
        if not may_be_named(name):
            raise CastRayError(FailureKind.BAD_NODE_NAME, node=name)
        if name in self._nodes:
            raise CastRayError(FailureKind.NODE_EXISTS, node=name)

    def remove(self, name: str) -> None:
        """Remove a node that was added. Raises CastRayError."""
        node = self._nodes.get(name)
        if node is None:
            raise CastRayError(FailureKind.NODE_UNKNOWN, node=name, nodes=", ".join(self._nodes))
        if not node.removable:
            raise CastRayError(FailureKind.NODE_NOT_REMOVABLE, node=name)
        self._remove(name)
        self._expected.remove(name)

    # --- what the driver says -------------------------------------------------------------------

    def agent_up(self, hello: protocol.AgentHello) -> None:
        """An agent has been placed and answers."""
        if hello.node not in self._placements:  # removed meanwhile
            return
        log.info("the agent of %s is process %d, port %d", hello.node, hello.pid, hello.port)
        self._pulse.heard(hello.node)
        self._hellos[hello.node] = hello
        self._deaths.up(hello.node)
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
        self._awake(hello.node)
        self._listener.agent_up(hello.node)
        self._counted()

    def agent_lost(self, name: str, reason: str) -> None:
        """An agent could not be placed, or has died."""
        log.error("the agent of %s: %s", name, reason)
        never_up = name not in self._hellos
        self._agent_down(name, self._not_placed(name, reason) if never_up else offline(name))

    def _not_placed(self, name: str, reason: str) -> Failure:
        ports = self._placements[name].ports if name in self._placements else ""
        if ports and "already in use" in reason:
            return Failure(FailureKind.PORTS_TAKEN, {"node": name, "ports": ports})
        return Failure(FailureKind.AGENT_NOT_PLACED, {"node": name, "reason": reason.rstrip(".")})

    def reported(self, name: str, report: protocol.AgentReport) -> None:
        """An agent's report."""
        node = self._nodes.get(name)
        if node is None or name not in self._hellos:
            return
        self._pulse.heard(name)
        if report.facts is not None:
            self._nodes[name] = with_facts(node, report.facts, time.time())
            self._stale.add(name)
            if not node.disk_total:  # the first ones are awaited
                self.tell_facts()
        self._listener.agent_reported(name, report)

    def tell_facts(self) -> None:
        """Tell the listener of facts that are new. They are kept until then, since there are many."""
        changed = tuple(self._nodes[name] for name in self._stale if name in self._nodes)
        self._stale.clear()
        if changed:
            self._listener.nodes_changed(changed, ())

    def returned(self, returned: protocol.Returned) -> None:
        """The answer to a call."""
        self._calls.returned(returned)

    # --- inside ---------------------------------------------------------------------------------

    def _tell_driver(self, message: Any) -> None:
        if self._send is not None:
            self._send(message)

    def _place(self, info: NodeInfo, inbox: str) -> None:
        placement = protocol.PlaceAgent(
            name=info.name,
            inbox=inbox or str(Path("~/CastRay") / info.name),
            address=info.address,
            node_id=info.node_id,
            runtime_dir=self._runtime_dir,
            ports=os.environ.get("CASTRAY_DATA_PORTS", ""),
        )
        self._placements[info.name] = placement
        self._set_node(info)
        self._send_placement(placement)

    def _send_placement(self, placement: protocol.PlaceAgent) -> None:
        if self._send is not None:
            self._pulse.expect(placement.name)
            self._placed.add(placement.name)
            keep = self._listener.unfinished_casts()
            self._send(dataclasses.replace(placement, engine=self._engine, keep=keep))

    def _agent_down(self, name: str, failure: Failure) -> None:
        if name not in self._placements:
            return
        self._lose(name, failure)
        if (future := self._waiting.get(name)) and not future.done():
            future.set_exception(CastRayError.of(failure))
        self._counted()
        due = self._deaths.died(name)
        if name not in self._gone:
            chore = asyncio.create_task(self._replace_agent(name, due), name=f"replace agent {name}")
            self._chores.add(chore)
            chore.add_done_callback(self._chores.discard)

    def let_rest(self) -> None:
        """Remove agents that have had nothing to do for long; their nodes stay in the list as they are."""
        workers = [name for name in self._hellos if not self._nodes[name].this_computer]
        for name in self._resting.due(workers, busy=bool(self._listener.unfinished_casts())):
            log.info("the agent of %s rests", name)
            del self._hellos[name]
            self._pulse.forget(name)
            self._tell_driver(protocol.RemoveAgent(name))

    async def _wake(self, node: str) -> None:
        """See to it that a node has an agent which rested. Raises CastRayError(NODE_SILENT)."""
        if node in self._resting and node in self._placements:
            self._resting.used(node)
            self._waking[node] = asyncio.get_running_loop().create_future()
            self._set_node(msgspec.structs.replace(self._nodes[node], state=NodeState.STARTING))
            self._send_placement(self._placements[node])
        if (waking := self._waking.get(node)) is not None:
            await asyncio.wait([waking], timeout=PLACE_SECONDS)
        self._resting.used(node)

    def _awake(self, node: str) -> None:
        """Its agent is there, or will not be."""
        if (waking := self._waking.pop(node, None)) is not None and not waking.done():
            waking.set_result(None)

    async def _replace_agent(self, name: str, seconds: float) -> None:
        await self._pause(seconds)
        placement = self._placements.get(name)
        if placement is not None and name not in self._hellos and name not in self._gone:
            self._send_placement(placement)

    def _lose(self, name: str, failure: Failure) -> None:
        """The node can't be used now. Its place in the list stays."""
        self._pulse.forget(name)
        node = self._nodes.get(name)
        was_up = self._hellos.pop(name, None) is not None
        if node is not None:
            self._set_node(msgspec.structs.replace(node, state=NodeState.OFFLINE, failure=failure))
        self._calls.lost(name)
        self._awake(name)
        self._resting.used(name)
        if was_up:
            self._listener.agent_lost(name)

    def _remove(self, name: str) -> None:
        """Take the node out of the list, and its agent out of the cluster. Does nothing the second time."""
        if name not in self._nodes:
            return
        del self._placements[name]
        self._expected.forget(name)
        self._gone.pop(name, None)
        self._placed.discard(name)
        self._tell_driver(protocol.RemoveAgent(name))
        self._lose(name, offline(name))
        del self._nodes[name]
        self._deaths.forget(name)
        self._listener.nodes_changed((), (name,))
        self._counted()

    def _set_node(self, info: NodeInfo) -> None:
        if self._nodes.get(info.name) != info:
            self._nodes[info.name] = info
            self._stale.discard(info.name)
            self._listener.nodes_changed((info,), ())
