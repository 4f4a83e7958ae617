"""Real agents in this process, without Ray, controlled by the real cast manager."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol, json_codec
from castray_desktop.workers.agent.node_agent import NodeAgent
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS, answer_within
from castray_desktop.workers.casts.cast_manager import CastManager


class InProcess:
    """Implements `AgentDirectory`. Each agent has its own loopback address, and so counts as a machine.

    The first node is *this computer*. Inboxes are FOLDER/NAME.
    """

    settled = True
    target = "local"
    address = ""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder = folder
        self.cast_manager = CastManager(self, lambda event: None)
        self._names = names
        self._nodes: dict[str, NodeInfo] = {}
        self._hellos: dict[str, agent_reports.AgentHello] = {}
        self._agents: dict[str, NodeAgent] = {}
        self._reporting: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> InProcess:
        for number, name in enumerate(self._names):
            await self._place(name, f"127.0.0.{number + 1}", number == 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.cast_manager.close()
        for task in self._reporting:
            task.cancel()
        await asyncio.gather(*self._reporting, return_exceptions=True)
        for agent in self._agents.values():
            await agent.stop()

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""
        return self._nodes

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        """The address of a node's agent; None while it is offline."""
        return self._hellos[node] if node in self._agents else None

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        """Execute an order. Raises CastRayError, see `AgentDirectory`."""
        if node not in self._agents:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        async with answer_within(node, seconds):
            answer = await self._agents[node].order(json_codec.to_json(order))
        reply: agent_orders.OrderReply | None = (
            json_codec.from_json(answer, agent_orders.OrderReply) if answer else None
        )
        return reply

    async def lose(self, node: str) -> None:
        """End the node's agent as if it had been killed, but with its clean-up."""
        agent = self._agents.pop(node)
        await agent.stop()
        self._nodes[node] = NodeInfo(node, NodeState.OFFLINE, address=self._nodes[node].address)
        self.cast_manager.agent_lost(node)

    async def _place(self, name: str, address: str, first: bool) -> None:
        place = driver_protocol.PlaceAgent(
            name, str(self.folder / name), address, runtime_dir=str(self.folder / "run")
        )
        agent = NodeAgent(place)
        self._hellos[name] = json_codec.from_json(
            await agent.start(), agent_reports.AgentHello | agent_reports.AgentReport
        )
        self._agents[name] = agent
        self._nodes[name] = NodeInfo(name, NodeState.ONLINE, address=address, this_computer=first)
        self._reporting.append(asyncio.create_task(self._follow(name, agent), name=f"reports of {name}"))

    async def _follow(self, name: str, agent: NodeAgent) -> None:
        while True:
            said = json_codec.from_json(
                await agent.report(), agent_reports.AgentReport | agent_reports.AgentHello
            )
            if name in self._agents:
                self.cast_manager.agent_reported(name, said)
