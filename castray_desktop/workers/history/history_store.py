"""Ended casts in a SQLite file. Every method blocks; `CastHistory` calls them on its own thread.

A text search looks anywhere in a name, source, destination or recipient, ignoring case. That is a scan of
short columns, which takes some milliseconds for 10,000 casts; a trigram index would miss the two-letter
words of Chinese names. Casts with the same recipients share a number, their crowd, so that the scan looks no
recipients up; only casts that have none yet cost a look-up each.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import re
import sqlite3
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from castray_desktop.core.casts.cast_statistics import CastTotals, NodeTotals
from castray_desktop.core.casts.transfer_options import nest_options
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import (
    CastCluster,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    HistoryPage,
    HistoryQuery,
    RateSample,
    SendRequest,
)
from castray_desktop.workers.base.state_files import DAMAGED, UNREADABLE, check_times

VERSION = 2
MAX_ROWS = 1000
"""On one page."""

MOST_REMEMBERED = 20
"""Queries whose matches are remembered, since the pages of one query follow each other."""

FEW_MATCHES = 5000
LONGEST_PATTERN = 10_000

CHECKED_BYTES = 64 * 1024 * 1024
"""A file up to this size is checked when it is opened, which takes a fraction of a second. Damage in a larger
one shows when it is read, and `begin_again` sets it aside then."""

RATE_SECONDS = 26 * 3600.0

MOST_MEMBERS = 200_000
"""Of all crowds: where recipients differ from cast to cast, the crowds would cost more than they save."""

CROWD_BATCH = 2000
"""Casts that get their crowd at a time, some hundredths of a second."""

_MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE casts(
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        ended REAL NOT NULL,
        state TEXT NOT NULL,
        source TEXT NOT NULL,
        text TEXT NOT NULL,
        seconds REAL NOT NULL,
        target TEXT NOT NULL
    );
    CREATE TABLE details(
        whose INTEGER PRIMARY KEY REFERENCES casts ON DELETE CASCADE,
        request BLOB NOT NULL,
        summary BLOB NOT NULL,
        deliveries BLOB NOT NULL
    );
    CREATE INDEX casts_by_end ON casts(ended);
    CREATE TABLE nodes(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, text TEXT NOT NULL);
    CREATE TABLE recipients(
        whose INTEGER NOT NULL REFERENCES casts ON DELETE CASCADE,
        node INTEGER NOT NULL REFERENCES nodes,
        PRIMARY KEY (whose, node)
    ) WITHOUT ROWID;
    CREATE TABLE tallies(node TEXT PRIMARY KEY, tally BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE rates(
        step REAL NOT NULL, at REAL NOT NULL, sample BLOB NOT NULL, PRIMARY KEY (step, at)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE casts ADD COLUMN crowd INTEGER;
    CREATE TABLE crowds(number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE);
    CREATE TABLE members(
        node INTEGER NOT NULL, crowd INTEGER NOT NULL REFERENCES crowds ON DELETE CASCADE,
        PRIMARY KEY (node, crowd)
    ) WITHOUT ROWID;
    CREATE INDEX members_by_crowd ON members(crowd);
    CREATE TABLE crowdless(after INTEGER NOT NULL, last INTEGER NOT NULL);
    INSERT INTO crowdless SELECT 0, coalesce(max(number), 0) FROM casts;
    """,
)
"""From each version to the next."""

_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_DAMAGE_AT_OPENING = _DAMAGE | {sqlite3.SQLITE_ERROR}  # a format or a table that is not ours

_DAMAGED_ROWS = """CREATE TABLE IF NOT EXISTS damaged(
    origin TEXT NOT NULL, name, content, reason TEXT NOT NULL, found REAL NOT NULL
)"""
"""Rows of `tallies` and `rates` that could not be decoded, as they were."""

_NONE: tuple[str, list[Any]] = ("false", [])  # a condition of SQL and its values
_NAMED = "id IN (SELECT value FROM json_each(?))"
_ALL = ""  # the row of `tallies` that counts casts; a node's name is never empty

log = logging.getLogger("castray.history")

Answer = TypeVar("Answer")


class PastCast(msgspec.Struct, frozen=True):
    """An ended cast and its request."""

    request: SendRequest
    target: str  # the cluster on which it ran
    result: CastResult


