"""Recipients remove exactly what the source no longer has."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.content.manifest import EntryKind, Manifest, ManifestEntry, encode_manifest
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import FindPrunable, GetManifest, ServeSource
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.workers.agent.transfer.delivery import prune as extras_module
from castray_desktop.workers.agent.transfer.delivery.prune import (
    MAX_DEPTH,
    MAX_SHOWN,
    Pruner,
    pack_manifest,
    unpack_manifest,
)
from castray_desktop.workers.agent.transfer.source.scanner import Scanner
from tests.workers.agent.transfer.lab import BEST, Cast, Lab, Node, tree

pytestmark = pytest.mark.timeout(60)

TREE = ("a", "folder/b", "folder/deep/c", "other/d")


def make(top: Path, *names: str) -> Path:
    for name in names:
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return top


def manifest_of(top: Path, *exclude: str) -> Manifest:
    return Manifest(tuple(Scanner("keep", NamePatterns(exclude), lambda: None).run([str(top)]).entries))


def everything(top: Path) -> set[str]:
    return {str(path.relative_to(top)) for path in top.rglob("*")}


def finder(source: Path, destination: Path, *exclude: str) -> Pruner:
    return Pruner(manifest_of(source, *exclude), os.fsencode(destination), NamePatterns(exclude))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return make(tmp_path / "source" / "data", *TREE)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The destination, which already contains the folder."""
    return make(tmp_path / "there" / "data", *TREE).parent


# --- finding and removing ----------------------------------------------------------------------------


def test_exactly_the_found_entries_are_removed(source: Path, there: Path) -> None:
    before = everything(there)
    make(there / "data", "old", "folder/old/deep/x", "folder/old/y", "gone/z")
    make(there, "data.txt", "neighbour/file")
    expected = [
        *("data/folder/old", "data/folder/old/deep", "data/folder/old/deep/x", "data/folder/old/y"),
        *("data/gone", "data/gone/z", "data/old"),
    ]
    all_of_it = everything(there)
    found = finder(source, there).find()
    assert [str(Path(path).relative_to(there)) for path in found.paths] == expected
    assert everything(there) == all_of_it
    removed = finder(source, there).remove()
    assert removed == found
    assert removed.count == 7
    assert everything(there) == before | {"data.txt", "neighbour", "neighbour/file"}
    assert finder(source, there).remove().count == 0


def test_excluded_things_stay_and_so_do_the_folders_that_hold_them(source: Path, there: Path) -> None:
    make(there / "data", "a.log", "gone/keep.log", "gone/x", "cache/y", "folder/cache/z", "stale/u")
    result = finder(source, there, "*.log", "cache/").remove()
    assert result.count == 3
    assert result.failed == 0
    assert everything(there / "data") >= {"a.log", "gone/keep.log", "cache/y", "folder/cache/z"}
    assert not (there / "data" / "gone" / "x").exists()
    assert not (there / "data" / "stale").exists()


def test_links_are_removed_and_never_followed(source: Path, there: Path, tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "precious", "deep/precious")
    (there / "data" / "link").symlink_to(outside)
    (there / "data" / "folder" / "file link").symlink_to(outside / "precious")
    (there / "data" / "dangling").symlink_to("nowhere")
    assert finder(source, there).remove().count == 3
    assert everything(outside) == {"precious", "deep", "deep/precious"}


def test_a_link_in_the_place_of_a_folder_is_not_followed(source: Path, there: Path, tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "precious", "b")
    shutil.rmtree(there / "data" / "folder")
    (there / "data" / "folder").symlink_to(outside)
    assert finder(source, there).remove().count == 0
    shutil.rmtree(there / "data")
    (there / "data").symlink_to(outside)
    assert finder(source, there).remove().count == 0
    assert everything(outside) == {"precious", "b"}


