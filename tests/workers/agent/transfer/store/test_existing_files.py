"""Files that a recipient has already are not sent: only digests are compared."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.delivery.commit import DeliveryCommit
from tests.workers.agent.transfer.lab import Lab, tree
from tests.workers.agent.transfer.proxy import Proxy

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
BOTH = pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])


def make_tree(lab: Lab) -> Path:
    top = lab.files / "top"
    (top / "deep").mkdir(parents=True)
    for number in range(4):
        (top / f"large {number}").write_bytes(os.urandom(4 * MIB + number))
    for number in range(400):
        (top / "deep" / f"small {number:03}").write_bytes(os.urandom(10_000 + number))
    (top / "empty").touch()
    return top


@BOTH
@pytest.mark.parametrize("local", [False, True])
def test_identical_files_are_not_sent(lab: Lab, on_conflict: str, local: bool) -> None:
    nodes, top = lab.chain(2, local=local), make_tree(lab)
    for node in nodes[1:]:
        node.inbox.mkdir(parents=True)
        shutil.copytree(top, node.inbox / "top")
    before = (nodes[1].inbox / "top" / "large 1").stat()
    results = lab.send(nodes, [top], on_conflict=on_conflict)
    for result in results:
        assert result.state is RecipientState.SKIPPED
        assert result.received_bytes == result.stream_bytes - result.content_bytes  # only the lists
        assert result.content_bytes > 19 * MIB
    after = (nodes[1].inbox / "top" / "large 1").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert nodes[0].sources[results[0].cast].sent_bytes == results[0].received_bytes


@BOTH
@pytest.mark.parametrize("size", [1, 400_000, MIB, MIB + 1])
def test_an_identical_file_is_not_sent_however_short_it_is(lab: Lab, on_conflict: str, size: int) -> None:
    nodes, path = lab.chain(2), lab.file("a", size)
    nodes[1].inbox.mkdir(parents=True)
    shutil.copy2(path, nodes[1].inbox / "a")
    first, second = lab.send(nodes, [path], on_conflict=on_conflict)
    assert (first.state, second.state) == (RecipientState.SKIPPED, RecipientState.COMPLETED)
    assert first.received_bytes == first.stream_bytes - size
    assert second.received_bytes == second.stream_bytes  # served by the recipient that had it
    assert (nodes[2].inbox / "a").read_bytes() == path.read_bytes()


@BOTH
def test_only_what_differs_is_sent(lab: Lab, on_conflict: str) -> None:
    """One file differs in a byte in its middle, one in its size, one is missing, one small one differs."""
    nodes, top = lab.chain(2), make_tree(lab)
    inbox = nodes[1].inbox
    inbox.mkdir(parents=True)
    old = inbox / "top"
    shutil.copytree(top, old)
    with (old / "large 1").open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"another")
    os.truncate(old / "large 2", 5)
    (old / "large 3").unlink()
    (old / "deep" / "small 100").write_bytes(os.urandom(10_100))
    (old / "mine").write_text("mine")
    damaged = (old / "large 1").read_bytes()
    first, second = lab.send(nodes, [top], on_conflict=on_conflict)
    assert first.state is second.state is RecipientState.COMPLETED
    assert 8 * MIB < first.received_bytes < 14 * MIB
    fresh = sum((top / name).stat().st_size for name in ("large 1", "large 2", "large 3", "deep/small 100"))
    assert first.content_bytes - first.skipped_bytes == fresh
    assert second.skipped_bytes == 0
    assert second.received_bytes == second.stream_bytes
    assert tree(nodes[2].inbox / "top") == tree(top)
    assert (old / "mine").read_text() == "mine"
    for name in ("large 1", "large 2", "large 3", "deep/small 100", "deep/small 101", "large 0"):
        path = old / name
        taken = on_conflict == "skip" and name in ("large 1", "large 2", "deep/small 100")
        fresh = path.with_name(f"{path.name} (2)") if taken else path
        assert fresh.read_bytes() == (top / name).read_bytes(), name
    if on_conflict == "skip":
        assert (old / "large 1").read_bytes() == damaged


def test_rename_sends_everything(lab: Lab) -> None:
    nodes, path = lab.chain(1), lab.file("a", 3 * MIB)
    nodes[1].inbox.mkdir(parents=True)
    shutil.copy2(path, nodes[1].inbox / "a")
    (result,) = lab.send(nodes, [path], on_conflict="rename")
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes == result.stream_bytes


@pytest.mark.parametrize("size", [1000, 6 * MIB])
def test_a_file_of_the_same_size_and_other_bytes_costs_one_copy(lab: Lab, size: int) -> None:
    nodes, path = lab.chain(1), lab.file("a", size)
    nodes[1].inbox.mkdir(parents=True)
    (nodes[1].inbox / "a").write_bytes(os.urandom(size))
    (result,) = lab.send(nodes, [path])
    assert result.received_bytes == result.stream_bytes
    assert (nodes[1].inbox / "a (2)").read_bytes() == path.read_bytes()


def test_nothing_is_compared_through_a_link(lab: Lab) -> None:
    nodes, top = lab.chain(1), make_tree(lab)
    outside = lab.folder / "outside"
    shutil.copytree(top, outside)
    nodes[1].inbox.mkdir(parents=True)
    (nodes[1].inbox / "top").symlink_to(outside)
    (result,) = lab.send(nodes, [top])
    assert result.received_bytes == result.stream_bytes
    assert tree(nodes[1].inbox / "top (2)") == tree(top)


def test_a_file_that_changes_after_it_was_compared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not sent, so nothing can replace it; it must not be reported as delivered."""
    nodes, path = lab.chain(1), lab.file("a", 4 * MIB)
    nodes[1].inbox.mkdir(parents=True)
    mine = nodes[1].inbox / "a"
    shutil.copy2(path, mine)
    run = DeliveryCommit.run

    def change_first(commit: DeliveryCommit) -> object:
        mine.write_bytes(b"changed")
        return run(commit)

    monkeypatch.setattr(DeliveryCommit, "run", change_first)
    (result,) = lab.send(nodes, [path])
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.WRITE_ERROR
    assert mine.read_bytes() == b"changed"


def test_comparing_goes_on_after_a_cut_line(lab: Lab) -> None:
    nodes, top = lab.chain(1), make_tree(lab)
    nodes[1].inbox.mkdir(parents=True)
    shutil.copytree(top, nodes[1].inbox / "top")
    (nodes[1].inbox / "top" / "large 2").unlink()
    cast = lab.cast(nodes[0], [top])
    with Proxy(nodes[0].upstream(), cut_at=3 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        (result,) = cast.results()
        assert proxy.connections == 2
    assert result.state is RecipientState.COMPLETED
    assert tree(nodes[1].inbox / "top") == tree(top)