def is_damage(error: sqlite3.Error, codes: Container[int] = _DAMAGE) -> bool:
    """Whether the file itself is damaged, rather than full, locked or forbidden what it lies on."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


class HistoryStore:
    """One SQLite file, open until `close`. Read and write errors raise sqlite3.Error.

    Rows that can't be decoded harm no other rows. A cast's row stays where it is, so that another version can
    read it, and is left out of every page; a sum's or a rate's is moved to the table `damaged`.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the file, for this user only. A damaged file is set aside first.

        Raises sqlite3.Error or OSError, and CastRayError for a file of a later version.
        """
        self._path = path
        self._members: int | None = None  # of all crowds; None: not counted
        try:
            self._open()
        except sqlite3.Error as error:
            if not is_damage(error, _DAMAGE_AT_OPENING):
                raise
            self._set_aside(error)
            self._open()

    def begin_again(self, error: sqlite3.Error) -> None:
        """The file has turned out to be damaged: set it aside, and begin a new one.

        Raises like the constructor.
        """
        self._database.close()
        self._set_aside(error)
        self._open()

    def _open(self) -> None:
        self._hidden = _NONE
        self._all_hidden = False
        self._unreadable = 0
        self._forget_answers()
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._path.chmod(0o600)
        self._database = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        self._database.text_factory = _text
        try:
            self._run("PRAGMA journal_mode=WAL")
            self._run("PRAGMA synchronous=NORMAL")
            self._run("PRAGMA foreign_keys=ON")
            self._run("PRAGMA secure_delete=ON")  # deleted data is overwritten
            small = self._path.stat().st_size <= CHECKED_BYTES
            if small and self._run("PRAGMA quick_check").fetchone()[0] != "ok":
                raise _damage("the file is damaged")
            self._migrate()
            self._run("PRAGMA temp_store=MEMORY")
            self._run("CREATE TEMP TABLE unreadable(number INTEGER PRIMARY KEY)")
        except BaseException:
            self._database.close()
            raise

    def _migrate(self) -> None:
        version = self._run("PRAGMA user_version").fetchone()[0]
        if version < 0 or (version == 0 and self._run("SELECT 1 FROM sqlite_master").fetchone()):
            raise _damage("it has no version")
        if version > VERSION:
            raise CastRayError(
                FailureKind.HISTORY_UNAVAILABLE, reason="it was written by a newer version of CastRay"
            )
        for number in range(version, VERSION):
            self._database.executescript(
                f"BEGIN; {_MIGRATIONS[number]} PRAGMA user_version={number + 1}; COMMIT;"
            )
        for statement in _COLUMNS:  # an error here means that a table is not what it should be
            self._run(statement)

    def _set_aside(self, error: sqlite3.Error) -> None:
        """The damaged file is kept for inspection."""
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        aside = self._path.with_name(f"{DAMAGED}{stamp}-{self._path.name}")
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self._path}{end}").rename(f"{aside}{end}")
        log.warning(
            "The history can't be read (%s). It was set aside as %s, and a new one begins.", error, aside
        )

    def close(self) -> None:
        """Close the file; no queries afterwards."""
        self._database.close()

    # --- casts ----------------------------------------------------------------------------------

    def add_cast(self, past: PastCast, all_casts: CastTotals, nodes: Mapping[str, NodeTotals]) -> None:
        """Store an ended cast and the changed totals in one transaction."""
        summary, encode = past.result.summary, msgspec.msgpack.encode
        text = "\n".join(
            (summary.name, summary.source, summary.options.destination, *past.request.shown_paths)
        )
        with self._transaction():
            self._run("DELETE FROM casts WHERE id = ?", summary.cast)
            number = self._run(
                "INSERT INTO casts(id, ended, state, source, text, seconds, target) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                summary.cast,
                summary.finished,
                summary.state.value,
                summary.source,
                text.casefold(),
                past.result.seconds,
                past.target,
            ).lastrowid
            self._run(
                "INSERT INTO details(whose, request, summary, deliveries) VALUES (?, ?, ?, ?)",
                number,
                encode(past.request.redacted()),
                encode(summary),
                encode(past.result.deliveries),
            )
            for name in {item.node for item in past.result.deliveries}:
                self._run("INSERT OR IGNORE INTO nodes(name, text) VALUES (?, ?)", name, name.casefold())
                self._run("INSERT INTO recipients SELECT ?, number FROM nodes WHERE name = ?", number, name)
            own = self._run("SELECT node FROM recipients WHERE whose = ?", number).fetchall()
            crowd = self._crowd_of([node for (node,) in own])
            self._run("UPDATE casts SET crowd = ? WHERE number = ?", crowd, number)
            self._save_totals(all_casts, nodes)

    def assign_crowds(self) -> bool:
        """Give the next casts of an earlier version their crowd; returns whether there are more.

        It ends early where there are too many crowds: these casts cost a search a look-up each, as before.
        """
        found = self._run("SELECT after, last FROM crowdless").fetchone()
        if found is None:
            return False
        after, last = found[0], min(found[0] + CROWD_BATCH, found[1])
        recipients: dict[int, list[int]] = {}
        for number, node in self._run(
            "SELECT whose, node FROM recipients WHERE whose > ? AND whose <= ?", after, last
        ):
            recipients.setdefault(number, []).append(node)
        with self._transaction(forget=False):
            crowds = {number: self._crowd_of(nodes) for number, nodes in recipients.items()}
            for number, crowd in crowds.items():
                self._run("UPDATE casts SET crowd = ? WHERE number = ?", crowd, number)
            more = bool(last < found[1]) and None not in crowds.values()
            self._run("DELETE FROM crowdless")
            if more:
                self._run("INSERT INTO crowdless VALUES (?, ?)", last, found[1])
        return more

    def _crowd_of(self, nodes: list[int]) -> int | None:
        """The crowd of these recipients, made on the first call; None if there are too many."""
        text = ",".join(map(str, sorted(nodes)))
        digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
        found = self._run("SELECT number FROM crowds WHERE digest = ?", digest).fetchone()
        if found is not None:
            return int(found[0])
        if self._members is None:
            self._members = int(self._run("SELECT count(*) FROM members").fetchone()[0])
        if self._members + len(nodes) > MOST_MEMBERS:
            return None
        self._members += len(nodes)
        crowd = self._run("INSERT INTO crowds(digest) VALUES (?)", digest).lastrowid
        for node in nodes:
            self._run("INSERT INTO members VALUES (?, ?)", node, crowd)
        return crowd

    def page(self, query: HistoryQuery) -> HistoryPage:
        """Matching casts, the latest first."""
        while True:
            where, values = self._condition(query)
            limit, offset = max(0, min(query.limit, MAX_ROWS)), max(0, query.offset)
            matches = self._few_matches(where, values) if query.text or query.node else None
            if matches is not None:
                found, total = matches[offset : offset + limit], len(matches)
            else:
                page = self._run(f"{_PAGE.format(where)} LIMIT ? OFFSET ?", *values, limit, offset)
                found, total = [number for (number,) in page], self._count(where, values)
            rows = [self._run(_ROW, number).fetchone() for number in found]
            try:
                return HistoryPage(tuple(_summary(*row) for row in rows), total, self._unreadable)
            except UNREADABLE as error:
                if not self._exclude_damaged(error):
                    raise _damage("the same row reads differently each time") from error

    def _few_matches(self, where: str, values: list[Any]) -> list[int] | None:
        """The numbers of all matching casts, the latest first; None if there are many.

        Few matches are far apart in the order of `_PAGE`, which costs more for each row than a scan; many are
        close together there.
        """
        key = (where, *values)
        if key not in self._matches:
            limit = FEW_MATCHES + 1
            rows = self._run(
                f"SELECT ended, number FROM casts NOT INDEXED WHERE {where} LIMIT ?", *values, limit
            )
            few = sorted(rows.fetchall(), reverse=True)
            _remember(self._matches, key, [number for _, number in few] if len(few) < limit else None)
        return self._matches[key]

    def _count(self, where: str, values: list[Any]) -> int:
        """The number of matching casts."""
        key = (where, *values)
        if key not in self._counts:
            statement = f"SELECT count(*) FROM casts NOT INDEXED WHERE {where}"
            _remember(self._counts, key, self._run(statement, *values).fetchone()[0])
        return self._counts[key]

    def _forget_answers(self) -> None:
        """What `_few_matches` and `_count` remember holds until something is written."""
        self._matches: dict[tuple[Any, ...], list[int] | None] = {}
        self._counts: dict[tuple[Any, ...], int] = {}
        self._members = None

    def _exclude_damaged(self, why: Exception) -> int:
        """Exclude casts whose rows can't be decoded from every page; returns how many are new."""
        bad = []
        for number, *row in self._run(
            f"SELECT number, summary, request, target FROM {_JOINED} WHERE {_READABLE}"
        ):
            try:
                _summary(*row)
            except UNREADABLE:
                bad.append(number)
        for number in bad:
            self._run("INSERT INTO unreadable VALUES (?)", number)
        self._unreadable += len(bad)
        self._forget_answers()
        log.warning("casts left out of the history because they are unreadable: %d (%s)", len(bad), why)
        return len(bad)

    def _condition(self, query: HistoryQuery) -> tuple[str, list[Any]]:
        parts = [self._shown]
        parts += [_READABLE] if self._unreadable else []
        values = [*self._hidden[1]]
        if query.since > 0:
            parts.append("ended >= ?")
            values.append(query.since)
        if query.until:
            parts.append("ended <= ?")
            values.append(query.until)
        if query.states:
            parts.append(f"state IN ({', '.join('?' * len(query.states))})")
            values += [state.value for state in query.states]
        if query.node:
            parts.append(f"(source = ? OR {self._has_recipient('name = ?', query.node)})")
            values.append(query.node)
        for word in query.text.casefold().split():
            condition, value = _contains(word)
            parts.append(f"({self._has_recipient('instr(text, ?)', word)} OR {condition})")
            values.append(value)
        return " AND ".join(parts), values

    def _has_recipient(self, which: str, value: str) -> str:
        """A condition for casts that one of these nodes has received; their numbers are looked up before."""
        nodes = self._run(f"SELECT number FROM nodes WHERE {which}", value).fetchall()
        numbers = ", ".join(str(number) for (number,) in nodes)
        return _HAS_RECIPIENT.format(numbers) if numbers else "false"

    def find_cast(self, cast: str) -> PastCast:
        """Find a cast by its id or a unique prefix of it. Raises CastRayError(CAST_UNKNOWN)."""
        rows = self._run(
            "SELECT seconds, target, request, summary, deliveries FROM casts JOIN details ON whose = number "
            f"WHERE id >= ? AND id < ? AND {self._shown} "
            "LIMIT 2",
            cast,
            cast + "\U0010ffff",
            *self._hidden[1],
        ).fetchall()
        if not cast or len(rows) != 1:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        seconds, target, request, summary, deliveries = rows[0]
        try:
            result = CastResult(
                _summary(summary, request, target),
                msgspec.msgpack.decode(deliveries, type=tuple[DeliverySnapshot, ...]),
                msgspec.convert(seconds, float),
            )
            decoded = msgspec.convert(nest_options(msgspec.msgpack.decode(request)), SendRequest)
            return PastCast(decoded, msgspec.convert(target, str), result)
        except UNREADABLE as error:
            reason = f"the row of cast {cast} is damaged: {error}"
            raise CastRayError(FailureKind.HISTORY_UNAVAILABLE, reason=reason) from error

    def known(self, casts: Iterable[str]) -> set[str]:
        """Those of these casts that are in the history, also the hidden ones."""
        return {cast for (cast,) in self._run(f"SELECT id FROM casts WHERE {_NAMED}", _json(casts))}

    def hide(self, casts: Iterable[str] = ()) -> None:
        """Hide these casts, or all, until `forget_hidden` or `show_hidden`."""
        named = tuple(casts)
        self._all_hidden = not named
        if named:
            self._hidden = _NAMED, [_json(named)]
        else:
            self._hidden = "number <= ?", [self._run("SELECT max(number) FROM casts").fetchone()[0] or 0]

    @property
    def _shown(self) -> str:
        """The condition for casts that are not hidden."""
        return "true" if self._hidden is _NONE else f"NOT ({self._hidden[0]})"  # the second takes longer

    def show_hidden(self) -> None:
        """Show hidden casts again."""
        self._hidden = _NONE

    def forget_hidden(self, since: float = math.inf) -> tuple[str, ...]:
        """Delete hidden casts; totals are kept. Returns those that have failed since then."""
        hidden, values = self._hidden
        self._hidden = _NONE
        with self._transaction():
            failed = self._run(
                f"SELECT id FROM casts WHERE ended >= ? AND state <> ? AND {hidden}",
                since,
                CastState.COMPLETED.value,
                *values,
            ).fetchall()
            self._run(f"DELETE FROM casts WHERE {hidden}", *values)
            self._forget_nodes()
        if self._all_hidden:
            self._run("VACUUM")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)")  # the write-ahead log has copies of deleted rows
        return tuple(cast for (cast,) in failed)

    def clear_before(self, ended: float) -> int:
        """Delete casts that ended before; returns how many."""
        with self._transaction():
            gone = self._run("DELETE FROM casts WHERE ended < ?", ended).rowcount
            if gone:
                self._forget_nodes()
            return gone

    def _forget_nodes(self) -> None:
        """Delete nodes of which no cast is left, and crowds with them: another node may get the number."""
        for (gone,) in self._run(
            "SELECT number FROM nodes WHERE NOT EXISTS (SELECT 1 FROM recipients WHERE node = number)"
        ).fetchall():
            self._run("DELETE FROM crowds WHERE number IN (SELECT crowd FROM members WHERE node = ?)", gone)
            self._run("DELETE FROM nodes WHERE number = ?", gone)

    # --- sums and rates -------------------------------------------------------------------------

    def totals(self) -> tuple[CastTotals, dict[str, NodeTotals]]:
        """Totals of all casts, and those of each recipient."""
        all_casts, nodes = CastTotals(), {}
        for node, content in self._run("SELECT node, tally FROM tallies").fetchall():
            try:
                if node == _ALL:
                    all_casts = msgspec.msgpack.decode(content, type=CastTotals)
                else:
                    nodes[msgspec.convert(node, str)] = msgspec.msgpack.decode(content, type=NodeTotals)
            except UNREADABLE as error:
                self._move_aside("tallies", node, content, error)
                self._run("DELETE FROM tallies WHERE node = ?", node)
                if node == _ALL:
                    all_casts = _what_is_known(content)
        return all_casts, nodes

    def save_totals(
        self,
        all_casts: CastTotals,
        nodes: Mapping[str, NodeTotals],
        rates: Iterable[tuple[float, RateSample]],
        now: float,
    ) -> None:
        """Store changed totals and traffic samples; delete samples older than a day."""
        with self._transaction():
            self._save_totals(all_casts, nodes)
            for step, sample in rates:
                self._run(
                    "INSERT OR REPLACE INTO rates VALUES (?, ?, ?)",
                    step,
                    sample.at,
                    msgspec.msgpack.encode(sample),
                )
            self._run("DELETE FROM rates WHERE at < ?", now - RATE_SECONDS)

    def rates(self, step: float) -> list[RateSample]:
        """Mean traffic in steps of this length, oldest first."""
        found = []
        for at, content in self._run(
            "SELECT at, sample FROM rates WHERE step = ? ORDER BY at", step
        ).fetchall():
            try:
                sample = msgspec.msgpack.decode(content, type=RateSample)
                check_times((sample.at,))
                found.append(sample)
            except UNREADABLE as error:
                self._move_aside("rates", at, content, error)
                self._run("DELETE FROM rates WHERE step = ? AND at = ?", step, at)
        return found

    def _move_aside(self, origin: str, name: Any, content: Any, error: Exception) -> None:
        """Keep a row as it is in the table `damaged`."""
        self._run(_DAMAGED_ROWS)
        self._run(
            "INSERT INTO damaged VALUES (?, ?, ?, ?, ?)", origin, name, content, str(error), time.time()
        )
        log.warning("a row of %s can't be read and was set aside (%r): %s", origin, name, error)

    def _save_totals(self, all_casts: CastTotals, nodes: Mapping[str, NodeTotals]) -> None:
        for node, totals in ((_ALL, all_casts), *nodes.items()):
            self._run("INSERT OR REPLACE INTO tallies VALUES (?, ?)", node, msgspec.msgpack.encode(totals))

    # --- the file -------------------------------------------------------------------------------

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self._database.execute(statement, values)

    @contextlib.contextmanager
    def _transaction(self, *, forget: bool = True) -> Iterator[None]:
        """`forget`: what is written may change answers."""
        if forget:
            self._forget_answers()
        self._run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._database.in_transaction:  # a damaged file may have ended it
                self._run("ROLLBACK")
            raise
        self._run("COMMIT")


