"""Several clusters at once behind one engine: their clients, and when they are left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastMode,
    CastState,
    ClusterPhase,
    DeliverySnapshot,
    DeliveryState,
    EngineSettings,
    NodeInfo,
    NodeState,
    SendRequest,
)
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.core.protocol.nodes.agent_orders import SetNodeLimit, SetUpstream
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.clusters.cluster_registry import (
    ClusterFactories,
    ClusterRegistry,
    NodeRateLimit,
)
from castray_desktop.workers.engine import process as engine_module
from tests.helpers.cast_stage import Stage
from tests.helpers.engine_home import EngineHome
from tests.helpers.fake_agents import URL, FakeAgents
from tests.helpers.fake_driver import FakeDriver, hello
from tests.helpers.patience import PATIENCE

FAR = "10.0.0.1:6379"


async def use(client: EngineClient, target: str) -> None:
    """Observe a cluster once it is ready."""
    await client.request(messages.UseCluster(target), messages.Done)
    async with asyncio.timeout(PATIENCE):
        while (await status(client)).cluster.phase is not ClusterPhase.READY:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def status(client: EngineClient) -> messages.EngineStatus:
    return await client.request(messages.GetStatus(), messages.EngineStatus)


async def heard(client: EngineClient) -> list[messages.Event]:
    """Everything that the client has received so far."""
    await status(client)
    events = []
    while not client._events.empty():
        event = client._events.get_nowait()
        assert event is not None
        events.append(event)
    return events


async def test_two_clients_look_at_two_clusters(engine_home: EngineHome, tmp_path: Path) -> None:
    one, other = await engine_home.connect(), await engine_home.connect()
    await use(one, "local")
    await use(other, FAR)
    assert len(engine_home.drivers) == 2
    assert not engine_home.drivers[0].stopped
    assert ((await status(one)).nodes, (await status(other)).nodes) == (4, 1)
    await heard(one)
    await heard(other)
    (tmp_path / "x").write_text("x")
    request = SendRequest((str(tmp_path / "x"),), ("node_1",))
    cast = (await one.request(messages.Send(request), messages.Accepted)).cast
    await engine_home.drivers[0].wait_for(driver_protocol.AgentCall)
    await other.request(messages.Cancel(cast[:6]), messages.Done)  # by its id, whatever its cluster
    casts = {event.summary.cast for event in await heard(one) if isinstance(event, messages.CastChanged)}
    assert casts == {cast}
    assert await heard(other) == []
    with pytest.raises(CastRayError) as caught:
        await other.request(messages.Send(request), messages.Accepted)
    assert caught.value.failure.kind is FailureKind.NODE_UNKNOWN
    await one.close()
    await other.close()


async def test_a_welcome_comes_before_anything_of_another_cluster(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await use(client, "local")
    await use(client, FAR)
    events = await heard(client)
    at = [number for number, event in enumerate(events) if isinstance(event, messages.Welcome)]
    assert len(at) == 2
    welcomes = [event for event in events if isinstance(event, messages.Welcome)]
    assert [item.cluster.phase for item in welcomes] == [ClusterPhase.STARTING] * 2
    targets = [event.cluster.target for event in events if isinstance(event, messages.ClusterChanged)]
    assert targets == sorted(targets, key=["local", FAR].index)
    await use(client, "local")  # it is still there
    assert len(engine_home.drivers) == 2
    back = (await heard(client))[0]
    assert isinstance(back, messages.Welcome)
    assert len(back.nodes) == 4
    await client.close()


async def test_a_window_sees_the_casts_of_the_cluster_that_it_has_left(
    engine_home: EngineHome, tmp_path: Path
) -> None:
    window = await EngineClient.connect(engine_home.paths, "window", start=False)
    await use(window, "local")
    (tmp_path / "x").write_text("x")
    request = SendRequest((str(tmp_path / "x"),), ("node_1",))
    cast = (await window.request(messages.Send(request), messages.Accepted)).cast
    await engine_home.drivers[0].wait_for(driver_protocol.AgentCall)
    await use(window, FAR)
    welcomes = [event for event in await heard(window) if isinstance(event, messages.Welcome)]
    shown = [(item.cast, item.cluster.target) for item in welcomes[-1].casts]
    assert shown == [(cast, "local")]
    await window.request(messages.Cancel(cast), messages.Done)
    ended = [event for event in await heard(window) if isinstance(event, messages.CastResult)]
    assert [event.summary.cast for event in ended] == [cast]
    await window.request(messages.ClearFinished(), messages.Done)
    assert messages.CastsRemoved((cast,)) in await heard(window)
    await window.close()


async def test_a_cluster_that_nobody_looks_at_is_left(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await use(client, FAR)
    await use(client, "local")
    await engine_home.checked()
    engine_home.now += 4.9
    await engine_home.checked()
    assert not engine_home.drivers[0].stopped
    engine_home.now += 0.2
    await engine_home.drivers[0].stopping.wait()
    assert not engine_home.drivers[1].stopped
    newcomer = await engine_home.connect()
    assert newcomer.welcome.cluster.target == "local"
    await newcomer.close()
    await client.close()


async def test_what_keeps_a_cluster_in_use(engine_home: EngineHome, tmp_path: Path) -> None:
    client = await engine_home.connect()
    await use(client, FAR)
    await client.request(messages.KeepEngine(True), messages.Done)
    await use(client, "held:1")
    engine_home.engine.clusters.held.add("held:1")
    await use(client, "busy:1")
    (tmp_path / "x").write_text("x")
    engine_home.script = lambda driver: driver.come_up()
    request = SendRequest((str(tmp_path / "x"),), ("extra",))
    adding = asyncio.create_task(client.request(messages.AddNode("extra"), messages.Done))
    await engine_home.drivers[2].wait_for(driver_protocol.PlaceAgent, 2)
    engine_home.drivers[2].say(driver_protocol.AgentUp(hello("extra")))
    await adding
    cast = (await client.request(messages.Send(request), messages.Accepted)).cast
    await use(client, "local")
    for _ in range(3):
        engine_home.now += 6.0
        await engine_home.checked()
    assert [driver.stopped for driver in engine_home.drivers] == [0, 0, 0, 0]
    await client.request(messages.Cancel(cast), messages.Done)
    await client.request(messages.KeepEngine(False), messages.Done)
    engine_home.engine.clusters.held.clear()
    await engine_home.checked()
    engine_home.now += 6.0
    for driver in engine_home.drivers[:3]:
        await driver.stopping.wait()
    await client.close()


async def fail_far_away(engine_home: EngineHome, client: EngineClient) -> str:
    """A cast on a cluster that is not in use any more: its nodes could not reach the server."""
    await use(client, FAR)
    request = SendRequest((URL,), ("all",), source="", leave_out=True)
    cast = (await client.request(messages.Send(request), messages.Accepted)).cast
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert result.summary.state is CastState.FAILED
    await client.request(messages.LeaveCluster(), messages.Done)
    await use(client, "local")
    await heard(client)
    return cast


async def test_a_retry_connects_to_the_cluster_of_the_cast(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    cast = await fail_far_away(engine_home, client)
    assert len(engine_home.drivers) == 2
    assert await client.request(messages.Retry(cast[:6]), messages.Accepted) == messages.Accepted(cast)
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert len(engine_home.drivers) == 3
    assert (result.summary.cast, result.summary.cluster.target) == (cast, FAR)
    assert [attempt.state for attempt in result.summary.attempts] == [CastState.FAILED]
    events = await heard(client)  # although it looks at another cluster
    changed = [event.summary for event in events if isinstance(event, messages.CastChanged)]
    assert {summary.cast for summary in changed} == {cast}
    assert CastState.QUEUED in {summary.state for summary in changed}
    assert not any(isinstance(event, messages.CastsRemoved) for event in events)
    assert (await status(client)).cluster.target == "local"
    await client.close()


async def test_a_retry_of_a_past_cast_runs_on_its_cluster(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await use(client, FAR)
    request = SendRequest((URL,), ("all",), source="", leave_out=True)
    cast = (await client.request(messages.Send(request), messages.Accepted)).cast
    await client.request(messages.GetResult(cast), messages.CastResult)
    await client.request(messages.ClearFinished(), messages.Done)
    await use(client, "local")
    assert (await client.request(messages.Retry(cast), messages.Accepted)).cast == cast
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert result.summary.cluster.target == FAR
    assert len(engine_home.drivers) == 2  # it was still in use
    await client.close()


async def test_a_retry_whose_cluster_can_t_be_reached_says_so(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    cast = await fail_far_away(engine_home, client)
    gone = Failure(FailureKind.CLUSTER_UNREACHABLE, {"target": FAR, "reason": "no route"})
    engine_home.script = lambda driver: driver.say(driver_protocol.ClusterFailed(gone))
    assert (await client.request(messages.Retry(cast), messages.Accepted)).cast == cast
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert result.summary.state is CastState.FAILED
    assert result.summary.failure is not None
    assert result.summary.failure.kind is FailureKind.CLUSTER_UNREACHABLE
    assert len(result.summary.attempts) == 1
    engine_home.script = FakeDriver.come_up
    await client.request(messages.Retry(cast), messages.Accepted)
    result = await client.request(messages.GetResult(cast), messages.CastResult)
    assert len(result.summary.attempts) == 2
    await client.close()


async def test_a_cast_is_retried_once_at_a_time(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    cast = await fail_far_away(engine_home, client)
    first, second = await asyncio.gather(
        *(client.request(messages.Retry(cast), messages.Accepted) for _ in range(2)), return_exceptions=True
    )
    assert first == messages.Accepted(cast)
    assert isinstance(second, CastRayError)
    assert second.failure.kind is FailureKind.CAST_GOES_ON
    await client.close()


async def test_a_cast_that_waits_for_a_cluster_is_seen_by_all(paths: Paths) -> None:
    request = SendRequest(("/x",), ("node_1",), source="node_2")
    record = CastCheckpoint("c0ffee", FAR, request, CastMode.UNICAST, 1.0, (DeliverySnapshot("node_1"),))
    records = CheckpointStore(paths.casts)
    records.save(record)
    await records.close()
    engine_home = EngineHome(paths)
    client = await engine_home.connect()
    assert [(cast.cast, cast.state) for cast in client.welcome.casts] == [("c0ffee", CastState.QUEUED)]
    await use(client, "local")
    assert [cast.cast for cast in client.welcome.casts] == ["c0ffee"]
    await heard(client)
    other = await engine_home.connect()
    await use(other, FAR)
    gone = [event for event in await heard(client) if isinstance(event, messages.CastsRemoved)]
    assert gone == [messages.CastsRemoved(("c0ffee",))]
    assert [cast.cast for cast in other.welcome.casts] == ["c0ffee"]
    await client.request(messages.StopEngine(), messages.Done)
    await engine_home.ended()
    await client.close()
    await other.close()


async def test_deliveries_that_wait_outlive_the_use_of_their_cluster(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    request = SendRequest(("/x",), ("node_1",), source="node_2", options=TransferOptions(await_offline=True))
    waiting = DeliverySnapshot("node_1", DeliveryState.AWAITED)
    record = CastCheckpoint("c0ffee", FAR, request, CastMode.UNICAST, 1.0, (waiting,), seconds=1.0)
    records = CheckpointStore(paths.casts)
    records.save(record)
    await records.close()
    engine_home = EngineHome(paths)
    client = await engine_home.connect()
    await use(client, "local")
    for _ in range(3):
        await engine_home.checked()
        engine_home.now += 6.0
    await use(client, FAR)
    assert [cast.cast for cast in client.welcome.casts] == ["c0ffee"]
    await client.request(messages.StopEngine(), messages.Done)
    await engine_home.ended()
    await client.close()


async def test_the_clusters_that_could_be_used(engine_home: EngineHome) -> None:
    engine_home.running_here = (FAR,)
    client = await engine_home.connect()
    await use(client, "auto")
    assert (await status(client)).cluster.target == FAR
    await use(client, "local")
    await client.request(messages.LeaveCluster(), messages.Done)
    listed = await client.request(messages.ListClusters(), messages.ClusterList)
    assert [(item.target, item.running, item.in_use) for item in listed.clusters] == [
        (FAR, True, True),
        ("local", False, False),
    ]
    assert listed.last == "local"
    await client.request(messages.ForgetCluster("local"), messages.Done)
    listed = await client.request(messages.ListClusters(), messages.ClusterList)
    assert ([item.target for item in listed.clusters], listed.last) == ([FAR], FAR)
    await client.close()


async def test_the_cluster_of_this_machine_where_none_is_named(engine_home: EngineHome) -> None:
    engine_home.running_here = (FAR,)
    client = await engine_home.connect()
    await use(client, "")
    assert (await status(client)).cluster.target == FAR
    engine_home.running_here = ()
    await use(client, "")  # the one in use
    assert len(engine_home.drivers) == 1
    with pytest.raises(CastRayError) as caught:
        await use(client, "auto")
    assert caught.value.failure.kind is FailureKind.CLUSTER_NOT_HERE
    await client.close()


async def test_a_new_client_gets_the_kept_cluster_rather_than_the_latest(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await use(client, FAR)
    await client.request(messages.KeepEngine(True), messages.Done)
    await use(client, "local")
    newcomer = await engine_home.connect()
    assert newcomer.welcome.cluster.target == FAR
    await newcomer.close()
    await client.close()


@pytest.fixture
def settings(tmp_path: Path) -> SettingsFile:
    return SettingsFile(tmp_path / "engine.json")


async def change(limit: NodeRateLimit, settings: SettingsFile, number: int) -> None:
    settings.change(EngineSettings(limit=number))
    await limit.apply()


def told(agents: FakeAgents) -> dict[str, int]:
    return {node: order.limit for node, order in agents.orders if isinstance(order, SetNodeLimit)}


async def test_every_agent_has_it_when_the_change_returns(settings: SettingsFile) -> None:
    agents = FakeAgents("s", "a", "b")
    agents._nodes["b"] = NodeInfo("b", NodeState.OFFLINE)
    limit = NodeRateLimit(settings, agents)
    await change(limit, settings, 1000)
    assert told(agents) == {"s": 1000, "a": 1000}
    await change(limit, settings, 0)
    assert told(agents) == {"s": 0, "a": 0}


async def test_it_is_told_to_agents_as_they_come(settings: SettingsFile) -> None:
    settings.change(EngineSettings(limit=1000))
    agents = FakeAgents("s", "a")
    limit = NodeRateLimit(settings, agents)
    limit.nodes_changed((agents.nodes["s"],), ())
    await agents.wait_for("s", SetNodeLimit)
    limit.nodes_changed((agents.nodes["s"],), ())  # only its facts have changed
    limit.nodes_changed((NodeInfo("s", NodeState.OFFLINE),), ())
    limit.nodes_changed(tuple(agents.nodes.values()), ())
    await agents.wait_for("a", SetNodeLimit)
    await agents.wait_for("s", SetNodeLimit, 2)
    limit.nodes_changed((), ("a",))
    limit.nodes_changed(tuple(agents.nodes.values()), ())
    await agents.wait_for("a", SetNodeLimit, 2)
    assert len(agents.orders) == 4


async def test_an_agent_that_does_not_answer_holds_up_nobody(
    settings: SettingsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castray_desktop.workers.clusters.cluster_registry.APPLY_SECONDS", 0.01)
    agents = FakeAgents("s", "a")
    agents.hold(SetNodeLimit)
    async with asyncio.timeout(PATIENCE):
        await change(NodeRateLimit(settings, agents), settings, 1000)
    agents.release()


async def test_a_lower_limit_of_all_casts_makes_no_recipient_slow(settings: SettingsFile) -> None:
    """Rates from before the change don't count, and the new limit explains those after it."""
    stage = Stage(limit=lambda: settings.current.limit)
    parts = ClusterFactories(
        lambda _listener: SimpleNamespace(agents=stage.agents),  # type: ignore[arg-type, return-value]
        lambda _agents, _publish: stage.cast_manager,
    )
    clusters = ClusterRegistry(parts, settings, lambda *_: None, lambda *_: None, stage._clock)
    cast, came = await stage.start(), 0
    for step in range(20):
        if step == 10:
            settings.change(EngineSettings(limit=2_000_000))
            await clusters.settings_changed(settings.current)
        stage.skip(0.25)
        came += 500_000 if step >= 10 else 25_000_000
        for node in "abc":
            stage.agents.report_delivery(node, cast, RecipientState.RECEIVING, stream_bytes=came)
        for _ in range(5):
            await asyncio.sleep(0)
    assert told(stage.agents) == dict.fromkeys("sabc", 2_000_000)
    assert not any(isinstance(order, SetUpstream) for _, order in stage.agents.orders)
    await stage.cast_manager.close()
