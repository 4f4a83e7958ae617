"""Which staging folders there are on this machine, so that a later start removes what nobody will go on with.

One small file for each staging folder. It names the process that works there, its cast and its engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, Optional

from castray_desktop.core.names import safe_node
from castray_desktop.workers.ray_side.byte_plane import linux

FOREIGN_SECONDS = 7 * 24 * 3600.0
"""Staging of an engine that does not start any more is kept for so long."""


def data_folder() -> Path:
    """Where this node keeps what it has to remember, made when something is written there."""
    home = os.environ.get("CASTRAY_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) / "castray"


class Registry:
    """The staging folders of this user on this machine, as one engine's agent sees them."""

    def __init__(self, engine: str = "") -> None:
        self.folder = data_folder() / "staging"
        self._engine = engine

    def path(self, cast: str, node: str) -> Path:
        return self.folder / f"{cast}-{safe_node(node)}"

    def write(self, record: Path, cast: str, folder: bytes) -> None:
        """Note that this process works there."""
        pid = os.getpid()
        host, boot, namespace = linux.machine()
        known = {"host": host, "boot": boot, "namespace": namespace, "pid": pid}
        known["start"] = linux.process_start(pid)
        known["folder"] = folder.hex()
        known["engine"], known["cast"] = self._engine, cast
        fresh = record.with_name(f"{record.name}.{pid}.new")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text(json.dumps(known))
            fresh.replace(record)
        except OSError:  # without a home there is no registry: nothing is swept later, all else works
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    def left_behind(self, keep: Collection[str] = ()) -> list[tuple[Path, bytes]]:
        """Records, and their folders, of ended processes whose casts nobody will go on with.

        Those of other engines are left for a week: their engine may come back for them.
        """
        try:
            records = sorted(self.folder.iterdir())
        except OSError:
            return []
        found = []
        for record in records:
            known = _ended(record)
            if known is None:
                continue
            if known.get("engine", "") == self._engine:
                wanted = known.get("cast", "") in keep
            else:
                wanted = _age(record) < FOREIGN_SECONDS
            if not wanted:
                found.append((record, bytes.fromhex(known["folder"])))
        return found

    def is_old(self, record: Path) -> bool:
        """Whether it was written so long ago that what it names will not come back."""
        return _age(record) >= FOREIGN_SECONDS

    def left_of(self, cast: str, node: str) -> Optional[tuple[Path, bytes]]:
        """What an ended process of this engine has left of one delivery."""
        record = self.path(cast, node)
        known = _ended(record)
        if known is None or known.get("engine", "") != self._engine:
            return None
        return record, bytes.fromhex(known["folder"])


def _age(record: Path) -> float:
    try:
        return time.time() - record.stat().st_mtime
    except OSError:
        return 0.0


def _ended(record: Path) -> Optional[dict[str, Any]]:
    """A record whose process has ended for sure. Homes may be shared between machines."""
    host, boot, namespace = linux.machine()
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        if b"\0" in bytes.fromhex(known["folder"]):
            return None
        if known["host"] != host:
            return None
        if known["boot"] == boot:
            if known["namespace"] != namespace:
                return None
            if linux.process_start(int(known["pid"])) == known["start"] != "":
                return None
        return known
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None
