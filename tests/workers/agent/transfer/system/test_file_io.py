"""Holes of sparse files are neither read, sent nor written, and stay holes; zeros stay zeros."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from castray_desktop.core.content.manifest import MAX_DATA_RANGES
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms
from castray_desktop.workers.agent.transfer.system.digests import Hasher, file_hasher
from castray_desktop.workers.agent.transfer.system.file_io import data_ranges, hash_zeros
from tests.workers.agent.transfer.lab import BEST, Lab, tree
from tests.workers.agent.transfer.proxy import Proxy
from tests.workers.agent.transfer.store.test_resume import go_on, left_half_way

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
BLOCK = 4096


def sparse(path: Path, size: int, data: Sequence[tuple[int, int]]) -> Path:
    """A file of `size` with random bytes in the ranges `data`, and holes elsewhere."""
    with path.open("wb") as file:
        file.truncate(size)
        for start, end in data:
            file.seek(start)
            file.write(os.urandom(end - start))
    return path


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def images(lab: Lab) -> Path:
    """Files with all kinds of holes between files without holes."""
    top = lab.files / "top"
    top.mkdir()
    (top / "a solid").write_bytes(os.urandom(MIB + 5))
    sparse(top / "b between", 16 * MIB, [(0, MIB), (10 * MIB, 11 * MIB + 7)])
    sparse(top / "c before and after", 8 * MIB + 3, [(4 * MIB, 5 * MIB)])
    sparse(top / "d nothing", 4 * MIB, [])
    sparse(top / "e small", 5 * BLOCK, [(2 * BLOCK, 3 * BLOCK)])
    sparse(top / "f many", 4 * MIB, [(at, at + BLOCK) for at in range(0, 4 * MIB, 64 << 10)])
    (top / "g empty").touch()
    sparse(top / "h last", 2 * MIB, [])
    for path in top.iterdir():
        path.chmod(0o640)
    return top


def assert_same_holes(mine: Path, theirs: Path) -> None:
    assert tree(mine) == tree(theirs)
    for path in sorted(theirs.iterdir()):
        assert allocated(mine / path.name) <= allocated(path) + BLOCK, path.name


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("algorithms", [BEST, Algorithms(piece="blake2b-128", file="sha256")])
def test_holes_stay_holes(lab: Lab, local: bool, algorithms: Algorithms) -> None:
    nodes, top = lab.chain(2, local=local), images(lab)
    results = lab.send(nodes, [top], algorithms=algorithms)
    data = sum(allocated(path) for path in top.iterdir())
    for node, result in zip(nodes[1:], results, strict=True):
        assert result.state is RecipientState.COMPLETED
        assert result.received_bytes <= data + 64 * 1024
        assert_same_holes(node.inbox / "top", top)
    assert nodes[0].sources[results[0].cast].sent_bytes <= data + 64 * 1024


@pytest.mark.parametrize("name", ["blake3", "sha256"])
def test_the_hash_is_that_of_the_whole_file(lab: Lab, name: str) -> None:
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 5 * MIB + 1, [(MIB, 2 * MIB), (4 * MIB, 4 * MIB + 100)])
    (result,) = lab.send(nodes, [path], algorithms=Algorithms(piece="blake2b-128", file=name))
    whole = file_hasher(name)()
    whole.update(path.read_bytes())
    assert result.hash == f"{name}:{whole.digest().hex()}"


def test_zeros_that_are_written_stay_written(lab: Lab) -> None:
    """Allocation is the user's choice: only holes become holes."""
    nodes, path = lab.chain(1), lab.files / "zeros"
    path.write_bytes(bytes(3 * MIB))
    lab.send(nodes, [path])
    assert allocated(nodes[1].inbox / "zeros") >= 3 * MIB


def test_a_file_that_is_larger_than_the_disk(lab: Lab) -> None:
    """The space check counts written bytes: 6 TiB with 1 MiB of data fit."""
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 6 << 40, [(5 << 40, (5 << 40) + MIB)])
    cast = lab.cast(nodes[0], [path])
    assert cast.totals.content_bytes == MIB
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.state is RecipientState.RECEIVING)
    cast.cancel(*nodes)  # while the source hashes terabytes of zeros
    assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
    cast.forget()


def test_a_recipient_that_hashes_a_long_hole_can_be_cancelled(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 4 << 40, [(0, MIB), ((4 << 40) - MIB, 4 << 40)])
    monkeypatch.setattr(
        "castray_desktop.workers.agent.transfer.source.source_reader.hash_zeros", lambda *_: None
    )
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes == 2 * MIB)
    assert not nodes[1].ends_within(cast.cast, 0.2)
    cast.cancel(*nodes)
    assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
    cast.forget()


