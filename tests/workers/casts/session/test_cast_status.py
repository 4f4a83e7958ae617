"""Reports combined into snapshots: rates, remaining time, stragglers, and final states."""

from __future__ import annotations

import dataclasses

import pytest

from castray_desktop.core.casts.states import CastEvent, DeliveryEvent
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, CastState, DeliveryState, SendRequest, Transport
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem, ParcelTotals, TopEntry
from castray_desktop.core.routing.route_plan import Route
from castray_desktop.workers.casts.session.cast_status import CastStatus

MB = 1_000_000
SIZE = 1000 * MB
TOTALS = ParcelTotals(100, "m", SIZE, 33, 1, 1, (TopEntry("model.bin", False, SIZE, 1),))
STARTED = 1_800_000_000.0


@pytest.fixture
def status() -> CastStatus:
    """A cast that was planned at second 10, s to a to b."""
    return started(TOTALS)


def started(totals: ParcelTotals) -> CastStatus:
    request = SendRequest(("/data/model.bin",), ("a", "b"), source="s")
    addresses = {"a": "10.0.0.1", "b": "10.0.0.2"}
    status = CastStatus("cast", request, addresses, CastMode.BROADCAST, STARTED, 10.0)
    status.advance(CastEvent.STARTED, 10.0)
    status.source_reported(SourceReport("cast", SourceState.PREPARED, totals=totals), 10.0)
    status.route_changed(Route("s", {"a": "s", "b": "a"}))
    status.advance(CastEvent.PREPARED, 10.0)
    return status


def receiving(status: CastStatus, node: str, now: float, megabytes: int) -> None:
    done = megabytes * MB
    report = DeliveryReport(
        "cast",
        RecipientState.RECEIVING,
        stream_bytes=done + 100,
        content_bytes=done,
        received_bytes=done + 100,
        transport="direct",
    )
    status.delivery_reported(node, report, now)


def complete(status: CastStatus, node: str, now: float) -> None:
    report = DeliveryReport(
        "cast",
        RecipientState.COMPLETED,
        content_bytes=SIZE,
        received_bytes=SIZE + 133,
        paths=(f"/inbox/{node}",),
        hash="blake3:00",
    )
    status.delivery_reported(node, report, now)


def test_rate_and_remaining_time(status: CastStatus) -> None:
    receiving(status, "a", 11.0, 100)
    receiving(status, "a", 12.0, 200)
    snapshot = status.deliveries(12.0)[0]
    assert snapshot.state is DeliveryState.RECEIVING
    assert (snapshot.rate, snapshot.eta, snapshot.seconds) == (100 * MB, 8.0, 2.0)
    assert snapshot.transport is Transport.DIRECT
    assert status.deliveries(20.0)[0].rate == 0.0
    assert status.deliveries(20.0)[0].eta is None


def test_the_cast_s_eta_is_the_slowest_and_unknown_with_one_unknown(status: CastStatus) -> None:
    receiving(status, "a", 11.0, 100)
    receiving(status, "a", 12.0, 200)
    assert status.summary(12.0).eta is None
    receiving(status, "b", 11.0, 50)
    receiving(status, "b", 12.0, 100)
    assert status.summary(12.0).eta == 18.0
    assert status.summary(12.0).rate == 75 * MB
    assert status.summary(12.0).done_bytes == 150 * MB


def test_lagging_is_far_behind_the_upstream(status: CastStatus) -> None:
    for second in range(4):
        receiving(status, "a", 11.0 + second, 100 * second)
        receiving(status, "b", 11.0 + second, 95 * second)
    assert not status.deliveries(14.0)[1].lagging
    for second in range(4, 8):
        receiving(status, "a", 11.0 + second, 100 * second)
        receiving(status, "b", 11.0 + second, 285 + second)
    a, b = status.deliveries(18.0)
    assert not a.lagging  # the source is never behind
    assert b.lagging
    assert b.behind == (700 - 292) * MB
    assert status.summary(18.0).lagging == 1
    complete(status, "b", 19.0)
    assert status.summary(19.0).lagging == 0


def test_only_what_changed_is_told_again(status: CastStatus) -> None:
    assert [item.node for item in status.changed_deliveries(10.0)] == ["a", "b"]
    assert status.changed_deliveries(10.0) == ()
    receiving(status, "b", 10.0, 1)
    assert [item.node for item in status.changed_deliveries(10.0)] == ["b"]


def test_one_upload_for_all(status: CastStatus) -> None:
    report = SourceReport("cast", SourceState.HASHED, sent_bytes=TOTALS.stream_bytes)
    status.source_reported(report, 20.0)
    complete(status, "a", 20.0)
    complete(status, "b", 21.0)
    status.advance(status.outcome(), 21.0)
    result = status.result(99.0)
    assert result.seconds == 11.0
    assert result.summary.state is CastState.COMPLETED
    assert result.summary.source_copies == 1.0
    assert result.summary.chain == ("s", "a", "b")
    assert result.summary.finished == STARTED + 11.0
    assert [item.seconds for item in result.deliveries] == [10.0, 11.0]
    assert result.deliveries[0].rate == SIZE / 10.0
    assert result.summary.eta is None


def test_recipients_of_a_shared_folder_get_the_writer_s_paths(status: CastStatus) -> None:
    complete(status, "a", 20.0)
    status.mark_shared("b", "a", 20.0)
    b = status.delivery("b")
    assert b.state is DeliveryState.SHARED
    assert (b.bytes, b.paths, b.hash, b.upstream) == (SIZE, ("/inbox/a",), "blake3:00", "a")
    assert status.outcome() is CastEvent.COMPLETED


