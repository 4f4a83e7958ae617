"""What has become of each file of a delivery: while bytes come, and after its commit."""

from __future__ import annotations

from collections.abc import Sequence

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.content.file_outcomes import FileOutcome, FileOutcomes
from castray_desktop.core.content.manifest import EntryKind, FileResult, FileStatus, Manifest, ManifestEntry
from castray_desktop.core.content.stream_layout import StreamLayout
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles


def delivery_outcomes(
    manifest: Manifest,
    parts: PartFiles,
    have: RangeSet,
    layout: StreamLayout,
    results: Sequence[FileResult] = (),
) -> FileOutcomes:
    """The outcome of each file. `have` is what is verified of the stream; `results` are those of the source,
    none before they are known.
    """
    received = _received_files(manifest, have, layout)
    codes = bytearray()
    places: dict[bytes, bytes] = {}
    folders: dict[bytes, bytes] = {}  # committed folders, and where they are
    by_path: dict[bytes, int] = {}  # files with several names
    shared = {entry.target for entry in manifest.entries if entry.kind is EntryKind.HARDLINK}
    number = -1
    for entry in manifest.entries:
        own = parts.committed.get(entry.path)
        if own is not None:
            place = parts.below_destination(own)
            if place != entry.path:
                places[entry.path] = place
        else:
            above, _, name = entry.path.rpartition(b"/")
            place = folders[above] + b"/" + name if above in folders else b""
        if entry.kind is EntryKind.FOLDER:
            if place:
                folders[entry.path] = place
            continue
        if entry.kind is EntryKind.FILE:
            number += 1
            if entry.path in shared:
                by_path[entry.path] = number
        file = by_path.get(entry.target, -1) if entry.kind is EntryKind.HARDLINK else number
        is_link = entry.kind is EntryKind.SYMLINK
        if results and not is_link and results[file].status is not FileStatus.OK:
            codes.append(FileOutcome.FAILED)
        elif place:
            codes.append(_committed(entry, place, parts))
        else:
            codes.append(FileOutcome.PENDING if is_link else received[file])
    return FileOutcomes(bytes(codes), places)


def _committed(entry: ManifestEntry, place: bytes, parts: PartFiles) -> FileOutcome:
    if entry.path in parts.kept:
        return FileOutcome.IDENTICAL
    if place != entry.path:
        return FileOutcome.RENAMED
    return FileOutcome.OVERWRITTEN if entry.path in parts.replaced else FileOutcome.SENT


def _received_files(manifest: Manifest, have: RangeSet, layout: StreamLayout) -> bytearray:
    """RECEIVED for each regular file whose bytes are there, else PENDING."""
    found = bytearray(len(manifest.files))
    for start, end in have:
        low, high = (at - layout.manifest_bytes for at in (start, end))
        first, last = manifest.files_within(low, high)
        if first < last:
            found[first:last] = bytes((FileOutcome.RECEIVED,)) * (last - first)
    return found
