"""A cast under random events in random order: losses, returns, joins, removals, progress, slow answers."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    DeliveryState,
    Event,
    NodeInfo,
    NodeState,
    SendRequest,
    TransportOption,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from tests.helpers.fake_agents import STREAM, TOTALS

NODES = ("s", "a", "b", "c", "d", "e")
JOINERS = ("d", "e")
STEPS = 400


@dataclass
class Agent:
    """One agent of a node, from its start to its death."""

    prepared: bool = False
    fetching: bool = False
    upstream: str | None = None
    port: int = 0
    epoch: int = 0
    has: int = 0
    has_trailer: bool = False
    ended: bool = False
    serving: bool = False
    group: cast_parcel.MulticastGroup | None = None
    paused: int = 0  # the number of the last order to stop serving
    resumed: int = 0  # and to continue
    life: int = 0


@contextlib.contextmanager
def suppress_finished() -> Iterator[None]:
    """A finished cast refuses orders."""
    try:
        yield
    except CastRayError as error:
        if error.failure.kind is not FailureKind.CAST_FINISHED:
            raise


@dataclass
class World:
    """Agents that execute orders after a while; implements `AgentDirectory`."""

    chance: random.Random
    nodes: dict[str, NodeInfo] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    settled: bool = True
    target: str = "local"
    address: str = ""
    now: float = 0.0
    cast: str = ""

    def __post_init__(self) -> None:
        for number, node in enumerate(NODES):
            self.nodes[node] = NodeInfo(
                node, NodeState.ONLINE, address=str(number), this_computer=node == "s"
            )
            self.agents[node] = Agent()
        self.cast_manager = CastManager(self, self.hear, CastServices(clock=lambda: self.now))
        self.delivered: set[str] = set()

    def hear(self, event: Event) -> None:
        """Nobody listens."""

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        if node not in self.agents:
            return None
        port = 7000 + self.agents[node].life
        return agent_reports.AgentHello(node, 1, "", port, "h", "", "/", "", "", ("xxh3-128",), ("blake3",))

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.DestinationReply | None:
        last_words = isinstance(
            order, agent_orders.CancelCast | agent_orders.ForgetCast | agent_orders.CheckDestination
        )
        assert node in self.agents or last_words, (node, order)
        agent = self.agents.get(node)
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)
        if agent is None or self.agents.get(node) is not agent:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        reply = self.obey(node, agent, order)
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)
        if self.agents.get(node) is not agent:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        return reply

    def obey(
        self, node: str, agent: Agent, order: agent_orders.Order
    ) -> agent_orders.DestinationReply | None:
        if isinstance(order, agent_orders.CheckDestination):
            return agent_orders.DestinationReply("/", node)
        if isinstance(order, agent_orders.PrepareSource):
            agent.prepared = True
            self.report_source(SourceState.PREPARED, totals=TOTALS)
        elif isinstance(order, agent_orders.ServeSource):
            agent.serving = True
        elif isinstance(order, agent_orders.StartDelivery):
            assert not agent.fetching
            agent.fetching = True
            agent.group = order.group
            self.set_upstream(node, agent, order.epoch, order.upstream)
        elif isinstance(order, agent_orders.SetUpstream):
            assert agent.fetching
            if order.epoch > agent.epoch:
                self.set_upstream(node, agent, order.epoch, order.upstream)
        elif isinstance(order, agent_orders.PauseCast):
            if not agent.prepared and not agent.fetching:  # it does not know the cast
                pass
            elif order.paused:
                agent.paused = max(agent.paused, order.number)
            else:
                agent.resumed = max(agent.resumed, order.number)
        elif isinstance(order, agent_orders.PauseDelivery):
            assert agent.fetching
            if order.epoch > agent.epoch:
                self.set_upstream(node, agent, order.epoch, None)
        elif isinstance(order, agent_orders.AnnounceTrailer):
            assert agent.fetching
            agent.has_trailer = True
        elif isinstance(order, agent_orders.JoinGroup):
            assert agent.fetching
            agent.group = order.group
        elif isinstance(order, agent_orders.SendToGroup):
            assert node == "s"
            assert order.group is not None
            assert order.listeners
            if agent.serving:  # otherwise it is late, and has no effect
                agent.group = order.group
                self.report_source(SourceState.SERVING)
        elif isinstance(order, agent_orders.CancelCast) and agent.fetching and not agent.ended:
            agent.ended = True
            self.report(node, RecipientState.CANCELLED)
        return None

    def set_upstream(
        self, node: str, agent: Agent, epoch: int, upstream: cast_parcel.Upstream | None
    ) -> None:
        agent.epoch = epoch
        agent.upstream = upstream.node if upstream is not None else None
        agent.port = upstream.port if upstream is not None else 0
        seen, above = {node}, agent.upstream
        while above is not None and above != "s":
            assert above not in seen, f"{node} fetches from itself by way of {above}"
            seen.add(above)
            upstream_agent = self.agents.get(above)
            above = (
                upstream_agent.upstream if upstream_agent is not None and not upstream_agent.ended else None
            )

    def report(self, node: str, state: RecipientState) -> None:
        agent = self.agents[node]
        report = agent_reports.DeliveryReport(
            self.cast,
            state,
            epoch=agent.epoch,
            upstream=agent.upstream or "",
            stream_bytes=agent.has,
            content_bytes=agent.has,
            listening=agent.group is not None and self.chance.random() < 0.8,
        )
        self.cast_manager.agent_reported(node, agent_reports.AgentReport(deliveries=(report,)))

    def report_source(self, state: SourceState, totals: cast_parcel.ParcelTotals | None = None) -> None:
        digest = "t" if state is SourceState.HASHED else ""
        source = self.agents.get("s")
        multicast = None
        if source is not None and source.group is not None:
            end = self.chance.choice((None, None, None, *MulticastEnd))
            choices = (MulticastState.SENDING, MulticastState.DONE)
            state_of_it = self.chance.choice(choices) if end is None else MulticastState.STOPPED
            multicast = agent_reports.MulticastReport(state_of_it, end)
        report = agent_reports.SourceReport(
            self.cast, state, totals=totals, trailer_digest=digest, multicast=multicast
        )
        self.cast_manager.agent_reported("s", agent_reports.AgentReport(sources=(report,)))

    # --- events ---------------------------------------------------------------------------------

    def lose(self, node: str) -> None:
        if self.agents.pop(node, None) is not None:
            self.nodes[node] = NodeInfo(node, NodeState.OFFLINE, this_computer=node == "s")
            self.cast_manager.agent_lost(node)

    def come_back(self, node: str) -> None:
        if node in self.nodes and node not in self.agents:
            self.agents[node] = Agent(life=self.chance.randrange(1, 1 << 20))
            self.nodes[node] = NodeInfo(node, NodeState.ONLINE, this_computer=node == "s")
            self.cast_manager.agent_up(node)

    def remove(self, node: str) -> None:
        self.lose(node)
        if self.nodes.pop(node, None) is not None:
            self.cast_manager.node_removed(node)

    def flow(self, node: str) -> None:
        """The node receives half of what its upstream has for it, or all of it if that is little."""
        agent = self.agents.get(node)
        if agent is None or not agent.fetching or agent.ended:
            return
        upstream_agent = self.agents.get(agent.upstream or "")
        silent = upstream_agent is None or upstream_agent.paused > upstream_agent.resumed
        if upstream_agent is not None and not silent and 7000 + upstream_agent.life == agent.port:
            there = STREAM if agent.upstream == "s" and upstream_agent.serving else upstream_agent.has
            gain = max(0, there - agent.has)
            assert not gain or not self.is_paused(node), f"bytes come to {node}, which is paused"
            agent.has += gain if gain < STREAM // 4 else gain // 2
        if agent.has == STREAM and agent.has_trailer:
            agent.ended = True
            self.report(node, RecipientState.COMPLETED)
            self.delivered.add(node)
        else:
            full = agent.has == STREAM
            self.report(node, RecipientState.VERIFYING if full else RecipientState.RECEIVING)

    def is_paused(self, node: str) -> bool:
        """Whether its delivery is shown as such."""
        deliveries = self.cast_manager.deliveries().get(self.cast, ())
        return any(item.node == node and item.state is DeliveryState.PAUSED for item in deliveries)

    async def steer(self, name: str, *nodes: str) -> None:
        """Pause or resume the cast or some recipients, unless it has just ended."""
        control = self.cast_manager.commands
        if nodes and nodes[0] not in {item.node for item in self.cast_manager.deliveries()[self.cast]}:
            return
        with suppress_finished():
            if name == "resume":
                control.resume(self.cast, nodes)
                return
            await control.pause(self.cast, nodes)
        state = self.cast_manager.summaries()[0].state
        for node in nodes if state is not CastState.PAUSED else ():
            agent = self.agents.get(node)
            fetches = agent is not None and agent.upstream is not None
            assert not fetches or not self.is_paused(node), f"{node} is paused and fetches"

    async def steer_all(self, name: str) -> None:
        """The same for all casts, some or all of which may just have ended."""
        if name == "resume all":
            self.cast_manager.commands.resume()
        else:
            await self.cast_manager.commands.pause()

    def finish_source(self) -> None:
        source = self.agents.get("s")
        if source is not None and source.serving:
            self.report_source(SourceState.HASHED)

    def skip(self, seconds: float) -> None:
        self.now += seconds
        self.cast_manager.cluster_changed()


EVENTS = st.one_of(
    st.tuples(st.just("lose"), st.sampled_from(NODES)),
    st.tuples(st.just("come_back"), st.sampled_from(NODES)),
    st.tuples(st.just("flow"), st.sampled_from(NODES[1:])),
    st.tuples(st.just("flow"), st.sampled_from(NODES[1:])),
    st.tuples(st.just("finish_source"), st.none()),
    st.tuples(st.just("join"), st.sampled_from(JOINERS)),
    st.tuples(st.just("remove"), st.sampled_from(NODES[1:])),
    st.tuples(st.sampled_from(("pause", "resume")), st.just("")),
    st.tuples(st.sampled_from(("pause one", "resume one")), st.sampled_from(NODES[1:])),
    st.tuples(st.sampled_from(("pause all", "resume all")), st.just("")),
    st.tuples(st.just("skip"), st.sampled_from((0.3, 5.0))),
    st.tuples(st.just("wait"), st.integers(1, 9)),
)


@pytest.mark.timeout(180)
@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=40), st.integers(0, 1 << 32), st.booleans(), st.booleans(), st.booleans())
def test_every_cast_ends_and_what_was_delivered_stays_so(
    events: list[tuple[str, object]], seed: int, all_return: bool, begun: bool, udp: bool
) -> None:
    asyncio.run(play(events, seed, all_return, begun, TransportOption.UDP if udp else TransportOption.AUTO))


async def play(
    events: list[tuple[str, object]], seed: int, all_return: bool, begun: bool, transport: TransportOption
) -> None:
    world = World(random.Random(seed))
    request = SendRequest(
        ("/x",), ("a", "b", "c"), leave_out=True, options=TransferOptions(transport=transport)
    )
    world.cast = world.cast_manager.send(request)
    joining: list[asyncio.Task[object]] = []
    for _ in range(99 if begun else 0):  # until it runs
        await asyncio.sleep(0)
    for name, value in events:
        if name == "wait":
            for _ in range(int(str(value))):
                await asyncio.sleep(0)
        elif name == "join":
            joining.append(asyncio.create_task(world.cast_manager.add_recipients(world.cast, (str(value),))))
        elif name in ("pause", "resume"):
            await world.steer(name)
        elif name.endswith(" one"):
            await world.steer(name.removesuffix(" one"), str(value))
        elif name.endswith(" all"):
            await world.steer_all(name)
        elif value is None:
            world.finish_source()
        else:
            getattr(world, name)(value)
    for node in NODES if all_return else ():
        world.come_back(node)
    await world.steer("resume")
    for _ in range(STEPS):
        for node in NODES[1:]:
            world.flow(node)
        if world.chance.random() < 0.2:
            await world.steer("pause", *world.chance.choice(((), ("a",))))
            await world.steer("resume")
        world.finish_source()
        world.skip(0.5)
        for _ in range(5):
            await asyncio.sleep(0)
        if not world.cast_manager.unfinished:
            break
    assert not world.cast_manager.unfinished, "it does not end"
    await asyncio.gather(*joining, return_exceptions=True)
    result = await world.cast_manager.result(world.cast)
    await world.cast_manager.close()
    states = {item.node: item.state for item in result.deliveries}
    assert all(states[node].delivered for node in world.delivered)
    assert result.summary.state.finished
    if all_return and result.summary.state is not CastState.COMPLETED:
        gone = {item.node for item in result.deliveries if not item.state.delivered}
        assert "s" in {value for name, value in events if name == "lose"} or all(
            ("remove", node) in events or ("lose", node) in events or node in JOINERS for node in gone
        )