def _json(casts: Iterable[str]) -> str:
    """The value of `_NAMED`."""
    return msgspec.json.encode(tuple(casts)).decode()


def _text(content: bytes) -> Any:
    """A column's text; bytes that are none stay bytes, and fail their own row alone."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content


def _damage(reason: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(reason)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _summary(content: Any, request: Any, target: Any) -> CastSummary:
    """A cast's row. Raises what is in `UNREADABLE`.

    Summaries of earlier versions have no cluster and not all options; `target` and `request` have them.
    """
    fields = msgspec.msgpack.decode(content)
    if "options" not in fields:
        fields = nest_options(fields) | {"options": nest_options(msgspec.msgpack.decode(request))["options"]}
    summary = msgspec.convert(fields, CastSummary)
    check_times((summary.started, summary.finished))
    if summary.cluster.target:
        return summary
    return msgspec.structs.replace(summary, cluster=CastCluster.of(msgspec.convert(target, str)))


def _what_is_known(content: Any) -> CastTotals:
    """The numbers of a damaged sum that can be read, those of a later version's states left out."""
    totals = CastTotals()
    with contextlib.suppress(*UNREADABLE):
        given = msgspec.msgpack.decode(content, type=dict[str, Any])
        casts = given.pop("casts", {})
        for field in msgspec.structs.fields(CastTotals):
            with contextlib.suppress(*UNREADABLE):
                setattr(totals, field.name, msgspec.convert(given[field.name], field.type))
        for state, number in casts.items():
            with contextlib.suppress(*UNREADABLE):
                totals.casts[CastState(state)] = msgspec.convert(number, int)
    return totals


