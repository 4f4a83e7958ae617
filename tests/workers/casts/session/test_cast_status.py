"""Reports folded into snapshots: rates, remaining time, lag, and who ends how."""

from __future__ import annotations

import dataclasses

import pytest

from castray_desktop.core.casts.states import CastEvent, DeliveryEvent
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import CastMode, CastState, DeliveryState, SendRequest, Transport
from castray_desktop.core.protocol.nodes.agent_protocol import (
    DeliveryReport,
    FileProblem,
    ParcelTotals,
    RecipientState,
    SourceReport,
    SourceState,
    TopEntry,
)
from castray_desktop.core.routing.route_plan import Route
from castray_desktop.workers.casts.session.cast_status import CastStatus

MB = 1_000_000
SIZE = 1000 * MB
TOTALS = ParcelTotals(100, "m", SIZE, 33, 1, 1, (TopEntry("model.bin", False, SIZE, 1),))
STARTED = 1_800_000_000.0


@pytest.fixture
def ledger() -> CastStatus:
    """A cast that was planned at second 10, s to a to b."""
    return started(TOTALS)


def started(totals: ParcelTotals) -> CastStatus:
    request = SendRequest(("/data/model.bin",), ("a", "b"), source="s")
    addresses = {"a": "10.0.0.1", "b": "10.0.0.2"}
    ledger = CastStatus("cast", request, addresses, CastMode.BROADCAST, STARTED, 10.0)
    ledger.advance(CastEvent.STARTED, 10.0)
    ledger.source_reported(SourceReport("cast", SourceState.PREPARED, totals=totals), 10.0)
    ledger.route_changed(Route("s", {"a": "s", "b": "a"}))
    ledger.advance(CastEvent.PREPARED, 10.0)
    return ledger


def receiving(ledger: CastStatus, node: str, now: float, megabytes: int) -> None:
    done = megabytes * MB
    report = DeliveryReport(
        "cast",
        RecipientState.RECEIVING,
        stream_bytes=done + 100,
        content_bytes=done,
        received_bytes=done + 100,
        transport="direct",
    )
    ledger.delivery_reported(node, report, now)


def landed(ledger: CastStatus, node: str, now: float) -> None:
    report = DeliveryReport(
        "cast",
        RecipientState.COMPLETED,
        content_bytes=SIZE,
        received_bytes=SIZE + 133,
        paths=(f"/inbox/{node}",),
        hash="blake3:00",
    )
    ledger.delivery_reported(node, report, now)


def test_rate_and_remaining_time(ledger: CastStatus) -> None:
    receiving(ledger, "a", 11.0, 100)
    receiving(ledger, "a", 12.0, 200)
    snapshot = ledger.deliveries(12.0)[0]
    assert snapshot.state is DeliveryState.RECEIVING
    assert (snapshot.rate, snapshot.eta, snapshot.seconds) == (100 * MB, 8.0, 2.0)
    assert snapshot.transport is Transport.DIRECT
    assert ledger.deliveries(20.0)[0].rate == 0.0
    assert ledger.deliveries(20.0)[0].eta is None


def test_the_cast_s_eta_is_the_slowest_and_unknown_with_one_unknown(ledger: CastStatus) -> None:
    receiving(ledger, "a", 11.0, 100)
    receiving(ledger, "a", 12.0, 200)
    assert ledger.summary(12.0).eta is None
    receiving(ledger, "b", 11.0, 50)
    receiving(ledger, "b", 12.0, 100)
    assert ledger.summary(12.0).eta == 18.0
    assert ledger.summary(12.0).rate == 75 * MB
    assert ledger.summary(12.0).done_bytes == 150 * MB


