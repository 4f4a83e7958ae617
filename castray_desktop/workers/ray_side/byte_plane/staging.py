"""The hidden folder beside the destination's entries where a delivery grows, and its journal.

    DEST/.castray-CAST-NODE/parts/...   the parcel's tree
    DEST/.castray-CAST-NODE/journal     header, then one record for each verified piece

A line about each staging folder lies in the node's registry, so that a later start removes what nobody will
go on with. Nothing is removed that does not carry our journal.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import struct
from collections.abc import Collection

from castray_desktop.core.names import safe_node
from castray_desktop.workers.ray_side.byte_plane.registry import Registry

JOURNAL_MAGIC = b"CastRay journal 1\n"
_RECORD = struct.Struct("<Q16s")
_NAME = re.compile(rb"^\.castray-[0-9A-Za-z]+-[A-Za-z0-9._-]+$")


class Staging:
    """One delivery's staging folder. Raises OSError where it can't be made."""

    def __init__(
        self, destination: bytes, cast: str, node: str, header: dict[str, str], registry: Registry
    ) -> None:
        self.destination = destination
        self._made: list[bytes] = []  # folders of the destination that we made, outermost first
        self._journal = -1
        self._registry = registry
        self._record = registry.path(cast, node)
        self.folder = destination + b"/" + os.fsencode(f".castray-{cast}-{safe_node(node)}")
        self.parts = self.folder + b"/parts"
        try:
            self._make(cast, node, header)
        except OSError:
            self.remove()
            self.remove_made_folders()
            raise

    def _make(self, cast: str, node: str, header: dict[str, str]) -> None:
        self._make_destination()
        if os.path.lexists(self.folder):
            remove_staging(self.folder)
        self._registry.write(self._record, cast, self.folder)
        os.mkdir(self.folder, 0o700)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._journal = os.open(self.folder + b"/journal", flags, 0o600)
        line = json.dumps({"cast": cast, "node": node, **header}, sort_keys=True).encode() + b"\n"
        os.write(self._journal, JOURNAL_MAGIC + line)
        os.mkdir(self.parts, 0o700)

    def _make_destination(self) -> None:
        missing = []
        path = self.destination
        while not os.path.lexists(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            if _made_folder(folder):
                self._made.append(folder)
        if not os.path.isdir(self.destination):
            raise NotADirectoryError(20, "Not a directory", os.fsdecode(self.destination))

    def note(self, index: int, digest: bytes) -> None:
        """A piece was verified and written. Not synced: whoever resumes checks what the journal says."""
        os.write(self._journal, _RECORD.pack(index, digest))

    def remove(self) -> None:
        """The folder and all in it, and its line in the registry."""
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
        remove_tree(self.folder)
        self._record.unlink(missing_ok=True)

    def remove_made_folders(self) -> None:
        """The destination's folders that we made, if nothing came into them."""
        for folder in reversed(self._made):
            try:
                os.rmdir(folder)
            except OSError:
                return


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
        if remove_staging(folder):
            swept.append(folder)
        record.unlink(missing_ok=True)
    return swept


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
