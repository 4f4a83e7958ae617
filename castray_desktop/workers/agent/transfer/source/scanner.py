"""Scan the chosen paths: the entries of a parcel, where its links lead, and what can't be sent."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

from castray_desktop.core.content.file_names import (
    MAX_PATH,
    ExcludePatterns,
    NamePatterns,
    display_name,
    folders_above,
)
from castray_desktop.core.content.file_outcomes import place_of
from castray_desktop.core.content.manifest import (
    MAX_TARGET,
    TRAILER_RECORD,
    EntryKind,
    Manifest,
    ManifestEntry,
    encode_manifest,
)
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem, ParcelTotals, RemoteFile, TopEntry
from castray_desktop.workers.agent.transfer.system.file_io import DataRanges, data_ranges, may_have_holes
from castray_desktop.workers.agent.transfer.system.linux_calls import FileSystems
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of, user_name

NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
"""The errors for a link that points to nothing."""


class LinkTargets:
    """Resolves links of a parcel. Paths are those in the parcel, places those on this machine.

    `is_excluded(path)` says whether something in the parcel's folders is left out of it.
    """

    def __init__(self, is_excluded: Callable[[bytes], bool]) -> None:
        self._is_excluded = is_excluded
        self.lexical = True  # all that was kept so far follows from the texts alone, wherever they lead
        self._roots: list[tuple[bytes, bytes]] = []  # real places of folders in the parcel, and their paths
        self._depth = 1  # of the folder that the walk is in, and that no link of it leads out of by `..`

    def add(self, place: bytes, path: bytes) -> None:
        """Add a chosen file or folder: links into it stay links in the parcel."""
        self._roots.append((os.path.realpath(place), path))

    @contextlib.contextmanager
    def following(self, real: bytes, path: bytes) -> Iterator[None]:
        """For the time in which the folder behind a link is scanned: links within it stay links as well."""
        before = self._depth
        self._roots.append((real, path))
        self._depth = path.count(b"/") + 1
        yield
        self._depth = before
        self._roots.pop()

    def text_to_keep(self, place: bytes, path: bytes, text: bytes) -> Optional[bytes]:
        """The link's text for recipients; None if it leads out of the parcel.

        A link that leads nowhere stays as it is, and so does one to a folder that the parcel lies in, since
        following it would never end. A path from the top of the file system is made relative. Raises OSError
        where that can't be found out.
        """
        try:
            os.stat(place)
        except OSError as error:
            if error.errno in NOWHERE:
                self.lexical = self.lexical and self._is_within(path, text)
                return text
            raise
        if self._is_within(path, text):
            return text
        self.lexical = False
        real = os.path.realpath(place)
        for root, top in reversed(self._roots):
            if _contains(root, real):
                inside = top + real[len(root) :]
                relative = os.path.relpath(b"/" + inside, b"/" + os.path.dirname(path))
                if len(relative) <= MAX_TARGET and not self._is_excluded(inside):
                    return relative
        if any(_contains(real, root) for root, _ in self._roots):
            return text
        return None

    def _is_within(self, path: bytes, text: bytes) -> bool:
        """Whether the text resolves to an entry of the parcel without leaving its folders."""
        if text.startswith(b"/"):
            return False
        names, down = path.split(b"/")[:-1], False
        for name in text.split(b"/"):
            if name == b"..":
                if down or len(names) <= self._depth:  # `..` after a link resolves differently
                    return False
                names.pop()
            elif name not in (b"", b"."):
                down = True
                names.append(name)
        return not self._is_excluded(b"/".join(names))


def _contains(folder: bytes, place: bytes) -> bool:
    return place == folder or place.startswith(folder.rstrip(b"/") + b"/")


MAX_PROBLEMS = 100
MAX_NAMED_LINKS = 5


@dataclass
class ScanResult:
    """Scan result: entries with parents before children, and the identity of each regular file."""

    entries: list[ManifestEntry] = field(default_factory=list)
    inodes: array[int] = field(default_factory=lambda: array("Q"))  # of the regular files, in order
    devices: array[int] = field(default_factory=lambda: array("Q"))
    ctimes: array[int] = field(default_factory=lambda: array("q"))  # nanoseconds
    others: list[tuple[int, int, int]] = field(default_factory=list)  # the same three of all other entries
    top_paths: dict[bytes, bytes] = field(default_factory=dict)  # top-level name -> absolute path
    systems: FileSystems = field(default_factory=FileSystems)
    followed: dict[bytes, bytes] = field(default_factory=dict)  # path of a link -> what is sent instead of it
    top: list[TopEntry] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)
    problem_count: int = 0
    remote: dict[int, RemoteFile] = field(default_factory=dict)  # by number of the regular file
    files: int = 0
    size: int = 0  # what is to be sent: holes don't count
    reusable: bool = True  # nothing but a change of one of its entries makes a new scan differ

    def local_path(self, path: bytes) -> bytes:
        """Where an entry of the parcel really is on this machine."""
        place = place_of(path, self.followed) if self.followed else path
        return self.named(path) if place is path else place

    def named(self, path: bytes) -> bytes:
        """An entry of the parcel, by the path that its user knows."""
        name, slash, rest = path.partition(b"/")
        return self.top_paths[name] + slash + rest

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest, once the scan is complete."""
        return Manifest(self.entries)

    @cached_property
    def raw_manifest(self) -> bytes:
        """The encoded manifest."""
        return encode_manifest(self.manifest)

    @cached_property
    def totals(self) -> ParcelTotals:
        """Totals of the parcel."""
        manifest, raw = self.manifest, self.raw_manifest
        broken = broken_links(self.entries)
        return ParcelTotals(
            manifest_bytes=len(raw),
            manifest_digest=hashlib.sha256(raw).hexdigest(),
            content_bytes=manifest.content_bytes,
            trailer_bytes=len(manifest.files) * TRAILER_RECORD,
            files=len(manifest.files),
            entries=len(manifest.entries),
            top=tuple(self.top),
            followed_links=len(self.followed),
            kept_links=sum(entry.kind is EntryKind.SYMLINK for entry in self.entries),
            broken_links=len(broken),
            broken_names=tuple(display_name(path) for path in broken[:MAX_NAMED_LINKS]),
            left_out=self.problem_count,
        )


