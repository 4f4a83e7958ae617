"""Reading back delivered files, and files at a path."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import DescribeFiles, EndVerification, VerifyFiles
from castray_desktop.core.protocol.nodes.agent_reports import VerificationReport, VerificationState
from castray_desktop.workers.agent.transfer.delivery import audit
from castray_desktop.workers.agent.transfer.delivery.audit import FileAudits, ReceiptItem, Receipts
from castray_desktop.workers.agent.transfer.system.digests import FILE_HASHES, file_hasher
from tests.helpers.samples import delivery_order
from tests.workers.agent.transfer.lab import Lab, await_true

BEST = FILE_HASHES[0]
S = VerificationState


class Reader:
    """The verifications of a node, and the last report of each."""

    def __init__(self, node: str) -> None:
        self.jobs = FileAudits(node, self._changed, patience=0.0)
        self._reports: dict[str, VerificationReport] = {}
        self._news = threading.Condition()

    def _changed(self, urgent: bool) -> None:
        with self._news:
            self._reports.update({report.job: report for report in self.jobs.drain_reports()})
            self._news.notify_all()

    def read(self, job: str, cast: str = "", path: str = "", algorithm: str = BEST) -> VerificationReport:
        self.jobs.start(VerifyFiles(job, cast, path, algorithm))
        with self._news:
            assert self._news.wait_for(
                lambda: job in self._reports and self._reports[job].state is not S.READING, 20
            )
        return self._reports[job]


@pytest.fixture
def reader() -> Reader:
    return Reader("a")


def tree(lab: Lab) -> Path:
    folder = lab.files / "data"
    (folder / "deep" / "deeper").mkdir(parents=True)
    (folder / "one.bin").write_bytes(os.urandom(3_000_000))
    (folder / "deep" / "two.bin").write_bytes(b"two")
    (folder / "deep" / "deeper" / "empty").touch()
    (folder / "link").symlink_to("one.bin")
    os.link(folder / "one.bin", folder / "deep" / "again")
    return folder


def cast_of(lab: Lab) -> str:
    """The id of the only cast that has a receipt."""
    folder = Path(os.environ["CASTRAY_HOME"]) / "receipts"
    await_true(lambda: bool(list(folder.glob("*-a.jsonl"))))
    (receipt,) = folder.glob("*-a.jsonl")
    return receipt.name.rpartition("-")[0]


@pytest.mark.parametrize("there_before", [False, True])
def test_a_delivered_folder_is_read_back_file_by_file(lab: Lab, reader: Reader, there_before: bool) -> None:
    source, node = lab.node("s"), lab.node("a")
    there = node.inbox / "data" / "deep"
    if there_before:
        there.mkdir(parents=True)
        (there / "two.bin").write_bytes(b"mine")
        (there / "mine").write_bytes(b"mine")
    lab.send([source, node], [tree(lab)])
    cast = cast_of(lab)
    good = reader.read("1", cast)
    assert (good.state, good.files, good.differing_count) == (S.DONE, 4, 0)
    assert good.read == good.total == 6_000_003
    put = there / ("two (2).bin" if there_before else "two.bin")
    assert put.read_bytes() == b"two"
    put.write_bytes(b"TWO")
    (node.inbox / "data" / "deep" / "deeper" / "empty").unlink()
    bad = reader.read("2", cast)
    assert (bad.state, bad.differing_count) == (S.DONE, 2)
    assert bad.differing == ("data/deep/deeper/empty", "data/deep/two.bin")
    assert bad.digest != good.digest
    reader.jobs.close(5)


def test_removed_files_are_missing_and_undelivered_casts_fail(lab: Lab, reader: Reader) -> None:
    source, node = lab.node("s"), lab.node("a")
    lab.send([source, node], [lab.file("x", 1000)])
    cast = cast_of(lab)
    content = (node.inbox / "x").read_bytes()
    hasher = file_hasher(BEST)()
    hasher.update(content)
    assert reader.read("1", cast).digest == f"{BEST}:{hasher.digest().hex()}"
    (node.inbox / "x").unlink()
    assert reader.read("2", cast).state is S.MISSING
    unknown = reader.read("3", "c0ffee")
    assert (unknown.state, unknown.failure and unknown.failure.kind) == (
        S.FAILED,
        FailureKind.NOTHING_TO_VERIFY,
    )
    reader.jobs.close(5)


def test_digests_of_trees_ignore_times(lab: Lab, reader: Reader) -> None:
    first = tree(lab)
    digests = [reader.read("1", path=str(first)).digest]
    (first / "one.bin").touch()
    (first / ".castray-c0ffee-a").mkdir()
    (first / ".castray-c0ffee-a" / "journal").write_bytes(b"of a cast that runs")
    digests.append(reader.read("2", path=str(first)).digest)
    assert digests[0] == digests[1]
    files = reader.jobs.describe(DescribeFiles("2", 0, 100)).files
    assert [file.path for file in files] == sorted(
        ["deep/again", "deep/deeper/empty", "deep/two.bin", "link", "one.bin"]
    )
    assert reader.jobs.describe(DescribeFiles("2", 1, 2)).files == files[1:3]
    shutil.rmtree(first / ".castray-c0ffee-a")
    (first / "link").unlink()
    (first / "link").symlink_to("elsewhere")
    assert reader.read("3", path=str(first)).digest != digests[0]
    assert reader.read("4", path=str(first / "{node}")).state is S.MISSING
    reader.jobs.end(EndVerification("2"))
    assert reader.jobs.describe(DescribeFiles("2", 0, 100)).files == ()
    reader.jobs.close(5)


def test_a_file_and_a_folder_with_one_file_have_different_digests(lab: Lab, reader: Reader) -> None:
    for name, within in (("one", "x"), ("two", "y")):
        (lab.files / name).mkdir()
        (lab.files / name / within).write_bytes(b"equal")
    digests = [
        reader.read(str(number), path=str(lab.files / path)).digest
        for number, path in enumerate(("one", "two", "one/x", "two/y"))
    ]
    assert len(set(digests)) == 3
    assert digests[2] == digests[3]
    assert reader.jobs.describe(DescribeFiles("2", 0, 9)).files[0].path == "x"
    reader.jobs.close(5)


def test_it_can_be_ended_in_the_middle(lab: Lab, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def update(self, _data: object) -> None:
            begun.set()
            go_on.wait(10)

        def digest(self) -> bytes:
            return b""

    monkeypatch.setattr(audit, "file_hasher", lambda _name: Slow)
    reader.jobs.start(VerifyFiles("1", path=str(lab.file("x", 50_000_000))))
    assert begun.wait(10)
    reader.jobs.end(EndVerification("1"))
    go_on.set()
    assert reader.jobs.drain_reports() == ()


def test_a_receipt_has_the_options_of_its_delivery(home: Path) -> None:
    Receipts().save(delivery_order("cast1", TransferOptions(destination="/srv", exclude=("*.tmp",))), "a", [])
    header = json.loads((home / "receipts" / "cast1-a.jsonl").read_text())
    assert header["options"]["destination"] == "/srv"
    assert header["options"]["exclude"] == ["*.tmp"]
    assert header["options"]["on_conflict"] == "skip"
    assert header["encrypted"] is None


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_receipt_says_whether_the_files_came_encrypted(home: Path, *, encrypted: bool) -> None:
    Receipts().save(delivery_order("cast1"), "a", [], encrypted)
    header = json.loads((home / "receipts" / "cast1-a.jsonl").read_text())
    assert header["encrypted"] is encrypted
    assert Receipts().find("cast1", "a") is not None


def test_a_receipt_that_can_not_be_written_leaves_nothing(home: Path) -> None:
    """A disk that is full gets no fuller."""

    def items() -> Iterator[ReceiptItem]:
        yield ReceiptItem(b"a", b"/in/a", 1, b"h" * 32)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        Receipts().save(delivery_order("cast1"), "a", items())
    assert list((home / "receipts").iterdir()) == []


def test_what_a_killed_agent_was_writing_goes_with_the_oldest_receipts(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MAX_RECEIPTS", 1)
    (home / "receipts").mkdir(parents=True)
    left = home / "receipts" / "cast0-a.jsonl.7.new"
    left.touch()
    os.utime(left, (1, 1))
    Receipts().save(delivery_order("cast1"), "a", [])
    assert [path.name for path in left.parent.iterdir()] == ["cast1-a.jsonl"]


def test_the_oldest_receipts_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_RECEIPTS", 2)
    kept = Receipts()
    strange = ReceiptItem(b"n\xff", b"/in/n\xff", 3, bytes(32))
    for number in range(4):
        kept.save(delivery_order(f"cast{number}"), "a", [strange])
        os.utime(home / "receipts" / f"cast{number}-a.jsonl", (number, number))
    kept.save(delivery_order("cast9"), "a", [strange])
    found = [cast for cast in ("cast0", "cast1", "cast2", "cast3", "cast9") if kept.find(cast, "a")]
    assert found == ["cast3", "cast9"]
    receipt = kept.find("cast9", "a")
    assert receipt is not None
    assert receipt.items == [strange]
    (home / "receipts" / "cast9-a.jsonl").write_text("{")
    assert kept.find("cast9", "a") is None
