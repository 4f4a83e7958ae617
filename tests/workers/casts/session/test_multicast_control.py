"""The control of multicast: orders to the nodes, and outcomes."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import msgspec
import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.multicast.datagrams import GROUP_PORTS, MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    CastSummary,
    MulticastSnapshot,
    SendRequest,
    Transport,
    TransportOption,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.workers.casts.session.multicast_control import MulticastGroups
from tests.helpers.cast_stage import Stage
from tests.helpers.fake_agents import STREAM, FakeAgents

UDP = SendRequest(
    ("/data/model.bin",), ("all",), leave_out=True, options=TransferOptions(transport=TransportOption.UDP)
)
AUTO = SendRequest(("/data/model.bin",), ("all",), leave_out=True)
MB = 1_000_000


class Scene(Stage):
    """A stage that shows the state of a cast's multicast."""

    def __init__(self) -> None:
        self.groups = MulticastGroups()
        super().__init__(self.groups)

    def summary(self, cast: str) -> CastSummary:
        return next(summary for summary in self.cast_manager.summaries() if summary.cast == cast)

    def multicast(self, cast: str) -> MulticastSnapshot:
        found = self.summary(cast).multicast
        assert found is not None
        return found

    def says(self, cast: str, state: MulticastState, **facts: object) -> None:
        """The source reports on the multicast."""
        sent = facts.get("sent_bytes", 0)
        report = agent_reports.MulticastReport(state, **facts)  # type: ignore[arg-type]
        self.agents.report_source("s", cast, SourceState.SERVING, multicast=report, sent_bytes=sent)

    def has(self, node: str, cast: str, count: int, **facts: object) -> None:
        """A recipient has this much."""
        self.agents.report_delivery(
            node,
            cast,
            RecipientState.RECEIVING,
            stream_bytes=count,
            content_bytes=count,
            received_bytes=count,
            transport="direct",
            **facts,
        )

    async def settle(self) -> None:
        """Run everything that follows from the reports."""
        for _ in range(20):
            await asyncio.sleep(0)

    async def group(self, node: str, count: int = 1) -> cast_parcel.MulticastGroup | None:
        """The group that a node is to join when it starts."""
        order = await self.agents.wait_for(node, agent_orders.StartDelivery, count)
        assert isinstance(order, agent_orders.StartDelivery)
        return order.group

    async def order(self, count: int = 1) -> agent_orders.SendToGroup:
        """The orders to the source."""
        order = await self.agents.wait_for("s", agent_orders.SendToGroup, count)
        assert isinstance(order, agent_orders.SendToGroup)
        return order

    def orders(self, kind: type) -> list[tuple[str, agent_orders.Order]]:
        return [(node, order) for node, order in self.agents.orders if isinstance(order, kind)]

    async def all_receiving(self) -> str:
        """A cast whose recipients all join the multicast group."""
        cast = await self.start(UDP)
        await self.order()
        for node in "abc":
            self.has(node, cast, 1000, listening=True)
        self.says(cast, MulticastState.SENDING, listeners=("a", "b", "c"), sent_bytes=1000)
        await self.settle()
        return cast

    async def relay(self, cast: str, rate: float, seconds: int) -> None:
        """Every recipient receives `rate` bytes per second for this time."""
        for second in range(seconds + 1):
            for node in "abc":
                self.has(node, cast, round(second * rate))
            await self.settle()
            self.skip(1.0)

    async def end(self, cast: str, finish_source: bool = True) -> None:
        """Every recipient has everything."""
        if finish_source:
            self.finish_source(cast)
        await self.complete(cast, "as", "ba", "cb")
        await self.result(cast)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    await scene.cast_manager.close()


# --- on request ----------------------------------------------------------------------------------


