"""`A` and `a` on a file system that ignores case: neither gets the bytes of the other, and both are named."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from castray_desktop.core.content.manifest import EntryKind, Manifest, ManifestEntry
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.store import destination_check
from castray_desktop.workers.agent.transfer.store.destination_check import find_clash, name_comparison
from tests.workers.agent.transfer.lab import Lab
from tests.workers.agent.transfer.store.test_resume import left_half_way

MIB = 1 << 20


def manifest(*paths: str) -> Manifest:
    folders = {path.rpartition("/")[0] for path in paths} - {""}
    return Manifest(
        (
            *(ManifestEntry(EntryKind.FOLDER, folder.encode(), 0o755) for folder in sorted(folders)),
            *(ManifestEntry(EntryKind.FILE, path.encode(), 0o644) for path in paths),
        )
    )


def without_case(first: bytes, second: bytes) -> bool:
    return first.lower() == second.lower()


def without_form(first: bytes, second: bytes) -> bool:
    return unicodedata.normalize("NFD", first.decode()) == unicodedata.normalize("NFD", second.decode())


def exact(first: bytes, second: bytes) -> bool:
    return first == second


def test_names_that_differ_in_case_alone() -> None:
    assert find_clash(manifest("d/A", "d/b", "d/a"), without_case) == (b"d/A", b"d/a")
    assert find_clash(manifest("A", "a"), without_case) == (b"A", b"a")
    assert find_clash(manifest("d/A", "d/a"), without_form) is None
    assert find_clash(manifest("d/A", "d/a"), exact) is None


def test_folders_that_differ_in_case_alone() -> None:
    assert find_clash(manifest("D/x", "d/y"), without_case) == (b"D", b"d")


def test_the_same_letter_written_in_two_ways() -> None:
    names = "caf\u00e9", "cafe\u0301"
    assert find_clash(manifest(*names), without_form) == tuple(name.encode() for name in names)
    assert find_clash(manifest(*names), without_case) is None


def test_names_in_different_folders_are_no_clash() -> None:
    assert find_clash(manifest("d/A", "e/a", "x"), without_case) is None


def test_names_that_are_no_text() -> None:
    names = b"\xff\xfea", b"\xff\xfeA"
    entries = (ManifestEntry(EntryKind.FILE, name, 0o644) for name in names)
    assert find_clash(Manifest(entries), without_case) == names


def test_this_file_system_is_asked(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        (tmp_path / "names").mkdir()  # an earlier process was killed in the middle
        with name_comparison(fd) as are_one:
            assert are_one(b"a", b"a")
            assert are_one(b"a", b"A") is (tmp_path / "NAMES").exists()
            assert not are_one(b"a", b"b")
            assert not are_one(b"a" * 300, b"A")
            assert not are_one(b"a", b"A" * 300)
    finally:
        os.close(fd)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def ignoring_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that ignores case, for lookups."""

    def facts_of(name: bytes, folder: int) -> os.stat_result | None:
        for found in os.listdir(folder):
            if found.lower() == os.fsdecode(name).lower():
                return os.stat(found, dir_fd=folder, follow_symlinks=False)
        return None

    monkeypatch.setattr(destination_check, "lstat_in", facts_of)


@pytest.mark.usefixtures("ignoring_case")
@pytest.mark.parametrize("resumed", [False, True])
def test_a_delivery_names_both_and_ends(lab: Lab, resumed: bool) -> None:
    top, source = lab.files / "top", lab.node("node_0")
    top.mkdir()
    for name in ("A", "a", "b"):
        (top / name).write_bytes(os.urandom(3 * MIB))
    cast = lab.cast(source, [top])
    if resumed:  # by a process without this check
        left_half_way(lab, source, cast, 2 * MIB)
    node = lab.node("node_1")
    cast.deliver(node, source.upstream())
    result = node.await_end(cast.cast)
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.NAMES_CLASH
    assert result.failure.values == {"node": "node_1", "path": "top/a", "other": "top/A"}
    assert list((lab.folder / "inbox").glob("node_1/*")) == []
