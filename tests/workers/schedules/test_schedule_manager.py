"""The requests of clients to schedules, and the stored state."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from tests.helpers.schedule_stage import NODES, Stage


async def test_run_now_sends_to_all_whatever_has_changed(stage: Stage) -> None:
    schedule = await stage.add(every=600.0, enabled=False)
    await stage.later(5000)
    assert stage.casts.sent == []
    for count in (1, 2):
        reply = await stage.schedules.answer(m.RunSchedule(schedule[:4]))
        assert reply == m.Accepted(f"cast {count - 1}")
        assert stage.casts.sent[-1][1].recipients == NODES
        with pytest.raises(CastRayError) as caught:
            await stage.schedules.answer(m.RunSchedule("models"))
        assert caught.value.failure.kind is FailureKind.SCHEDULE_RUNNING
        await stage.end()


async def test_run_now_without_the_cluster_fails(stage: Stage) -> None:
    schedule = await stage.add(every=600.0, enabled=False)
    stage.casts.ready = False
    with pytest.raises(CastRayError) as caught:
        await stage.schedules.answer(m.RunSchedule(schedule))
    assert caught.value.failure.kind is FailureKind.NO_CLUSTER


async def test_a_schedule_has_absolute_paths(stage: Stage) -> None:
    with pytest.raises(CastRayError) as caught:
        await stage.add(every=600.0, request=m.SendRequest(("data",), ("all",), source="node_1"))
    assert caught.value.failure == Failure(FailureKind.RELATIVE_PATH, {"path": "data", "node": "node_1"})
    await stage.add(every=600.0)
    schedule = stage.info().schedule
    request = msgspec.structs.replace(schedule.request, paths=("data",))
    with pytest.raises(CastRayError):
        await stage.schedules.answer(m.ChangeSchedule(msgspec.structs.replace(schedule, request=request)))
    assert stage.info().schedule == schedule


async def test_off_and_on(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end()
    assert stage.schedules.active
    assert stage.casts.held == {"local"}
    await stage.schedules.answer(m.EnableSchedule("", False))
    assert not stage.schedules.active
    assert stage.casts.held == set()
    assert stage.info().next_run == 0.0
    stage.casts.digest = "second"
    await stage.later(6000)
    assert len(stage.casts.sent) == 1
    await stage.schedules.answer(m.EnableSchedule("models", True))
    await stage.settle()
    assert len(stage.casts.sent) == 1  # runs that were missed while it was off are not made up for
    await stage.later(600)
    assert len(stage.casts.sent) == 2


async def test_another_destination_has_got_nothing_yet(stage: Stage) -> None:
    name = await stage.add(every=600.0)
    await stage.settle()
    await stage.end()
    schedule = stage.info().schedule
    request = schedule.request.with_options(limit=1000)
    await stage.schedules.answer(m.ChangeSchedule(msgspec.structs.replace(schedule, request=request)))
    await stage.later(600)
    assert len(stage.casts.sent) == 1
    request = request.with_options(destination="/srv")
    changed = msgspec.structs.replace(schedule, request=request, every=60.0)
    await stage.schedules.answer(m.ChangeSchedule(changed))
    await stage.later(60)
    assert stage.casts.sent[1][1].options.destination == "/srv"
    assert stage.casts.sent[1][2] == name


async def test_a_schedule_removed_during_its_scan_sends_nothing(stage: Stage) -> None:
    stage.casts.gate.clear()
    name = await stage.add(every=600.0)
    await stage.settle()
    assert stage.casts.looks == 1
    await stage.schedules.answer(m.RemoveSchedule(name))
    stage.casts.gate.set()
    await stage.settle()
    assert stage.casts.sent == []
    assert stage.schedules._message().schedules == ()
    with pytest.raises(CastRayError) as caught:
        await stage.schedules.answer(m.RemoveSchedule(name))
    assert caught.value.failure.kind is FailureKind.SCHEDULE_UNKNOWN


async def test_clients_hear_of_every_change(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.until(lambda: stage.events[-1:] == [stage.schedules._message()])


async def test_the_demonstration_writes_a_file_that_differs_each_time(stage: Stage) -> None:
    first = await stage.schedules.answer(m.AddDemonstration())
    assert first == await stage.schedules.answer(m.AddDemonstration())
    info = stage.info()
    assert (info.schedule.enabled, info.schedule.every) == (False, 60.0)
    await stage.schedules.answer(m.EnableSchedule("", True))
    file = Path(info.schedule.request.paths[0])
    seen = set()
    for turn in range(15):
        await stage.later(0 if turn == 0 else 60)
        await stage.end()
        seen.add(file.read_text())
        stage.casts.digest = f"turn {turn}"
    assert len(seen) == 15
    assert len(stage.casts.sent) == 15
    assert len(file.read_text().splitlines()) == 10
    assert file.is_relative_to(stage.home)


async def test_a_damaged_file_is_set_aside(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.add(every=600.0, enabled=False)
    await stage.schedules.close()
    file = stage.home / "schedules.json"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("[{]")
    with caplog.at_level(logging.WARNING):
        await stage.restart()
    assert stage.schedules._message().schedules == ()
    (aside,) = stage.home.glob("damaged-*")
    assert aside.read_text() == "[{]"
    assert "set aside" in caplog.text


async def test_no_two_schedules_have_one_name(stage: Stage) -> None:
    first = await stage.add(every=600.0, enabled=False)
    for name in ("models", " models "):
        with pytest.raises(CastRayError) as caught:
            await stage.add(every=60.0, name=name)
        assert caught.value.failure.kind is FailureKind.SCHEDULE_EXISTS
    other = await stage.add(every=600.0, enabled=False, name="others")
    schedules = {info.schedule.schedule: info.schedule for info in stage.schedules._message().schedules}
    with pytest.raises(CastRayError) as caught:
        await stage.schedules.answer(
            m.ChangeSchedule(msgspec.structs.replace(schedules[other], name="models"))
        )
    assert caught.value.failure.kind is FailureKind.SCHEDULE_EXISTS
    await stage.schedules.answer(m.ChangeSchedule(msgspec.structs.replace(schedules[first], every=60.0)))
    await stage.schedules.answer(m.RemoveSchedule("models"))
    assert [info.schedule.name for info in stage.schedules._message().schedules] == ["others"]
