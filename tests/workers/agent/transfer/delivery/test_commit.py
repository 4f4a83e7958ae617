"""The final names of a cast's files, and the treatment of existing files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.workers.agent.transfer.store.journal import JOURNAL_MAGIC
from castray_desktop.workers.agent.transfer.store.staging import (
    FOREIGN_SECONDS,
    Staging,
    StagingRegistry,
    remove_staging,
)
from castray_desktop.workers.agent.transfer.system import linux_calls
from tests.workers.agent.transfer.lab import Lab, Node, tree

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20


@pytest.fixture
def nodes(lab: Lab) -> list[Node]:
    nodes = lab.chain(1)
    nodes[1].inbox.mkdir(parents=True)
    return nodes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def send(lab: Lab, nodes: list[Node], path: Path, on_conflict: str) -> DeliveryReport:
    (result,) = lab.send(nodes, [path], on_conflict=on_conflict)
    assert result.failure is None, result
    return result


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_an_identical_file_is_not_replaced(lab: Lab, nodes: list[Node], on_conflict: str) -> None:
    path = lab.file("a.bin", MIB + 1)
    there = nodes[1].inbox / "a.bin"
    there.write_bytes(path.read_bytes())
    before = there.stat()
    result = send(lab, nodes, path, on_conflict)
    assert result.state is RecipientState.SKIPPED
    assert result.paths == (str(there),)
    assert (there.stat().st_ino, there.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert names(nodes[1].inbox) == ["a.bin"]


def test_skip_gives_a_different_file_a_free_name(lab: Lab, nodes: list[Node]) -> None:
    path = lab.file("a.tar.gz", 1000)
    (nodes[1].inbox / "a.tar.gz").write_bytes(b"mine")
    (nodes[1].inbox / "a (2).tar.gz").write_bytes(b"mine too")
    result = send(lab, nodes, path, "skip")
    assert result.state is RecipientState.COMPLETED
    assert result.paths == (str(nodes[1].inbox / "a (3).tar.gz"),)
    assert (nodes[1].inbox / "a (3).tar.gz").read_bytes() == path.read_bytes()
    assert (nodes[1].inbox / "a.tar.gz").read_bytes() == b"mine"


def test_rename_always_takes_a_free_name(lab: Lab, nodes: list[Node]) -> None:
    path = lab.file("a.bin", 1000)
    for expected in ("a.bin", "a (2).bin", "a (3).bin"):
        result = send(lab, nodes, path, "rename")
        assert result.paths == (str(nodes[1].inbox / expected),)
    assert names(nodes[1].inbox) == ["a (2).bin", "a (3).bin", "a.bin"]


def test_a_different_file_keeps_the_free_name_that_it_got(lab: Lab, nodes: list[Node]) -> None:
    path = lab.file("a.bin", 1000)
    (nodes[1].inbox / "a.bin").write_bytes(b"mine")
    assert send(lab, nodes, path, "skip").state is RecipientState.COMPLETED
    result = send(lab, nodes, path, "skip")
    assert result.state is RecipientState.SKIPPED
    assert result.paths == (str(nodes[1].inbox / "a (2).bin"),)
    assert names(nodes[1].inbox) == ["a (2).bin", "a.bin"]


def test_overwrite_replaces_a_file_and_an_empty_folder_but_never_a_full_one(
    lab: Lab, nodes: list[Node]
) -> None:
    path = lab.file("a.bin", 1000)
    (nodes[1].inbox / "a.bin").write_bytes(b"old")
    send(lab, nodes, path, "overwrite")
    assert (nodes[1].inbox / "a.bin").read_bytes() == path.read_bytes()
    (nodes[1].inbox / "a.bin").unlink()
    (nodes[1].inbox / "a.bin").mkdir()
    send(lab, nodes, path, "overwrite")
    assert (nodes[1].inbox / "a.bin").read_bytes() == path.read_bytes()
    (nodes[1].inbox / "a.bin").unlink()
    (nodes[1].inbox / "a.bin").mkdir()
    (nodes[1].inbox / "a.bin" / "mine").touch()
    for _ in range(2):
        result = send(lab, nodes, path, "overwrite")
        assert result.paths == (str(nodes[1].inbox / "a (2).bin"),)


def test_overwrite_replaces_a_file_and_a_link_by_a_folder(lab: Lab, nodes: list[Node]) -> None:
    outside = lab.folder / "outside"
    outside.mkdir()
    for name in ("a", "b"):
        (lab.files / "top" / name).mkdir(parents=True)
        (lab.files / "top" / name / "x").write_text(name)
    there = nodes[1].inbox / "top"
    there.mkdir()
    (there / "a").write_text("old")
    (there / "b").symlink_to(outside)
    send(lab, nodes, lab.files / "top", "overwrite")
    assert tree(there / "a") == tree(lab.files / "top" / "a")
    assert tree(there / "b") == tree(lab.files / "top" / "b")
    assert names(there) == ["a", "b"]
    assert names(outside) == []
    assert send(lab, nodes, lab.files / "top", "overwrite").state is RecipientState.SKIPPED


def test_overwrite_replaces_a_link_not_what_it_points_to(lab: Lab, nodes: list[Node]) -> None:
    path, other = lab.file("a.bin", 1000), lab.file("other", 5)
    (nodes[1].inbox / "a.bin").symlink_to(other)
    kept = other.read_bytes()
    send(lab, nodes, path, "overwrite")
    assert not (nodes[1].inbox / "a.bin").is_symlink()
    assert other.read_bytes() == kept


def make_two(lab: Lab, nodes: list[Node]) -> tuple[Path, Path]:
    """A folder to send, and an older one of the same name at the recipient."""
    new, old = lab.files / "folder", nodes[1].inbox / "folder"
    for folder in (new, old):
        (folder / "both").mkdir(parents=True)
        (folder / "both" / "same").write_bytes(b"same")
        (folder / "link").symlink_to("both")
    (new / "only new" / "deep").mkdir(parents=True)
    (new / "only new" / "deep" / "x").write_bytes(b"x")
    (new / "only new").chmod(0o700)
    (new / "both" / "differs").write_bytes(b"new")
    (old / "both" / "differs").write_bytes(b"old")
    (old / "both" / "mine").write_bytes(b"mine")
    (new / "file here").write_bytes(b"file")
    (old / "file here").mkdir()
    old.chmod(0o711)
    return new, old


def test_skip_merges_a_folder_file_by_file(lab: Lab, nodes: list[Node]) -> None:
    new, old = make_two(lab, nodes)
    result = send(lab, nodes, new, "skip")
    assert result.paths == (str(old),)
    assert names(old) == ["both", "file here", "file here (2)", "link", "only new"]
    assert names(old / "both") == ["differs", "differs (2)", "mine", "same"]
    assert (old / "both" / "differs").read_bytes() == b"old"
    assert (old / "both" / "differs (2)").read_bytes() == b"new"
    assert (old / "only new" / "deep" / "x").read_bytes() == b"x"
    assert (old / "only new").stat().st_mode & 0o777 == 0o700
    assert old.stat().st_mode & 0o777 == 0o711
    assert send(lab, nodes, new / "only new", "skip").state is RecipientState.COMPLETED


def test_overwrite_merges_a_folder_file_by_file(lab: Lab, nodes: list[Node]) -> None:
    new, old = make_two(lab, nodes)
    send(lab, nodes, new, "overwrite")
    assert names(old / "both") == ["differs", "mine", "same"]
    assert (old / "both" / "differs").read_bytes() == b"new"
    assert (old / "both" / "mine").read_bytes() == b"mine"


def test_rename_puts_the_whole_folder_beside_it(lab: Lab, nodes: list[Node]) -> None:
    new, old = make_two(lab, nodes)
    result = send(lab, nodes, new, "rename")
    assert result.paths == (str(nodes[1].inbox / "folder (2)"),)
    assert tree(nodes[1].inbox / "folder (2)") == tree(new)
    assert names(old / "both") == ["differs", "mine", "same"]


def test_a_folder_is_never_committed_through_a_link(lab: Lab, nodes: list[Node]) -> None:
    (lab.files / "folder").mkdir()
    (lab.files / "folder" / "x").write_bytes(b"x")
    outside = lab.folder / "outside"
    outside.mkdir()
    (nodes[1].inbox / "folder").symlink_to(outside)
    for on_conflict, name in (("skip", "folder (2)"), ("overwrite", "folder")):
        result = send(lab, nodes, lab.files / "folder", on_conflict)
        assert result.paths == (str(nodes[1].inbox / name),)
    assert names(outside) == []


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite", "rename"])
def test_the_sources_own_folder_is_safe(lab: Lab, nodes: list[Node], on_conflict: str) -> None:
    path = lab.file("a.bin", 3 * MIB)
    contents, inode = path.read_bytes(), path.stat().st_ino
    (result,) = lab.send(nodes, [path], lab.files, on_conflict)
    expected = RecipientState.COMPLETED if on_conflict == "rename" else RecipientState.SKIPPED
    assert result.state is expected
    assert path.read_bytes() == contents
    assert path.stat().st_ino == inode


def test_two_recipients_with_one_destination(lab: Lab) -> None:
    nodes = lab.chain(3)
    path = lab.file("a.bin", 2 * MIB)
    results = lab.send(nodes, [path], lab.folder / "shared")
    assert {result.state for result in results} <= {RecipientState.COMPLETED, RecipientState.SKIPPED}
    assert names(lab.folder / "shared") == ["a.bin"]
    assert (lab.folder / "shared" / "a.bin").read_bytes() == path.read_bytes()


def test_modes_follow_the_umask_and_never_set_user(lab: Lab, nodes: list[Node]) -> None:
    path = lab.file("tool", 10)
    path.chmod(0o4777)
    before = os.umask(0o027)
    try:
        send(lab, nodes, path, "skip")
    finally:
        os.umask(before)
    assert (nodes[1].inbox / "tool").stat().st_mode & 0o7777 == 0o750


def test_the_destination_may_name_the_node(lab: Lab, nodes: list[Node]) -> None:
    (result,) = lab.send(nodes, [lab.file("a", 1)], lab.folder / "to {node}" / "x")
    assert result.paths == (str(lab.folder / "to node_1" / "x" / "a"),)


# --- renaming -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rename", [linux_calls.rename_without_replacing, linux_calls._rename_by_link])
def test_renaming_never_replaces(tmp_path: Path, rename: Callable[[bytes, int, bytes, int], None]) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        for source, target in (
            ("a", "b"),
            ("folder", "b"),
            ("a", "link"),
            ("folder", "folder"),
            ("link", "a"),
        ):
            with pytest.raises(FileExistsError):
                rename(source.encode(), folder, target.encode(), folder)
        for source in ("a", "folder", "link"):
            rename(source.encode(), folder, f"{source} moved".encode(), folder)
    finally:
        os.close(folder)
    assert names(tmp_path) == ["a moved", "b", "folder moved", "link moved"]


# --- staging --------------------------------------------------------------------------------------


KILLED = """
import os, sys
from castray_desktop.workers.agent.transfer.store.staging import Staging
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
staging = Staging(os.fsencode(sys.argv[1]), "c0ffee", "node", {}, StagingRegistry("engine a"))
open(staging.parts + b"/half", "wb").write(b"x")
os._exit(9)
"""


def test_staging_of_a_killed_agent_is_removed(tmp_path: Path, home: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.glob(".castray-*")
    assert (left / "parts" / "half").exists()
    assert StagingRegistry("engine a").remove_abandoned() == [os.fsencode(left)]
    assert not left.exists()
    assert list((home / "staging").iterdir()) == []


@pytest.mark.parametrize(("key", "swept"), [("host", False), ("namespace", False), ("boot", True)])
def test_another_machines_staging_is_left_alone(tmp_path: Path, home: Path, key: str, swept: bool) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (record,) = (home / "staging").iterdir()
    record.write_text(json.dumps({**json.loads(record.read_text()), key: "another"}))
    assert bool(StagingRegistry("engine a").remove_abandoned()) is swept
    assert record.exists() is not swept


def test_staging_of_a_cast_that_will_continue_is_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert StagingRegistry("engine a").remove_abandoned(keep={"c0ffee"}) == []
    assert StagingRegistry("engine a").remove_abandoned(keep={"another"}) != []
    assert names(tmp_path) == []


def test_another_engines_staging_is_kept_for_a_week(tmp_path: Path, home: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (record,) = (home / "staging").iterdir()
    then = record.stat().st_mtime
    os.utime(record, (then, then - FOREIGN_SECONDS + 60))
    assert StagingRegistry("engine b").remove_abandoned(keep={"c0ffee"}) == []
    os.utime(record, (then, then - FOREIGN_SECONDS - 60))
    assert StagingRegistry("engine b").remove_abandoned(keep={"c0ffee"}) != []
    assert names(tmp_path) == []


def test_staging_of_a_running_agent_is_kept(tmp_path: Path) -> None:
    staging = Staging(os.fsencode(tmp_path), "c0ffee", "node", {"manifest": "x"}, StagingRegistry("engine a"))
    assert StagingRegistry("engine a").remove_abandoned() == []
    journal = Path(os.fsdecode(staging.folder), "journal")
    staging.journal.append(3, b"d" * 16)
    raw = journal.read_bytes()
    assert raw.startswith(JOURNAL_MAGIC)
    header, _, records = raw[len(JOURNAL_MAGIC) :].partition(b"\n")
    assert json.loads(header) == {"cast": "c0ffee", "node": "node", "manifest": "x"}
    assert records == (3).to_bytes(8, "little") + b"d" * 16
    staging.remove()
    assert names(tmp_path) == []


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Nothing can be removed until this is called, as on a share that has become read-only."""

    def rmtree(folder: bytes, ignore_errors: bool) -> None:
        assert ignore_errors

    with monkeypatch.context() as patch:
        patch.setattr("castray_desktop.workers.agent.transfer.store.staging.shutil.rmtree", rmtree)
        yield patch.undo