_COLUMNS = (
    "SELECT number, id, ended, state, source, text, seconds, target, crowd FROM casts LIMIT 0",
    "SELECT whose, request, summary, deliveries FROM details LIMIT 0",
    "SELECT number, name, text FROM nodes LIMIT 0",
    "SELECT whose, node FROM recipients LIMIT 0",
    "SELECT number, digest FROM crowds LIMIT 0",
    "SELECT node, crowd FROM members LIMIT 0",
    "SELECT after, last FROM crowdless LIMIT 0",
    "SELECT node, tally FROM tallies LIMIT 0",
    "SELECT step, at, sample FROM rates LIMIT 0",
)
_JOINED = "casts LEFT JOIN details ON whose = number"
_READABLE = "casts.number NOT IN (SELECT number FROM unreadable)"
_PAGE = "SELECT casts.number FROM casts WHERE {} ORDER BY ended DESC, casts.number DESC"
_ROW = f"SELECT summary, request, target FROM {_JOINED} WHERE casts.number = ?"
_HAS_RECIPIENT = (
    "(crowd IN (SELECT crowd FROM members WHERE node IN ({0})) OR crowd IS NULL AND "
    "EXISTS (SELECT 1 FROM recipients WHERE recipients.whose = casts.number AND node IN ({0})))"
)
_SPECIAL = re.compile(r"[*?[]")


def _contains(word: str) -> tuple[str, str]:
    """A condition for texts that contain a word, and its value.

    GLOB takes half the time of instr, but SQLite limits its patterns to 50,000 bytes, up to a NUL.
    """
    if len(word) > LONGEST_PATTERN or "\0" in word:
        return "instr(text, ?)", word
    escaped = _SPECIAL.sub(r"[\g<0>]", word)
    return "text GLOB ?", f"*{escaped}*"


def _remember(answers: dict[tuple[Any, ...], Answer], key: tuple[Any, ...], answer: Answer) -> None:
    """Remember an answer, and forget the oldest if there are many."""
    answers[key] = answer
    while len(answers) > MOST_REMEMBERED:
        del answers[next(iter(answers))]