def test_lagging_is_far_behind_the_upstream(ledger: CastStatus) -> None:
    for second in range(4):
        receiving(ledger, "a", 11.0 + second, 100 * second)
        receiving(ledger, "b", 11.0 + second, 95 * second)
    assert not ledger.deliveries(14.0)[1].lagging
    for second in range(4, 8):
        receiving(ledger, "a", 11.0 + second, 100 * second)
        receiving(ledger, "b", 11.0 + second, 285 + second)
    a, b = ledger.deliveries(18.0)
    assert not a.lagging  # the source is never behind
    assert b.lagging
    assert b.behind == (700 - 292) * MB
    assert ledger.summary(18.0).lagging == 1
    landed(ledger, "b", 19.0)
    assert ledger.summary(19.0).lagging == 0


def test_only_what_changed_is_told_again(ledger: CastStatus) -> None:
    assert [item.node for item in ledger.changed_deliveries(10.0)] == ["a", "b"]
    assert ledger.changed_deliveries(10.0) == ()
    receiving(ledger, "b", 10.0, 1)
    assert [item.node for item in ledger.changed_deliveries(10.0)] == ["b"]


def test_one_upload_for_all(ledger: CastStatus) -> None:
    report = SourceReport("cast", SourceState.SEALED, sent_bytes=TOTALS.stream_bytes)
    ledger.source_reported(report, 20.0)
    landed(ledger, "a", 20.0)
    landed(ledger, "b", 21.0)
    ledger.advance(ledger.outcome(), 21.0)
    result = ledger.result(99.0)
    assert result.seconds == 11.0
    assert result.summary.state is CastState.COMPLETED
    assert result.summary.source_copies == 1.0
    assert result.summary.chain == ("s", "a", "b")
    assert result.summary.finished == STARTED + 11.0
    assert [item.seconds for item in result.deliveries] == [10.0, 11.0]
    assert result.deliveries[0].rate == SIZE / 10.0
    assert result.summary.eta is None


def test_whoever_shares_a_folder_gets_what_the_writer_wrote(ledger: CastStatus) -> None:
    landed(ledger, "a", 20.0)
    ledger.mark_shared("b", "a", 20.0)
    b = ledger.delivery("b")
    assert b.state is DeliveryState.SHARED
    assert (b.bytes, b.paths, b.hash, b.upstream) == (SIZE, ("/inbox/a",), "blake3:00", "a")
    assert ledger.outcome() is CastEvent.COMPLETED


@pytest.mark.parametrize("files", [1, 2])
def test_files_that_the_source_could_not_send_fail_what_arrived(files: int) -> None:
    ledger = started(dataclasses.replace(TOTALS, files=files))
    problem = FileProblem("x", Failure(FailureKind.CHANGED, {"path": "x"}))
    ledger.source_reported(
        SourceReport("cast", SourceState.SEALED, problems=(problem,), problem_count=1), 19.0
    )
    landed(ledger, "a", 20.0)
    failure = ledger.delivery("a").failure
    assert failure is not None
    assert failure.kind is (FailureKind.FILES_FAILED if files > 1 else FailureKind.NO_FILE_DELIVERED)
    told = failure.values["count"], failure.values["total"], failure.values["path"]
    assert told == ("1", str(files), "x")
    ledger.end_delivery("b", DeliveryEvent.FAILED, 20.0, Failure(FailureKind.NODE_OFFLINE))
    assert ledger.outcome() is (CastEvent.PARTLY_FAILED if files > 1 else CastEvent.FAILED)


def test_files_left_out_by_the_scan_count_in_the_total() -> None:
    ledger = started(dataclasses.replace(TOTALS, left_out=1))
    problem = FileProblem("pipe", Failure(FailureKind.NOT_SENDABLE, {"path": "pipe", "what": "a pipe"}))
    ledger.source_reported(
        SourceReport("cast", SourceState.SEALED, problems=(problem,), problem_count=1), 19.0
    )
    landed(ledger, "a", 20.0)
    failure = ledger.delivery("a").failure
    assert failure is not None
    assert failure.values["total"] == "2"