async def test_every_recipient_joins_the_source_s_group(scene: Scene) -> None:
    cast = await scene.start(UDP)
    groups = {await scene.group(node) for node in "abc"}
    order = await scene.order()
    assert groups == {order.group}
    assert order.group is not None
    assert order.group.address.startswith("239.19")
    assert (order.group.source, order.group.hops) == ("10.0.0.0", 1)
    assert sorted(order.listeners) == ["a", "b", "c"]
    starts = [order for _, order in scene.orders(agent_orders.StartDelivery)]
    assert {getattr(order, "options", None) for order in starts} == {UDP.options}
    assert scene.multicast(cast).state is MulticastState.WAITING


async def test_the_source_gets_its_order_once_a_recipient_has_joined(scene: Scene) -> None:
    scene.agents.hold(agent_orders.StartDelivery)
    await scene.start(UDP)
    await scene.settle()
    assert not scene.orders(agent_orders.SendToGroup)
    scene.agents.release()
    await scene.order()
    await scene.settle()
    assert len(scene.orders(agent_orders.SendToGroup)) == 1


async def test_clients_and_the_result_have_the_progress(scene: Scene) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    sending = MulticastState.SENDING
    scene.says(cast, sending, listeners=("a", "b"), sent_bytes=STREAM // 2, rate=100 * MB)
    scene.has("a", cast, 1000, listening=True, datagram_bytes=900, repaired_bytes=100)
    scene.has("c", cast, 1000)
    await scene.settle()
    snapshot = scene.multicast(cast)
    assert (snapshot.state, snapshot.listeners) == (MulticastState.SENDING, ("a", "b"))
    assert (snapshot.bytes, snapshot.rate) == (STREAM // 2, 100 * MB)
    a, _, c = scene.cast_manager.deliveries()[cast]
    assert (a.listening, a.datagram_bytes, a.repaired_bytes, a.transport) == (True, 900, 100, Transport.UDP)
    assert (c.listening, c.transport) == (False, Transport.DIRECT)
    scene.skip(4.0)
    done = agent_reports.MulticastReport(MulticastState.DONE, sent_bytes=STREAM)
    scene.agents.report_source(
        "s", cast, SourceState.HASHED, trailer_digest="t", multicast=done, sent_bytes=STREAM + 100
    )
    await scene.end(cast, finish_source=False)
    result = await scene.result(cast)
    assert result.summary.state is CastState.COMPLETED
    assert result.summary.source_copies == pytest.approx(1.0)  # the stream once, and repairs
    assert result.summary.multicast == MulticastSnapshot(
        MulticastState.DONE, listeners=("a", "b"), bytes=STREAM, rate=pytest.approx(STREAM / 4, rel=0.1)
    )


@pytest.mark.parametrize("end", list(MulticastEnd))
async def test_when_the_source_stops_every_recipient_leaves(scene: Scene, end: MulticastEnd) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    scene.says(cast, MulticastState.STOPPED, end=end)
    for node in "abc":
        assert await scene.agents.wait_for(node, agent_orders.JoinGroup) == agent_orders.JoinGroup(cast, None)
    assert scene.multicast(cast).end is end
    await scene.end(cast)
    assert (await scene.result(cast)).summary.state is CastState.COMPLETED
    assert len(scene.orders(agent_orders.SendToGroup)) == 1


async def test_an_order_that_fails_ends_multicast(scene: Scene) -> None:
    refused = scene.agents.call

    async def refuse(node: str, order: agent_orders.Order) -> agent_orders.OrderReply | None:
        if isinstance(order, agent_orders.SendToGroup):
            raise CastRayError(FailureKind.NODE_SILENT, node=node, seconds=15)
        return await refused(node, order)

    scene.agents.call = refuse  # type: ignore[method-assign]
    cast = await scene.start(UDP)
    await scene.agents.wait_for("a", agent_orders.JoinGroup)
    assert scene.multicast(cast).end is MulticastEnd.NO_NETWORK
    await scene.end(cast)


async def test_with_tls_there_is_no_multicast(scene: Scene) -> None:
    _change_hellos(scene.agents, encrypted=True)
    cast = await scene.start(UDP)
    assert [await scene.group(node) for node in "abc"] == [None] * 3
    await scene.settle()
    assert not scene.orders(agent_orders.SendToGroup)
    assert scene.multicast(cast) == MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.ENCRYPTED)


async def test_recipients_on_the_source_s_machine_do_not_join(scene: Scene) -> None:
    _change_hellos(scene.agents, "sa", local_path="/run/x")
    await scene.start(UDP)
    assert await scene.group("a") is None
    assert await scene.group("b") is not None
    assert sorted((await scene.order()).listeners) == ["b", "c"]


async def test_without_a_receiver_multicast_ends_until_one_joins(scene: Scene) -> None:
    _change_hellos(scene.agents, "sab", local_path="/run/x")
    cast = await scene.start(msgspec.structs.replace(UDP, recipients=("a", "b")), "ab")
    await scene.settle()
    assert scene.multicast(cast) == MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOBODY)
    await scene.cast_manager.add_recipients(cast, ("c",))
    assert await scene.group("c") is not None
    assert (await scene.order()).listeners == ("c",)
    assert scene.multicast(cast).state is MulticastState.WAITING