@pytest.mark.parametrize("files", [1, 2])
def test_files_that_the_source_could_not_send_fail_what_arrived(files: int) -> None:
    status = started(dataclasses.replace(TOTALS, files=files))
    problem = FileProblem("x", Failure(FailureKind.CHANGED, {"path": "x"}))
    status.source_reported(
        SourceReport("cast", SourceState.HASHED, problems=(problem,), problem_count=1), 19.0
    )
    complete(status, "a", 20.0)
    failure = status.delivery("a").failure
    assert failure is not None
    assert failure.kind is (FailureKind.FILES_FAILED if files > 1 else FailureKind.NO_FILE_DELIVERED)
    told = failure.values["count"], failure.values["total"], failure.values["path"]
    assert told == ("1", str(files), "x")
    status.end_delivery("b", DeliveryEvent.FAILED, 20.0, Failure(FailureKind.NODE_OFFLINE))
    assert status.outcome() is (CastEvent.PARTLY_FAILED if files > 1 else CastEvent.FAILED)


def test_files_left_out_by_the_scan_count_in_the_total() -> None:
    status = started(dataclasses.replace(TOTALS, left_out=1))
    problem = FileProblem("pipe", Failure(FailureKind.NOT_SENDABLE, {"path": "pipe", "what": "a pipe"}))
    status.source_reported(
        SourceReport("cast", SourceState.HASHED, problems=(problem,), problem_count=1), 19.0
    )
    complete(status, "a", 20.0)
    failure = status.delivery("a").failure
    assert failure is not None
    assert failure.values["total"] == "2"


def test_reports_after_the_end_change_nothing(status: CastStatus) -> None:
    status.end_delivery("a", DeliveryEvent.FAILED, 20.0, Failure(FailureKind.NODE_OFFLINE, {"node": "a"}))
    before = status.delivery("a")
    complete(status, "a", 21.0)
    status.end_delivery("a", DeliveryEvent.CANCELLED, 21.0)
    assert status.delivery("a") == before


def test_a_new_route_leaves_ended_deliveries_alone(status: CastStatus) -> None:
    assert status.route is not None
    complete(status, "b", 20.0)
    shorter = status.route.without_node("a")
    status.route_changed(shorter)
    assert status.delivery("b").upstream == "a"
    assert status.summary(20.0).chain == ("s", "a", "b")


def test_lists_are_no_copies_of_what_was_not_sent(status: CastStatus) -> None:
    """A short existing file: only the lists of files and hashes left the source."""
    status.restore((), totals=ParcelTotals(100, "m", 5, 33, 1, 1, (TopEntry("hello", False, 5, 1),)))
    for lists in (100, 133):
        report = SourceReport("cast", SourceState.HASHED, sent_bytes=lists, sent_lists=lists)
        status.source_reported(report, 20.0)
    assert status.summary(20.0).source_copies == 0.0
    status.source_away(None)
    status.source_reported(SourceReport("cast", SourceState.HASHED, sent_bytes=15, sent_lists=10), 20.0)
    assert status.summary(20.0).source_copies == 1.0
    assert status.source.sent_bytes == 148


def test_the_source_s_last_count_is_waited_for(status: CastStatus) -> None:
    status.source_reported(SourceReport("cast", SourceState.HASHED, sent_bytes=5), 20.0)
    complete(status, "a", 20.0)
    assert not status.source_settled
    status.source_reported(SourceReport("cast", SourceState.HASHED, sent_bytes=SIZE + 133), 20.0)
    assert status.source_settled


def test_traffic_at_each_node(status: CastStatus) -> None:
    for now, sent in ((11.0, 0), (12.0, 70)):
        status.source_reported(SourceReport("cast", SourceState.SERVING, sent_bytes=sent * MB), now)
        receiving(status, "a", now, sent)
    rates = {rate.node: rate for rate in status.rates(12.0)}
    assert rates["s"].sent == pytest.approx(35 * MB)  # it has been known for two seconds
    assert rates["a"].received == pytest.approx(70 * MB)
    assert rates["b"].received == 0.0


def test_the_name_before_the_scan_is_made_from_the_paths() -> None:
    request = SendRequest(("/data/configs/", "/data/x"), ("a",), source="s")
    status = CastStatus("cast", request, {"a": ""}, CastMode.UNICAST, STARTED, 0.0)
    assert (status.summary(0.0).name, status.summary(0.0).others) == ("configs", 1)


def test_where_the_time_goes_is_told_in_shares(status: CastStatus) -> None:
    for second in range(4):
        report = DeliveryReport(
            "cast",
            RecipientState.RECEIVING,
            stream_bytes=1,
            content_bytes=second * MB,
            checking=second * 0.1,
            writing=second * 0.72,
        )
        status.delivery_reported("a", report, 11.0 + second)
        source = SourceReport("cast", SourceState.SERVING, checking=second * 0.4, reading=second * 0.2)
        status.source_reported(source, 11.0 + second)
    [first, _] = status.deliveries(14.0)
    assert (first.checking, first.writing) == (0.1, 0.7)
    summary = status.summary(14.0)
    assert (summary.checking, summary.reading) == (0.4, 0.2)
    status.source_away(None)
    assert status.summary(14.0).checking == 0.0
