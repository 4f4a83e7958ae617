"""The link: passes on, holds back, connects again, goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.model import engine_link
from castray_desktop.ui.model.engine_link import EngineLink, EngineLinkState
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeEngine
from tests.helpers.patience import PATIENCE


class Heard:
    """What a signal said, with a way to wait for more of it."""

    def __init__(self, signal: Any) -> None:
        self.values: list[Any] = []
        self._more = asyncio.Event()
        signal.connect(self._hear)

    def _hear(self, *values: Any) -> None:
        self.values.append(values[0] if len(values) == 1 else values)
        self._more.set()

    async def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        async with asyncio.timeout(PATIENCE):
            while not enough(self.values):
                self._more.clear()
                await self._more.wait()
        return self.values


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_link, "FLUSH_SECONDS", 0.2)  # long enough to deliver all events of a test
    monkeypatch.setattr(engine_link, "FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(engine_link, "LAST_DELAY_SECONDS", 0.004)


def link_to(*engines: FakeEngine | Failure | OSError) -> EngineLink:
    """A link whose attempts to connect end like this, one after the other."""
    left = list(engines)

    async def connect() -> FakeEngine:
        found = left.pop(0)
        if isinstance(found, Failure):
            raise CastRayError(found.kind, **found.values)
        if isinstance(found, OSError):
            raise found
        return found

    return EngineLink(connect)


GONE = Failure(FailureKind.ENGINE_UNREACHABLE, {"reason": "it is gone"})


async def test_the_whole_picture_comes_first(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    heard = Heard(link.welcome)
    running = asyncio.create_task(link.run())
    assert await heard.until(bool) == [engine.welcome]
    assert link.connected
    await link.close()
    await running
    assert engine.closed
    assert link.connection is EngineLinkState.CLOSED


async def test_frequent_events_are_held_back_and_the_newest_wins(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    heard = Heard(link.cast_changed)
    running = asyncio.create_task(link.run())
    for done in range(200):
        engine.say(m.CastChanged(fake.sending_cast(done_bytes=done)))
    values = await heard.until(lambda values: bool(values) and values[-1].done_bytes == 199)
    assert len(values) < 20
    assert values[0].done_bytes == 0
    await link.close()
    await running


async def test_a_result_is_emitted_at_once_after_held_back_events(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    order: list[str] = []
    link.cast_changed.connect(lambda cast: order.append(f"changed {cast.done_bytes}"))
    finished = Heard(link.cast_finished)
    link.cast_finished.connect(lambda result: order.append("finished"))
    running = asyncio.create_task(link.run())
    engine.say(
        m.CastChanged(fake.sending_cast(done_bytes=1)),
        m.CastChanged(fake.sending_cast(done_bytes=2)),
        m.CastResult(fake.finished_cast(), fake.finished_deliveries(), 80.0),
    )
    await finished.until(bool)
    assert order == ["changed 1", "changed 2", "finished"]
    await link.close()
    await running


async def test_deliveries_and_nodes_are_folded_together(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    deliveries, nodes = Heard(link.deliveries_changed), Heard(link.nodes_changed)
    running = asyncio.create_task(link.run())
    one, two, three = fake.sending_deliveries()
    engine.say(
        m.ClusterChanged(fake.local_cluster()),
        m.DeliveriesChanged("c", (one,)),
        m.DeliveriesChanged("c", (two,)),
        m.DeliveriesChanged("c", (three, one)),
        m.NodesChanged((fake.node("node_4", 5),)),
        m.NodesChanged((), ("node_4",)),
        m.NodesChanged((fake.node("node_4", 6),)),
    )
    await deliveries.until(lambda values: len(values) == 2)
    assert deliveries.values[0] == ("c", (one,))
    assert {delivery.node for delivery in deliveries.values[1][1]} == {"node_1", "node_2", "node_3"}
    assert await nodes.until(bool) == [((fake.node("node_4", 6),), ())]
    await link.close()
    await running


async def test_many_changes_are_emitted_in_several_turns_of_the_loop(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    turn = 0
    turns: dict[str, int] = {}
    link.deliveries_changed.connect(lambda cast, deliveries: turns.setdefault(cast, turn))
    running = asyncio.create_task(link.run())
    engine.say(m.NodesChanged((fake.node("node_4", 6),)))  # at once; what follows is held back
    for cast in range(6):
        many = tuple(m.DeliverySnapshot(f"node_{number}") for number in range(250))
        engine.say(m.DeliveriesChanged(f"c{cast}", many))
    async with asyncio.timeout(PATIENCE):
        while len(turns) < 6:
            turn += 1
            await asyncio.sleep(0)
    counts = Counter(turns.values())
    assert max(counts.values()) == 2
    await link.close()
    await running


async def test_a_result_waits_for_all_turns_of_held_back_events(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    order: list[str] = []
    link.deliveries_changed.connect(lambda cast, deliveries: order.append(cast))
    link.cast_finished.connect(lambda result: order.append("finished"))
    running = asyncio.create_task(link.run())
    casts = [f"c{cast}" for cast in range(6)]
    many = tuple(m.DeliverySnapshot(f"node_{number}") for number in range(250))
    first_told, finished = asyncio.Event(), asyncio.Event()
    link.deliveries_changed.connect(lambda cast, deliveries: first_told.set() if cast == "c0" else None)
    link.cast_finished.connect(lambda result: finished.set())
    engine.say(m.NodesChanged((fake.node("node_4", 6),)))
    engine.say(*(m.DeliveriesChanged(cast, many) for cast in casts))
    async with asyncio.timeout(PATIENCE):
        await first_told.wait()
    engine.say(m.CastResult(fake.finished_cast(), (), 80.0))
    async with asyncio.timeout(PATIENCE):
        await finished.wait()
    assert order == [*casts, "finished"]
    await link.close()
    await running


async def test_the_snapshot_is_shown_in_turns_before_later_events(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.busy_welcome())
    link = link_to(engine)
    order: list[tuple[str, int]] = []
    turn = 0
    done = asyncio.Event()

    def tell(what: str) -> None:
        order.append((what, turn))

    link.welcome.connect(lambda _: link.in_turns(partial(tell, "nodes"), partial(tell, "casts")))
    link.cast_changed.connect(lambda cast: tell("changed"))
    link.cast_finished.connect(lambda result: tell("finished"))
    link.cast_finished.connect(lambda result: done.set())
    running = asyncio.create_task(link.run())
    engine.say(m.CastChanged(fake.sending_cast()), m.CastResult(fake.finished_cast(), (), 80.0))
    async with asyncio.timeout(PATIENCE):
        while not done.is_set():
            turn += 1
            await asyncio.sleep(0)
    assert [what for what, _ in order] == ["nodes", "casts", "changed", "finished"]
    assert order[0][1] < order[1][1] < order[2][1]
    await link.close()
    await running


async def test_a_lost_engine_is_looked_for_again(qtbot: QtBot) -> None:
    first, second = FakeEngine(fake.busy_welcome()), FakeEngine(fake.empty_welcome())
    link = link_to(first, GONE, GONE, second)
    welcomes, failures, states = (
        Heard(link.welcome),
        Heard(link.connection_failed),
        Heard(link.connection_changed),
    )
    running = asyncio.create_task(link.run())
    await welcomes.until(bool)
    first.lose()
    assert await welcomes.until(lambda values: len(values) == 2) == [first.welcome, second.welcome]
    assert failures.values == [GONE, GONE]
    assert states.values == [
        EngineLinkState.CONNECTED,
        EngineLinkState.RECONNECTING,
        EngineLinkState.CONNECTED,
    ]
    assert first.closed
    await link.close()
    await running


async def test_an_engine_that_does_not_come_up_is_tried_again(qtbot: QtBot) -> None:
    engine = FakeEngine(fake.empty_welcome())
    link = link_to(TimeoutError(), PermissionError(13, "Permission denied"), engine)
    welcomes, failures = Heard(link.welcome), Heard(link.connection_failed)
    running = asyncio.create_task(link.run())
    await welcomes.until(bool)
    assert [failure.values["reason"] for failure in failures.values] == [
        "it took too long",
        "Permission denied",
    ]
    await link.close()
    await running


async def test_questions_are_answered_or_fail_with_a_reason(qtbot: QtBot) -> None:
    refusal = Failure(FailureKind.CAST_UNKNOWN, {"cast": "abc"})
    engine = FakeEngine(fake.busy_welcome(), {m.Cancel: lambda command: m.Failed(refusal)})
    link = link_to(engine)
    answers: asyncio.Queue[Any] = asyncio.Queue()
    link.ask(m.ClearFinished(), m.Done, None, answers.put_nowait)
    early = await answers.get()
    assert early.kind is FailureKind.ENGINE_UNREACHABLE
    welcomes = Heard(link.welcome)
    running = asyncio.create_task(link.run())
    await welcomes.until(bool)
    link.ask(m.ClearFinished(), m.Done, answers.put_nowait)
    assert await answers.get() == m.Done()
    link.ask(m.Cancel("abc"), m.Done, None, answers.put_nowait)
    assert await answers.get() == refusal
    await link.close()
    await running


async def test_closing_while_there_is_no_engine_ends_the_search(qtbot: QtBot) -> None:
    link = link_to(*[GONE] * 1000)
    failures = Heard(link.connection_failed)
    running = asyncio.create_task(link.run())
    await failures.until(bool)
    await link.close()
    await running
    assert not link.connected
