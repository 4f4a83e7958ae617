"""A dropped folder is scanned once, and sent as it is when it is sent."""

from __future__ import annotations

import mmap
import os
import shutil
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_orders import ForgetCast
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent import node_inspection
from castray_desktop.workers.agent.transfer.source import scan_cache
from castray_desktop.workers.agent.transfer.source.scan_cache import ScanCache, ScanPaths
from castray_desktop.workers.agent.transfer.source.scanner import OnProgress, ScanResult, scan_paths
from castray_desktop.workers.agent.transfer.store.hash_cache import SETTLED_NS
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Lab, Node, await_true, tree

pytestmark = pytest.mark.timeout(60)
SHORT_NS = 50_000_000  # the file systems of a test's machine have time stamps of 4 ms or less


class CountedScans:
    """Real scans, counted. `change` alters each result."""

    def __init__(self, change: Callable[[ScanResult], None] = lambda _: None) -> None:
        self.count = 0
        self._change = change

    def scan(
        self, paths: Sequence[str], links: str, patterns: NamePatterns, on_progress: OnProgress
    ) -> ScanResult:
        self.count += 1
        found = scan_paths(paths, links, patterns, on_progress)
        self._change(found)
        return found


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def no_progress() -> None:
    pass


def wait_until_settled(folder: Path, settled_ns: int = SHORT_NS) -> None:
    """A change right after another one might get the same time stamp."""
    newest = max(path.lstat().st_ctime_ns for path in (folder, *folder.rglob("*")))
    await_true(lambda: time.time_ns() > newest + settled_ns)


def new_cache(scan: ScanPaths = scan_paths, max_entries: int = scan_cache.MAX_ENTRIES) -> ScanCache:
    return ScanCache(scan, max_entries=max_entries, settled_ns=SHORT_NS)


@pytest.fixture
def folder(lab: Lab) -> Path:
    """A folder with two files, a folder and a link in it."""
    folder = lab.files / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "one").write_bytes(b"1" * 1000)
    (folder / "deep" / "two").write_bytes(b"2" * 2000)
    (folder / "link").symlink_to("deep/two")
    return folder


def fresh(folder: Path, exclude: tuple[str, ...] = (), links: str = "auto") -> bytes:
    return scan_paths([str(folder)], links, NamePatterns(exclude), no_progress).raw_manifest


def survey(lab: Lab, node: Node, folder: Path, exclude: tuple[str, ...] = (), links: str = "auto") -> str:
    """As a dry run: the source scans, and forgets the cast. The manifest's digest."""
    cast, report = lab.prepare(node, [folder], exclude, links)
    node.plane.carry_out(ForgetCast(cast))
    assert report.totals is not None, report
    return report.totals.manifest_digest


def test_measured_surveyed_and_sent_with_one_scan(lab: Lab, folder: Path) -> None:
    wait_until_settled(folder, SETTLED_NS)
    counted = CountedScans()
    source, recipient = lab.node("source", scans=ScanCache(counted.scan)), lab.node("recipient")
    order = agent_orders.MeasureSizes((str(folder),))
    (size,) = node_inspection.measure_sizes(order, source.plane.scans.scan).entries
    assert (size.files, size.bytes) == (2, 3000)
    survey(lab, source, folder)
    (result,) = lab.send([source, recipient], [folder], links="auto")
    assert result.state is RecipientState.COMPLETED
    assert tree(recipient.inbox / "data") == tree(folder)
    assert counted.count == 1


def add(folder: Path) -> None:
    (folder / "deep" / "three").write_bytes(b"3")


def add_folder(folder: Path) -> None:
    (folder / "deep" / "empty").mkdir()


def remove(folder: Path) -> None:
    (folder / "deep" / "two").unlink()


def grow(folder: Path) -> None:
    with (folder / "deep" / "two").open("ab") as file:
        file.write(b"more")


def rewrite(folder: Path) -> None:
    (folder / "deep" / "two").write_bytes(b"x" * 2000)


def rewrite_and_restore_time(folder: Path) -> None:
    found = (folder / "deep" / "two").stat()
    rewrite(folder)
    os.utime(folder / "deep" / "two", ns=(found.st_atime_ns, found.st_mtime_ns))


def touch(folder: Path) -> None:
    os.utime(folder / "one")


def replace_by_link(folder: Path) -> None:
    (folder / "one").unlink()
    (folder / "one").symlink_to("deep/two")


def replace_by_folder(folder: Path) -> None:
    (folder / "one").unlink()
    (folder / "one").mkdir()


def replace_by_same_size_and_time(folder: Path) -> None:
    """Another file with the same size and time."""
    found = (folder / "one").stat()
    (folder / "new").write_bytes(b"y" * 1000)
    os.utime(folder / "new", ns=(found.st_atime_ns, found.st_mtime_ns))
    (folder / "new").replace(folder / "one")


def rename_inside(folder: Path) -> None:
    (folder / "deep").rename(folder / "deeper")