def test_staging_that_could_not_be_removed_is_removed_at_a_later_start(
    tmp_path: Path, home: Path, stuck: Callable[[], None]
) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (left,) = tmp_path.glob(".castray-*")
    for _ in range(2):
        assert StagingRegistry("engine a").remove_abandoned() == []
        assert len(list((home / "staging").iterdir())) == 1
    StagingRegistry("engine a").remove_delivery("c0ffee", "node")
    assert len(list((home / "staging").iterdir())) == 1
    stuck()
    assert StagingRegistry("engine a").remove_abandoned() == [os.fsencode(left)]
    assert list((home / "staging").iterdir()) == []
    assert not left.exists()


def test_a_delivery_that_cannot_remove_its_staging_logs_it_and_keeps_its_record(
    tmp_path: Path, home: Path, stuck: Callable[[], None]
) -> None:
    staging = Staging(os.fsencode(tmp_path), "c0ffee", "node", {}, StagingRegistry("engine a"))
    Path(os.fsdecode(staging.parts), "half").write_text("x")
    staging.save_manifest(b"manifest")
    with pytest.raises(OSError, match="some of it can't be removed"):
        staging.remove()
    (record,) = (home / "staging").iterdir()
    assert names(Path(os.fsdecode(staging.folder))) == ["journal", "parts"]  # everything else was removed
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "an earlier one"}))
    stuck()
    assert StagingRegistry("engine a").remove_abandoned() == [staging.folder]
    assert list((home / "staging").iterdir()) == []
    assert names(tmp_path) == []


