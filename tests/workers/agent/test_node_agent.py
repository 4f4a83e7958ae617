"""The agent: it executes orders, and sends reports on time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes import (
    agent_orders,
    agent_reports,
    cast_parcel,
    driver_protocol,
    json_codec,
)
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.workers.agent import node_agent as agent_module
from castray_desktop.workers.agent import node_inspection
from castray_desktop.workers.agent.node_agent import NodeAgent, actor_name
from tests.helpers.patience import PATIENCE

UPSTREAM = cast_parcel.Upstream("s", "10.0.0.1", 7000)
ALGORITHMS = cast_parcel.Algorithms()
TOTALS = cast_parcel.ParcelTotals(1, "m", 1, 1, 1, 1)
REPORT = DeliveryReport("c", RecipientState.RECEIVING, stream_bytes=5)


class FakePlane:
    """Records its orders, and sends the reports that a test gives."""

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self.changed = changed
        self.calls: list[tuple[str, object]] = []
        self.closed = False
        self.failure: Exception | None = None
        self._reports: tuple[DeliveryReport, ...] = ()

    def start(self) -> tuple[int, str]:
        return 7001, "/run/agent.sock"

    def report(self, report: DeliveryReport, urgent: bool) -> None:
        self._reports = (report,)
        self.changed(urgent)

    def drain_reports(self) -> tuple[tuple[()], tuple[DeliveryReport, ...]]:
        reports, self._reports = self._reports, ()
        return (), reports

    def preflight(self, order: agent_orders.CheckDestination) -> agent_orders.DestinationReply:
        self.calls.append(("preflight", order))
        return agent_orders.DestinationReply("/inbox", "storage", free_bytes=7)

    def close(self, keep: bool = False) -> None:
        self.closed = True

    def __getattr__(self, name: str) -> Callable[[object], None]:
        def note(order: object) -> None:
            if self.failure is not None:
                raise self.failure
            self.calls.append((name, order))

        return note


class Waits:
    """Replaces the agent's waiting: records how long it would wait, and ends when the test says so."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._begun = asyncio.Event()
        self._over = asyncio.Event()

    async def __call__(self, event: asyncio.Event, seconds: float) -> None:
        self.seconds.append(seconds)
        self._begun.set()
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._over.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._over.clear()

    async def begun(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.seconds) < count:
                self._begun.clear()
                await self._begun.wait()

    def over(self) -> None:
        """The time is up."""
        self._over.set()


@pytest.fixture
def planes(monkeypatch: pytest.MonkeyPatch) -> list[FakePlane]:
    planes: list[FakePlane] = []

    def make(place: object, connections: object, changed: Callable[[bool], None]) -> FakePlane:
        planes.append(FakePlane(changed))
        return planes[-1]

    monkeypatch.setattr(agent_module, "TransferService", make)
    return planes


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setattr(agent_module, "_wait", waits)
    return waits


@pytest.fixture
async def agent(tmp_path: Path, planes: list[FakePlane], waits: Waits) -> AsyncIterator[NodeAgent]:
    """An agent that has sent its first messages."""
    place = driver_protocol.PlaceAgent(
        "node_1", str(tmp_path), "127.0.0.1", runtime_dir="/run", ports="7000-7010"
    )
    agent = NodeAgent(place)
    hello = json_codec.from_json(
        await agent.start("abcd"), agent_reports.AgentHello | agent_reports.AgentReport
    )
    assert (hello.node, hello.port, hello.local_path) == ("node_1", 7001, "/run/agent.sock")
    assert (hello.inbox, hello.node_id) == (str(tmp_path), "abcd")
    yield agent
    await agent.stop()
    assert planes[0].closed


async def test_ports_that_no_agent_can_have(tmp_path: Path) -> None:
    agent = NodeAgent(driver_protocol.PlaceAgent("node_1", str(tmp_path), "127.0.0.1", ports="65536"))
    with pytest.raises(ValueError, match="CASTRAY_DATA_PORTS"):
        await agent.start()
    await agent.stop()


async def report(agent: NodeAgent) -> agent_reports.AgentReport:
    said: agent_reports.AgentReport = json_codec.from_json(
        await agent.report(), agent_reports.AgentReport | agent_reports.AgentHello
    )
    return said


