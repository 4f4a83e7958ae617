"""Real agents in the hosts of a laboratory, without Ray, controlled by the engine's cast manager.

    with Lab(4, "1gbit") as lab:
        async with lab_nodes(lab) as nodes:
            cast = nodes.cast_manager.send(SendRequest(("/tmp/file",), ("all",), source="h0"))
            result = await nodes.cast_manager.result(cast)

The same classes as in a cluster run: `NodeAgent` in each host, `CastManager` here. They are connected by
pipes instead of Ray's calls. The local transport is off, and every node has its own inbox on a tmpfs.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import msgspec

from benchmarks.laboratory.lab import Host, Lab, LoopbackHosts, inside
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import DeliverySnapshot, Event, NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol, json_codec
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS, answer_within
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.clusters.agent_liveness import CHECK_SECONDS, Heartbeats
from castray_desktop.workers.clusters.certificate_authority import CertificateAuthority

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
LOOK_SECONDS = 0.02
"""Seconds between two passes over all deliveries, which take processor time from the agents."""

STOP_SECONDS = 5.0


@dataclass
class Agent:
    """An agent's process and its pipes."""

    process: asyncio.subprocess.Process
    hello: agent_reports.AgentHello
    reading: asyncio.Task[None] | None = None
    calls: dict[int, asyncio.Future[driver_protocol.AgentCallResult]] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """The resources that an agent's process has used since `LabNodes.reset_usage`."""

    cpu: float  # seconds
    growth: int  # peak bytes of resident memory, above the value at the reset


