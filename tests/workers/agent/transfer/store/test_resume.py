"""A delivery resumes an earlier one, however it ended and whatever happened to the disk."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.core.protocol.nodes import cast_parcel, json_codec
from castray_desktop.core.protocol.nodes.agent_orders import (
    AnnounceTrailer,
    ForgetCast,
    PrepareSource,
    ServeSource,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.core.protocol.nodes.driver_protocol import PlaceAgent
from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.source import cast_source as source_module
from castray_desktop.workers.agent.transfer.source.source_reader import SourceReader
from castray_desktop.workers.agent.transfer.store.journal import JOURNAL_MAGIC
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from castray_desktop.workers.agent.transfer.transfer_service import TransferService
from tests.helpers.extent import TEST_ALL
from tests.workers.agent.transfer.lab import Cast, Lab, Node, await_true, tree
from tests.workers.agent.transfer.proxy import Proxy

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20


def make_tree(lab: Lab) -> Path:
    """Large files, small ones, empty ones, links of both kinds, folders without write permission."""
    top = lab.files / "top"
    (top / "deep" / "deeper").mkdir(parents=True)
    for number in range(3):
        (top / f"large {number}").write_bytes(os.urandom(3 * MIB + number))
    for number in range(200):
        (top / "deep" / f"small {number:03}").write_bytes(os.urandom(number * 31))
    (top / "deep" / "deeper" / "empty").touch()
    (top / "deep" / "link").symlink_to("small 003")
    (top / "a name").hardlink_to(top / "deep" / "small 007")
    (top / "name").hardlink_to(top / "large 1")
    (top / "read only").write_bytes(os.urandom(MIB))
    (top / "read only").chmod(0o400)
    (top / "deep" / "deeper").chmod(0o555)
    return top


def start_order(cast: Cast, upstream: cast_parcel.Upstream, on_conflict: str = "skip") -> StartDelivery:
    return StartDelivery(
        cast.cast,
        cast.secret,
        1,
        upstream,
        cast.totals,
        cast.algorithms,
        options=TransferOptions(on_conflict=on_conflict),
    )


class Killable:
    """A recipient's process."""

    def __init__(self, lab: Lab, order: StartDelivery, *arguments: str) -> None:
        command = [sys.executable, "-m", "tests.workers.agent.transfer.recipient", str(lab.folder), "node_1"]
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.say(order)

    def say(self, order: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json_codec.to_json(order).decode() + "\n")
        self.process.stdin.flush()

    def read(self) -> DeliveryReport | None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json_codec.from_json(line.encode(), DeliveryReport | None) if line else None

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def suspend(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> Killable:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def end(self) -> None:
        self.process.communicate()


def staging_of(lab: Lab) -> Path:
    (folder,) = (lab.folder / "inbox" / "node_1").glob(".castray-*")
    return folder


def noted(staging: Path) -> list[int]:
    """The pieces in a journal."""
    raw = (staging / "journal").read_bytes()
    records = raw[raw.index(b"\n", len(JOURNAL_MAGIC)) + 1 :]
    return [index for index, _ in struct.iter_unpack("<Q16s", records[: len(records) // 24 * 24])]


def had_bytes(cast: Cast, staging: Path) -> int:
    """The pieces that are in all of the journals."""
    totals = cast.totals
    sizes = (totals.manifest_bytes, totals.content_bytes, totals.trailer_bytes)
    layout = StreamLayout(*sizes, cast.algorithms.piece_bytes)
    return sum(end - start for start, end in map(layout.piece, noted(staging)))


def left_half_way(lab: Lab, source: Node, cast: Cast, at: int) -> int:
    """A recipient gets about this number of bytes, and its process is killed; returns what it had by then."""
    stopped_half_way(lab, source, cast, at).kill()
    return had_bytes(cast, staging_of(lab))


def stopped_half_way(lab: Lab, source: Node, cast: Cast, at: int) -> Killable:
    """A recipient that gets about this number of bytes, and then no more."""
    before = sum(len(noted(path)) for path in (lab.folder / "inbox" / "node_1").glob(".castray-*"))
    came, listed = max(at - (1 << 17), 0), cast.totals.manifest_bytes
    pieces = came // MIB if before or came < listed else 1 + (came - listed) // MIB  # the list is one
    with Proxy(source.upstream(), hold_at=at) as proxy:
        recipient = Killable(lab, start_order(cast, proxy.upstream))
        assert proxy.held.wait(20)
        await_true(lambda: len(noted(staging_of(lab))) >= before + pieces)
        recipient.suspend()
    return recipient


def go_on(lab: Lab, source: Node, cast: Cast, on_conflict: str = "skip", engine: str = "") -> DeliveryReport:
    node = lab.node("node_1", engine=engine)
    cast.deliver(node, source.upstream(), on_conflict=on_conflict)
    (result,) = cast.results()
    return result


@pytest.mark.parametrize("at", [100, MIB // 2, 3 * MIB, 7 * MIB, 10 * MIB])
def test_a_killed_recipient_goes_on(lab: Lab, at: int) -> None:
    top, source = make_tree(lab), lab.node("node_0")
    cast = lab.cast(source, [top])
    had = left_half_way(lab, source, cast, at)
    result = go_on(lab, source, cast)
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes == result.stream_bytes - had
    assert tree(lab.folder / "inbox" / "node_1" / "top") == tree(top)


def test_killed_again_and_again(lab: Lab) -> None:
    top, source = make_tree(lab), lab.node("node_0")
    cast = lab.cast(source, [top])
    had = 0
    for _ in range(4):
        before, had = had, left_half_way(lab, source, cast, int(2.5 * MIB))
        assert had > before
    result = go_on(lab, source, cast)
    assert result.received_bytes == result.stream_bytes - had
    assert tree(lab.folder / "inbox" / "node_1" / "top") == tree(top)


def test_what_was_read_back_is_served(lab: Lab) -> None:
    source, path = lab.node("node_0"), lab.file("a", 8 * MIB)
    cast = lab.cast(source, [path])
    left_half_way(lab, source, cast, 5 * MIB)
    middle, last = lab.node("node_1"), lab.node("node_2")
    cast.deliver(last, middle.upstream())
    cast.deliver(middle, source.upstream())
    assert [result.state for result in cast.results()] == [RecipientState.COMPLETED] * 2
    assert source.sources[cast.cast].sent_bytes < cast.totals.stream_bytes + 5 * MIB
    assert (last.inbox / "a").read_bytes() == path.read_bytes()


# --- damage ---------------------------------------------------------------------------------------


def cut_journal(staging: Path) -> None:
    raw = (staging / "journal").read_bytes()
    (staging / "journal").write_bytes(raw[:-7])


def scramble_digest(staging: Path) -> None:
    raw = bytearray((staging / "journal").read_bytes())
    raw[-40] ^= 1
    (staging / "journal").write_bytes(raw)


def add_nonsense(staging: Path) -> None:
    with (staging / "journal").open("ab") as file:
        file.write(random.Random(1).randbytes(24 * 50 + 5))


def claim_everything(staging: Path) -> None:
    """A power loss: the journal is ahead of the data."""
    with (staging / "journal").open("ab") as file:
        for index in range(40):
            file.write(index.to_bytes(8, "little") + bytes(16))


def turn_a_bit(staging: Path) -> None:
    with next(staging.rglob("large 1")).open("r+b") as file:
        file.seek(MIB)
        file.write(b"another byte")


def truncate_part(staging: Path) -> None:
    os.truncate(next(staging.rglob("large 1")), 17)


def lengthen_part(staging: Path) -> None:
    with next(staging.rglob("large 0")).open("ab") as file:
        file.write(bytes(3 * MIB))


def remove_part(staging: Path) -> None:
    next(staging.rglob("large 1")).unlink()


def remove_folder(staging: Path) -> None:
    shutil.rmtree(staging / "parts" / "top" / "deep")


def damage_manifest(staging: Path) -> None:
    os.truncate(staging / "manifest", 50)


def another_parcel(staging: Path) -> None:
    raw = (staging / "journal").read_bytes()
    (staging / "journal").write_bytes(raw.replace(b'"piece_bytes": "1', b'"piece_bytes": "2'))


def empty_journal(staging: Path) -> None:
    (staging / "journal").write_bytes(JOURNAL_MAGIC)


@pytest.mark.parametrize(
    ("damage", "fetches_all"),
    [
        (cut_journal, False),
        (scramble_digest, False),
        (add_nonsense, False),
        (claim_everything, False),
        (turn_a_bit, False),
        (truncate_part, False),
        (lengthen_part, False),
        (remove_part, False),
        (remove_folder, False),
        (damage_manifest, True),
        (another_parcel, True),
        (empty_journal, True),
    ],
)
def test_what_is_damaged_is_fetched_again(
    lab: Lab, damage: Callable[[Path], None], fetches_all: bool
) -> None:
    top, source = make_tree(lab), lab.node("node_0")
    cast = lab.cast(source, [top])
    left_half_way(lab, source, cast, 8 * MIB)
    damage(staging_of(lab))
    result = go_on(lab, source, cast)
    assert result.state is RecipientState.COMPLETED
    assert result.failure is None
    assert (result.received_bytes == result.stream_bytes) == (fetches_all or damage is claim_everything)
    assert tree(lab.folder / "inbox" / "node_1" / "top") == tree(top)


def test_a_staging_folder_that_somebody_works_in_is_left_alone(lab: Lab) -> None:
    source, path = lab.node("node_0"), lab.file("a", 8 * MIB)
    cast = lab.cast(source, [path])
    with Proxy(source.upstream(), hold_at=5 * MIB) as proxy:
        first = Killable(lab, start_order(cast, proxy.upstream))
        assert proxy.held.wait(20)
        node = lab.node("node_1")
        cast.deliver(node, source.upstream())
        assert node.await_end(cast.cast).state is RecipientState.FAILED
        proxy.release()
        report = cast.finish_source()
        first.say(AnnounceTrailer(cast.cast, report.trailer_digest))
        while (said := first.read()) is not None and said.state is not RecipientState.COMPLETED:
            pass
        first.end()
    assert (node.inbox / "a").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("at", [1, 20, 41])
def test_killed_while_removing_what_the_source_no_longer_has(lab: Lab, at: int) -> None:
    top, source = make_tree(lab), lab.node("node_0")
    there = lab.folder / "inbox" / "node_1" / "top"
    (there / "old").mkdir(parents=True)
    for number in range(40):
        (there / "old" / f"{number:02}").write_text(str(number))
    cast = lab.cast(source, [top])
    order = dataclasses.replace(start_order(cast, source.upstream(), "overwrite"), prune=True)
    killed = Killable(lab, order, f"remove={at}")
    killed.say(AnnounceTrailer(cast.cast, cast.finish_source().trailer_digest))
    assert killed.process.wait(20) < 0
    killed.end()
    assert len(list((there / "old").iterdir())) == 40 - (at - 1)
    node = lab.node("node_1")
    cast.deliver(node, source.upstream(), on_conflict="overwrite", remove_extra=True)
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert tree(there) == tree(top)


# --- commit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_conflict", "at"),
    [
        (on_conflict, at)
        for on_conflict in ("skip", "overwrite", "rename")
        for at in (-1, 1, 2, -3, 5)
        if TEST_ALL or on_conflict == "skip" or at in (1, -3)
    ],
)
def test_killed_during_the_commit(lab: Lab, on_conflict: str, at: int) -> None:
    """Some entries have their names by then; nothing is sent twice, no file of the user is replaced."""
    top, source, inbox = make_tree(lab), lab.node("node_0"), lab.folder / "inbox" / "node_1"
    others = [lab.file(f"file {number}", 1000) for number in range(4)]
    (inbox / "top" / "deep").mkdir(parents=True)
    (inbox / "top" / "mine").write_text("mine")
    (inbox / "file 1").write_text("mine")
    (inbox / "file 2").write_bytes(others[2].read_bytes())
    cast = lab.cast(source, [others[0], others[1], top, others[2], others[3]])
    killed = Killable(lab, start_order(cast, source.upstream(), on_conflict), f"die={at}")
    killed.say(AnnounceTrailer(cast.cast, cast.finish_source().trailer_digest))
    assert killed.process.wait(20) == -9
    killed.end()
    result = go_on(lab, source, cast, on_conflict)
    assert result.state is RecipientState.COMPLETED, result
    assert result.received_bytes == 0
    found = sorted(path.name for path in inbox.iterdir())
    expected = {
        "skip": ["file 0", "file 1", "file 1 (2)", "file 2", "file 3", "top"],
        "overwrite": ["file 0", "file 1", "file 2", "file 3", "top"],
        "rename": ["file 0", "file 1", "file 1 (2)", "file 2", "file 2 (2)", "file 3", "top", "top (2)"],
    }
    assert found == expected[on_conflict]
    assert (inbox / "top" / "mine").read_text() == "mine"
    arrived = tree(inbox / ("top (2)" if on_conflict == "rename" else "top"))
    arrived.pop("mine", None)
    sent = tree(top)
    if on_conflict != "rename":  # an existing folder keeps its mode and time
        arrived.pop("deep")
        sent.pop("deep")
    assert arrived == sent
    committed = inbox / ("top (2)" if on_conflict == "rename" else "top")
    assert (committed / "a name").samefile(committed / "deep" / "small 007")
    assert (committed / "large 1").samefile(committed / "name")
    first = inbox / ("file 1" if on_conflict == "overwrite" else "file 1 (2)")
    assert first.read_bytes() == others[1].read_bytes()
    assert len(result.paths) == 5


def zero_part(staging: Path) -> None:
    with next(staging.rglob("large 1")).open("r+b") as file:
        file.write(bytes(3 * MIB + 1))


def zero_small_part(staging: Path) -> None:
    path = next(staging.rglob("small 150"))
    path.write_bytes(bytes(path.stat().st_size))


def lengthen_small_part(staging: Path) -> None:
    with next(staging.rglob("small 151")).open("ab") as file:
        file.write(b"more")


def forget_trailer(staging: Path) -> None:
    os.truncate(staging / "trailer", 3)


def forget_pieces(staging: Path) -> None:
    os.truncate(staging / "journal", (staging / "journal").stat().st_size - 5 * 24)


def fill_hole(staging: Path) -> None:
    with next(staging.rglob("holes")).open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"not what was sent")


@pytest.mark.parametrize(
    ("at", "on_conflict"),
    [(-1, "skip"), (2, "rename"), *([(-1, "rename"), (2, "skip")] if TEST_ALL else [])],
)
@pytest.mark.parametrize(
    "damage",
    [
        *(zero_part, zero_small_part, lengthen_small_part, lengthen_part, remove_part, remove_folder),
        *(forget_trailer, forget_pieces, fill_hole),
    ],
)
def test_what_has_no_name_yet_is_read_once_more(
    lab: Lab, damage: Callable[[Path], None], at: int, on_conflict: str
) -> None:
    """A power loss during the commit, after a disk error, may lose verified data."""
    top, source, inbox = make_tree(lab), lab.node("node_0"), lab.folder / "inbox" / "node_1"
    with (top / "holes").open("wb") as file:
        file.truncate(4 * MIB)
        file.write(b"the beginning")
    others = [lab.file(f"file {number}", 2 * MIB + number) for number in range(3)]
    cast = lab.cast(source, [*others, top])
    killed = Killable(lab, start_order(cast, source.upstream(), on_conflict), f"die={at}")
    killed.say(AnnounceTrailer(cast.cast, cast.finish_source().trailer_digest))
    assert killed.process.wait(20) == -9
    killed.end()
    if at > 0:  # it belongs to the user by now
        (inbox / "file 0").write_bytes(b"changed by the user")
    damage(staging_of(lab))
    result = go_on(lab, source, cast, on_conflict)
    assert result.state is RecipientState.COMPLETED, result
    assert result.received_bytes < 8 * MIB
    assert tree(inbox / "top") == tree(top)
    assert sorted(path.name for path in inbox.iterdir()) == ["file 0", "file 1", "file 2", "top"]
    assert (inbox / "file 2").read_bytes() == others[2].read_bytes()


def test_a_folder_that_was_writable_for_a_while_gets_its_mode_back(lab: Lab) -> None:
    top, source = make_tree(lab), lab.node("node_0")
    there = lab.folder / "inbox" / "node_1" / "top"
    there.mkdir(parents=True)
    cast = lab.cast(source, [top])
    killed = Killable(lab, start_order(cast, source.upstream()), "die=-2")
    killed.say(AnnounceTrailer(cast.cast, cast.finish_source().trailer_digest))
    assert killed.process.wait(20) == -9
    killed.end()
    with (staging_of(lab) / "landing").open("a") as log:  # root needs no permission
        log.write(f"open {b'top'.hex()} {b'555'.hex()}\n")
    assert go_on(lab, source, cast).state is RecipientState.COMPLETED
    assert there.stat().st_mode & 0o777 == 0o555


def test_an_agent_that_ends_in_order_can_keep_what_it_has(lab: Lab) -> None:
    source, path, node = lab.node("node_0"), lab.file("a", 8 * MIB), lab.node("node_1")
    cast = lab.cast(source, [path])
    with Proxy(source.upstream(), hold_at=5 * MIB) as proxy:
        cast.deliver(node, proxy.upstream)
        assert proxy.held.wait(20)
        node.plane.close(keep=True)
    cast.recipients.clear()
    had = had_bytes(cast, staging_of(lab))
    result = go_on(lab, source, cast)
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes == result.stream_bytes - had


def test_what_was_left_for_a_cast_that_is_cancelled_goes(lab: Lab) -> None:
    top, source = make_tree(lab), lab.node("node_0")
    cast = lab.cast(source, [top])
    left_half_way(lab, source, cast, MIB)
    StagingRegistry("another").remove_delivery(cast.cast, "node_1")
    assert staging_of(lab).is_dir()
    StagingRegistry("engine").remove_delivery(cast.cast, "node_1")
    assert not list((lab.folder / "inbox" / "node_1").glob(".castray-*"))
    StagingRegistry("engine").remove_delivery(cast.cast, "node_1")  # there is nothing left to do


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_an_agent_that_is_suspended_is_ended_by_the_one_that_replaces_it(lab: Lab, kind: str) -> None:
    path = lab.file("a", 8 * MIB) if kind == "file" else make_tree(lab)
    source = lab.node("node_0")
    cast = lab.cast(source, [path])
    with stopped_half_way(lab, source, cast, 5 * MIB) as suspended:
        had = had_bytes(cast, staging_of(lab))
        result = go_on(lab, source, cast, engine="engine")
        assert result.state is RecipientState.COMPLETED, result
        assert result.received_bytes == result.stream_bytes - had
        assert suspended.process.wait(20) == -signal.SIGKILL
    inbox = lab.folder / "inbox" / "node_1"
    assert [entry.name for entry in inbox.iterdir()] == [path.name]
    assert not list(StagingRegistry("engine").folder.iterdir())


def test_an_agent_that_is_suspended_in_its_commit_is_ended_and_the_commit_goes_on(lab: Lab) -> None:
    source, paths = lab.node("node_0"), [lab.file(f"file {number}", MIB) for number in range(3)]
    cast, inbox = lab.cast(source, paths), lab.folder / "inbox" / "node_1"
    with Killable(lab, start_order(cast, source.upstream()), "stop=2") as suspended:
        suspended.say(AnnounceTrailer(cast.cast, cast.finish_source().trailer_digest))
        os.waitid(os.P_PID, suspended.process.pid, os.WSTOPPED)
        assert len(list(inbox.glob("file *"))) == 2
        result = go_on(lab, source, cast, engine="engine")
        assert result.state is RecipientState.COMPLETED, result
        assert result.received_bytes == 0
        assert suspended.process.wait(20) == -signal.SIGKILL
    assert tree(inbox) == tree(lab.files)


def test_only_the_engine_that_gave_a_delivery_ends_the_process_that_has_it(lab: Lab) -> None:
    source = lab.node("node_0")
    cast = lab.cast(source, [lab.file("a", 8 * MIB)])
    with stopped_half_way(lab, source, cast, 5 * MIB) as working:
        StagingRegistry("another").end_replaced(cast.cast, "node_1")
        StagingRegistry("engine").end_replaced("another", "node_1")
        StagingRegistry("engine").end_replaced(cast.cast, "node_2")
        assert working.process.poll() is None
    StagingRegistry("engine").remove_delivery(cast.cast, "node_1")


def test_what_a_suspended_agent_has_goes_when_the_cast_ends_without_its_node(lab: Lab) -> None:
    source = lab.node("node_0")
    cast = lab.cast(source, [lab.file("a", 8 * MIB)])
    with stopped_half_way(lab, source, cast, 5 * MIB) as suspended:
        lab.node("node_1", engine="engine").plane.carry_out(ForgetCast(cast.cast))
        assert suspended.process.wait(20) == -signal.SIGKILL
        await_true(lambda: not list((lab.folder / "inbox" / "node_1").glob(".castray-*")))
        await_true(lambda: not list(StagingRegistry("engine").folder.iterdir()))


def test_what_was_kept_for_a_cast_goes_when_that_ends_without_this_node(lab: Lab) -> None:
    """It came back too late: its new agent has kept the staging folder, and gets no delivery any more."""
    top, source = make_tree(lab), lab.node("node_0")
    cast = lab.cast(source, [top])
    left_half_way(lab, source, cast, MIB)
    inbox = str(lab.folder / "inbox" / "node_1")
    service = TransferService(
        PlaceAgent("node_1", inbox, "127.0.0.1", engine="engine", keep=(cast.cast,)),
        ConnectionFactory("node_1", "here", local_copy=False, address="127.0.0.1"),
        lambda urgent: None,
    )
    service.start()
    assert staging_of(lab).is_dir()
    service.carry_out(ForgetCast(cast.cast))
    service.close()
    assert not list((lab.folder / "inbox" / "node_1").glob(".castray-*"))


# --- the source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "small files"])
def test_a_source_that_was_restarted_serves_from_the_middle(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A request far from the reader's position does not wait for it, and the file hashes are right."""
    path = lab.file("a", 12 * MIB)
    if kind == "small files":
        path = lab.files / "many"
        path.mkdir()
        for number in range(600):
            (path / str(number)).write_bytes(os.urandom(20_000))
    cast = lab.cast(lab.node("old"), [path])
    left_half_way(lab, cast.source, cast, 5 * MIB)
    monkeypatch.setattr(source_module, "NEAR_BYTES", MIB)
    go, read_piece = threading.Event(), SourceReader.read_piece
    monkeypatch.setattr(
        SourceReader, "read_piece", lambda reader, index: go.wait(20) and read_piece(reader, index)
    )
    source, node = lab.node("new"), lab.node("node_1")
    source.plane.carry_out(PrepareSource(cast.cast, (str(path),)))
    report = source.await_source(cast.cast, lambda report: report.totals is not None)
    assert report.totals == cast.totals
    source.plane.carry_out(ServeSource(cast.cast, cast.secret, 2, cast.algorithms))
    cast.source = source
    cast.deliver(node, source.upstream())
    node.await_delivery(cast.cast, lambda report: report.stream_bytes >= 11 * MIB)
    go.set()
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes < 9 * MIB
    assert source.sources[cast.cast].sent_bytes == result.received_bytes
    if kind == "file":
        assert (node.inbox / "a").read_bytes() == path.read_bytes()
    else:
        assert tree(node.inbox / "many") == tree(path)