def exchange(folder: Path) -> None:
    """Another folder of the same name, with everything in it but one file, and all of its times."""
    folder.rename(folder.with_name("before"))
    shutil.copytree(folder.with_name("before"), folder, symlinks=True)
    (folder / "one").unlink()
    shutil.copystat(folder.with_name("before"), folder)


def retarget(folder: Path) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("one")


def add_name(folder: Path) -> None:
    (folder / "deep" / "again").hardlink_to(folder / "one")


def change_mode(folder: Path) -> None:
    (folder / "one").chmod(0o640)


def change_mode_of_folder(folder: Path) -> None:
    (folder / "deep").chmod(0o750)


@pytest.mark.parametrize(
    "change",
    [
        add,
        add_folder,
        remove,
        grow,
        rewrite,
        rewrite_and_restore_time,
        touch,
        replace_by_link,
        replace_by_folder,
        replace_by_same_size_and_time,
        rename_inside,
        exchange,
        retarget,
        add_name,
        change_mode,
        change_mode_of_folder,
    ],
)
def test_changes_since_the_survey_are_sent(lab: Lab, folder: Path, change: Callable[[Path], None]) -> None:
    wait_until_settled(folder)
    counted = CountedScans()
    source, recipient = lab.node("source", scans=new_cache(counted.scan)), lab.node("recipient")
    survey(lab, source, folder)
    change(folder)
    (result,) = lab.send([source, recipient], [folder], links="auto")
    assert result.state is RecipientState.COMPLETED, result
    assert tree(recipient.inbox / "data") == tree(folder)
    assert counted.count == 2


def test_a_removed_folder_is_reported(lab: Lab, folder: Path) -> None:
    wait_until_settled(folder)
    source = lab.node("source", scans=new_cache())
    survey(lab, source, folder)
    folder.rename(folder.with_name("elsewhere"))
    _, report = lab.prepare(source, [folder], links="auto")
    assert report.failure is not None
    assert report.failure.kind is FailureKind.NO_SUCH_FILE


def test_other_patterns_links_or_paths_are_other_scans(lab: Lab, folder: Path) -> None:
    wait_until_settled(folder)
    counted = CountedScans()
    cache = new_cache(counted.scan)
    one, both = [str(folder)], [str(folder), str(folder / "one")]
    for paths, links, exclude in (
        (one, "auto", ()),
        (one, "auto", ("two",)),
        (one, "keep", ()),
        (one, "follow", ()),
        (both, "auto", ()),
    ):
        before = counted.count
        found = cache.scan(paths, links, NamePatterns(exclude), no_progress)
        assert counted.count == before + 1
        assert found.raw_manifest == scan_paths(paths, links, NamePatterns(exclude), no_progress).raw_manifest


def count_two(folder: Path, *, links: str = "auto", exclude: tuple[str, ...] = ()) -> int:
    """The scans that two casts of the folder cost."""
    wait_until_settled(folder)
    counted = CountedScans()
    cache = new_cache(counted.scan)
    for _ in range(2):
        cache.scan([str(folder)], links, NamePatterns(exclude), no_progress)
    return counted.count


def test_patterns_do_not_prevent_reuse(folder: Path) -> None:
    (folder / "link").unlink()
    assert count_two(folder, exclude=("*.tmp",)) == 1


def test_links_out_of_the_parcel_prevent_reuse(folder: Path) -> None:
    assert count_two(folder) == 1  # its link stays in it
    assert count_two(folder, links="keep") == 1
    assert count_two(folder, links="follow") == 2
    assert count_two(folder, exclude=("deep/",)) == 2  # the link leads to what is excluded
    (folder / "broken").symlink_to("nowhere")
    assert count_two(folder) == 1
    (folder / "broken").unlink()
    (folder / "outside").symlink_to("../outside")  # leads nowhere now
    assert count_two(folder) == 2
    (folder.parent / "outside").write_bytes(b"here")
    assert count_two(folder) == 2
    assert count_two(folder, links="keep") == 1