class LabNodes:
    """The nodes of a laboratory; implements `AgentDirectory`. A node has the name of its host."""

    target = "laboratory"
    address = ""

    def __init__(
        self,
        lab: Lab | LoopbackHosts,
        folder: Path,
        environment: Mapping[str, str],
        services: CastServices | None = None,
    ) -> None:
        self.lab = lab
        self.folder = folder
        self.listeners: list[Callable[[Event], None]] = []  # receive the events of a client
        self.cast_manager = CastManager(self, self._tell, services)
        self.sources: dict[str, agent_reports.SourceReport] = {}
        """The last report on each cast by its source."""
        self.reports: dict[tuple[str, str], agent_reports.DeliveryReport] = {}
        """The last report by cast and recipient."""
        self.stop_seconds = STOP_SECONDS
        self.stuck: list[str] = []
        """Nodes whose agents had to be killed at the end."""
        self._environment = environment
        self._authority = CertificateAuthority()
        self._nodes = {host.name: NodeInfo(host.name, NodeState.STARTING) for host in lab.hosts}
        self._agents: dict[str, Agent] = {}
        self._detours: dict[str, tuple[str, int]] = {}
        self._before: dict[str, tuple[float, int]] = {}
        self._numbers = itertools.count(1)
        self._news = asyncio.Event()
        self._pulse = Heartbeats(time.monotonic)
        self._watching = asyncio.create_task(self._watch(), name="watch agents")

    # --- as casts see the nodes -----------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether an absent node counts as missing; always true here."""
        return True

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""
        return self._nodes

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        """The address of a node's agent; None while it is offline."""
        agent = self._agents.get(node)
        hello = agent.hello if agent is not None else None
        if hello is not None and node in self._detours:
            address, port = self._detours[node]
            return agent_reports.AgentHello(**vars(hello) | {"address": address, "port": port})
        return hello

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        """Execute an order. Raises CastRayError, see `AgentDirectory`."""
        agent, number = self._agent(node), next(self._numbers)
        answer: asyncio.Future[driver_protocol.AgentCallResult] = asyncio.get_running_loop().create_future()
        agent.calls[number] = answer
        try:
            self._write(agent, driver_protocol.AgentCall(number, node, order))
            async with answer_within(node, seconds):
                returned = await answer
        finally:
            del agent.calls[number]
        if returned.raised:
            raise CastRayError(FailureKind.INTERNAL, reason=f"{node}: {returned.error}")
        if returned.error:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        return returned.reply

    # --- starting and ending --------------------------------------------------------------------------

    async def place(
        self,
        host: Host,
        zone: str = "",
        inbox: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        module: str = "benchmarks.laboratory.lab_agent",
    ) -> None:
        """Start the agent of a host, the first one or a replacement for a lost one. Raises RuntimeError.

        `environment` has variables of this agent alone, `module` is what its process runs.
        """
        name = host.name
        before = self._nodes[name]
        place = driver_protocol.PlaceAgent(
            name=name,
            inbox=str(inbox or before.inbox or self.folder / name),
            address=host.address,
            runtime_dir=str(self.folder),
            engine=str(self.folder),
            keep=tuple(cast.cast for cast in self.cast_manager.summaries() if not cast.state.finished),
            certificate=self._authority.issue(name),
        )
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await self._start(host, log, module, {**self._environment, **(environment or {})})
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json_codec.to_json(place) + b"\n")
        up = None
        try:
            async with asyncio.timeout(START_SECONDS):
                up = json_codec.from_json(await process.stdout.readline(), driver_protocol.FromDriver)
        except (TimeoutError, ValueError) as error:
            said = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"the agent of {name} did not start: {said}") from error
        finally:
            if up is None:  # also when this is cancelled
                if process.returncode is None:
                    process.kill()
                await process.wait()
        agent = self._agents[name] = Agent(process, up.hello)
        agent.reading = asyncio.create_task(self._read(name, agent), name=f"agent {name}")
        self._pulse.record(name)
        self._nodes[name] = NodeInfo(
            name,
            NodeState.ONLINE,
            address=host.address,
            inbox=place.inbox,
            zone=zone or before.zone,
            this_computer=host == self.lab.hosts[0],
        )
        self.cast_manager.agent_up(name)
        self._news.set()

    async def _start(
        self, host: Host, log: IO[bytes], module: str, environment: Mapping[str, str]
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *inside(host, [sys.executable, "-m", module]),
            cwd=ROOT,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            limit=driver_protocol.LINE_LIMIT,
        )

    async def kill(self, node: str) -> None:
        """Kill the node's agent; when this returns, its loss is known."""
        agent = self._agent(node)
        agent.process.kill()
        if agent.reading is not None:
            await agent.reading

    def freeze(self, node: str) -> None:
        """Suspend the node's agent: it sends nothing, but its sockets stay open."""
        self._agent(node).process.send_signal(signal.SIGSTOP)

    def detour(self, node: str, address: str, port: int) -> None:
        """From now on other nodes are told to use this address for the node."""
        self._detours[node] = (address, port)

    def straight(self, node: str) -> None:
        """Other nodes use the node's own address again."""
        self._detours.pop(node, None)

    async def close(self) -> None:
        """End the casts and the agents. Raises nothing; agents that do not stop are killed."""
        await self.cast_manager.close()
        self._watching.cancel()
        agents = [agent for agent in self._agents.values() if agent.reading is not None]
        for agent in agents:
            if agent.process.stdin is not None:
                agent.process.stdin.close()
        readings = [agent.reading for agent in agents if agent.reading is not None]
        if readings:
            await asyncio.wait(readings, timeout=self.stop_seconds)
        self.stuck += [agent.hello.node for agent in agents if agent.process.returncode is None]
        for agent in agents:
            if agent.process.returncode is None:
                agent.process.kill()
        if readings:
            await asyncio.wait(readings, timeout=self.stop_seconds)
        with contextlib.suppress(asyncio.CancelledError):
            await self._watching

    # --- observing ------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)
        self._news.set()

    async def until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition that a report or an event of a cast changes. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not done():
                self._news.clear()
                await self._news.wait()
                await asyncio.sleep(LOOK_SECONDS)

    async def ended(self, cast: str, nodes: Sequence[str], seconds: float) -> dict[str, DeliverySnapshot]:
        """The deliveries to these recipients after they have ended. Raises TimeoutError."""

        def deliveries() -> dict[str, DeliverySnapshot]:
            return {item.node: item for item in self.cast_manager.deliveries()[cast] if item.node in nodes}

        await self.until(lambda: all(item.state.finished for item in deliveries().values()), seconds)
        return deliveries()

    def usage(self) -> dict[str, Usage]:
        """The resources that each running agent has used since `reset_usage`."""
        found = {}
        for node, (cpu, memory) in self._before.items():
            with contextlib.suppress(OSError, CastRayError):
                now = self._measure(node, "VmHWM")
                found[node] = Usage(now[0] - cpu, now[1] - memory)
        return found

    def reset_usage(self) -> None:
        """Start counting."""
        for node in self._agents:
            with contextlib.suppress(OSError, CastRayError):
                Path(f"/proc/{self._agent(node).process.pid}/clear_refs").write_text("5")
        self._before = {node: self._measure(node, "VmRSS") for node in self._agents}

    def memory(self) -> dict[str, int]:
        """Resident bytes of each running agent."""
        return {node: self._measure(node, "VmRSS")[1] for node in self._agents}

    def _measure(self, node: str, memory: str) -> tuple[float, int]:
        """CPU seconds and one of the memory figures. Raises OSError, CastRayError."""
        folder = Path(f"/proc/{self._agent(node).process.pid}")
        ticks = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), int(status[memory].split()[0]) << 10

    # --- inside ---------------------------------------------------------------------------------

    def _agent(self, node: str) -> Agent:
        agent = self._agents.get(node)
        if agent is None:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        return agent

    def _write(self, agent: Agent, message: object) -> None:
        assert agent.process.stdin is not None
        agent.process.stdin.write(json_codec.to_json(message) + b"\n")

    async def _read(self, node: str, agent: Agent) -> None:
        """Forward an agent's output until it ends."""
        assert agent.process.stdout is not None
        while text := await agent.process.stdout.readline():
            message = json_codec.from_json(text, driver_protocol.FromDriver)
            if isinstance(message, driver_protocol.AgentCallResult):
                answer = agent.calls.get(message.number)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            elif isinstance(message, driver_protocol.Reported) and self._agents.get(node) is agent:
                self._reported(node, message.report)
        await agent.process.wait()
        self._lose(node, agent)

    def _reported(self, node: str, report: agent_reports.AgentReport) -> None:
        self._pulse.record(node)
        self.sources |= {source.cast: source for source in report.sources}
        self.reports |= {(delivery.cast, node): delivery for delivery in report.deliveries}
        self.cast_manager.agent_reported(node, report)
        self._news.set()

    def _lose(self, node: str, agent: Agent) -> None:
        """Handle a lost agent as the supervisor does: remove it, end its calls, tell the casts."""
        if self._agents.get(node) is not agent:
            return
        del self._agents[node]
        self._pulse.forget_node(node)
        failure = Failure(FailureKind.NODE_OFFLINE, {"node": node})
        self._nodes[node] = msgspec.structs.replace(
            self._nodes[node], state=NodeState.OFFLINE, failure=failure
        )
        for answer in agent.calls.values():
            if not answer.done():
                answer.set_result(driver_protocol.AgentCallResult(0, error="the agent is lost"))
        self.cast_manager.agent_lost(node)
        self._news.set()

    async def _watch(self) -> None:
        """Treat agents that are silent for too long as lost."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            for node in self._pulse.silent():
                agent = self._agents[node]
                self._lose(node, agent)
                agent.process.kill()


@contextlib.asynccontextmanager
async def lab_nodes(
    lab: Lab,
    *,
    zones: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    below: str | Path = "/dev/shm",
) -> AsyncIterator[LabNodes]:
    """An agent in every host, with temporary inboxes `below` a folder. Raises RuntimeError."""
    folder = Path(tempfile.mkdtemp(prefix="castray-lab-", dir=below))
    variables = os.environ | {"CASTRAY_LOCAL_COPY": "0", "CASTRAY_HOME": str(folder / "home")}
    nodes = LabNodes(lab, folder, variables | dict(environment or {}))
    try:
        zone = itertools.chain(zones, itertools.repeat(""))
        placing = (nodes.place(host, next(zone)) for host in lab.hosts)
        failed = [error for error in await asyncio.gather(*placing, return_exceptions=True) if error]
        if failed:
            raise failed[0]
        yield nodes
    finally:
        await nodes.close()
        shutil.rmtree(folder, ignore_errors=True)
