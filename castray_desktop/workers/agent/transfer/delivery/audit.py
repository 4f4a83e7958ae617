"""Receipts of deliveries, and reading files back: delivered files against the hashes of their receipt, or
whatever lies at a path.

A receipt is one file for each delivery: where each file was put, and its hash. For an audit several threads
read, each with one buffer, so that memory does not grow with the files.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from castray_desktop.core.content.file_names import display_name, node_file_name
from castray_desktop.core.content.manifest import EntryKind, FileResult, FileStatus, Manifest
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import (
    DescribeFiles,
    EndVerification,
    FileHash,
    FileHashPage,
    StartDelivery,
    VerifyFiles,
)
from castray_desktop.core.protocol.nodes.agent_reports import VerificationReport, VerificationState
from castray_desktop.workers.agent.transfer.store.staging import OWN_PREFIX, data_folder
from castray_desktop.workers.agent.transfer.system.digests import Hasher, file_hasher
from castray_desktop.workers.agent.transfer.system.file_io import replaced_file
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of

RECEIPT_VERSION = 1
MAX_RECEIPTS = 200
MAX_BYTES = 64 << 20
"""Limit for all receipts together; the latest one is kept in any case."""


class ReceiptItem(NamedTuple):
    """One file."""

    name: bytes  # relative to the parcel
    path: bytes  # absolute, where it was put
    size: int
    hash: bytes


class Receipt(NamedTuple):
    """One delivery."""

    algorithm: str
    items: list[ReceiptItem]


def receipt_items(
    manifest: Manifest, results: Sequence[FileResult], places: Mapping[bytes, bytes]
) -> Iterator[ReceiptItem]:
    """The committed files of a parcel. `places` says where, for a file or a folder above it."""
    known = dict(places)
    hashes: dict[bytes, tuple[int, bytes]] = {}
    number = 0
    for entry in manifest.entries:
        if entry.kind is EntryKind.FILE:
            result, number = results[number], number + 1
            if result.status is FileStatus.OK:
                hashes[entry.path] = entry.size, result.hash
        name = entry.target if entry.kind is EntryKind.HARDLINK else entry.path
        if name in hashes:
            yield ReceiptItem(entry.path, _place_of(entry.path, known), *hashes[name])


def _place_of(path: bytes, places: dict[bytes, bytes]) -> bytes:
    if path not in places:
        folder, _, name = path.rpartition(b"/")
        places[path] = _place_of(folder, places) + b"/" + name
    return places[path]


class Receipts:
    """The receipts of this user on this machine, for all nodes."""

    def __init__(self) -> None:
        self._folder = data_folder() / "receipts"

    def save(
        self,
        order: StartDelivery,
        node: str,
        items: Iterable[ReceiptItem],
        encrypted: Optional[bool] = None,
    ) -> None:
        """Save one, with the options of its order, and remove the oldest if there are too many.

        `encrypted` is that of `DeliveryReport`. Raises OSError.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(order.cast, node)
        facts = {
            "castray receipt": RECEIPT_VERSION,
            "algorithm": order.algorithms.file,
            "options": asdict(order.options),
            "encrypted": encrypted,
        }
        with replaced_file(path) as file:
            file.write(json.dumps(facts) + "\n")
            for item in items:
                where = os.fsdecode(item.name), os.fsdecode(item.path)
                file.write(json.dumps([*where, item.size, item.hash.hex()]) + "\n")
        self._prune(path)

    def find(self, cast: str, node: str) -> Optional[Receipt]:
        """The receipt of a delivery; None if there is none that can be read.

        Raises CastRayError(RECEIPT_NEWER) for one of a later version.
        """
        path = self._path(cast, node)
        try:
            lines = path.read_text("ascii").splitlines()
            head = json.loads(lines[0])
            if int(head["castray receipt"]) > RECEIPT_VERSION:
                raise CastRayError(FailureKind.RECEIPT_NEWER, path=path, node=node)
            return Receipt(str(head["algorithm"]), list(_items(lines[1:])))
        except (OSError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
            return None

    def _path(self, cast: str, node: str) -> Path:
        return self._folder / f"{cast}-{node_file_name(node)}.jsonl"

    def _prune(self, newest: Path) -> None:
        found = []
        for path in self._folder.glob("*.jsonl*"):  # also what a killed agent was writing
            with contextlib.suppress(OSError):  # another agent may have removed it
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size, path))
        count, size = 0, 0
        for _, its_size, path in sorted(found, reverse=True):
            count, size = count + 1, size + its_size
            if path != newest and (count > MAX_RECEIPTS or size > MAX_BYTES):
                with contextlib.suppress(OSError):
                    path.unlink()


def _items(lines: Iterable[str]) -> Iterator[ReceiptItem]:
    for line in lines:
        name, path, size, hash_ = json.loads(line)
        item = ReceiptItem(os.fsencode(name), os.fsencode(path), int(size), bytes.fromhex(hash_))
        if b"\0" in item.path or item.size < 0:
            raise ValueError("not a file of a delivery")
        yield item


