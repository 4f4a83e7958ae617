"""The files of one cast and what became of them at each recipient: searched, filtered, sorted, in pages.

A table for 100,000 files has some columns of plain values; only the rows of a page become messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.file_outcomes import (
    FileOutcome,
    FileOutcomes,
    file_failure,
    listed,
    place_of,
)
from castray_desktop.core.content.manifest import EntryKind, FileResult, FileStatus, Manifest
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages import (
    CastFile,
    DeliverySnapshot,
    DeliveryState,
    FileAtRecipients,
    FileOrder,
    FileQuery,
    FilesPage,
    FileState,
)

MOST_ROWS = 1000
"""On one page."""

MOST_SORTED_BY_STATE = 64
"""Recipients with different outcomes that count when files are sorted by state."""

_S = FileState
_STATES = (
    *(_S.PENDING, _S.RECEIVED, _S.SENT, _S.IDENTICAL, _S.RENAMED, _S.OVERWRITTEN, _S.FAILED),
    _S.UNKNOWN,
)
"""By `FileOutcome`, and one more for what is not known."""

_UNKNOWN = len(_STATES) - 1
_ELSEWHERE = frozenset((FileOutcome.RENAMED, FileOutcome.IDENTICAL))
"""Outcomes with which a file may have another name than at the source."""

_NOT_DELIVERED = bytes.maketrans(
    bytes((FileOutcome.PENDING, FileOutcome.RECEIVED)), bytes((FileOutcome.FAILED, FileOutcome.FAILED))
)
_RANKS = {
    _S.FAILED: 0,
    _S.RENAMED: 1,
    _S.OVERWRITTEN: 2,
    _S.PENDING: 3,
    _S.RECEIVED: 4,
    _S.UNKNOWN: 5,
    _S.SENT: 6,
    _S.IDENTICAL: 7,
}
_RANK_OF_CODE = bytes(_RANKS[state] for state in _STATES).ljust(256, b"\0")


class ParcelFiles:
    """The files of a parcel, as its source listed and hashed them."""

    def __init__(self, manifest: Manifest, results: Sequence[FileResult], algorithm: str) -> None:
        """`results` are empty before every file was read."""
        numbers = {entry.path: number for number, entry in enumerate(manifest.files)}
        entries = listed(manifest.entries)
        self.algorithm = algorithm
        self.paths = [entry.path for entry in entries]
        self.names = [display_name(path) for path in self.paths]
        self.links = bytes(entry.kind is EntryKind.SYMLINK for entry in entries)
        self.results: list[FileResult | None] = []
        self.sizes: list[int] = []
        for entry in entries:
            number = -1
            if entry.kind is not EntryKind.SYMLINK:
                number = numbers[entry.target if entry.kind is EntryKind.HARDLINK else entry.path]
            self.sizes.append(manifest.files[number].size if number >= 0 else 0)
            self.results.append(results[number] if number >= 0 and results else None)
        self.folded = [name.casefold() for name in self.names]

    def __len__(self) -> int:
        return len(self.paths)

    def hash(self, row: int) -> str:
        """With its algorithm; empty if it is not known."""
        result = self.results[row]
        if result is None or result.status is not FileStatus.OK:
            return ""
        return f"{self.algorithm}:{result.hash.hex()}"

    def failure(self, row: int) -> Failure:
        """Why the source could not send it."""
        result = self.results[row]
        status = result.status if result is not None else FileStatus.OK
        # what the source has read and a recipient has received have different hashes
        return file_failure(status if status is not FileStatus.OK else FileStatus.CHANGED, self.paths[row])


@dataclass(frozen=True)
class _Column:
    """What became of each file at one recipient."""

    codes: bytes
    places: Mapping[bytes, bytes]
    failed: frozenset[int]  # rows that the source could not send
    failure: Failure | None  # of all others that have failed


@dataclass(frozen=True)
class _Found:
    """The answer to a query before it is cut into pages."""

    query: FileQuery
    columns: Mapping[str, _Column]
    rows: Sequence[int]
    states: dict[FileState, int]


class FileTable:
    """What became of the files of a cast. `live` says that some of it may change.

    The rows of the last query are kept: the pages of one query follow each other, and to sort 100,000 names
    takes a tenth of a second.
    """

    def __init__(
        self,
        parcel: ParcelFiles,
        deliveries: Iterable[DeliverySnapshot],
        outcomes: Mapping[str, FileOutcomes],
        live: bool = False,
    ) -> None:
        """`outcomes` are those that recipients have reported; others are ignored if they do not fit."""
        self.parcel = parcel
        self.live = live
        self._columns = {
            item.node: self._column(item, outcomes.get(_writer(item), outcomes.get(item.node)))
            for item in deliveries
        }
        self._found: _Found | None = None

    def _column(self, item: DeliverySnapshot, outcomes: FileOutcomes | None) -> _Column:
        count = len(self.parcel)
        if outcomes is not None and len(outcomes.codes) != count:
            outcomes = None
        ended_without = item.state in (DeliveryState.FAILED, DeliveryState.CANCELLED)
        if outcomes is None:
            code = _UNKNOWN if item.state.delivered else FileOutcome.PENDING
            outcomes = FileOutcomes(bytes((code,)) * count)
        codes, failed = outcomes.codes, frozenset[int]()
        if FileOutcome.FAILED in codes:
            failed = frozenset(row for row, code in enumerate(codes) if code == FileOutcome.FAILED)
        if ended_without:
            codes = codes.translate(_NOT_DELIVERED)
        return _Column(codes, outcomes.places, failed, item.failure)

    def page(self, cast: str, query: FileQuery) -> FilesPage:
        """The files that match."""
        whole = replace(query, offset=0, limit=0)
        found = self._found
        if found is None or found.query != whole:
            found = self._found = self._find(whole)
        start, limit = max(0, query.offset), max(0, min(query.limit, MOST_ROWS))
        return FilesPage(
            cast,
            tuple(self._row(row, found.columns) for row in found.rows[start : start + limit]),
            len(found.rows),
            len(self.parcel),
            found.states,
            self.live,
        )

    def _find(self, query: FileQuery) -> _Found:
        columns = {
            node: column for node, column in self._columns.items() if not query.nodes or node in query.nodes
        }
        rows = self._sorted(self._matching(query, columns), query, columns)
        if query.descending:
            rows = rows[::-1]
        return _Found(query, columns, rows, self._count_states(columns))

    def _matching(self, query: FileQuery, columns: Mapping[str, _Column]) -> Sequence[int]:
        rows: Sequence[int] = range(len(self.parcel))
        if query.states:
            codes = {_STATES.index(state) for state in query.states}
            found = _rows_with(codes, columns.values(), len(self.parcel))
            rows = [row for row in rows if found[row]]
        for word in query.text.casefold().split():
            places = self._rows_named(word, columns)
            folded, hashes = self.parcel.folded, _is_hash(word)
            rows = [
                row
                for row in rows
                if word in folded[row] or row in places or (hashes and word in self.parcel.hash(row))
            ]
        return rows

    def _rows_named(self, word: str, columns: Mapping[str, _Column]) -> frozenset[int]:
        """Rows whose name at a recipient has this word. Few files have other names than at the source."""
        found, paths = set(), self.parcel.paths
        for column in columns.values():
            places = column.places
            if any(word in display_name(place).casefold() for place in places.values()):
                found |= {
                    row
                    for row, code in enumerate(column.codes)
                    if code in _ELSEWHERE and word in display_name(place_of(paths[row], places)).casefold()
                }
        return frozenset(found)

    def _sorted(self, rows: Sequence[int], query: FileQuery, columns: Mapping[str, _Column]) -> Sequence[int]:
        folded, sizes = self.parcel.folded, self.parcel.sizes
        if query.order is FileOrder.SIZE:
            return sorted(rows, key=lambda row: (sizes[row], folded[row]))
        if query.order is FileOrder.STATE:
            different = {column.codes.translate(_RANK_OF_CODE) for column in columns.values()}
            ranks = list(different)[:MOST_SORTED_BY_STATE]
            worst = bytes(map(min, *ranks)) if len(ranks) > 1 else b"".join(ranks).ljust(len(folded), b"\0")
            return sorted(rows, key=lambda row: (worst[row], folded[row]))
        return sorted(rows, key=folded.__getitem__)

    def _count_states(self, columns: Mapping[str, _Column]) -> dict[FileState, int]:
        found = {}
        present = frozenset[int]().union(*(column.codes for column in columns.values()))
        for code in sorted(present):
            found[_STATES[code]] = _rows_with({code}, columns.values(), len(self.parcel)).count(1)
        return found

    def _row(self, row: int, columns: Mapping[str, _Column]) -> CastFile:
        parcel, groups = self.parcel, dict[tuple[FileState, str, int], list[str]]()
        failures: dict[int, Failure | None] = {}
        path = parcel.paths[row]
        for node, column in columns.items():
            state, place, reason = _STATES[column.codes[row]], "", 0
            if column.places and column.codes[row] in _ELSEWHERE:
                other = place_of(path, column.places)
                place = display_name(other) if other != path else ""
            if state is _S.FAILED:
                failure = parcel.failure(row) if row in column.failed else column.failure
                reason = next((key for key, known in failures.items() if known == failure), len(failures) + 1)
                failures[reason] = failure
            groups.setdefault((state, place, reason), []).append(node)
        ordered = sorted(groups.items(), key=lambda group: (_RANKS[group[0][0]], group[0][1:]))
        return CastFile(
            parcel.names[row],
            parcel.sizes[row],
            parcel.hash(row),
            bool(parcel.links[row]),
            tuple(
                FileAtRecipients(state, tuple(nodes), place, failures.get(reason))
                for (state, place, reason), nodes in ordered
            ),
        )


def fit_outcomes(outcomes: FileOutcomes, paths: Sequence[bytes], wanted: Sequence[bytes]) -> FileOutcomes:
    """Outcomes for the files of another list, by path: an earlier attempt may have sent other files."""
    if paths == wanted:
        return outcomes
    known = dict(zip(paths, outcomes.codes, strict=False))
    return FileOutcomes(bytes(known.get(path, FileOutcome.PENDING) for path in wanted), outcomes.places)


def _writer(item: DeliverySnapshot) -> str:
    """The recipient that has written the files of this one."""
    return item.upstream if item.state is DeliveryState.SHARED else item.node


def _rows_with(codes: set[int], columns: Iterable[_Column], count: int) -> bytes:
    """1 for each row that has one of these codes at a recipient, 0 for the others."""
    table = bytes(code in codes for code in range(256))
    found = 0
    for different in {column.codes for column in columns}:
        found |= int.from_bytes(different.translate(table), "big")
    return found.to_bytes(count, "big")


def _is_hash(word: str) -> bool:
    """Whether it may be a part of a hash rather than of a name."""
    digits = word.rpartition(":")[2]
    return len(digits) >= 6 and all(digit in "0123456789abcdef" for digit in digits)
