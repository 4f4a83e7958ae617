"""A schedule that runs after changes of its files: with kernel notifications, and by polling."""

from __future__ import annotations

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import SendRequest
from castray_desktop.workers.schedules.schedule_runner import POLL_SECONDS, RECHECK_SECONDS, URL_POLL_SECONDS
from tests.helpers.schedule_stage import Stage


async def quiet_schedule(stage: Stage, **values: object) -> None:
    """A schedule that watches, has sent the existing files, and is idle."""
    await stage.add(quiet=5.0, **values)
    await stage.settle()
    await stage.end()
    await stage.until(lambda: stage.casts.looks == 2)
    await stage.settle()
    assert len(stage.casts.sent) == 1


async def test_a_thousand_changes_are_one_cast_once_it_is_quiet(stage: Stage) -> None:
    await quiet_schedule(stage)
    stage.casts.digest = "second"
    for number in range(1000):
        (stage.home / "data" / str(number)).write_text("x")
    await stage.until(lambda: stage.info().changes_seen == 1000)
    await stage.later(4.9)
    assert len(stage.casts.sent) == 1
    await stage.later(0.1)
    assert len(stage.casts.sent) == 2
    assert stage.info().changes_seen == 0
    await stage.end()
    await stage.later(100)
    assert len(stage.casts.sent) == 2


async def test_a_change_before_the_watch_is_found_despite_a_long_first_scan(
    stage: Stage,
) -> None:
    stage.casts.gate.clear()
    await stage.add(quiet=2.0)
    await stage.settle()
    runner = stage.runner()
    runner._watch_started()  # the kernel has reported everything; the first scan saw the earlier files
    stage.casts.gate.set()
    await stage.settle()
    assert len(stage.casts.sent) == 1
    stage.casts.digest = "second"
    await stage.end()
    assert len(stage.casts.sent) == 2


async def test_touching_without_changing_sends_nothing(stage: Stage) -> None:
    await quiet_schedule(stage)
    (stage.home / "data" / "a").write_text("x")
    await stage.until(lambda: stage.info().changes_seen == 1)
    await stage.later(5)
    assert len(stage.casts.sent) == 1
    assert stage.info().unchanged


async def test_changes_during_a_cast_are_sent_after_it(stage: Stage) -> None:
    await quiet_schedule(stage)
    for digest, name in (("second", "a"), ("third", "b")):
        stage.casts.digest = digest
        (stage.home / "data" / name).write_text("x")
        await stage.until(lambda: stage.info().changes_seen == 1)
        await stage.later(5)
    assert len(stage.casts.sent) == 2
    await stage.end()
    assert len(stage.casts.sent) == 3


async def test_a_failed_recipient_is_tried_again_more_and_more_seldom(stage: Stage) -> None:
    await quiet_schedule(stage)
    stage.casts.digest = "second"
    (stage.home / "data" / "a").write_text("x")
    await stage.until(lambda: stage.info().changes_seen == 1)
    await stage.later(5)
    for wait in (60, 120, 240):
        sent = len(stage.casts.sent)
        await stage.end("b")
        await stage.later(wait - 1)
        assert len(stage.casts.sent) == sent
        await stage.later(1)
        assert len(stage.casts.sent) == sent + 1
        assert stage.casts.sent[-1][1].recipients == ("b",)


async def test_watched_files_are_still_scanned_at_intervals(stage: Stage) -> None:
    await quiet_schedule(stage)
    stage.casts.digest = "second"
    await stage.later(RECHECK_SECONDS)
    assert len(stage.casts.sent) == 2


async def test_remote_files_are_scanned_until_they_are_stable(stage: Stage) -> None:
    stage.casts.here = False
    await stage.add(quiet=5.0)
    await stage.settle()
    assert stage.info().looks_every == POLL_SECONDS
    assert stage.casts.sent == []
    stage.casts.digest = "second"
    await stage.later(POLL_SECONDS)
    assert stage.casts.sent == []  # it still changes
    await stage.later(POLL_SECONDS)
    assert len(stage.casts.sent) == 1
    await stage.end()
    for _ in range(5):
        await stage.later(POLL_SECONDS)
    assert stage.casts.looks >= 8
    assert len(stage.casts.sent) == 1


async def test_a_folder_that_is_not_there_yet_is_watched_when_it_is(stage: Stage) -> None:
    folder = stage.home / "later"
    request = SendRequest((str(folder),), ("all",))
    stage.casts.failure = Failure(FailureKind.NO_SUCH_FILE, {"path": str(folder)})
    await stage.add(quiet=5.0, request=request)
    await stage.until(lambda: stage.info().failure is not None)
    await stage.until(lambda: stage.casts.looks == 2)  # once more when the watch begins
    folder.mkdir()
    await stage.until(lambda: stage.info().looks_every > 0)
    stage.casts.failure = None
    await stage.later(60)
    await stage.until(lambda: stage.info().looks_every == 0)
    await stage.until(lambda: len(stage.casts.sent) == 1)


async def test_servers_are_asked_once_a_minute(stage: Stage) -> None:
    request = SendRequest(("https://example.org/model.bin",), ("all",), source="")
    await stage.add(quiet=5.0, request=request)
    await stage.settle()
    assert stage.info().looks_every == URL_POLL_SECONDS
