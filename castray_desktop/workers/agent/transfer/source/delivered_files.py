"""Files of a cast that this node has received and delivered before its agent was replaced."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Sequence
from typing import Callable, Optional

from castray_desktop.core.content.manifest import Manifest
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.workers.agent.transfer.delivery.audit import Receipt
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, hash_file
from castray_desktop.workers.agent.transfer.store.piece_store import read_fully
from castray_desktop.workers.agent.transfer.system.digests import file_hasher
from castray_desktop.workers.agent.transfer.system.linux_calls import FileSystems

SETTLE_SECONDS = 3.0
"""How long to wait for a file that was just delivered: a write to it is noticed only after some time."""

_PAUSE_SECONDS = 0.1

FindReceipt = Callable[[], Optional[Receipt]]
"""The receipt of this node's own delivery of the cast, if it has ended."""


class DeliveredFiles:
    """What the source of a download reads instead of downloading it again. Any thread may read.

    The user may have changed the files, so each one is compared with its hash before it is used.
    """

    def __init__(self, manifest: Manifest, find_receipt: FindReceipt, check_end: Callable[[], None]) -> None:
        """`check_end` raises when the cast has ended."""
        self._manifest = manifest
        self._find_receipt = find_receipt
        self._check_end = check_end
        self._algorithm = ""
        self._hashes: Sequence[bytes] = ()
        self._places: dict[int, bytes] = {}  # by file
        self._keys: dict[int, Optional[FileKey]] = {}  # of files that were compared; None: they differ
        self._systems = FileSystems()
        self._lock = threading.Lock()

    def find(self, algorithm: str, hashes: Sequence[bytes]) -> None:
        """Look for files with these hashes, which are empty where none is known."""
        receipt = None
        with contextlib.suppress(CastRayError):  # a later version has written it
            receipt = self._find_receipt() if any(hashes) else None
        if receipt is None or receipt.algorithm != algorithm:
            return
        self._algorithm, self._hashes = algorithm, hashes
        items = {item.name: item for item in receipt.items}
        for file, entry in enumerate(self._manifest.files):
            item = items.get(entry.path)
            if item is not None and hashes[file] and (item.size, item.hash) == (entry.size, hashes[file]):
                self._places[file] = item.path

    def __contains__(self, file: int) -> bool:
        """Whether it was delivered, and no difference is known."""
        return file in self._places and self._keys.get(file, True) is not None

    def read(self, file: int, offset: int, view: memoryview) -> bool:
        """Fill `view`; False if the file is not what was delivered. Raises what `check_end` raises."""
        if file not in self:
            return False
        with self._lock:
            if file not in self._keys:
                self._keys[file] = self._compare(file)
            key = self._keys[file]
        if key is None:
            return False
        try:
            fd = os.open(self._places[file], os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                read_fully(fd, offset, view)
                same = FileKey.of(os.fstat(fd)) == key
            finally:
                os.close(fd)
        except (OSError, EOFError):
            same = False
        if not same:
            self._keys[file] = None
        return same

    def _compare(self, file: int) -> Optional[FileKey]:
        """The key of the file, if it has its hash, and a later write to it would show."""
        path = self._places[file]
        try:
            if not self._await_settled(path):
                return None
            key, hash_ = hash_file(path, file_hasher(self._algorithm), self._check_end)
        except OSError:
            return None
        return key if hash_ == self._hashes[file] else None

    def _await_settled(self, path: bytes) -> bool:
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            self._check_end()
            found = self._systems.lstat(path)
            if not stat.S_ISREG(found.st_mode):
                return False
            if FileKey.of(found).is_settled(time.time_ns(), self._systems.is_remote(found.st_dev, path)):
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_PAUSE_SECONDS)