async def test_the_first_report_brings_the_facts(
    agent: NodeAgent, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_inspection, "DISK_SECONDS", PATIENCE)
    said = asyncio.create_task(report(agent))
    await waits.begun(2)
    waits.over()
    facts = (await said).facts
    assert facts is not None
    assert facts.disk_total > 0


async def quiet(agent: NodeAgent, waits: Waits) -> None:
    """After the first report."""
    said = asyncio.create_task(report(agent))
    await waits.begun(2)
    waits.over()
    await said
    waits.seconds.clear()


async def test_a_change_of_state_is_reported_at_once(
    agent: NodeAgent, planes: list[FakePlane], waits: Waits
) -> None:
    await quiet(agent, waits)
    said = asyncio.create_task(report(agent))
    await waits.begun(1)
    await asyncio.to_thread(planes[0].report, REPORT, True)  # as its threads do
    assert (await said).deliveries == (REPORT,)
    assert waits.seconds == [agent_module.IDLE_SECONDS]


async def test_progress_waits_for_more_of_it(agent: NodeAgent, planes: list[FakePlane], waits: Waits) -> None:
    await quiet(agent, waits)
    said = asyncio.create_task(report(agent))
    await waits.begun(1)
    planes[0].report(REPORT, False)
    await waits.begun(2)
    assert not said.done()
    waits.over()
    assert (await said).deliveries == (REPORT,)
    assert waits.seconds == [agent_module.IDLE_SECONDS, agent_module.PROGRESS_SECONDS]


async def test_a_change_of_state_overtakes_waiting_progress(
    agent: NodeAgent, planes: list[FakePlane], waits: Waits
) -> None:
    await quiet(agent, waits)
    said = asyncio.create_task(report(agent))
    await waits.begun(1)
    planes[0].report(REPORT, False)
    await waits.begun(2)
    planes[0].report(REPORT, True)
    await said
    after = asyncio.create_task(report(agent))
    await waits.begun(3)
    assert not after.done()  # everything was reported
    waits.over()
    assert (await after).deliveries == ()


async def test_an_empty_report_is_sent_too(agent: NodeAgent, waits: Waits) -> None:
    await quiet(agent, waits)
    said = asyncio.create_task(report(agent))
    await waits.begun(1)
    waits.over()
    assert (await said) == agent_reports.AgentReport()
    assert agent_module.IDLE_SECONDS <= 2.0


@pytest.mark.parametrize(
    "order",
    [
        agent_orders.PrepareSource("c", ("/x",)),
        agent_orders.StartDelivery("c", "s", 1, UPSTREAM, TOTALS, ALGORITHMS),
        agent_orders.SetUpstream("c", 2, UPSTREAM),
        agent_orders.SetNodeLimit(1000),
        agent_orders.ForgetCast("c"),
    ],
)
async def test_orders_reach_the_transfer_service(
    agent: NodeAgent, planes: list[FakePlane], order: agent_orders.Order
) -> None:
    assert await agent.order(json_codec.to_json(order)) == b""
    assert planes[0].calls == [("carry_out", order)]


async def test_a_preflight_is_answered(agent: NodeAgent, planes: list[FakePlane]) -> None:
    order = agent_orders.CheckDestination("c", "", (), 1, 1)
    reply = json_codec.from_json(await agent.order(json_codec.to_json(order)), agent_orders.OrderReply)
    assert reply == agent_orders.DestinationReply("/inbox", "storage", free_bytes=7)


async def test_an_error_of_the_transfer_service_reaches_the_driver(
    agent: NodeAgent, planes: list[FakePlane]
) -> None:
    planes[0].failure = OSError("disk")
    with pytest.raises(OSError, match="disk"):
        await agent.order(json_codec.to_json(agent_orders.AnnounceTrailer("c", "digest")))


async def test_no_order_after_the_end(tmp_path: Path, planes: list[FakePlane]) -> None:
    agent = NodeAgent(driver_protocol.PlaceAgent("x", str(tmp_path), "127.0.0.1"))
    await agent.start()
    await agent.stop()
    await agent.stop()
    with pytest.raises(RuntimeError):
        await agent.order(json_codec.to_json(agent_orders.CancelCast("c")))


def test_the_name_that_code_inside_ray_looks_up() -> None:
    assert actor_name("node_1") == "castray-agent-node_1"
