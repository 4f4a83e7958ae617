"""Records of the staging folders on this machine, so that a later start removes abandoned ones.

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

from castray_desktop.core.content.file_names import node_file_name
from castray_desktop.workers.agent.transfer.system import linux_calls

FOREIGN_SECONDS = 7 * 24 * 3600.0
"""Staging of an engine that does not return is kept for this long."""


def data_folder() -> Path:
    """The node's data folder, made on first write."""
    home = os.environ.get("CASTRAY_HOME")
    if home:
        return Path(home)
    return Path(os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")) / "castray"


class StagingRegistry:
    """The staging records of this user on this machine, as one engine's agent sees them."""

    def __init__(self, engine: str = "") -> None:
        self.folder = data_folder() / "staging"
        self._engine = engine

    def path(self, cast: str, node: str) -> Path:
        return self.folder / f"{cast}-{node_file_name(node)}"

    def write(self, record: Path, cast: str, folder: bytes) -> None:
        """Record that this process uses the folder."""
        pid = os.getpid()
        host, boot, namespace = linux_calls.machine_identity()
        known = {"host": host, "boot": boot, "namespace": namespace, "pid": pid}
        known["start"] = linux_calls.process_start(pid)
        known["folder"] = folder.hex()
        known["engine"], known["cast"] = self._engine, cast
        fresh = record.with_name(f"{record.name}.{pid}.new")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text(json.dumps(known))
            fresh.replace(record)
        except OSError:  # without a home there is no registry: nothing is removed later, all else works
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)

    def abandoned(self, keep: Collection[str] = ()) -> list[tuple[Path, bytes]]:
        """Records and folders of ended processes whose casts will not continue.

        Those of other engines are kept for a week: their engine may return.
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

    def abandoned_delivery(self, cast: str, node: str) -> Optional[tuple[Path, bytes]]:
        """The record and folder that an ended process of this engine left for a delivery."""
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
    """The record, if its process has certainly ended. Homes may be shared between machines."""
    host, boot, namespace = linux_calls.machine_identity()
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        if b"\0" in bytes.fromhex(known["folder"]):
            return None
        if known["host"] != host:
            return None
        if known["boot"] == boot:
            if known["namespace"] != namespace:
                return None
            if linux_calls.process_start(int(known["pid"])) == known["start"] != "":
                return None
        return known
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None