OnProgress = Callable[[], None]
"""Called for each entry of a scan; may raise to end it."""

_KINDS = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


class Scanner:
    """Walks the chosen paths. `on_progress` is called for each entry, and may raise to end it.

    `links` says what becomes of symbolic links: `keep` sends them as links, `follow` what they point to, and
    `auto` what those point to that were chosen themselves or lead out of the parcel. With `auto` a file is
    sent once, however many links lead to it.
    """

    def __init__(self, links: str, patterns: NamePatterns, on_progress: OnProgress) -> None:
        self._links = links
        self._exclusions = ExcludePatterns(patterns)
        self._on_progress = on_progress
        self._scan = ScanResult()
        self._targets = LinkTargets(self._is_excluded)
        self._behind_links = 0  # so many of the folders being walked are sent instead of links
        self._first: dict[tuple[int, int], bytes] = {}  # of files with several names, the first one's path
        self._above: list[tuple[int, int]] = []  # folders being walked, against loops of links

    def run(self, paths: Iterable[str]) -> ScanResult:
        """Raises CastRayError if one of the paths itself can't be sent."""
        chosen = [os.path.abspath(os.fsencode(path)) for path in paths]
        for path in chosen:
            self._targets.add(path, os.path.basename(path))
        for path in chosen:
            self._add_top(path)
        if not self._scan.entries:
            raise CastRayError(FailureKind.NOTHING_TO_SEND)
        return self._scan

    def _add_top(self, path: bytes) -> None:
        name = os.path.basename(path)
        if not name:
            raise CastRayError(
                FailureKind.NOT_SENDABLE, path=display_name(path), what="the root of the file system"
            )
        if name in self._scan.top_paths:
            raise CastRayError(FailureKind.SAME_NAME_TWICE, name=display_name(name))
        try:
            found = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CastRayError(FailureKind.NO_SUCH_FILE, path=display_name(path)) from error
        except OSError as error:
            raise CastRayError(FailureKind.NOT_READABLE, path=display_name(path), user=user_name()) from error
        if self._exclusions.excludes(display_name(name), stat.S_ISDIR(found.st_mode)):
            self._scan.reusable = False  # its own type may change, and it is no entry
            return
        self._scan.top_paths[name] = path
        entries, files, size = len(self._scan.entries), self._scan.files, self._scan.size
        if stat.S_ISLNK(found.st_mode) and self._links != "keep":
            failure = self._follow(path, name)
        else:
            failure = self._add(path, name, found)
        if failure is not None:
            raise CastRayError.of(failure)
        if len(self._scan.entries) > entries:
            folder = self._scan.entries[entries].kind is EntryKind.FOLDER
            top = TopEntry(display_name(name), folder, self._scan.size - size, self._scan.files - files)
            self._scan.top.append(top)

    def _add(
        self, place: bytes, path: bytes, found: os.stat_result, followed: bool = False
    ) -> Optional[Failure]:
        """Add one entry and all below it; returns the failure if it can't be sent."""
        self._on_progress()
        mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns
        if len(path) > MAX_PATH:
            return Failure(
                FailureKind.NOT_SENDABLE,
                {"path": display_name(place), "what": "nested too deeply in folders"},
            )
        if stat.S_ISDIR(found.st_mode):
            return self._add_folder(place, path, found)
        if stat.S_ISLNK(found.st_mode):
            return self._add_link(place, path, found)
        if stat.S_ISREG(found.st_mode):
            if self._scan.systems.is_generated(found.st_dev, place):
                what = "a virtual file of the kernel"
                return Failure(FailureKind.NOT_SENDABLE, {"path": display_name(place), "what": what})
            if not os.access(place, os.R_OK):
                return _unreadable(place, PermissionError())
            one_of_several = found.st_nlink > 1 or (
                self._links == "auto" and (followed or self._behind_links)
            )
            if one_of_several or self._first:
                identity = (found.st_dev, found.st_ino)
                first = (
                    self._first.setdefault(identity, path) if one_of_several else self._first.get(identity)
                )
                if first is not None and first is not path:
                    self._append_other(ManifestEntry(EntryKind.HARDLINK, path, target=first), found)
                    return None
            data = self._data_of(place, found) if may_have_holes(found) else None
            if data is not None:
                self._scan.reusable = False  # a hole may be filled without a new ctime, through a memory map
            entry = ManifestEntry(EntryKind.FILE, path, mode, mtime, found.st_size, b"", data)
            self._scan.entries.append(entry)
            self._scan.inodes.append(found.st_ino)
            self._scan.devices.append(found.st_dev)
            self._scan.ctimes.append(found.st_ctime_ns)
            self._scan.files += 1
            self._scan.size += found.st_size if data is None else entry.content_bytes
            return None
        what = next((what for test, what in _KINDS if test(found.st_mode)), "neither a file nor a folder")
        return Failure(FailureKind.NOT_SENDABLE, {"path": display_name(place), "what": what})

    def _add_link(self, place: bytes, path: bytes, found: os.stat_result) -> Optional[Failure]:
        try:
            target: Optional[bytes] = os.readlink(place)
            if target is not None and self._links == "auto":
                target = self._targets.text_to_keep(place, path, target)
                if self._exclusions or not self._targets.lexical:
                    self._scan.reusable = False
        except OSError as error:
            return _unreadable(place, error)
        if target is None or self._links == "follow":
            return self._follow(place, path)
        mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns
        self._append_other(ManifestEntry(EntryKind.SYMLINK, path, mode, mtime, 0, target), found)
        return None

    def _follow(self, place: bytes, path: bytes) -> Optional[Failure]:
        """Add what a link points to under the link's name."""
        self._scan.reusable = False
        real = os.path.realpath(place)
        try:
            os.stat(place)
            found = os.lstat(real)
        except OSError as error:
            return _not_followed(place, error)
        folder = stat.S_ISDIR(found.st_mode)
        if folder and self._exclusions.excludes(display_name(path), True):
            return None
        self._scan.followed[path] = real
        if folder:
            with self._targets.following(real, path):
                self._behind_links += 1
                failure = self._add(real, path, found)
                self._behind_links -= 1
        else:
            failure = self._add(real, path, found, followed=True)
        if failure is not None:
            del self._scan.followed[path]
        return failure

    def _is_excluded(self, path: bytes) -> bool:
        """Whether this, or a folder above it, is left out of the parcel."""
        if not self._exclusions:
            return False
        if self._exclusions.excludes(display_name(path), os.path.isdir(self._scan.local_path(path))):
            return True
        return any(self._exclusions.excludes(above, True) for above in folders_above(display_name(path)))

    def _data_of(self, place: bytes, found: os.stat_result) -> DataRanges:
        """Data ranges of the file, if it has holes. Changes meanwhile are detected later."""
        try:
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return data_ranges(fd, found.st_size) if os.path.samestat(os.fstat(fd), found) else None
        finally:
            os.close(fd)

    def _add_folder(self, place: bytes, path: bytes, found: os.stat_result) -> Optional[Failure]:
        identity = (found.st_dev, found.st_ino)
        if identity in self._above:
            what = "a link to a folder that contains it"
            return Failure(FailureKind.NOT_SENDABLE, {"path": display_name(place), "what": what})
        try:
            names = sorted(os.listdir(place))
            if not os.access(place, os.X_OK):
                raise PermissionError
        except OSError as error:
            return _unreadable(place, error)
        mode, mtime = stat.S_IMODE(found.st_mode), found.st_mtime_ns
        self._append_other(ManifestEntry(EntryKind.FOLDER, path, mode, mtime), found)
        self._above.append(identity)
        for name in names:
            self._add_inside(place + b"/" + name, path + b"/" + name)
        self._above.pop()
        if self._exclusions.selects:
            self._scan.reusable = False  # a file that is part of it may come into a folder that is not
            if self._scan.entries[-1].path == path:
                self._scan.entries.pop()
                self._scan.others.pop()
        return None

    def _add_inside(self, place: bytes, path: bytes) -> None:
        try:
            found = os.lstat(place)
        except OSError as error:
            self._problem(path, _unreadable(place, error))
            return
        if self._exclusions and self._exclusions.excludes(display_name(path), stat.S_ISDIR(found.st_mode)):
            return
        failure = self._add(place, path, found)
        if failure is not None:
            self._problem(path, failure)

    def _append_other(self, entry: ManifestEntry, found: os.stat_result) -> None:
        """Append an entry that is not a regular file."""
        self._scan.entries.append(entry)
        self._scan.others.append((found.st_dev, found.st_ino, found.st_ctime_ns))

    def _problem(self, path: bytes, failure: Failure) -> None:
        self._scan.reusable = False
        self._scan.problem_count += 1
        if len(self._scan.problems) < MAX_PROBLEMS:
            self._scan.problems.append(FileProblem(display_name(path), failure))


