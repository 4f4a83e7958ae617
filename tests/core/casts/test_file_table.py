"""The files of a cast as a table."""

from __future__ import annotations

from msgspec.structs import replace

from castray_desktop.core.casts.file_table import FileTable, ParcelFiles, fit_outcomes
from castray_desktop.core.content.file_outcomes import FileOutcome, FileOutcomes
from castray_desktop.core.content.manifest import EntryKind, FileResult, FileStatus, Manifest, ManifestEntry
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    DeliverySnapshot,
    DeliveryState,
    FileOrder,
    FileQuery,
    FileState,
)

HASH = bytes(range(32))
FILE, FOLDER = EntryKind.FILE, EntryKind.FOLDER
MANIFEST = Manifest(
    (
        ManifestEntry(FOLDER, b"top"),
        ManifestEntry(FILE, b"top/a.txt", size=30),
        ManifestEntry(FILE, b"top/B.txt", size=10),
        ManifestEntry(FILE, "top/权重.bin".encode(), size=20),
        ManifestEntry(EntryKind.SYMLINK, b"top/link", target=b"a.txt"),
        ManifestEntry(EntryKind.HARDLINK, b"top/second", target=b"top/B.txt"),
    )
)
RESULTS = (
    FileResult(FileStatus.OK, HASH),
    FileResult(FileStatus.OK, HASH[::-1]),
    FileResult(FileStatus.VANISHED, b""),
)
S, O = FileState, FileOutcome  # noqa: E741 - in short
DONE, FAILED = DeliveryState.COMPLETED, DeliveryState.FAILED
NO_ROOM = Failure(FailureKind.NO_ROOM, {"node": "c"})
DELIVERIES = (
    DeliverySnapshot("a", DeliveryState.FAILED, failure=Failure(FailureKind.FILES_FAILED, {})),
    DeliverySnapshot("b", DeliveryState.COMPLETED),
    DeliverySnapshot("c", DeliveryState.FAILED, failure=NO_ROOM),
    DeliverySnapshot("d", DeliveryState.SHARED, upstream="b"),
    DeliverySnapshot("e", DeliveryState.COMPLETED),
)
OUTCOMES = {
    "a": FileOutcomes(bytes((O.SENT, O.OVERWRITTEN, O.FAILED, O.SENT, O.OVERWRITTEN))),
    "b": FileOutcomes(
        bytes((O.RENAMED, O.IDENTICAL, O.FAILED, O.SENT, O.IDENTICAL)), {b"top/a.txt": b"top/a (2).txt"}
    ),
    "c": FileOutcomes(bytes((O.RECEIVED, O.PENDING, O.PENDING, O.PENDING, O.PENDING))),
}


def table(**deliveries: DeliveryState) -> FileTable:
    return FileTable(ParcelFiles(MANIFEST, RESULTS, "blake3"), DELIVERIES, OUTCOMES)


def paths(**query: object) -> list[str]:
    page = table().page("x", FileQuery(**query))  # type: ignore[arg-type]
    assert page.total == len(page.files) or "limit" in query
    return [file.path for file in page.files]


def test_a_row_says_what_became_of_a_file_at_each_recipient() -> None:
    page = table().page("x", FileQuery())
    assert (page.total, page.all, page.live) == (5, 5, False)
    first = page.files[0]
    assert (first.path, first.bytes, first.hash) == ("top/a.txt", 30, f"blake3:{HASH.hex()}")
    assert [(group.state, group.nodes, group.place) for group in first.recipients] == [
        (S.FAILED, ("c",), ""),
        (S.RENAMED, ("b", "d"), "top/a (2).txt"),
        (S.UNKNOWN, ("e",), ""),
        (S.SENT, ("a",), ""),
    ]
    assert first.recipients[0].failure == NO_ROOM


