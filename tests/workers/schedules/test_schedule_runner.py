"""The run times of a schedule, and its recipients."""

from __future__ import annotations

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastState, DeliveryState, SendRequest
from tests.helpers.schedule_stage import NODES, NOW, Stage


async def test_it_runs_at_its_interval_and_only_when_something_has_changed(stage: Stage) -> None:
    schedule = await stage.add(every=600.0)
    await stage.settle()
    target, request, owner = stage.casts.sent[0]
    assert (target, owner, request.recipients, request.leave_out) == ("local", schedule, NODES, True)
    assert stage.info().running
    await stage.end()
    assert stage.info().last_state is CastState.COMPLETED
    assert stage.info().next_run == NOW + 600
    await stage.later(599)
    assert stage.casts.looks == 1
    await stage.later(1)
    assert (stage.casts.looks, len(stage.casts.sent)) == (2, 1)
    assert stage.info().unchanged
    assert stage.info().last_run == NOW + 600
    stage.casts.digest = "second"
    await stage.later(600)
    assert len(stage.casts.sent) == 2


async def test_a_run_that_would_overlap_is_left_out(stage: Stage) -> None:
    await stage.add(every=10.0)
    await stage.settle()
    stage.casts.digest = "second"
    for _ in range(5):
        await stage.later(10)
    assert len(stage.casts.sent) == 1
    await stage.later(3)
    await stage.end()
    assert len(stage.casts.sent) == 1
    assert stage.info().next_run == NOW + 60
    await stage.later(7)
    assert len(stage.casts.sent) == 2


async def test_runs_that_were_missed_are_made_up_for_once(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end()
    stage.casts.digest = "second"
    stage.now += 100_000
    await stage.restart()
    assert len(stage.casts.sent) == 2
    await stage.end()
    await stage.settle()
    assert len(stage.casts.sent) == 2
    assert stage.now < stage.info().next_run <= stage.now + 600


async def test_cron_waits_for_its_time(stage: Stage) -> None:
    await stage.add(cron="0 3 * * *")
    await stage.settle()
    assert stage.casts.looks == 0
    stage.now = stage.info().next_run - 1
    await stage.settle()
    assert stage.casts.looks == 0
    await stage.later(1)
    assert len(stage.casts.sent) == 1


async def test_only_recipients_without_the_content_are_served(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end("b")
    await stage.later(600)
    assert stage.casts.sent[1][1].recipients == ("b",)
    await stage.end()
    stage.casts.recipients = ("a", "b", "c")
    await stage.later(600)
    assert stage.casts.sent[2][1].recipients == ("c",)
    await stage.end()
    await stage.later(600)
    assert len(stage.casts.sent) == 3


async def test_a_node_that_is_offline_gets_it_when_it_is_back(stage: Stage) -> None:
    stage.casts.offline = frozenset({"b"})
    await stage.add(every=600.0)
    await stage.settle()
    assert stage.casts.sent[0][1].recipients == ("a",)
    await stage.end()
    await stage.later(600)
    assert len(stage.casts.sent) == 1
    assert stage.info().failure == Failure(FailureKind.NODE_OFFLINE, {"node": "b"})
    stage.casts.offline = frozenset()
    await stage.later(600)
    assert stage.casts.sent[1][1].recipients == ("b",)
    assert stage.info().failure is None


async def test_with_await_offline_no_recipient_is_left_out(stage: Stage) -> None:
    stage.casts.offline = frozenset({"b"})
    request = SendRequest(("/data",), ("all",), options=TransferOptions(await_offline=True))
    await stage.add(every=600.0, request=request)
    await stage.settle()
    assert stage.casts.sent[0][1].recipients == NODES


async def test_one_that_was_awaited_in_vain_is_sent_to_again(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.end("b", state=DeliveryState.AWAITED)
    await stage.later(600)
    assert len(stage.casts.sent) == 1  # it is served by another cast
    await stage.end("b", cast=0)
    await stage.later(600)
    assert stage.casts.sent[1][1].recipients == ("b",)


async def test_without_its_cluster_it_waits_with_a_reason(stage: Stage) -> None:
    stage.casts.ready = False
    await stage.add(every=600.0, cluster="10.0.0.1:6379")
    await stage.later(2000)
    assert stage.casts.sent == []
    assert stage.casts.brought_up == ["10.0.0.1:6379"]
    assert stage.info().failure == Failure(FailureKind.SCHEDULE_WAITS, {"target": "10.0.0.1:6379"})
    stage.casts.ready = True
    await stage.later(5)
    assert len(stage.casts.sent) == 1
    assert stage.info().failure is None


async def test_a_run_that_can_not_start_has_a_reason_and_the_next_one_follows(stage: Stage) -> None:
    stage.casts.failure = Failure(FailureKind.NO_SUCH_FILE, {"path": "/data"})
    await stage.add(every=600.0)
    await stage.settle()
    assert stage.info().failure == stage.casts.failure
    stage.casts.failure = None
    await stage.later(600)
    assert len(stage.casts.sent) == 1
    assert stage.info().failure is None


async def test_an_unexpected_error_is_reported_and_stops_no_schedule(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.casts.recipients = 5  # type: ignore[assignment]
    await stage.add(every=600.0)
    await stage.settle()
    failure = stage.info().failure
    assert failure is not None
    assert failure.kind is FailureKind.INTERNAL
    assert "TypeError" in failure.values["reason"]
    assert "Traceback" in caplog.text
    stage.casts.recipients = NODES
    await stage.later(600)
    assert len(stage.casts.sent) == 1


async def test_a_cast_resumed_by_the_next_engine_is_awaited(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    await stage.restart()
    assert stage.info().running
    await stage.later(600)
    assert stage.casts.looks == 1
    await stage.end()
    assert stage.info().last_state is CastState.COMPLETED


async def test_a_cast_that_was_lost_with_its_engine_does_not_block_the_schedule(stage: Stage) -> None:
    await stage.add(every=600.0)
    await stage.settle()
    stage.casts.running.clear()
    await stage.restart()
    assert not stage.info().running
    assert stage.info().last_state is CastState.FAILED
    await stage.later(600)
    assert len(stage.casts.sent) == 2
