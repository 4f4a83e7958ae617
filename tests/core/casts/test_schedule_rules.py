"""The run times of schedules, in time zones with daylight saving."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.casts.schedule_rules import check_schedule, content_key, find, next_run, retry_delay
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions, TransportOption
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import OnConflict, Schedule, SendRequest
from castray_desktop.workers.schedules.schedule_manager import next_cron_time

BERLIN = ZoneInfo("Europe/Berlin")
REQUEST = SendRequest(("/data/models",), ("all",))
EVERY = Schedule("", "models", REQUEST, every=600.0)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def runs(cron: str, start: str, count: int, zone: ZoneInfo = BERLIN) -> list[str]:
    """The first run times after a moment, as local time."""
    schedule = Schedule("", "models", REQUEST, cron=cron)
    now, found = at(start), []
    for _ in range(count):
        now = next_run(schedule, now, now, zone, next_cron_time)
        found.append(datetime.fromtimestamp(now, zone).isoformat(timespec="minutes"))
    return found


def test_an_hour_that_spring_leaves_out_is_made_up_for_as_it_ends() -> None:
    assert runs("30 2 * * *", "2026-03-28T12:00:00+01:00", 3) == [
        "2026-03-29T03:00+02:00",
        "2026-03-30T02:30+02:00",
        "2026-03-31T02:30+02:00",
    ]


def test_an_hour_that_autumn_repeats_runs_once() -> None:
    assert runs("30 2 * * *", "2026-10-24T12:00:00+02:00", 3) == [
        "2026-10-25T02:30+02:00",
        "2026-10-26T02:30+01:00",
        "2026-10-27T02:30+01:00",
    ]


def test_every_half_hour_is_every_half_hour_also_when_clocks_change() -> None:
    autumn = runs("*/30 * * * *", "2026-10-25T01:31:00+02:00", 6)
    assert autumn == [
        *("2026-10-25T02:00+02:00", "2026-10-25T02:30+02:00", "2026-10-25T02:00+01:00"),
        *("2026-10-25T02:30+01:00", "2026-10-25T03:00+01:00", "2026-10-25T03:30+01:00"),
    ]
    spring = runs("*/30 * * * *", "2026-03-29T01:31:00+01:00", 2)
    assert spring == ["2026-03-29T03:00+02:00", "2026-03-29T03:30+02:00"]


def test_working_days_and_the_last_of_a_month() -> None:
    assert runs("0 9 * * mon-fri", "2026-11-20T10:00:00+01:00", 2) == [
        *("2026-11-23T09:00+01:00", "2026-11-24T09:00+01:00")
    ]
    assert runs("0 0 L * *", "2026-02-01T10:00:00+01:00", 1) == ["2026-02-28T00:00+01:00"]


@given(
    st.floats(1.0, 1e6),
    st.floats(1.0, 2e9),
    st.floats(0.0, 1e8),
)
def test_an_interval_counts_from_start_to_start_and_missed_runs_do_not_accumulate(
    every: float, last: float, passed: float
) -> None:
    schedule = msgspec.structs.replace(EVERY, every=every)
    now = last + passed
    following = next_run(schedule, last, now, BERLIN, next_cron_time)
    assert now < following <= now + every + 1e-3
    turns = (following - last) / every
    assert turns == pytest.approx(round(turns), abs=1e-2)


def test_a_schedule_that_has_never_run_starts_at_once() -> None:
    assert next_run(EVERY, 0.0, 1000.0, BERLIN, next_cron_time) == 1000.0


def test_a_clock_that_was_set_back_does_not_stop_it() -> None:
    assert next_run(EVERY, 5000.0, 1000.0, BERLIN, next_cron_time) == 1000.0


def test_a_schedule_that_waits_for_changes_has_no_time() -> None:
    assert next_run(Schedule("", "m", REQUEST, quiet=5.0), 1.0, 2.0, BERLIN, next_cron_time) == 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"every": 0.0},
        {"quiet": 5.0},
        {"cron": "* * * * *"},
        {"every": -1.0},
        {"every": 0.5},
        {"every": float("nan")},
        {"every": float("inf")},
        {"every": 0.0, "cron": "nonsense"},
        {"every": 0.0, "cron": "0 0 30 2 *"},
        {"every": 0.0, "cron": "0 0 * * * *"},
        {"every": 0.0, "cron": "61 * * * *"},
        {"name": "  "},
    ],
)
def test_wrong_schedules_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(CastRayError) as caught:
        check_schedule(msgspec.structs.replace(EVERY, **changes), next_cron_time)
    assert caught.value.failure.kind is FailureKind.BAD_SCHEDULE
    assert "{" not in sentence(caught.value.failure)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (SendRequest((), ("all",)), FailureKind.NOTHING_TO_SEND),
        (SendRequest(("/a",), ()), FailureKind.NO_RECIPIENTS),
        (
            SendRequest(("/a",), ("all",), options=TransferOptions(remove_extra=True)),
            FailureKind.REMOVE_EXTRA_REFUSED,
        ),
        (
            REQUEST.with_options(transport=TransportOption.UDP, encrypt=Encryption.ALWAYS),
            FailureKind.ENCRYPTED_MULTICAST,
        ),
    ],
)
def test_so_is_a_request_that_could_never_be_sent(request_: SendRequest, kind: FailureKind) -> None:
    with pytest.raises(CastRayError) as caught:
        check_schedule(msgspec.structs.replace(EVERY, request=request_), next_cron_time)
    assert caught.value.failure.kind is kind


def test_which_schedules_are_valid() -> None:
    check_schedule(EVERY, next_cron_time)
    check_schedule(Schedule("", "m", REQUEST, cron="*/5 0-8 * * 1-5"), next_cron_time)
    check_schedule(Schedule("", "m", REQUEST, quiet=1.0), next_cron_time)
    remove = REQUEST.with_options(remove_extra=True, on_conflict=OnConflict.OVERWRITE)
    check_schedule(Schedule("", "m", remove, quiet=1.0), next_cron_time)


def test_failures_are_tried_again_more_and_more_seldom() -> None:
    waits = [retry_delay(failures) for failures in range(12)]
    assert waits[:4] == [60.0, 60.0, 120.0, 240.0]
    assert waits == sorted(waits)
    assert waits[-1] == retry_delay(10_000) == 3600.0


def test_which_fields_are_part_of_the_content_key() -> None:
    same = msgspec.structs.replace(REQUEST, recipients=("a",), leave_out=True).with_options(limit=5)
    assert content_key(same) == content_key(REQUEST)
    other = REQUEST.with_options(exclude=("*.tmp",))
    assert content_key(other) != content_key(REQUEST)


def test_a_schedule_is_found_by_id_name_or_beginning() -> None:
    one, two, three = (
        Schedule("3f0000000001", "models", REQUEST, every=600.0),
        Schedule("3f0000000002", "models", REQUEST, every=600.0),
        Schedule("4a0000000003", "3f", REQUEST, every=600.0),
    )
    known = (one, two, three)
    assert find("3f0000000002", known) is two
    assert find("3f", known) is three  # a name has precedence over a prefix of an id
    assert find("4", known) is three
    for wanted, kind in (("models", FailureKind.SCHEDULE_AMBIGUOUS), ("", FailureKind.SCHEDULE_UNKNOWN)):
        with pytest.raises(CastRayError) as caught:
            find(wanted, known)
        assert caught.value.failure.kind is kind
    said = sentence(CastRayError(FailureKind.SCHEDULE_AMBIGUOUS, schedule="a", schedules="b, c").failure)
    assert said == "a matches several schedules: b, c. Specify one by its id."