def test_a_file_that_the_source_could_not_send_has_its_own_reason() -> None:
    (file,) = table().page("x", FileQuery(text="权重")).files
    assert file.hash == ""
    reasons = {group.nodes: group.failure and group.failure.kind for group in file.recipients}
    assert reasons == {
        ("a", "b", "d"): FailureKind.VANISHED,
        ("c",): FailureKind.NO_ROOM,
        ("e",): None,
    }


def test_links_and_further_names_are_files_as_well() -> None:
    link, second = table().page("x", FileQuery(text="top/", limit=10)).files[2:4]
    assert (link.path, link.link, link.bytes, link.hash) == ("top/link", True, 0, "")
    assert (second.path, second.link, second.bytes) == ("top/second", False, 10)
    assert second.hash == f"blake3:{HASH[::-1].hex()}"


def test_files_are_found_by_name_new_name_and_hash() -> None:
    assert paths(text="b.TXT") == ["top/B.txt"]
    assert paths(text="(2)") == ["top/a.txt"]
    assert paths(text=HASH.hex()[:12]) == ["top/a.txt"]
    assert paths(text="top .txt") == ["top/a.txt", "top/B.txt"]
    assert paths(text="nothing") == []


def test_files_are_filtered_by_state_at_chosen_recipients() -> None:
    assert paths(states=(S.OVERWRITTEN,)) == ["top/B.txt", "top/second"]
    assert paths(states=(S.OVERWRITTEN,), nodes=("b",)) == []
    assert paths(states=(S.RENAMED, S.OVERWRITTEN)) == ["top/a.txt", "top/B.txt", "top/second"]
    page = table().page("x", FileQuery(nodes=("a",)))
    assert page.states == {S.SENT: 2, S.OVERWRITTEN: 2, S.FAILED: 1}
    assert {group.nodes for file in page.files for group in file.recipients} == {("a",)}


def test_files_are_sorted() -> None:
    assert paths() == ["top/a.txt", "top/B.txt", "top/link", "top/second", "top/权重.bin"]
    assert paths(order=FileOrder.SIZE, descending=True)[:2] == ["top/a.txt", "top/权重.bin"]
    assert paths(order=FileOrder.STATE, nodes=("b",))[:2] == ["top/权重.bin", "top/a.txt"]
    assert paths(offset=1, limit=2) == ["top/B.txt", "top/link"]
    assert paths(offset=99, limit=1) == []


def test_pages_of_several_queries_do_not_mix() -> None:
    one = table()
    by_size = FileQuery(order=FileOrder.SIZE, limit=2)
    pages = [
        one.page("x", query)
        for query in (by_size, replace(by_size, offset=2), FileQuery(limit=2), replace(by_size, offset=2))
    ]
    names = [[file.path for file in page.files] for page in pages]
    assert names == [
        ["top/link", "top/B.txt"],
        ["top/second", "top/权重.bin"],
        ["top/a.txt", "top/B.txt"],
        ["top/second", "top/权重.bin"],
    ]
    only = one.page("x", replace(by_size, nodes=("a",)))
    assert {group.nodes for file in only.files for group in file.recipients} == {("a",)}


def test_outcomes_that_do_not_fit_are_not_known() -> None:
    found = FileTable(
        ParcelFiles(MANIFEST, (), "sha256"), (DeliverySnapshot("a", DONE),), {"a": OUTCOMES["a"]}
    )
    assert found.page("x", FileQuery()).files[0].recipients[0].state is S.SENT
    short = {"a": FileOutcomes(b"\2")}
    found = FileTable(ParcelFiles(MANIFEST, (), "sha256"), (DeliverySnapshot("a", DONE),), short)
    assert found.page("x", FileQuery()).files[0].recipients[0].state is S.UNKNOWN


def test_outcomes_of_another_list_are_taken_over_by_path() -> None:
    outcomes = FileOutcomes(bytes((O.SENT, O.RENAMED)), {b"b": b"b (2)"})
    fitted = fit_outcomes(outcomes, [b"a", b"b"], [b"b", b"c", b"a"])
    assert fitted == FileOutcomes(bytes((O.RENAMED, O.PENDING, O.SENT)), {b"b": b"b (2)"})