def scan_paths(
    paths: Iterable[str], links: str, patterns: NamePatterns, on_progress: OnProgress
) -> ScanResult:
    """Scan, see `Scanner`. Raises CastRayError if one of the paths itself can't be sent."""
    return Scanner(links, patterns, on_progress).run(paths)


def check_paths(paths: Iterable[str], links: str) -> None:
    """Check whether these paths can be sent at all, without reading folders. Raises CastRayError."""
    for path in paths:
        with contextlib.suppress(OSError):  # the scan reports it
            if stat.S_ISDIR(os.stat(path, follow_symlinks=links != "keep").st_mode):
                continue
        Scanner(links, NamePatterns(), lambda: None).run([path])


def _not_followed(place: bytes, error: OSError) -> Failure:
    if error.errno not in NOWHERE:
        return _unreadable(place, error)
    try:
        target = os.readlink(place)
    except OSError as gone:
        return _unreadable(place, gone)
    return Failure(FailureKind.DANGLING_LINK, {"path": display_name(place), "target": display_name(target)})


def _unreadable(place: bytes, error: OSError) -> Failure:
    if isinstance(error, PermissionError):
        return Failure(FailureKind.NOT_READABLE, {"path": display_name(place), "user": user_name()})
    if isinstance(error, FileNotFoundError):
        return Failure(FailureKind.VANISHED, {"path": display_name(place)})
    return Failure(FailureKind.READ_ERROR, {"path": display_name(place), "reason": reason_of(error)})


def broken_links(entries: Sequence[ManifestEntry]) -> list[bytes]:
    """The links that lead out of the parcel, or to something that is not in it."""
    links = [entry for entry in entries if entry.kind is EntryKind.SYMLINK]
    known = {entry.path: entry.kind for entry in entries} if links else {}
    return [link.path for link in links if _leads_out(link, known)]


def _leads_out(link: ManifestEntry, known: dict[bytes, EntryKind]) -> bool:
    path = os.path.normpath(os.path.join(os.path.dirname(link.path), link.target))
    if os.path.isabs(link.target) or path.split(b"/")[0] == b"..":
        return True
    while path and path != b".":
        if path in known:
            return False
        path = os.path.dirname(path)
        if known.get(path) is EntryKind.SYMLINK:  # through another link: that one is looked at by itself
            return False
        if path in known:
            return True
    return True