def test_a_hole_is_hashed_while_the_source_is_at_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ends hash the zeros; one after the other would take twice as long."""
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 16 * MIB, [(0, 2 * MIB), (10 * MIB, 12 * MIB)])
    both = threading.Barrier(2)
    module = "castray_desktop.workers.agent.transfer"

    def together(hasher: Hasher, count: int, on_progress: Callable[[], None]) -> None:
        if count == 8 * MIB:
            both.wait(20)
        hash_zeros(hasher, count, on_progress)

    monkeypatch.setattr(f"{module}.source.source_reader.hash_zeros", together)
    monkeypatch.setattr(f"{module}.store.file_hashes.hash_zeros", together)
    (result,) = lab.send(nodes, [path])
    assert result.state is RecipientState.COMPLETED


def test_a_file_that_the_recipient_has_is_not_sent(lab: Lab) -> None:
    """A copy without holes is identical as well, and is kept."""
    nodes, top = lab.chain(2), images(lab)
    for node in nodes[1:]:
        node.inbox.mkdir(parents=True)
        shutil.copytree(top, node.inbox / "top")
    solid = nodes[1].inbox / "top" / "b between"
    solid.write_bytes(solid.read_bytes())
    for result in lab.send(nodes, [top]):
        assert result.state is RecipientState.SKIPPED
        assert result.received_bytes < 5 * MIB
    assert allocated(solid) >= 16 * MIB


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
@pytest.mark.parametrize("at", [7 * MIB, 16 * MIB - 1, 10 * MIB + 100, 0])
def test_a_byte_makes_it_another_file(lab: Lab, on_conflict: str, at: int) -> None:
    """In a hole, at its end, within the data: existing bytes there do not count as received."""
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 16 * MIB, [(0, 4 * MIB), (10 * MIB, 14 * MIB)])
    nodes[1].inbox.mkdir(parents=True)
    existing = nodes[1].inbox / "image"
    shutil.copy2(path, existing)
    with existing.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    mine = hashlib.sha256(existing.read_bytes()).digest()
    (result,) = lab.send(nodes, [path], on_conflict=on_conflict)
    assert result.state is RecipientState.COMPLETED
    fresh = existing if on_conflict == "overwrite" else nodes[1].inbox / "image (2)"
    assert fresh.read_bytes() == path.read_bytes()
    assert allocated(fresh) <= allocated(path) + BLOCK
    if on_conflict == "skip":
        assert hashlib.sha256(existing.read_bytes()).digest() == mine


@pytest.mark.parametrize("at", [MIB // 2, 3 * MIB])
def test_a_killed_recipient_goes_on(lab: Lab, at: int) -> None:
    top, source = images(lab), lab.node("node_0")
    cast = lab.cast(source, [top])
    had = left_half_way(lab, source, cast, at)
    result = go_on(lab, source, cast)
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes == result.stream_bytes - had
    assert_same_holes(lab.folder / "inbox" / "node_1" / "top", top)


def test_a_turned_bit_beside_a_hole_costs_one_piece(lab: Lab) -> None:
    nodes, top = lab.chain(1), images(lab)
    cast = lab.cast(nodes[0], [top])
    with Proxy(nodes[0].upstream(), flip_at=(2 * MIB + 300_000,)) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        (result,) = cast.results()
    assert result.received_bytes == result.stream_bytes + MIB
    assert_same_holes(nodes[1].inbox / "top", top)
    cast.forget()


def test_a_late_joiner_gets_holes_from_a_recipient(lab: Lab) -> None:
    nodes, top = lab.chain(2), images(lab)
    cast = lab.cast(nodes[0], [top])
    cast.deliver(nodes[1], nodes[0].upstream())
    cast.results()
    cast.cancel(nodes[0])
    cast.deliver(nodes[2], nodes[1].upstream())
    cast.results()
    assert_same_holes(nodes[2].inbox / "top", top)
    cast.forget()


def test_bytes_in_a_hole_while_it_is_sent_are_a_change(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 16 * MIB, [(0, MIB), (10 * MIB, 11 * MIB)])

    def write_first(*arguments: object) -> None:
        with path.open("r+b") as file:
            file.seek(5 * MIB)
            file.write(b"new")
        hash_zeros(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("castray_desktop.workers.agent.transfer.source.source_reader.hash_zeros", write_first)
    (result,) = lab.send(nodes, [path])
    assert result.failure is not None
    assert result.failure.kind is FailureKind.CHANGED


def test_a_file_system_that_does_not_know_its_holes(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = lab.chain(1)
    path = sparse(lab.files / "image", 4 * MIB, [(0, MIB)])

    def unknown(*_: object) -> int:
        raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "lseek", unknown)
    (result,) = lab.send(nodes, [path])
    assert result.content_bytes == 4 * MIB
    assert (nodes[1].inbox / "image").read_bytes() == path.read_bytes()


def test_the_smallest_of_too_many_holes_count_as_data(tmp_path: Path) -> None:
    data = [(at * BLOCK, at * BLOCK + 1) for at in range(0, 3 * MAX_DATA_RANGES, 2)]
    path = sparse(tmp_path / "image", 100 * MIB, [*data, (90 * MIB, 91 * MIB)])
    with path.open("rb") as file:
        found = data_ranges(file.fileno(), 100 * MIB)
    assert found is not None
    assert found[-1] == (90 * MIB, 91 * MIB)
    assert len(found) == 2
