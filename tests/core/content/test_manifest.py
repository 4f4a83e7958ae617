"""Manifests are encoded and decoded unchanged, hostile ones are refused, and spans tile the stream."""

from __future__ import annotations

import itertools
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.file_names import MAX_COMPONENT, MAX_PATH
from castray_desktop.core.content.manifest import (
    TRAILER_RECORD,
    EntryKind,
    FileResult,
    FileSpan,
    FileStatus,
    Manifest,
    ManifestEntry,
    decode_manifest,
    decode_trailer,
    encode_manifest,
    encode_trailer,
)

FOLDER, FILE, SYMLINK, HARDLINK = EntryKind

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
)


@st.composite
def ranges_in(draw: st.DrawFn, size: int) -> tuple[tuple[int, int], ...] | None:
    """The data ranges of a sparse file, None for a file without holes."""
    bounds = sorted(draw(st.sets(st.integers(0, size), max_size=8)))
    data = tuple(zip(bounds[::2], bounds[1::2], strict=False))
    return None if sum(end - start for start, end in data) == size else data


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    entries: list[ManifestEntry] = []
    folders = [b""]
    taken: set[bytes] = set()
    for name in draw(st.lists(names, max_size=12)):
        above = draw(st.sampled_from(folders))
        path = above + b"/" + name if above else name
        if path in taken:
            continue
        taken.add(path)
        files = [entry.path for entry in entries if entry.kind is FILE]
        kind = draw(st.sampled_from([kind for kind in EntryKind if files or kind is not HARDLINK]))
        if kind is HARDLINK:
            entries.append(ManifestEntry(kind, path, target=draw(st.sampled_from(files))))
            continue
        mode, mtime = draw(st.integers(0, 0o7777)), draw(st.integers(-(2**60), 2**60))
        size = draw(st.integers(0, 5000)) if kind is FILE else 0
        target = draw(names) if kind is SYMLINK else b""
        if kind is FOLDER:
            folders.append(path)
        data = draw(ranges_in(size)) if kind is FILE and draw(st.booleans()) else None
        entries.append(ManifestEntry(kind, path, mode, mtime, size, target, data))
    return Manifest(entries)


@given(manifests())
def test_a_manifest_is_unchanged_after_decoding(manifest: Manifest) -> None:
    raw = encode_manifest(manifest)
    again = decode_manifest(raw)
    assert again.entries == manifest.entries
    assert again.content_bytes == manifest.content_bytes
    assert encode_manifest(again) == raw


@given(manifests(), st.data())
def test_a_damaged_manifest_is_refused_or_stays_safe(manifest: Manifest, data: st.DataObject) -> None:
    raw = bytearray(encode_manifest(manifest))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    _assert_refused_or_safe(bytes(raw))
    _assert_refused_or_safe(bytes(raw[:at]))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_safe(raw: bytes) -> None:
    _assert_refused_or_safe(raw)
    _assert_refused_or_safe(b"CRPM\1\0\0\0" + raw)


def _assert_refused_or_safe(raw: bytes) -> None:
    try:
        manifest = decode_manifest(raw)
    except ValueError:
        return
    links = {entry.path for entry in manifest.entries if entry.kind is not FOLDER}
    paths = [entry.path for entry in manifest.entries]
    assert len(set(paths)) == len(paths)
    for path in paths:
        parts = path.split(b"/")
        assert os.path.normpath(b"/folder/" + path) == b"/folder/" + path
        assert b"\0" not in path
        assert len(path) <= MAX_PATH
        assert max(map(len, parts)) <= MAX_COMPONENT
        assert not any(b"/".join(parts[:count]) in links for count in range(1, len(parts)))
    for number, entry in enumerate(manifest.entries):
        if entry.kind is HARDLINK:
            assert entry.target in [other.path for other in manifest.entries[:number] if other.kind is FILE]


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"../x", b"a\0b", b"x" * 256])
def test_an_entry_with_an_unsafe_name_is_refused(name: bytes) -> None:
    placeholder = b"#" * len(name)
    folder, file = ManifestEntry(FOLDER, b"folder"), ManifestEntry(FILE, b"folder/" + placeholder)
    raw = encode_manifest(Manifest([folder, file]))
    with pytest.raises(ValueError, match="name"):
        decode_manifest(raw[: len(raw) - len(name)] + name)


def test_a_path_that_is_too_long_is_refused() -> None:
    paths = [b"/".join([b"x" * 200] * depth) for depth in range(1, 20)]
    with pytest.raises(ValueError, match="a path of"):
        decode_manifest(encode_manifest(Manifest([ManifestEntry(FOLDER, path) for path in paths])))


@pytest.mark.parametrize(
    "target", [b"", b"\0", b"\1\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\0\0", b"../../etc/passwd"]
)
def test_a_name_of_what_is_no_earlier_file_is_refused(target: bytes) -> None:
    first = ManifestEntry(FILE, b"a", size=1)
    with pytest.raises(ValueError, match="no earlier file"):
        encode_manifest(Manifest([ManifestEntry(HARDLINK, b"b", target=b"a"), first]))
    with pytest.raises(ValueError, match="no earlier file"):
        encode_manifest(
            Manifest([first, ManifestEntry(FOLDER, b"f"), ManifestEntry(HARDLINK, b"b", target=b"f")])
        )
    raw = bytearray(encode_manifest(Manifest([first, ManifestEntry(SYMLINK, b"b", target=target or b"x")])))
    at = raw.rindex(b"b" + (target or b"x"))
    raw[at - 28] = HARDLINK
    if not target:
        raw[at - 2 : at] = bytes(2)
        del raw[-1:]
    with pytest.raises(ValueError, match="a name of"):
        decode_manifest(bytes(raw))


