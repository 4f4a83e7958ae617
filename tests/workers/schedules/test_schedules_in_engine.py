"""Schedules inside a whole engine."""

from __future__ import annotations

import asyncio

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE


async def test_the_engine_stays_while_a_schedule_is_switched_on(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    added = await client.request(m.AddDemonstration(), m.ScheduleAdded)
    await client.request(m.EnableSchedule(added.schedule, True), m.Done)
    await client.request(m.StopEngine(only_if_unused=True), m.Done)
    assert (await client.request(m.GetStatus(), m.EngineStatus)).kept
    await client.close()
    await engine_home.alone()
    engine_home.now += 3600.0
    await engine_home.checked()
    assert not engine_home.running.done()
    assert len(engine_home.drivers) == 1  # the local cluster that it needs
    client = await engine_home.connect()
    listed = await client.request(m.ListSchedules(), m.SchedulesChanged)
    assert listed.schedules[0].schedule.name == "Demonstration"
    await client.request(m.EnableSchedule("", False), m.Done)
    await client.close()
    await engine_home.alone()
    engine_home.now += 3600.0
    await engine_home.ended()


async def test_a_cluster_that_the_user_has_left_is_not_brought_up(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    await client.request(m.UseCluster("local"), m.Done)
    await client.request(m.LeaveCluster(), m.Done)
    drivers = len(engine_home.drivers)
    added = await client.request(m.AddDemonstration(), m.ScheduleAdded)
    await client.request(m.EnableSchedule(added.schedule, True), m.Done)
    async with asyncio.timeout(PATIENCE):
        async for event in client.events():
            if isinstance(event, m.SchedulesChanged) and event.schedules[0].failure is not None:
                break
    assert event.schedules[0].failure == Failure(FailureKind.SCHEDULE_WAITS, {"target": "local"})
    assert len(engine_home.drivers) == drivers
    await client.close()