def test_an_unsendable_entry_prevents_reuse(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    assert count_two(folder) == 2


def test_an_excluded_path_may_become_another_type(tmp_path: Path) -> None:
    chosen = [str(tmp_path / "a"), str(tmp_path / "b")]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_bytes(b"b")
    wait_until_settled(tmp_path)
    cache = new_cache()
    assert len(cache.scan(chosen, "auto", NamePatterns(("a/",)), no_progress).entries) == 1
    (tmp_path / "a").rmdir()
    (tmp_path / "a").write_bytes(b"a")
    assert len(cache.scan(chosen, "auto", NamePatterns(("a/",)), no_progress).entries) == 2


def test_a_filled_hole_is_sent(folder: Path) -> None:
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        os.pwrite(file.fileno(), b"begin", 0)
    wait_until_settled(folder)
    cache = new_cache()
    before = cache.scan([str(folder)], "auto", NamePatterns(), no_progress).raw_manifest
    with (folder / "sparse").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[500_000:500_004] = b"data"
        mapped.flush()
    after = cache.scan([str(folder)], "auto", NamePatterns(), no_progress).raw_manifest
    assert after == fresh(folder)
    assert after != before


def test_a_network_file_system_prevents_reuse(folder: Path) -> None:
    class Nfs(type(ScanResult().systems)):  # type: ignore[misc]
        def is_remote(self, device: int, path: bytes) -> bool:
            return True

    def mount(found: ScanResult) -> None:
        found.systems = Nfs()

    wait_until_settled(folder)
    counted = CountedScans(mount)
    cache = new_cache(counted.scan)
    for _ in range(2):
        cache.scan([str(folder)], "auto", NamePatterns(), no_progress)
    assert counted.count == 2


def test_a_recent_write_prevents_reuse(folder: Path) -> None:
    """Another write might get the same time stamp."""

    def write(found: ScanResult) -> None:
        found.ctimes = array("q", (time.time_ns() for _ in found.ctimes))

    wait_until_settled(folder)
    counted = CountedScans(write)
    cache = new_cache(counted.scan)
    for _ in range(2):
        cache.scan([str(folder)], "auto", NamePatterns(), no_progress)
    assert counted.count == 2


def test_scans_are_dropped_after_a_while(folder: Path) -> None:
    wait_until_settled(folder)
    counted, clock = CountedScans(), Clock()
    cache = ScanCache(counted.scan, clock, settled_ns=SHORT_NS)
    for _ in range(3):  # each use keeps it
        cache.scan([str(folder)], "auto", NamePatterns(), no_progress)
        clock.now += scan_cache.KEEP_SECONDS - 1
    assert counted.count == 1
    clock.now += 1
    cache.drop_expired()
    assert cache.kept_entries == 0
    cache.scan([str(folder)], "auto", NamePatterns(), no_progress)
    assert counted.count == 2


def test_the_number_of_scans_is_bounded(folder: Path) -> None:
    wait_until_settled(folder)
    cache = new_cache()
    sizes = [
        len(cache.scan([str(folder)], "auto", NamePatterns((f"*.{number}",)), no_progress).entries)
        for number in range(scan_cache.MAX_SCANS + 3)
    ]
    (folder / "link").unlink()
    assert len(set(sizes)) == 1
    assert cache.kept_entries == 0  # with patterns, its link prevents reuse
    wait_until_settled(folder)
    for number in range(scan_cache.MAX_SCANS + 3):
        found = cache.scan([str(folder)], "auto", NamePatterns((f"*.{number}",)), no_progress)
    assert cache.kept_entries == len(found.entries) * scan_cache.MAX_SCANS


def test_so_is_the_number_of_entries(folder: Path) -> None:
    wait_until_settled(folder)
    size = len(scan_paths([str(folder)], "auto", NamePatterns(), no_progress).entries)
    cache = new_cache(max_entries=2 * size)
    for path in (folder, folder / "one", folder / "deep" / "two"):
        cache.scan([str(path)], "keep", NamePatterns(), no_progress)
    assert cache.kept_entries == size + 2
    cache.scan([str(folder)], "auto", NamePatterns(), no_progress)
    assert cache.kept_entries <= 2 * size
    assert new_cache(max_entries=size - 1).scan([str(folder)], "auto", NamePatterns(), no_progress).files == 2


def test_a_second_scan_of_the_same_paths_waits_for_the_first(folder: Path) -> None:
    wait_until_settled(folder)
    begun, may_end, waits = threading.Event(), threading.Event(), threading.Event()

    def hold(_: ScanResult) -> None:
        begun.set()
        assert may_end.wait(PATIENCE)

    counted, found = CountedScans(hold), []
    cache = new_cache(counted.scan)

    def scan(on_progress: OnProgress) -> None:
        found.append(cache.scan([str(folder)], "auto", NamePatterns(), on_progress))

    first = threading.Thread(target=scan, args=(no_progress,))
    second = threading.Thread(target=scan, args=(waits.set,))
    first.start()
    assert begun.wait(PATIENCE)
    second.start()
    assert waits.wait(PATIENCE)
    may_end.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert counted.count == 1
    assert found[0] is found[1]


def test_a_waiting_scan_may_be_cancelled_and_a_running_one_may_fail(folder: Path) -> None:
    wait_until_settled(folder)
    begun, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert may_end.wait(PATIENCE)
        raise CastRayError(FailureKind.CANCELLED)

    def give_up() -> None:
        raise CastRayError(FailureKind.CANCELLED)

    cache = new_cache()

    def scan() -> None:
        with pytest.raises(CastRayError):
            cache.scan([str(folder)], "auto", NamePatterns(), hold)

    first = threading.Thread(target=scan)
    first.start()
    assert begun.wait(PATIENCE)
    with pytest.raises(CastRayError):
        cache.scan([str(folder)], "auto", NamePatterns(), give_up)
    may_end.set()
    first.join(PATIENCE)
    assert cache.scan([str(folder)], "auto", NamePatterns(), no_progress).files == 2