async def test_a_cast_that_ends_before_anything_was_sent(scene: Scene) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    await scene.end(cast)
    assert scene.multicast(cast) == MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.OVER)


async def test_a_late_recipient_joins_as_well(scene: Scene) -> None:
    cast = await scene.start(msgspec.structs.replace(UDP, recipients=("a", "b")), "ab")
    first = await scene.order()
    await scene.cast_manager.add_recipients(cast, ("c",))
    assert await scene.group("c") == first.group
    assert sorted((await scene.order(2)).listeners) == ["a", "b", "c"]


async def test_a_late_recipient_does_not_join_a_group_that_has_ended(scene: Scene) -> None:
    cast = await scene.start(msgspec.structs.replace(UDP, recipients=("a", "b")), "ab")
    await scene.order()
    scene.says(cast, MulticastState.DONE, sent_bytes=STREAM)
    await scene.settle()
    await scene.cast_manager.add_recipients(cast, ("c",))
    assert await scene.group("c") is None


# --- losses, pauses ------------------------------------------------------------------------------


async def test_an_agent_that_came_back_joins_again(scene: Scene) -> None:
    await scene.start(UDP)
    first = await scene.order()
    scene.agents.go_away("a")
    await scene.settle()
    scene.agents.come_back("a")
    assert await scene.group("a", 2) == first.group
    await scene.settle()
    assert len(scene.orders(agent_orders.SendToGroup)) == 1  # the source knows it already


async def test_a_source_that_came_back_gets_another_group(scene: Scene) -> None:
    cast = await scene.start(UDP)
    first = await scene.order()
    scene.says(cast, MulticastState.SENDING, sent_bytes=1000)
    await scene.settle()
    scene.agents.go_away("s")
    scene.agents.come_back("s")
    again = await scene.order(2)
    assert again.group != first.group  # all have left that group
    for node in "abc":
        assert await scene.agents.wait_for(node, agent_orders.JoinGroup) == agent_orders.JoinGroup(
            cast, again.group
        )
    scene.says(cast, MulticastState.DONE, sent_bytes=STREAM)
    assert scene.multicast(cast).bytes == STREAM + 1000


async def test_a_recipient_that_replaces_the_source_ends_multicast(scene: Scene) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    scene.finish_source(cast)
    scene.has("b", cast, STREAM)
    await scene.settle()
    scene.agents.go_away("s")
    for node in "abc":
        assert await scene.agents.wait_for(node, agent_orders.JoinGroup) == agent_orders.JoinGroup(cast, None)
    assert scene.multicast(cast).end is MulticastEnd.SOURCE_LOST
    assert len(scene.orders(agent_orders.SendToGroup)) == 1