def test_staging_on_a_disk_that_is_not_there_is_not_forgotten(tmp_path: Path, home: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(disk)], check=False)
    disk.rename(tmp_path / "not mounted")
    assert StagingRegistry("engine a").remove_abandoned() == []
    (record,) = (home / "staging").iterdir()
    (tmp_path / "not mounted").rename(disk)
    assert StagingRegistry("engine a").remove_abandoned() != []
    assert list((home / "staging").iterdir()) == []
    subprocess.run([sys.executable, "-c", KILLED, str(disk)], check=False)
    shutil.rmtree(disk)
    assert StagingRegistry("engine a").remove_abandoned() == []
    then = record.stat().st_mtime
    os.utime(record, (then, then - FOREIGN_SECONDS - 60))  # it will not return
    assert StagingRegistry("engine a").remove_abandoned() == []
    assert list((home / "staging").iterdir()) == []


def test_a_folder_of_the_users_is_never_taken_for_staging(tmp_path: Path) -> None:
    for name in (".castray-1-x", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("precious")
        assert not remove_staging(os.fsencode(tmp_path / name))
    (tmp_path / ".castray-2-x").symlink_to("mine")
    assert not remove_staging(os.fsencode(tmp_path / ".castray-2-x"))
    assert (tmp_path / "mine" / "file").exists()


def test_a_damaged_registry_harms_nothing(home: Path) -> None:
    (home / "staging").mkdir()
    (home / "staging" / "a").write_text("not json")
    (home / "staging" / "b").write_text(json.dumps({"pid": 1}))
    assert StagingRegistry("engine a").remove_abandoned() == []


def test_small_files_keep_their_modes_and_times(lab: Lab, nodes: list[Node]) -> None:
    folder = lab.files / "many"
    folder.mkdir()
    for number in range(300):
        path = folder / f"{number}"
        path.write_bytes(os.urandom(number))
        os.utime(path, ns=(0, 1_000_000_007 * number))
        path.chmod((0o644, 0o600, 0o444, 0o755, 0o500, 0o404)[number % 6])
    before = os.umask(0o022)
    try:
        results = lab.send(nodes, [folder])
    finally:
        os.umask(before)
    assert {result.state for result in results} == {RecipientState.COMPLETED}
    for node in nodes[1:]:
        assert tree(node.inbox / "many") == tree(folder)
