"""The cache of file hashes: its keys, and the reads that it saves."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.delivery import commit
from castray_desktop.workers.agent.transfer.source import cast_source, source_reader
from castray_desktop.workers.agent.transfer.store import existing_files, hash_cache, piece_store
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache, file_keys, hash_file
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.digests import file_hasher
from tests.workers.agent.transfer.lab import BEST, Lab, Node, tree
from tests.workers.agent.transfer.store.test_resume import go_on, left_half_way

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20
KEY = FileKey(1, 2**64 - 1, 3, 4, 5)
HASH = bytes(range(32))


def test_it_keeps_hashes_over_processes(tmp_path: Path) -> None:
    HashCache(tmp_path).save("sha256", {KEY: HASH})
    assert HashCache(tmp_path).find("sha256", [KEY]) == {KEY: HASH}
    assert HashCache(tmp_path).find("blake3", [KEY]) == {}


@pytest.mark.parametrize("name", FileKey._fields)
def test_every_part_of_a_key_counts(tmp_path: Path, name: str) -> None:
    cache = HashCache(tmp_path)
    cache.save("sha256", {KEY: HASH})
    other = KEY._replace(**{name: getattr(KEY, name) - 1})
    assert cache.find("sha256", [other]) == {}


@pytest.mark.parametrize("name", ["mtime_ns", "ctime_ns"])
@pytest.mark.parametrize("age", [1.0, -3600.0])
def test_what_was_touched_just_now_or_in_the_future_is_not_found(
    tmp_path: Path, name: str, age: float
) -> None:
    cache = HashCache(tmp_path)
    young = KEY._replace(**{name: time.time_ns() - int(age * 1e9)})
    cache.save("sha256", {young: HASH})
    assert cache.find("sha256", [young]) == {}


def test_a_hash_may_be_kept_of_a_file_that_was_left_alone(tmp_path: Path) -> None:
    path, now = tmp_path / "a", time.time_ns()
    path.write_bytes(b"abc")
    key, hash_ = hash_file(os.fsencode(path), file_hasher("sha256"))
    assert key is None
    assert hash_ == file_hasher("sha256")(b"abc").digest()  # type: ignore[call-arg]
    assert not FileKey.of(path.stat()).is_settled(now)
    assert FileKey.of(path.stat()).is_settled(now + 3 * 10**9)


def test_what_was_used_longest_ago_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = HashCache(tmp_path, rows=3)
    keys = [KEY._replace(inode=inode) for inode in range(5)]
    clock = iter(range(10**9, 10**12, 10**9))
    monkeypatch.setattr(time, "time_ns", lambda: 10**18 + next(clock))
    for key in keys[:3]:
        cache.save("sha256", {key: HASH})
    cache.find("sha256", keys[:1])
    for key in keys[3:]:
        cache.save("sha256", {key: HASH})
    assert set(cache.find("sha256", keys)) == {keys[0], keys[3], keys[4]}


@pytest.mark.parametrize("damage", ["text", "torn", "other table", "short hash"])
def test_a_damaged_file_is_no_error(tmp_path: Path, damage: str) -> None:
    cache = HashCache(tmp_path)
    cache.save("sha256", {KEY._replace(inode=inode): HASH for inode in range(1000)})
    path = tmp_path / "hashes.sqlite"
    if damage == "text":
        path.write_text("not a database" * 1000)
    elif damage == "torn":
        os.truncate(path, path.stat().st_size // 2)
    else:
        connection = sqlite3.connect(path)
        with connection:
            if damage == "other table":
                connection.execute("DROP TABLE hashes")
                connection.execute("CREATE TABLE hashes (other INTEGER)")
            else:
                connection.execute("UPDATE hashes SET hash = x'00'")
        connection.close()
    assert cache.find("sha256", [KEY]) == {}
    cache.save("sha256", {KEY: HASH})
    cache.save("sha256", {KEY: HASH})
    if damage in ("text", "torn", "short hash"):
        assert cache.find("sha256", [KEY]) == {KEY: HASH}


def test_a_locked_file_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("castray_desktop.workers.agent.transfer.store.hash_cache.BUSY_SECONDS", 0.01)
    cache = HashCache(tmp_path)
    cache.save("sha256", {KEY: HASH})
    connection = sqlite3.connect(tmp_path / "hashes.sqlite")
    connection.execute("BEGIN EXCLUSIVE")
    assert cache.find("sha256", [KEY]) == {}
    cache.save("sha256", {KEY._replace(inode=1): HASH})
    connection.rollback()
    connection.close()
    assert cache.find("sha256", [KEY]) == {KEY: HASH}


def test_where_no_folder_can_be_made_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = HashCache(tmp_path / "file" / "below")
    cache.save("sha256", {KEY: HASH})
    assert cache.find("sha256", [KEY]) == {}


# --- casts


class Reads:
    """Counts the bytes that the source reads of its files."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
        self.bytes = 0
        read_some = piece_store.read_some

        def counted(fd: int, offset: int, view: memoryview) -> int:
            count = read_some(fd, offset, view)
            if os.path.realpath(f"/proc/self/fd/{fd}").startswith(f"{source}/"):
                self.bytes += count
            return count

        for module in (cast_source, source_reader, piece_store):
            monkeypatch.setattr(module, "read_some", counted)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, and the source does not read ahead."""
    monkeypatch.setattr("castray_desktop.workers.agent.transfer.store.hash_cache.SETTLED_NS", 0)
    monkeypatch.setattr("castray_desktop.workers.agent.transfer.source.cast_source.READ_AHEAD_BYTES", MIB)


def make_tree(lab: Lab) -> Path:
    top = lab.files / "top"
    (top / "deep").mkdir(parents=True)
    for number in range(3):
        (top / f"large {number}").write_bytes(os.urandom(8 * MIB + number))
    for number in range(300):
        (top / "deep" / f"small {number:03}").write_bytes(os.urandom(30_000 + number))
    (top / "empty").touch()
    (top / "deep" / "empty").touch()
    return top


def send_twice(lab: Lab, top: Path, count: int) -> list[object]:
    """To nodes that have all files: the second time every node knows all hashes."""
    nodes = lab.chain(count)
    for node in nodes[1:]:
        node.inbox.mkdir(parents=True)
        shutil.copytree(top, node.inbox / "top")
    lab.send(nodes, [top])
    nodes[0].plane._context.hash_cache.close()  # it writes beside
    return list(nodes)


@pytest.mark.usefixtures("at_once")
def test_files_that_every_recipient_has_are_not_read_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    top = make_tree(lab)
    nodes = send_twice(lab, top, 3)
    reads = Reads(monkeypatch, lab.files)

    def never(path: bytes, *_: object, folder: int | None = None) -> object:
        assert os.stat(path, dir_fd=folder).st_size == 0, "a recipient's file was read again"
        return None, file_hasher(BEST.file)().digest()

    for module in (commit, existing_files):
        monkeypatch.setattr(module, "hash_file", never)
    results = lab.send(nodes, [top])  # type: ignore[arg-type]
    assert [result.state for result in results] == [RecipientState.SKIPPED] * 3
    assert all(result.received_bytes <= 2 * MIB for result in results)
    assert all(
        result.content_bytes == sum(path.stat().st_size for path in top.rglob("*") if path.is_file())
        for result in results
    )
    assert reads.bytes <= 4 * MIB


@pytest.mark.usefixtures("at_once")
def test_those_below_get_what_is_known_to_be_the_same(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first has all files but no digests of their pieces; the second has nothing."""
    top = make_tree(lab)
    nodes = send_twice(lab, top, 2)
    shutil.rmtree(nodes[2].inbox / "top")  # type: ignore[attr-defined]
    reads = Reads(monkeypatch, lab.files)
    first, second = lab.send(nodes, [top])  # type: ignore[arg-type]
    assert first.state is RecipientState.SKIPPED
    assert first.received_bytes <= 2 * MIB
    assert second.state is RecipientState.COMPLETED
    assert second.received_bytes == second.stream_bytes
    assert tree(nodes[2].inbox / "top") == tree(top)  # type: ignore[attr-defined]
    assert reads.bytes <= 4 * MIB