async def test_a_pause_needs_no_multicast_orders(scene: Scene) -> None:
    cast = await scene.start(msgspec.structs.replace(UDP, recipients=("a", "b")), "ab")
    await scene.order()
    await scene.cast_manager.commands.pause(cast)
    joining = asyncio.create_task(scene.cast_manager.add_recipients(cast, ("c",)))
    await scene.settle()
    assert len(scene.orders(agent_orders.SendToGroup)) == 1
    scene.cast_manager.commands.resume(cast)
    await joining
    assert sorted((await scene.order(2)).listeners) == ["a", "b", "c"]
    assert not scene.orders(agent_orders.JoinGroup)


async def test_a_paused_recipient_is_no_receiver_until_it_is_resumed(scene: Scene) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    scene.says(cast, MulticastState.SENDING)
    for node in "abc":
        scene.has(node, cast, STREAM // 4, listening=True)
    await scene.settle()
    await scene.cast_manager.commands.pause(cast, ("a",))
    scene.has("a", cast, STREAM // 4, listening=False)
    await scene.settle()
    scene.agents.go_away("s")  # the next agent needs all orders again
    scene.agents.come_back("s")
    assert sorted((await scene.order(2)).listeners) == ["b", "c"]
    scene.says(cast, MulticastState.SENDING)
    scene.skip(30.0)
    scene.cast_manager.commands.resume(cast, ("a",))
    assert "a" in (await scene.order(3)).listeners
    orders = len(scene.orders(agent_orders.SetUpstream))
    scene.skip(1.0)  # it needs a moment to join again, and does not count as too slow
    scene.has("c", cast, STREAM // 2, listening=True)
    await scene.settle()
    assert len(scene.orders(agent_orders.SetUpstream)) == orders


async def test_a_resumed_recipient_has_time_to_rejoin_although_another_one_waits_for_it(scene: Scene) -> None:
    cast = await scene.all_receiving()
    await scene.cast_manager.commands.pause(cast, ("a", "b"))
    for node in "ab":
        scene.has(node, cast, 1000, listening=False)
    await scene.settle()
    scene.skip(30.0)
    scene.cast_manager.commands.resume(cast, ("a", "b"))
    await scene.settle()
    orders = len(scene.orders(agent_orders.SetUpstream))
    assert scene.summary(cast).chain[-2:] == ("a", "b")
    scene.has("b", cast, 1000, listening=True)
    await scene.settle()
    assert len(scene.orders(agent_orders.SetUpstream)) == orders
    scene.skip(2.0)
    scene.has("b", cast, 1000, listening=True)
    await scene.settle()
    assert len(scene.orders(agent_orders.SetUpstream)) > orders  # now it counts as unable to follow


async def test_a_paused_recipient_is_told_that_the_group_has_ended(scene: Scene) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    await scene.cast_manager.commands.pause(cast, ("a",))
    scene.says(cast, MulticastState.STOPPED, end=MulticastEnd.NOTHING_ARRIVES)
    assert await scene.agents.wait_for("a", agent_orders.JoinGroup) == agent_orders.JoinGroup(cast, None)


async def test_a_cancelled_cast_releases_its_group(scene: Scene) -> None:
    cast = await scene.start(UDP)
    await scene.order()
    await scene.cast_manager.cancel(cast)
    assert scene.multicast(cast).end is MulticastEnd.ORDERED
    assert not scene.groups._taken


async def test_simultaneous_casts_have_different_groups(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def narrow(_cast: str, _ipv6: bool, attempt: int, _ports: tuple[int, int]) -> tuple[str, int]:
        return f"239.192.0.{attempt % 2}", 61000 + attempt // 2 % 2

    monkeypatch.setattr("castray_desktop.workers.casts.session.multicast_control.group_address", narrow)
    for _ in range(2):
        await scene.start(UDP)
    await scene.agents.wait_for("s", agent_orders.SendToGroup, 2)
    groups = {order.group for _, order in scene.orders(agent_orders.SendToGroup)}  # type: ignore[union-attr]
    assert len({group.address for group in groups if group}) == 2
    assert len({group.port for group in groups if group}) == 2


async def test_a_receiver_that_can_t_follow_serves_no_receiver_that_can(scene: Scene) -> None:
    cast = await scene.all_receiving()
    scene.has("a", cast, 2000, listening=False)
    move = await scene.agents.wait_for("b", agent_orders.SetUpstream)
    assert isinstance(move, agent_orders.SetUpstream)
    assert move.upstream is not None
    assert move.upstream.node == "s"
    last = await scene.agents.wait_for("a", agent_orders.SetUpstream)
    assert isinstance(last, agent_orders.SetUpstream)
    assert last.upstream is not None
    assert last.upstream.node == "c"


async def test_a_receiver_that_could_not_follow_stays_with_the_relay(scene: Scene) -> None:
    cast = await scene.all_receiving()
    scene.has("c", cast, 2000, datagram_bytes=1000)
    await scene.settle()
    scene.skip(300.0)
    scene.has("c", cast, 2000, datagram_bytes=1000)
    await scene.settle()
    assert not scene.orders(agent_orders.JoinGroup)


async def test_a_receiver_that_could_not_follow_delays_nobody_once_all_is_sent(scene: Scene) -> None:
    cast = await scene.all_receiving()
    scene.says(cast, MulticastState.DONE, listeners=("b", "c"), sent_bytes=STREAM)
    for node in "bc":
        scene.has(node, cast, STREAM - 1_000_000)
    await scene.settle()
    assert not scene.orders(agent_orders.SetUpstream)  # it may be as far as the others
    scene.has("a", cast, 2000)
    move = await scene.agents.wait_for("b", agent_orders.SetUpstream)
    assert isinstance(move, agent_orders.SetUpstream)
    assert move.upstream is not None
    assert move.upstream.node == "s"


# --- auto ----------------------------------------------------------------------------------------


async def test_auto_never_uses_multicast(scene: Scene) -> None:
    cast = await scene.start(AUTO)
    assert [await scene.group(node) for node in "abc"] == [None] * 3
    await scene.relay(cast, STREAM / 200, 60)  # however long it takes
    assert not scene.orders(agent_orders.SendToGroup)
    assert not scene.orders(agent_orders.JoinGroup)
    await scene.end(cast)
    assert scene.summary(cast).multicast is None


@pytest.mark.parametrize(("text", "hops"), [("", 1), (" 4 ", 4), ("0", 1), ("256", 1), ("far", 1)])
def test_the_hop_limit_of_datagrams_is_configured(
    monkeypatch: pytest.MonkeyPatch, text: str, hops: int
) -> None:
    monkeypatch.setenv("CASTRAY_MULTICAST_HOPS", text)
    assert MulticastGroups().allocate("cast", "10.0.0.1", 1).hops == hops


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("7000-7005", 7000, 7005),
        (" 7000 - 7005 ", 7000, 7005),
        ("7000", 7000, 7000),
        ("", *GROUP_PORTS),
        ("0", *GROUP_PORTS),
        ("7005-7000", *GROUP_PORTS),
        ("70000-70005", *GROUP_PORTS),
        ("7000-²", *GROUP_PORTS),
    ],
)
def test_groups_use_the_configured_ports(
    monkeypatch: pytest.MonkeyPatch, text: str, low: int, high: int
) -> None:
    monkeypatch.setenv("CASTRAY_DATA_PORTS", text)
    groups = MulticastGroups()
    assert all(low <= groups.allocate(f"{number}", "10.0.0.1", 1).port <= high for number in range(5))


def _change_hellos(agents: FakeAgents, nodes: str = "sabc", **facts: object) -> None:
    """Let these nodes report other facts."""
    plain = agents.hello

    def hello(node: str) -> agent_reports.AgentHello | None:
        said = plain(node)
        changes = said is not None and node in nodes
        return dataclasses.replace(said, **facts) if changes else said  # type: ignore[arg-type]

    agents.hello = hello  # type: ignore[method-assign]