@pytest.mark.parametrize("name", ["evil", "folder"])
def test_a_folder_that_becomes_a_link_at_the_last_moment(
    source: Path, there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    outside = make(tmp_path / "outside", "precious", "deep/precious")
    make(there / "data", "evil/x")
    place = there / "data" / name
    really_open = os.open

    def swap_and_open(path: bytes, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if path == name.encode() and not place.is_symlink():
            place.rename(tmp_path / "away")
            place.symlink_to(outside)
        return really_open(path, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(extras_module.os, "open", swap_and_open)
    finder(source, there).remove()
    assert place.is_symlink()
    assert everything(outside) == {"precious", "deep", "deep/precious"}


def test_a_folder_that_was_empty_at_the_source_removes_nothing(there: Path, tmp_path: Path) -> None:
    empty = tmp_path / "source" / "data"
    empty.mkdir(parents=True)
    before = everything(there)
    assert finder(empty, there).remove().count == 0
    assert everything(there) == before


def test_nor_does_an_empty_folder_inside(source: Path, there: Path) -> None:
    """A disk that is mounted there at other times."""
    (source / "mounted").mkdir()
    make(there / "data", "mounted/precious", "old")
    assert finder(source, there).remove().paths == [str(there / "data" / "old")]
    assert (there / "data" / "mounted" / "precious").exists()


def test_a_sent_file_removes_nothing_beside_it(tmp_path: Path, there: Path) -> None:
    file = make(tmp_path / "source", "model.bin") / "model.bin"
    before = everything(there)
    assert finder(file, there).remove().count == 0
    assert everything(there) == before


def test_special_files_are_kept(source: Path, there: Path) -> None:
    os.mkfifo(there / "data" / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(there / "data" / "socket"))
        make(there / "data", ".castray-c0ffee-node_1/parts/x")
        assert finder(source, there).remove().count == 0
    assert {"pipe", "socket", ".castray-c0ffee-node_1/parts/x"} <= everything(there / "data")


def test_a_name_that_the_file_system_takes_for_another_is_the_parcels(
    source: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that ignores case: the listing has `A`, and `a` exists as well."""
    (there / "data" / "a").rename(there / "data" / "A")
    really_stat = os.stat

    def stat_without_case(
        path: bytes | str, *, dir_fd: int | None = None, follow_symlinks: bool = True
    ) -> os.stat_result:
        name = b"A" if path == b"a" else path
        return really_stat(name, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    with monkeypatch.context() as patch:
        patch.setattr(extras_module.os, "stat", stat_without_case)
        assert finder(source, there).remove().count == 0
    assert (there / "data" / "A").exists()


def test_a_failed_removal_is_reported_and_the_rest_is_removed(
    source: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(there / "data", "stuck", "gone", "old/stuck", "old/x")
    really_unlink = os.unlink

    def unlink(name: bytes, *, dir_fd: int) -> None:
        if name == b"stuck":
            raise PermissionError(13, "Permission denied", name)
        really_unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(extras_module.os, "unlink", unlink)
    result = finder(source, there).remove()
    assert (result.count, result.failed) == (2, 2)
    assert result.first_error is not None
    assert result.first_error.filename == str(there / "data" / "old" / "stuck")
    assert {"stuck", "old", "old/stuck"} <= everything(there / "data")


def test_a_very_deep_tree_ends_in_a_word_and_not_in_a_crash(source: Path, there: Path) -> None:
    descriptor = os.open(there / "data", os.O_RDONLY)
    for _ in range(MAX_DEPTH + 50):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    result = finder(source, there).remove()
    assert (result.count, result.failed) == (0, 1)


def test_of_very_many_the_first_are_named(source: Path, there: Path) -> None:
    make(there / "data", *(f"old/{number:04}" for number in range(500)))
    found = finder(source, there).find()
    assert found.count == 501
    assert len(found.paths) == MAX_SHOWN
    assert found.paths[0] == str(there / "data" / "old")


names = st.sampled_from(["a", "b", "c.log"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


@given(st.sets(paths, min_size=1, max_size=8), st.sets(paths, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_afterwards_both_have_the_same(tmp_path: Path, mine: set[str], theirs: set[str]) -> None:
    shutil.rmtree(tmp_path / "work", ignore_errors=True)
    work = tmp_path / "work"
    for place, wanted in (("source", mine), ("there", mine), ("there", theirs)):
        for path in sorted(wanted):
            try:
                make(work / place / "data", path)
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                continue  # another entry blocks it
    make(work / "there", "beside")
    finder(work / "source" / "data", work / "there").remove()
    expected = {path for path in everything(work / "source") if (work / "there" / path).exists()}
    kinds = {
        path
        for path in expected
        if any(
            (work / "source" / above).is_dir() != (work / "there" / above).is_dir()
            for above in (path, *map(str, Path(path).parents))
        )
    }
    assert everything(work / "there") - {"beside"} - kinds == expected - kinds
    assert (work / "there" / "beside").exists()


def test_a_kill_while_pruning_leaves_each_entry_complete_or_removed(source: Path, there: Path) -> None:
    make(there / "data", *(f"old/{number % 7}/{number}" for number in range(200)))
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from castray_desktop.workers.agent.transfer.delivery import prune\n"
        "from tests.workers.agent.transfer.delivery.test_prune import finder\n"
        "unlink, left = os.unlink, [90]\n"
        "def count(name, *, dir_fd):\n"
        "    left[0] -= 1\n"
        "    if not left[0]: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    unlink(name, dir_fd=dir_fd)\n"
        "prune.os.unlink = count\n"
        "finder(Path(sys.argv[1]), Path(sys.argv[2])).remove()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(source), str(there)], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    left = [path for path in (there / "data" / "old").rglob("*") if path.is_file()]
    assert len(left) == 111
    assert all(path.read_text() == str(path.relative_to(there / "data")) for path in left)
    assert {str(Path("data") / name) for name in TREE} <= everything(there)
    finder(source, there).remove()
    assert everything(there / "data") == everything(source)


def test_a_manifest_travels_packed() -> None:
    manifest = Manifest(
        (
            ManifestEntry(EntryKind.FOLDER, b"d", 0o755),
            *(ManifestEntry(EntryKind.FILE, b"d/%d" % number, 0o644) for number in range(999)),
        )
    )
    packed = pack_manifest(encode_manifest(manifest))
    assert len(packed) < 8000
    assert unpack_manifest(packed).entries == manifest.entries
    for bad in ("", "no base 85 \N{SNOWMAN}", pack_manifest(b"no manifest"), packed[:100]):
        with pytest.raises(ValueError):
            unpack_manifest(bad)


def test_files_that_are_not_selected_stay(tmp_path: Path) -> None:
    source = make(tmp_path / "source" / "data", "new.bin")
    destination = make(tmp_path / "there" / "data", "old.bin", "notes.txt", "gone/old.bin", "kept/notes.txt")
    patterns = NamePatterns((), ("*.bin",))
    manifest = Manifest(tuple(Scanner("keep", patterns, lambda: None).run([str(source)]).entries))
    found = Pruner(manifest, os.fsencode(destination.parent), patterns).find()
    assert sorted(Path(path).relative_to(destination).as_posix() for path in found.paths) == [
        "gone",
        "gone/old.bin",
        "old.bin",
    ]


# --- in a delivery -----------------------------------------------------------------------------------


@pytest.fixture
def nodes(lab: Lab) -> list[Node]:
    return lab.chain(2)


def sync(lab: Lab, nodes: list[Node], path: Path, *exclude: str) -> list[DeliveryReport]:
    return lab.send(nodes, [path], on_conflict="overwrite", exclude=exclude, remove_extra=True)


def test_every_recipient_has_the_entries_of_the_source(lab: Lab, nodes: list[Node]) -> None:
    top = make(lab.files / "data", *TREE)
    assert [report.removed for report in sync(lab, nodes, top)] == [0, 0]
    shutil.rmtree(top / "folder")
    make(top, "new")
    for node in nodes[1:]:
        make(node.inbox / "data", "local")
        make(node.inbox, "beside")
    results = sync(lab, nodes, top)
    assert [(report.state, report.removed) for report in results] == [(RecipientState.COMPLETED, 5)] * 2
    for node in nodes[1:]:
        assert everything(node.inbox / "data") == everything(top)
        assert (node.inbox / "beside").exists()
    (top / "new").unlink()
    (result, _) = sync(lab, nodes, top)
    assert (result.state, result.removed) == (RecipientState.SKIPPED, 1)


@pytest.mark.parametrize("on_conflict", ["skip", "rename"])
def test_nothing_is_pruned_if_names_may_differ(lab: Lab, nodes: list[Node], on_conflict: str) -> None:
    top = make(lab.files / "data", *TREE)
    make(nodes[1].inbox / "data", "mine")
    (result, _) = lab.send(nodes, [top], on_conflict=on_conflict, remove_extra=True)
    assert result.removed == 0
    assert (nodes[1].inbox / "data" / "mine").exists()


def test_nothing_is_pruned_if_the_source_could_not_send_all(lab: Lab, nodes: list[Node]) -> None:
    top = make(lab.files / "data", *TREE)
    os.mkfifo(top / "pipe")
    make(nodes[1].inbox / "data", "mine")
    (result, _) = sync(lab, nodes, top)
    assert result.removed == 0
    assert (nodes[1].inbox / "data" / "mine").exists()


def test_nothing_is_pruned_if_a_file_failed(lab: Lab, nodes: list[Node]) -> None:
    top = make(lab.files / "data", *TREE)
    make(nodes[1].inbox / "data", "mine")
    cast_id, report = lab.prepare(nodes[0], [top])
    assert report.totals is not None
    (top / "a").unlink()  # after the scan
    nodes[0].plane.carry_out(ServeSource(cast_id, "00" * 32, 1, BEST))
    cast = Cast(nodes[0], cast_id, "00" * 32, report.totals, BEST)
    cast.deliver(nodes[1], nodes[0].upstream(), on_conflict="overwrite", remove_extra=True)
    (result,) = cast.results()
    cast.forget()
    assert result.state is RecipientState.FAILED
    assert result.removed == 0
    assert (nodes[1].inbox / "data" / "mine").exists()


def test_a_change_of_type_settles(lab: Lab, nodes: list[Node]) -> None:
    top = make(lab.files / "data", "a", "b/x", "c/x", "d", "e", "f")
    (top / "link").symlink_to("a")
    (top / "other link").symlink_to("a")
    sync(lab, nodes, top)
    for name in ("a", "d", "link"):
        (top / name).unlink()
    for name in ("b", "c"):
        shutil.rmtree(top / name)
    make(top, "a/x", "a/deep/y", "b", "link/x")
    (top / "c").symlink_to("b")
    (top / "d").symlink_to("b")
    cast, _ = lab.prepare(nodes[0], [top])
    packed = nodes[0].plane.manifest(GetManifest(cast)).packed
    assert nodes[1].plane.find_prunable(FindPrunable(cast, packed)).count == 4  # b, c and what they hold
    results = sync(lab, nodes, top)
    assert [(report.state, report.removed) for report in results] == [(RecipientState.COMPLETED, 4)] * 2
    for node in nodes[1:]:
        assert tree(node.inbox / "data") == tree(top)
    results = sync(lab, nodes, top)
    assert [(report.state, report.removed) for report in results] == [(RecipientState.SKIPPED, 0)] * 2


@pytest.mark.parametrize("in_the_way", ["a/keep.log", "a/deep/keep.log", "a/pipe"])
def test_a_folder_with_a_kept_entry_is_kept(lab: Lab, nodes: list[Node], in_the_way: str) -> None:
    """The arriving file gets a free name, once, and does not count as prunable."""
    top = make(lab.files / "data", *TREE)
    there = make(nodes[1].inbox / "data", "a/other", in_the_way)
    if in_the_way == "a/pipe":
        (there / in_the_way).unlink()
        os.mkfifo(there / in_the_way)
    for _ in range(2):
        (result, _) = sync(lab, nodes, top, "*.log")
        assert result.removed == 0
        assert everything(there) >= {"a (2)", "a/other", in_the_way}
        assert not (there / "a (3)").exists()


def test_no_folder_beside_the_sent_entries_is_removed(lab: Lab, nodes: list[Node]) -> None:
    file = make(lab.files, "data") / "data"
    make(nodes[1].inbox, "data/precious")
    for _ in range(2):
        sync(lab, nodes, file)
    assert everything(nodes[1].inbox) == {"data", "data/precious", "data (2)"}


def test_a_failed_removal_is_reported(lab: Lab, nodes: list[Node], monkeypatch: pytest.MonkeyPatch) -> None:
    top = make(lab.files / "data", *TREE)
    make(nodes[1].inbox / "data", "stuck")

    really_unlink = os.unlink

    def refuse(name: bytes, *, dir_fd: int | None = None) -> None:
        if name == b"stuck":
            raise PermissionError(13, "Permission denied", name)
        really_unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(extras_module.os, "unlink", refuse)
        (result, below) = sync(lab, nodes, top)
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.kind is FailureKind.NOT_REMOVED
    assert result.failure.values["path"] == str(nodes[1].inbox / "data" / "stuck")
    assert below.state is RecipientState.COMPLETED
    assert everything(nodes[1].inbox / "data") == everything(top) | {"stuck"}


def test_a_recipient_lists_what_it_would_prune(lab: Lab, nodes: list[Node]) -> None:
    top = make(lab.files / "data", *TREE)
    make(nodes[1].inbox / "data", "old", "b.log")
    cast, _ = lab.prepare(nodes[0], [top])
    packed = nodes[0].plane.manifest(GetManifest(cast)).packed
    reply = nodes[1].plane.find_prunable(FindPrunable(cast, packed, TransferOptions(exclude=("*.log",))))
    assert (reply.count, reply.paths) == (1, (str(nodes[1].inbox / "data" / "old"),))
    assert nodes[2].plane.find_prunable(FindPrunable(cast, packed)).count == 0
    assert nodes[0].plane.manifest(GetManifest("unknown")).packed == ""
    assert nodes[1].plane.find_prunable(FindPrunable(cast, "nonsense")).failure is not None
