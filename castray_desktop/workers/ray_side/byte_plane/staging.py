"""The hidden folder beside the destination's entries where a delivery grows.

    DEST/.castray-CAST-NODE/parts/...   the parcel's tree
    DEST/.castray-CAST-NODE/journal     which pieces are there, with their digests
    DEST/.castray-CAST-NODE/manifest    the parcel's list of files, once it is whole
    DEST/.castray-CAST-NODE/trailer     the list of hashes, as far as it has come
    DEST/.castray-CAST-NODE/landing     what was about to get its final name

A delivery that finds such a folder about the same parcel goes on from it. A line about each lies in the
node's registry, so that a later start removes what nobody will go on with. Nothing is removed that does not
carry our journal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Collection
from typing import Optional

from castray_desktop.core.names import safe_node
from castray_desktop.workers.ray_side.byte_plane import linux
from castray_desktop.workers.ray_side.byte_plane.journal import JOURNAL_MAGIC, Journal, LandingLog
from castray_desktop.workers.ray_side.byte_plane.probing import remove_probe
from castray_desktop.workers.ray_side.byte_plane.registry import Registry

_NAME = re.compile(rb"^\.castray-[0-9A-Za-z]+-[A-Za-z0-9._-]+$")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Staging:
    """One delivery's staging folder. Raises OSError where it can't be made, or another process has it."""

    def __init__(
        self, destination: bytes, cast: str, node: str, header: dict[str, str], registry: Registry
    ) -> None:
        self.destination = destination
        self.resumed = False
        self._made: list[bytes] = []  # folders of the destination that we made, outermost first
        self._journal: Optional[Journal] = None
        self._log: Optional[LandingLog] = None
        self._trailer = -1
        self._registry = registry
        self._record = registry.path(cast, node)
        self.folder = destination + b"/" + os.fsencode(f".castray-{cast}-{safe_node(node)}")
        self.parts = self.folder + b"/parts"
        self.parts_fd = -1  # open from before the first byte is written: syncing tells errors since then
        self._cast = cast
        self._header = {"cast": cast, "node": node, **header}
        self._ours = False
        try:
            self._make_destination()
            if not self._reopen():
                self._make()
            self.parts_fd = os.open(self.parts, FOLDER)
        except OSError:
            if self._ours:
                self.remove()
            self.remove_made_folders()
            raise
        registry.write(self._record, cast, self.folder)

    def _reopen(self) -> bool:
        """Go on with what is there, if it is about the same parcel."""
        if not _is_folder(self.folder) or not _is_folder(self.parts):
            return False
        self._journal = Journal.reopen(self.folder + b"/journal", self._header)
        self.resumed = self._ours = self._journal is not None
        return self.resumed

    def _make(self) -> None:
        if os.path.lexists(self.folder):
            remove_staging(self.folder)
        self._registry.write(self._record, self._cast, self.folder)
        os.mkdir(self.folder, 0o700)
        self._ours = True
        self._journal = Journal.create(self.folder + b"/journal", self._header)
        os.mkdir(self.parts, 0o700)

    def start_over(self) -> None:
        """Forget what was found: it can't be used."""
        self._close()
        remove_tree(self.folder)
        self.resumed = False
        self._make()
        self.parts_fd = os.open(self.parts, FOLDER)

    def _make_destination(self) -> None:
        missing = []
        path = self.destination
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            if _made_folder(folder):
                self._made.append(folder)
                with contextlib.suppress(PermissionError):  # a folder that may be written to, not read
                    linux.sync_path(os.path.dirname(folder))
        if not os.path.isdir(self.destination):
            raise NotADirectoryError(20, "Not a directory", os.fsdecode(self.destination))

    # --- what is kept besides the part files

    @property
    def journal(self) -> Journal:
        assert self._journal is not None
        return self._journal

    def keep_manifest(self, raw: bytes) -> None:
        """Appears whole or not at all; a damaged one is found by its digest."""
        fresh = self.folder + b"/manifest.new"
        with open(fresh, "wb") as file:
            file.write(raw)
        os.rename(fresh, self.folder + b"/manifest")

    def kept_manifest(self) -> bytes:
        return self._read(b"manifest")

    def keep_trailer(self, offset: int, view: memoryview) -> None:
        if self._trailer < 0:
            self._trailer = os.open(self.folder + b"/trailer", _WRITE, 0o600)
        os.pwrite(self._trailer, view, offset)

    def kept_trailer(self) -> bytes:
        return self._read(b"trailer")

    def _read(self, name: bytes) -> bytes:
        try:
            with open(self.folder + b"/" + name, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def has_begun_landing(self) -> bool:
        return os.path.lexists(self.folder + b"/landing")

    def landing_log(self, careful: bool) -> LandingLog:
        """Made at the first call. `careful`: what it depends on is synced to the disk as well."""
        if self._log is None:
            self._log = LandingLog(self.folder + b"/landing", careful)
            if careful:
                for name in (b"journal", b"manifest", b"trailer", b"landing", b"."):
                    # a parcel of empty files has no trailer of its own, a folder no contents
                    with contextlib.suppress(FileNotFoundError):
                        linux.sync_path(self.folder + b"/" + name)
        return self._log

    def used_bytes(self) -> int:
        """What the part files take up on the disk."""
        total = 0
        for path, _, files in os.walk(self.parts):
            for name in files:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
        return total

    # --- the end

    def leave(self) -> None:
        """Keep all of it for a later delivery."""
        self._close()

    def remove(self) -> None:
        """The folder and all in it, and its line in the registry."""
        self._close()
        remove_tree(self.folder)
        self._record.unlink(missing_ok=True)

    def _close(self) -> None:
        if self.parts_fd >= 0:
            os.close(self.parts_fd)
            self.parts_fd = -1
        if self._trailer >= 0:
            os.close(self._trailer)
            self._trailer = -1
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def remove_made_folders(self) -> None:
        """The destination's folders that we made, if nothing came into them."""
        for folder in reversed(self._made):
            try:
                os.rmdir(folder)
            except OSError:
                return


def _is_folder(path: bytes) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _made_folder(folder: bytes) -> bool:
    """Make a folder, unless another delivery was faster."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    return True


def sweep(registry: Registry, keep: Collection[str] = ()) -> list[bytes]:
    """Remove the staging that nobody will go on with; the folders."""
    swept = []
    for record, folder in registry.left_behind(keep):
        if remove_staging(folder) or remove_probe(folder):
            swept.append(folder)
        record.unlink(missing_ok=True)
    return swept


def discard(registry: Registry, cast: str, node: str) -> None:
    """Remove the staging of a delivery that had been left for a later one, which will not come."""
    left = registry.left_of(cast, node)
    if left is not None:
        record, folder = left
        remove_staging(folder)
        record.unlink(missing_ok=True)


def remove_staging(folder: bytes) -> bool:
    """Remove a staging folder, if it is one: named like one and with our journal in it."""
    if not _NAME.match(os.path.basename(folder)) or os.path.islink(folder):
        return False
    try:
        with open(folder + b"/journal", "rb") as file:
            ours = file.read(len(JOURNAL_MAGIC)) == JOURNAL_MAGIC
    except OSError:
        ours = os.path.isdir(folder) and not os.listdir(folder)
    if ours:
        remove_tree(folder)
    return ours


def remove_tree(folder: bytes) -> None:
    """Remove a folder of ours, also where folders in it were given modes that forbid it."""
    if not os.path.lexists(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        for path, folders, _ in os.walk(folder):
            for name in folders:
                below = os.path.join(path, name)
                if stat.S_ISDIR(os.lstat(below).st_mode):
                    os.chmod(below, 0o700)
        shutil.rmtree(folder, ignore_errors=True)