def test_a_second_name_has_no_mode_size_or_time() -> None:
    for entry in (
        ManifestEntry(HARDLINK, b"b", 0o644, 0, 0, b"a"),
        ManifestEntry(HARDLINK, b"b", 0, 5, 0, b"a"),
        ManifestEntry(HARDLINK, b"b", 0, 0, 7, b"a"),
    ):
        with pytest.raises(ValueError, match=r"size|mode"):
            decode_manifest(encode_manifest(Manifest([ManifestEntry(FILE, b"a"), entry])))


def test_an_entry_below_a_link_cannot_be_written_down() -> None:
    with pytest.raises(ValueError, match="no folder"):
        encode_manifest(
            Manifest(
                [ManifestEntry(SYMLINK, b"out", target=b"/etc"), ManifestEntry(FILE, b"out/passwd", size=1)]
            )
        )


def test_the_same_path_twice_is_refused() -> None:
    raw = encode_manifest(Manifest([ManifestEntry(FILE, b"a"), ManifestEntry(SYMLINK, b"a", target=b"/etc")]))
    with pytest.raises(ValueError, match="twice"):
        decode_manifest(raw)


def test_a_claim_of_many_entries_costs_nothing() -> None:
    raw = bytearray(encode_manifest(Manifest([])))
    raw[8:12] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="more entries"):
        decode_manifest(bytes(raw))


def test_contents_of_big_parcels_start_on_a_page() -> None:
    assert len(encode_manifest(Manifest([ManifestEntry(FILE, b"big", size=1 << 20)]))) % 4096 == 0
    assert len(encode_manifest(Manifest([ManifestEntry(FILE, b"small", size=7)]))) < 100


@given(manifests(), st.data())
def test_spans_tile_the_contents(manifest: Manifest, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, manifest.content_bytes), max_size=6)))
    borders = [0, *cuts, manifest.content_bytes]
    covered = [0] * len(manifest.files)
    for start, end in itertools.pairwise(borders):
        spans = manifest.spans(start, end)
        assert manifest.span_within(start, end) == (spans[0] if len(spans) == 1 else None)
        assert sum(span.length for span in spans) == end - start
        for span in spans:
            assert span.length > 0
            entry = manifest.files[span.file]
            before = [(low, high) for low, high in entry.data or ((0, entry.size),) if low <= span.offset]
            assert span.offset + span.length <= before[-1][1]
            skipped = sum(high - low for low, high in before) - (before[-1][1] - span.offset)
            assert skipped == covered[span.file]
            assert manifest.is_first(span) == (skipped == 0)
            covered[span.file] += span.length
            assert manifest.is_last(span) == (covered[span.file] == entry.content_bytes)
    assert covered == [entry.content_bytes for entry in manifest.files]
    assert [manifest.has_bytes(file) for file in range(len(covered))] == [count > 0 for count in covered]


def test_where_a_file_lies() -> None:
    manifest = Manifest(
        [ManifestEntry(FILE, b"a", size=3), ManifestEntry(FILE, b"b"), ManifestEntry(FILE, b"c", size=4)]
    )
    assert manifest.file_range(2) == (3, 7)
    assert manifest.spans(2, 5) == [FileSpan(0, 2, 1), FileSpan(2, 0, 2)]
    assert [manifest.file_at(offset) for offset in (0, 2, 3, 6, 7)] == [0, 0, 2, 2, 3]


@pytest.mark.parametrize(
    "data",
    [
        ((0, 10),),  # no hole
        ((0, 5), (5, 8)),
        ((3, 3),),
        ((4, 8), (0, 2)),
        ((0, 11),),
        tuple((number * 2, number * 2 + 1) for number in range(5000)),
    ],
)
def test_holes_that_do_not_fit_are_refused(data: tuple[tuple[int, int], ...]) -> None:
    manifest = Manifest([ManifestEntry(FILE, b"a", size=10, data=data)])
    with pytest.raises(ValueError, match="hole"):
        encode_manifest(manifest)
    raw = bytearray(encode_manifest(Manifest([ManifestEntry(FILE, b"a", size=10, data=((0, 5),))])))
    raw[12:20] = struct.pack("<Q", manifest.content_bytes)
    raw[-20:] = struct.pack("<I", len(data)) + struct.pack(f"<{2 * len(data)}Q", *itertools.chain(*data))
    with pytest.raises(ValueError, match="hole"):
        decode_manifest(bytes(raw))


def test_only_files_have_holes() -> None:
    with pytest.raises(ValueError, match="holes"):
        encode_manifest(Manifest([ManifestEntry(FOLDER, b"a", data=())]))


def test_a_claim_of_many_holes_costs_nothing() -> None:
    raw = bytearray(encode_manifest(Manifest([ManifestEntry(FILE, b"a", size=10, data=())])))
    raw[-4:] = struct.pack("<I", 4096)
    with pytest.raises(ValueError, match="ends within"):
        decode_manifest(bytes(raw))


def test_a_trailer_is_unchanged_after_decoding() -> None:
    results = [FileResult(FileStatus.OK, b"\1" * 32), FileResult(FileStatus.VANISHED, bytes(32))]
    raw = encode_trailer(results)
    assert len(raw) == 2 * TRAILER_RECORD
    assert decode_trailer(raw, 2) == results
    with pytest.raises(ValueError):
        decode_trailer(raw, 3)
    with pytest.raises(ValueError):
        decode_trailer(b"\x63" + raw[1:], 2)
