"""What a failed delivery has received is kept for a retry: used, and removed in time."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import time
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import (
    CancelCast,
    CheckDestination,
    ForgetCast,
    PrepareSource,
    ServeSource,
    SetCastLimit,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.core.protocol.nodes.cast_parcel import TopEntry
from castray_desktop.workers.agent.transfer.store import staging
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from tests.workers.agent.transfer.delivery.test_syncing import Disk
from tests.workers.agent.transfer.lab import Cast, Lab, Node, await_true

pytestmark = pytest.mark.timeout(90)
MIB = 1 << 20
SIZE = 8 * MIB


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "node home"))
    return tmp_path / "node home"


@pytest.fixture
def nodes(home: Path, lab: Lab) -> list[Node]:
    return lab.chain(1)


def start(cast: Cast, node: Node, source: Node) -> None:
    """As `Cast.deliver`, with parts that are kept."""
    order = StartDelivery(
        cast.cast, cast.secret, 1, source.upstream(), cast.totals, cast.algorithms, keep_failed=True
    )
    cast.recipients.append(node)
    node.plane.carry_out(order)


def fail_in_the_middle(lab: Lab, nodes: list[Node]) -> tuple[Cast, DeliveryReport]:
    """The source is lost after some of the bytes."""
    cast = lab.cast(nodes[0], [lab.file("a.bin", SIZE)])
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 4 * MIB))
    start(cast, nodes[1], nodes[0])
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= 3 * MIB)
    nodes[0].plane.close()
    report = nodes[1].await_end(cast.cast)
    assert report.state is RecipientState.FAILED
    assert report.failure is not None
    assert report.failure.kind is FailureKind.UPSTREAM_LOST
    return cast, report


def staged(node: Node) -> list[str]:
    return [path.name for path in node.inbox.glob(".castray-*")]


def test_a_retry_receives_only_what_is_missing(lab: Lab, nodes: list[Node]) -> None:
    cast, failed = fail_in_the_middle(lab, nodes)
    nodes[1].plane.carry_out(ForgetCast(cast.cast, keep_parts=True))
    assert len(staged(nodes[1])) == 1
    count, size = nodes[1].plane.kept_parts()
    assert count == 1
    assert size >= failed.content_bytes
    assert nodes[0].plane.kept_parts() == (0, 0)
    parts = os.fsencode(nodes[1].inbox / staged(nodes[1])[0] / "parts")
    assert staging.entries_below(parts) == 1
    other = lab.node("other")
    path = lab.files / "a.bin"
    other.plane.carry_out(PrepareSource(cast.cast, (str(path),)))

    def prepared(report: SourceReport) -> bool:
        return report.state is SourceState.PREPARED

    other.await_source(cast.cast, prepared)
    other.plane.carry_out(ServeSource(cast.cast, cast.secret, 1, cast.algorithms))
    again = dataclasses.replace(cast, source=other, recipients=[])
    nodes[1].deliveries.clear()
    start(again, nodes[1], other)
    (report,) = again.results()
    assert report.state is RecipientState.COMPLETED
    assert (nodes[1].inbox / "a.bin").read_bytes() == path.read_bytes()
    lists = cast.totals.manifest_bytes + cast.totals.trailer_bytes
    assert report.received_bytes <= SIZE - failed.content_bytes + lists
    assert staged(nodes[1]) == []


def test_what_was_kept_is_removed_with_the_cast(lab: Lab, nodes: list[Node], home: Path) -> None:
    cast, _ = fail_in_the_middle(lab, nodes)
    nodes[1].plane.carry_out(ForgetCast(cast.cast, keep_parts=True))
    assert StagingRegistry().remove_abandoned() == []
    nodes[1].plane.carry_out(ForgetCast(cast.cast))
    await_true(lambda: not staged(nodes[1]) and not list((home / "staging").iterdir()))


def test_a_delivery_that_is_forgotten_at_once_leaves_nothing(lab: Lab, nodes: list[Node], home: Path) -> None:
    cast, _ = fail_in_the_middle(lab, nodes)
    nodes[1].plane.carry_out(ForgetCast(cast.cast))
    await_true(lambda: not staged(nodes[1]) and not list((home / "staging").iterdir()))


def test_a_cast_that_ends_as_a_whole_keeps_them_too(lab: Lab, nodes: list[Node]) -> None:
    cast = lab.cast(nodes[0], [lab.file("a.bin", SIZE)])
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 2 * MIB))
    start(cast, nodes[1], nodes[0])
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= MIB)
    nodes[1].plane.carry_out(CancelCast(cast.cast, keep_parts=True))
    nodes[1].await_end(cast.cast)
    assert len(staged(nodes[1])) == 1
    assert len(StagingRegistry().kept()) == 1
    nodes[1].plane.carry_out(ForgetCast(cast.cast))


def test_a_delivery_that_the_engine_has_given_up_keeps_them_too(
    lab: Lab, nodes: list[Node], home: Path
) -> None:
    """The engine knows before the recipient that the source is gone for good."""
    cast = lab.cast(nodes[0], [lab.file("a.bin", SIZE)])
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 2 * MIB))
    start(cast, nodes[1], nodes[0])
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= MIB)
    nodes[1].plane.carry_out(ForgetCast(cast.cast, keep_parts=True))
    await_true(lambda: len(StagingRegistry().kept()) == 1)
    assert len(staged(nodes[1])) == 1
    nodes[1].plane.carry_out(ForgetCast(cast.cast))
    await_true(lambda: not staged(nodes[1]) and not list((home / "staging").iterdir()))


def test_a_cancelled_delivery_keeps_nothing_when_it_is_forgotten(
    lab: Lab, nodes: list[Node], home: Path
) -> None:
    cast = lab.cast(nodes[0], [lab.file("a.bin", SIZE)])
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 2 * MIB))
    start(cast, nodes[1], nodes[0])
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= MIB)
    nodes[1].plane.carry_out(CancelCast(cast.cast))
    nodes[1].plane.carry_out(ForgetCast(cast.cast, keep_parts=True))
    await_true(lambda: not nodes[1].inbox.exists() and not list((home / "staging").iterdir()))


def test_they_are_removed_after_a_day(
    lab: Lab, nodes: list[Node], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_in_the_middle(lab, nodes)
    (record,) = (home / "staging").iterdir()
    known = json.loads(record.read_text())
    record.write_text(json.dumps(known | {"kept": time.time() - staging.KEPT_SECONDS - 1}))
    nodes[1].plane._context.registry._expiry_due = 0.0
    nodes[1].plane.drain_reports()
    await_true(lambda: not staged(nodes[1]) and not record.exists())


def test_they_give_way_to_a_cast_that_needs_the_room(lab: Lab, nodes: list[Node]) -> None:
    cast, _ = fail_in_the_middle(lab, nodes)
    free = os.statvfs(nodes[1].inbox)
    too_much = 2 * free.f_bavail * free.f_frsize
    top = (TopEntry("b.bin", False, too_much, 1),)
    own = CheckDestination(cast.cast, "", top, too_much, 1)
    assert nodes[1].plane.preflight(own).failure is not None
    assert len(staged(nodes[1])) == 1  # its own parts are what a retry goes on with
    assert nodes[1].plane.preflight(dataclasses.replace(own, cast="another")).failure is not None
    assert staged(nodes[1]) == []


def test_without_a_wish_to_keep_nothing_is_kept(lab: Lab, nodes: list[Node], home: Path) -> None:
    cast = lab.cast(nodes[0], [lab.file("a.bin", SIZE)])
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 4 * MIB))
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= MIB)
    nodes[0].plane.close()
    assert nodes[1].await_end(cast.cast).state is RecipientState.FAILED
    assert list((home / "staging").iterdir()) == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.EIO, FailureKind.WRITE_ERROR),
        (errno.EROFS, FailureKind.NOT_WRITABLE),
        (errno.ENOSPC, FailureKind.NO_ROOM),
    ],
)
def test_nothing_is_kept_after_a_failed_sync(
    lab: Lab, nodes: list[Node], monkeypatch: pytest.MonkeyPatch, error: int, kind: FailureKind
) -> None:
    """Also where its reason may pass: what reads back right from memory may not be on the disk."""
    disk = Disk(monkeypatch)
    disk.whole, disk.single = error, lambda path: error if "/parts" in path else 0
    cast = lab.cast(nodes[0], [lab.file("a.bin", MIB)])
    start(cast, nodes[1], nodes[0])
    (report,) = cast.results()
    assert report.state is RecipientState.FAILED
    assert report.failure is not None
    assert report.failure.kind is kind
    assert staged(nodes[1]) == []
    assert StagingRegistry().kept() == []