def test_reports_after_the_end_change_nothing(ledger: CastStatus) -> None:
    ledger.end_delivery("a", DeliveryEvent.FAILED, 20.0, Failure(FailureKind.NODE_OFFLINE, {"node": "a"}))
    before = ledger.delivery("a")
    landed(ledger, "a", 21.0)
    ledger.end_delivery("a", DeliveryEvent.CANCELLED, 21.0)
    assert ledger.delivery("a") == before


def test_a_new_route_leaves_ended_deliveries_alone(ledger: CastStatus) -> None:
    assert ledger.route is not None
    landed(ledger, "b", 20.0)
    shorter, _ = ledger.route.without_node("a")
    ledger.route_changed(shorter)
    assert ledger.delivery("b").upstream == "a"
    assert ledger.summary(20.0).chain == ("s", "a", "b")


def test_lists_are_no_copies_of_what_was_not_sent(ledger: CastStatus) -> None:
    """A short file that is there already: what left the source are the lists of files and of hashes."""
    ledger.restore((), totals=ParcelTotals(100, "m", 5, 33, 1, 1, (TopEntry("hello", False, 5, 1),)))
    for lists in (100, 133):
        report = SourceReport("cast", SourceState.SEALED, sent_bytes=lists, sent_lists=lists)
        ledger.source_reported(report, 20.0)
    assert ledger.summary(20.0).source_copies == 0.0
    ledger.source_away(None)
    ledger.source_reported(SourceReport("cast", SourceState.SEALED, sent_bytes=15, sent_lists=10), 20.0)
    assert ledger.summary(20.0).source_copies == 1.0
    assert ledger.sent_bytes == 148


def test_the_source_s_last_count_is_waited_for(ledger: CastStatus) -> None:
    ledger.source_reported(SourceReport("cast", SourceState.SEALED, sent_bytes=5), 20.0)
    landed(ledger, "a", 20.0)
    assert not ledger.source_settled
    ledger.source_reported(SourceReport("cast", SourceState.SEALED, sent_bytes=SIZE + 133), 20.0)
    assert ledger.source_settled


def test_traffic_at_each_node(ledger: CastStatus) -> None:
    for now, sent in ((11.0, 0), (12.0, 70)):
        ledger.source_reported(SourceReport("cast", SourceState.SERVING, sent_bytes=sent * MB), now)
        receiving(ledger, "a", now, sent)
    rates = {rate.node: rate for rate in ledger.rates(12.0)}
    assert rates["s"].sent == pytest.approx(35 * MB)  # it has been known for two seconds
    assert rates["a"].received == pytest.approx(70 * MB)
    assert rates["b"].received == 0.0


def test_the_name_before_the_scan_is_made_from_the_paths() -> None:
    request = SendRequest(("/data/configs/", "/data/x"), ("a",), source="s")
    ledger = CastStatus("cast", request, {"a": ""}, CastMode.UNICAST, STARTED, 0.0)
    assert (ledger.summary(0.0).name, ledger.summary(0.0).others) == ("configs", 1)


def test_where_the_time_goes_is_told_in_shares(ledger: CastStatus) -> None:
    for second in range(4):
        report = DeliveryReport(
            "cast",
            RecipientState.RECEIVING,
            stream_bytes=1,
            content_bytes=second * MB,
            checking=second * 0.1,
            writing=second * 0.72,
        )
        ledger.delivery_reported("a", report, 11.0 + second)
        source = SourceReport("cast", SourceState.SERVING, checking=second * 0.4, reading=second * 0.2)
        ledger.source_reported(source, 11.0 + second)
    [first, _] = ledger.deliveries(14.0)
    assert (first.checking, first.writing) == (0.1, 0.7)
    summary = ledger.summary(14.0)
    assert (summary.checking, summary.reading) == (0.4, 0.2)
    ledger.source_away(None)
    assert ledger.summary(14.0).checking == 0.0
