"""Small state files: readable by this user only, replaced atomically, quarantined when damaged; recipient
groups.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import logging
import logging.handlers
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import msgspec

from castray_desktop.core.casts.node_selector import Groups
from castray_desktop.core.failures.kinds import CastRayError, FailureKind

DAMAGED = "damaged-"
"""What the names of files begin with that were set aside."""

UNREADABLE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    CastRayError,
)
"""What decoding and checking damaged content raises."""

PASSING = frozenset(
    (
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EINTR,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EIO,
        errno.ESTALE,
    )
)
"""Errors that say nothing about the file: the same file may be read a moment later."""

PAUSES = (0.02, 0.05, 0.1, 0.2)
"""Seconds before each further attempt."""

LATEST = 1e11
"""POSIX seconds, and lengths of time in seconds, beyond which a number is no time: a clock can't show it."""

Kept = TypeVar("Kept")
Key = TypeVar("Key")

log = logging.getLogger("castray.home")


def replace_file(path: Path, content: bytes, *, synced: bool = False) -> None:
    """Replace the content of `path` atomically with respect to a crash of this process.

    With `synced`, also with respect to a crash of the machine, which takes time. Raises OSError.
    """
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            if synced:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def open_private(path: Path, mode: str) -> BinaryIO:
    """Open a file of ours with "wb" or "ab", for this user alone whatever the umask is. Raises OSError."""

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags, 0o600)
        with contextlib.suppress(OSError):  # not every file system has modes
            os.fchmod(descriptor, 0o600)  # an earlier version has made it with the umask
        return descriptor

    return cast(BinaryIO, open(path, mode, opener=opener))