CHUNK_BYTES = 1 << 20
READERS = 4
MAX_DIFFERING = 100
REPORT_SECONDS = 0.25
RECEIPT_SECONDS = 3.0
RECEIPT_PAUSE = 0.05

log = logging.getLogger("castray.byte_plane")

S = VerificationState


class AuditedFile(NamedTuple):
    """A file to read."""

    name: bytes  # relative to what is verified
    path: bytes
    size: int
    expected: bytes  # its hash; empty where any will do


class AuditEndedError(Exception):
    """The audit was stopped."""


class FileAudit:
    """One audit on this node, on its own threads."""

    def __init__(
        self, order: VerifyFiles, node: str, changed: Callable[[bool], None], patience: float
    ) -> None:
        self._order = order
        self._patience = patience
        self._node = node
        self._changed = changed
        self._lock = threading.Lock()
        self._state = S.READING
        self._failure: Optional[Failure] = None
        self._files: list[AuditedFile] = []
        self._hashes: list[bytes] = []
        self._read = 0
        self._total = 0
        self._digest = ""
        self._differing: list[str] = []
        self._differing_count = 0
        self._next = 0
        self._single = False  # it is one file, and no folder with one file
        self._unread = ""  # why a file could not be read
        self._dirty = True
        self._told = 0.0
        self.stopped = False
        """Set this to end it soon."""
        self.thread = threading.Thread(target=self._run, name=f"castray-verify-{order.job}", daemon=True)

    def pop_report(self) -> Optional[VerificationReport]:
        """Its report, if it has changed since the last call."""
        with self._lock:
            if not self._dirty:
                return None
            self._dirty = False
            return VerificationReport(
                self._order.job,
                self._state,
                read=self._read,
                total=self._total,
                files=len(self._files),
                digest=self._digest,
                differing=tuple(self._differing),
                differing_count=self._differing_count,
                failure=self._failure,
            )

    def describe(self, order: DescribeFiles) -> FileHashPage:
        """A page of the files, once it has ended."""
        with self._lock:
            if self._state is not S.DONE:
                return FileHashPage(())
            pairs = list(zip(self._files, self._hashes))[order.start : order.start + order.count]
        return FileHashPage(tuple(FileHash(display_name(file.name), hash_.hex()) for file, hash_ in pairs))

    def _run(self) -> None:
        try:
            state, failure = self._verify(), None
        except AuditEndedError:
            return
        except CastRayError as error:
            state, failure = S.FAILED, error.failure
        except OSError as error:
            values = {"path": self._order.path or self._order.cast, "reason": reason_of(error)}
            state, failure = S.FAILED, Failure(FailureKind.READ_ERROR, values)
        except ValueError as error:
            state, failure = S.FAILED, Failure(FailureKind.INTERNAL, {"reason": str(error)})
        except Exception as error:
            log.exception("verification %s", self._order.job)
            reason = f"{type(error).__name__}: {error}"
            state, failure = S.FAILED, Failure(FailureKind.INTERNAL, {"reason": reason})
        with self._lock:
            if failure is None and state is S.FAILED:
                failure = Failure(FailureKind.NOTHING_TO_VERIFY, {"cast": self._order.cast})
            self._state, self._failure, self._dirty = state, failure, True
        self._changed(True)

    def _verify(self) -> VerificationState:
        algorithm = self._order.algorithm
        if self._order.cast:
            receipt = self._find_receipt()
            if receipt is None or not receipt.items:
                return S.FAILED
            algorithm = receipt.algorithm
            files = [AuditedFile(item.name, item.path, item.size, item.hash) for item in receipt.items]
            files.sort()
            self._single = len(files) == 1 and b"/" not in files[0].name
        else:
            path = self._order.path.replace("{node}", node_file_name(self._node))
            root = os.path.realpath(os.fsencode(path))
            if not os.path.lexists(root):
                return S.MISSING
            self._single = not os.path.isdir(root)
            files = sorted(self._walk(root))
        with self._lock:
            self._files, self._hashes = files, [b""] * len(files)
            self._total = sum(file.size for file in files)
        self._read_all(algorithm)
        return self._sum_up(algorithm)

    def _find_receipt(self) -> Optional[Receipt]:
        """The receipt of a delivery that has just ended may still be written."""
        deadline = time.monotonic() + self._patience
        while True:
            receipt = Receipts().find(self._order.cast, self._node)
            if receipt is not None or time.monotonic() > deadline:
                return receipt
            self._check_stop()
            time.sleep(RECEIPT_PAUSE)

    def _walk(self, root: bytes) -> Iterator[AuditedFile]:
        """Files and links below a folder, or the file itself; staging folders are skipped."""
        if not os.path.isdir(root):
            name = os.fsencode(self._order.path.rstrip("/").rpartition("/")[2])
            yield AuditedFile(name, root, os.lstat(root).st_size, b"")
            return
        below = [b""]
        while below:
            folder = below.pop()
            with os.scandir(os.path.join(root, folder)) as entries:
                for entry in entries:
                    self._check_stop()
                    name = os.path.join(folder, entry.name)
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(OWN_PREFIX):
                            below.append(name)
                    elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
                        size = 0 if entry.is_symlink() else entry.stat(follow_symlinks=False).st_size
                        yield AuditedFile(name, entry.path, size, b"")

    def _read_all(self, algorithm: str) -> None:
        new_hasher = file_hasher(algorithm)
        readers = [
            threading.Thread(
                target=self._read_some, args=(new_hasher,), name="castray-verify-read", daemon=True
            )
            for _ in range(min(READERS, len(self._files)))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        self._check_stop()

    def _read_some(self, new_hasher: Callable[[], Hasher]) -> None:
        """One reader thread: hash the next file until there is none."""
        buffer = memoryview(bytearray(CHUNK_BYTES))
        while True:
            with self._lock:
                number, self._next = self._next, self._next + 1
            if number >= len(self._files) or self.stopped:
                return
            try:
                self._hashes[number] = self._hash(self._files[number].path, new_hasher, buffer)
            except AuditEndedError:
                return
            except OSError as error:
                log.info("%s can't be read: %s", display_name(self._files[number].path), error)
                self._unread = reason_of(error)

    def _hash(self, path: bytes, new_hasher: Callable[[], Hasher], buffer: memoryview) -> bytes:
        """Raises OSError for what is no file or link any more."""
        hasher = new_hasher()
        if os.path.islink(path):
            hasher.update(b"link " + os.readlink(path))
            return hasher.digest()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(errno.EINVAL, "not a file")
            while count := os.readv(fd, [buffer]):
                hasher.update(buffer[:count])
                self._progress(count)
        finally:
            os.close(fd)
        return hasher.digest()

    def _progress(self, count: int) -> None:
        self._check_stop()
        with self._lock:
            self._read += count
            self._dirty = True
            now = time.monotonic()
            if now - self._told < REPORT_SECONDS:
                return
            self._told = now
        self._changed(False)

    def _check_stop(self) -> None:
        if self.stopped:
            raise AuditEndedError

    def _sum_up(self, algorithm: str) -> VerificationState:
        pairs = list(zip(self._files, self._hashes))
        differing = [file for file, hash_ in pairs if file.expected and hash_ != file.expected]
        unread = [file for file, hash_ in pairs if not hash_ and not file.expected]
        if unread:
            raise CastRayError(FailureKind.READ_ERROR, path=display_name(unread[0].path), reason=self._unread)
        with self._lock:
            self._digest = f"{algorithm}:{self._combined(algorithm)}" if pairs else ""
            self._differing = [display_name(file.name) for file in differing[:MAX_DIFFERING]]
            self._differing_count = len(differing)
        gone = [file for file in differing if not os.path.lexists(file.path)]
        return S.MISSING if pairs and len(gone) == len(pairs) else S.DONE

    def _combined(self, algorithm: str) -> str:
        """The only file's hash, or the hash over all names and hashes in order."""
        if self._single:
            return self._hashes[0].hex()
        hasher = file_hasher(algorithm)()
        for file, hash_ in zip(self._files, self._hashes):
            hasher.update(file.name + b"\0" + hash_)
        return hasher.digest().hex()


class FileAudits:
    """The audits of this node."""

    def __init__(self, node: str, changed: Callable[[bool], None], patience: float = RECEIPT_SECONDS) -> None:
        self._node = node
        self._patience = patience
        self._changed = changed
        self._jobs: dict[str, FileAudit] = {}

    def start(self, order: VerifyFiles) -> None:
        """Start one, on its own threads; a known job continues."""
        if order.job not in self._jobs:
            job = self._jobs[order.job] = FileAudit(order, self._node, self._changed, self._patience)
            job.thread.start()

    def describe(self, order: DescribeFiles) -> FileHashPage:
        """Files of a finished job; none for an unknown one."""
        job = self._jobs.get(order.job)
        return job.describe(order) if job is not None else FileHashPage(())

    def end(self, order: EndVerification) -> None:
        """Stop a job and drop its results."""
        job = self._jobs.pop(order.job, None)
        if job is not None:
            job.stopped = True

    def drain_reports(self) -> tuple[VerificationReport, ...]:
        """Reports that have changed."""
        reports = [job.pop_report() for job in list(self._jobs.values())]
        return tuple(report for report in reports if report is not None)

    def close(self, seconds: float) -> None:
        """End all of them."""
        jobs = list(self._jobs.values())
        self._jobs.clear()
        for job in jobs:
            job.stopped = True
        for job in jobs:
            job.thread.join(seconds)