@pytest.mark.usefixtures("at_once")
def test_who_goes_on_asks_for_hashes_as_well(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    top = make_tree(lab)
    source = send_twice(lab, top, 1)[0]
    assert isinstance(source, Node)
    lab.nodes.pop().plane.close()
    old = lab.folder / "inbox" / "node_1" / "top"
    (old / "large 0").unlink()
    cast = lab.cast(source, [top])
    had = left_half_way(lab, source, cast, 4 * MIB)
    reads = Reads(monkeypatch, lab.files)
    result = go_on(lab, source, cast)
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes < 11 * MIB - had
    assert result.content_bytes == cast.totals.content_bytes
    assert reads.bytes < 12 * MIB  # the missing data, not the existing file
    assert tree(old) == tree(top)


@pytest.mark.usefixtures("at_once")
def test_skipped_pieces_are_read_on_request(lab: Lab) -> None:
    """A second recipient below the source joins after the source has finished."""
    top = make_tree(lab)
    nodes = send_twice(lab, top, 2)
    shutil.rmtree(nodes[2].inbox / "top")  # type: ignore[attr-defined]
    source, first, second = nodes
    cast = lab.cast(source, [top])  # type: ignore[arg-type]
    cast.deliver(first, source.upstream())  # type: ignore[arg-type, attr-defined]
    cast.finish_source()
    cast.deliver(second, source.upstream())  # type: ignore[arg-type, attr-defined]
    results = cast.results()
    assert [result.state for result in results] == [RecipientState.SKIPPED, RecipientState.COMPLETED]
    assert tree(second.inbox / "top") == tree(top)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("where", ["source", "recipient"])
def test_a_file_that_was_changed_since_is_sent(lab: Lab, where: str) -> None:
    """With its old size and its old time: only the ctime of its inode differs."""
    top = make_tree(lab)
    nodes = send_twice(lab, top, 2)
    changed = (top if where == "source" else nodes[1].inbox / "top") / "large 1"  # type: ignore[attr-defined]
    facts = changed.stat()
    with changed.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(b"other")
    os.utime(changed, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    lab.send(nodes, [top], on_conflict="overwrite")  # type: ignore[arg-type]
    for node in nodes[1:]:
        assert tree(node.inbox / "top") == tree(top)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("at_once")
def test_a_fresh_recipient_costs_the_source_one_reading(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    top = make_tree(lab)
    source, _ = send_twice(lab, top, 1)
    reads = Reads(monkeypatch, lab.files)
    (result,) = lab.send([source, lab.node("fresh")], [top])  # type: ignore[list-item]
    assert result.state is RecipientState.COMPLETED
    size = sum(path.stat().st_size for path in top.rglob("*") if path.is_file())
    assert reads.bytes <= size + 12 * MIB  # small files share pieces, and may be read once more


def test_a_file_that_was_made_just_now_is_hashed_again_when_it_lands(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is right, but a later write might not show in its times."""
    path, (source, node) = lab.file("a", 4 * MIB), lab.chain(1)
    known = path.stat().st_ino
    monkeypatch.setattr(FileKey, "is_settled", lambda key, *_: key.inode == known)
    lab.send([source, lab.node("other")], [path])
    source.plane._context.hash_cache.close()
    node.inbox.mkdir(parents=True)
    shutil.copy(path, node.inbox / "a")
    hashed, hash_file = [], commit.hash_file
    monkeypatch.setattr(
        commit, "hash_file", lambda *args, **more: hashed.append(args[0]) or hash_file(*args, **more)
    )
    (result,) = lab.send([source, node], [path])
    assert result.state is RecipientState.SKIPPED
    assert result.received_bytes <= 2 * MIB
    assert hashed == [b"a"]


@pytest.mark.usefixtures("at_once")
def test_a_file_that_changes_after_its_hash_was_compared(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not reported as delivered, and it is not changed."""
    nodes, path = lab.chain(1), lab.file("a", 4 * MIB)
    nodes[1].inbox.mkdir(parents=True)
    mine = nodes[1].inbox / "a"
    shutil.copy2(path, mine)
    lab.send(nodes, [path])
    nodes[0].plane._context.hash_cache.close()
    run = commit.DeliveryCommit.run

    def change_first(self: commit.DeliveryCommit) -> object:
        mine.write_bytes(b"x" * 4 * MIB)
        return run(self)

    monkeypatch.setattr(commit.DeliveryCommit, "run", change_first)
    (result,) = lab.send(nodes, [path])
    assert result.state is RecipientState.FAILED
    assert mine.read_bytes() == b"x" * 4 * MIB


def test_files_that_are_young_are_read(lab: Lab, home: Path) -> None:
    path, nodes = lab.file("a", 3 * MIB), lab.chain(1)
    lab.send(nodes, [path])
    nodes[0].plane._context.hash_cache.close()
    assert HashCache(home).find(BEST.file, [FileKey.of(path.stat())]) == {}


def test_on_a_network_file_system_a_minute_has_to_pass(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its attributes are cached: a write by another machine may not be visible for this time."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    key, now = FileKey.of(path.stat()), path.stat().st_ctime_ns
    assert key.is_settled(now + 61 * 10**9)
    assert not key.is_settled(now + 61 * 10**9, remote=True)
    assert key.is_settled(now + 63 * 10**9, remote=True)
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 0)
    assert hash_file(os.fsencode(path), file_hasher("sha256"))[0] == key
    assert list(file_keys([os.fsencode(path)])) == [key]
    monkeypatch.setattr(linux_calls, "LOCAL_FILE_SYSTEMS", frozenset())
    assert hash_file(os.fsencode(path), file_hasher("sha256"))[0] is None
    assert list(file_keys([os.fsencode(path)])) == []


@pytest.mark.parametrize("remote", [False, True])
def test_a_hash_that_may_be_out_of_date_is_not_used(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 0)
    nodes, path = lab.chain(1), lab.file("a", MIB)
    nodes[1].inbox.mkdir(parents=True)
    shutil.copy2(path, nodes[1].inbox / "a")
    for node in nodes:  # as if both had been hashed just now, while they had other bytes
        file = path if node is nodes[0] else node.inbox / "a"
        node.plane._context.hash_cache.save(BEST.file, {FileKey.of(file.stat()): bytes(32)})
    if remote:
        monkeypatch.setattr(linux_calls, "LOCAL_FILE_SYSTEMS", frozenset())
    (result,) = lab.send(nodes, [path])
    assert result.state is (RecipientState.SKIPPED if remote else RecipientState.FAILED)
    assert (nodes[1].inbox / "a").read_bytes() == path.read_bytes()


def test_attributes_are_asked_for_once_more_where_they_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, asked = os.fsencode(tmp_path / "a"), []
    Path(os.fsdecode(path)).touch()
    monkeypatch.setattr(linux_calls, "refresh", asked.append)
    assert linux_calls.FileSystems().lstat(path) == os.lstat(path)
    assert asked == []
    monkeypatch.setattr(linux_calls, "LOCAL_FILE_SYSTEMS", frozenset())
    assert linux_calls.FileSystems().lstat(path) == os.lstat(path)
    assert asked == [path]


def test_asking_once_more_works_on_paths_and_open_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    linux_calls.refresh(os.fsencode(path))
    linux_calls.refresh(os.fsencode(tmp_path / "missing"))
    with path.open("rb") as file:
        linux_calls.refresh(file.fileno())
        assert linux_calls.fstat(file.fileno(), True) == path.stat()
        assert (
            linux_calls.file_system_type(file.fileno())
            == linux_calls.file_system_type(os.fsencode(path))
            != 0
        )