def open_socket(path: Path) -> socket.socket:
    """Listen on a Unix socket, for this user alone. Replaces that of an ended process. Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(64)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


class PrivateLogFile(logging.handlers.RotatingFileHandler):
    """A log file for this user alone."""

    def _open(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(open_private(Path(self.baseFilename), "ab"), "utf-8", "backslashreplace")


def read_file(path: Path) -> bytes:
    """What the file holds; read again after a passing error. Raises OSError."""
    for pause in PAUSES:
        try:
            return path.read_bytes()
        except OSError as error:
            if error.errno not in PASSING:
                raise
        time.sleep(pause)
    return path.read_bytes()


def load(path: Path, what: str, decode: Callable[[bytes], Kept], nothing: Kept) -> Kept:
    """The decoded content of a file, or `nothing` if there is none. A damaged file is set aside.

    `what` names the content in the log ("the schedules"). `decode` may raise what is in `UNREADABLE`.
    """
    try:
        return decode(read_file(path))
    except FileNotFoundError:
        return nothing
    except (OSError, *UNREADABLE) as error:
        quarantine_file(path, what, error)
        return nothing


def load_list(
    path: Path,
    what: str,
    kind: type[Kept],
    check: Callable[[Kept], None] = lambda item: None,
    upgrade: Callable[[Any], Any] = lambda item: item,
) -> list[Kept]:
    """The items of a JSON array that can be decoded and pass `check`. For others the file is set aside.

    `upgrade` gets each item as plain values, which an older version may have written.
    """

    def decode(content: bytes) -> list[Kept]:
        items = dict(enumerate(msgspec.json.decode(content, type=list[msgspec.Raw])))
        good, raw, bad = _decode_items(items, kind, check, upgrade)
        if bad:
            keep_readable_parts(path, what, bad, msgspec.json.encode(list(raw.values())))
        return list(good.values())

    return load(path, what, decode, [])


def load_dict(path: Path, what: str, kind: type[Kept]) -> dict[str, Kept]:
    """The same for the members of a JSON object."""

    def decode(content: bytes) -> dict[str, Kept]:
        items = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        good, raw, bad = _decode_items(items, kind)
        if bad:
            keep_readable_parts(path, what, bad, msgspec.json.encode(raw))
        return good

    return load(path, what, decode, {})


def _decode_items(
    items: Mapping[Key, msgspec.Raw],
    kind: type[Kept],
    check: Callable[[Kept], None] = lambda item: None,
    upgrade: Callable[[Any], Any] = lambda item: item,
) -> tuple[dict[Key, Kept], dict[Key, msgspec.Raw], list[Exception]]:
    """The items that can be decoded and pass `check`, also undecoded, and the errors of the others."""
    good: dict[Key, Kept] = {}
    raw: dict[Key, msgspec.Raw] = {}
    bad: list[Exception] = []
    for key, item in items.items():
        try:
            found = msgspec.convert(upgrade(msgspec.json.decode(item)), kind)
            check(found)
        except UNREADABLE as error:
            bad.append(error)
        else:
            good[key], raw[key] = found, item
    return good, raw, bad


def save(path: Path, what: str, value: object) -> None:
    """Replace the file with `value` as JSON, atomically. An error is logged: the file is kept as it was."""
    try:
        replace_file(path, msgspec.json.encode(value))
    except OSError as error:
        log.warning("%s could not be saved: %s", what, error)


def check_times(times: Iterable[float | None]) -> None:
    """Whether all of them can be times or lengths of time in seconds. Raises ValueError."""
    for seconds in times:
        if seconds is not None and not (math.isfinite(seconds) and abs(seconds) < LATEST):
            raise ValueError(f"{seconds} is no time")


def keep_readable_parts(path: Path, what: str, errors: Sequence[Exception], rest: bytes) -> None:
    """Set aside a copy of a file of which parts are damaged, and replace its content by the rest."""
    aside = _free_name(path)
    try:
        os.link(path, aside)
        replace_file(path, rest)
    except OSError as trouble:
        log.warning("%s can't be set aside: %s", path, trouble)
    log.warning(
        "%d of %s can't be read (%s). The file as it was is set aside as %s.",
        len(errors),
        what,
        errors[0],
        aside,
    )


def quarantine_file(path: Path, what: str, error: Exception) -> None:
    """Rename a damaged file, so that it is kept for inspection.

    Logs this with a description of its contents, `what` ("the schedules").
    """
    aside = _free_name(path)
    try:
        path.rename(aside)
    except OSError as trouble:
        log.warning("%s can't be read from %s (%s), which can't be set aside: %s", what, path, error, trouble)
    else:
        log.warning("%s can't be read (%s). The file was set aside as %s.", what, error, aside)


def _free_name(path: Path) -> Path:
    """A name beside `path` that no file has."""
    begin = f"{DAMAGED}{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = path.with_name(f"{begin}-{path.name}"), 1
    with contextlib.suppress(OSError):
        while os.path.lexists(aside):
            number += 1
            aside = path.with_name(f"{begin}-{number}-{path.name}")
    return aside


class RecipientGroupFile:
    """`groups.json`: an object of lists of node names. It is read each time, since other processes write it
    too. Changes raise CastRayError(FILE_NOT_WRITTEN), and leave the file unchanged then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, tuple[str, ...]]:
        """All groups; none if the file is missing or damaged."""
        try:
            groups = msgspec.json.decode(read_file(self._path), type=dict[str, msgspec.Raw])
        except (OSError, *UNREADABLE):
            return {}
        found = {}
        for name, nodes in groups.items():
            with contextlib.suppress(*UNREADABLE):
                found[name] = msgspec.json.decode(nodes, type=tuple[str, ...])
        return found

    def save_group(self, name: str, nodes: tuple[str, ...]) -> None:
        """Save a group, replacing one with the same name."""
        with self._locked():
            self._save({**self._kept(), name: nodes})

    def remove_group(self, name: str) -> None:
        """Remove a group; an unknown one is ignored."""
        with self._locked():
            self._save({other: nodes for other, nodes in self._kept().items() if other != name})

    def add_members(self, name: str, nodes: Iterable[str]) -> tuple[str, ...]:
        """Add nodes to a group, which is made if there is none; returns all of its nodes."""
        with self._locked():
            groups = self._kept()
            members = tuple(dict.fromkeys((*groups.get(name, ()), *nodes)))
            self._save({**groups, name: members})
        return members

    def remove_members(self, name: str, nodes: Iterable[str]) -> tuple[str, ...]:
        """Remove nodes from a group, and the group if none is left; returns the others."""
        with self._locked():
            groups, leaving = self._kept(), frozenset(nodes)
            members = tuple(node for node in groups.get(name, ()) if node not in leaving)
            others = {other: kept for other, kept in groups.items() if other != name}
            self._save({**others, name: members} if members else others)
        return members

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process change the groups while entered."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX)
                yield
            finally:
                os.close(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise CastRayError(FailureKind.FILE_NOT_WRITTEN, path=self._path, reason=reason) from error

    def _save(self, groups: Groups) -> None:
        content = msgspec.json.encode(dict(sorted(groups.items())))
        replace_file(self._path, msgspec.json.format(content, indent=2))

    def _kept(self) -> dict[str, tuple[str, ...]]:
        """All groups, before they are written. A damaged file is set aside, never overwritten."""
        return load_dict(self._path, "the groups of recipients", tuple[str, ...])
