"""What the nodes of each cluster are called, kept in the home: a cast that goes on names its nodes."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from castray_desktop.workers.home_files import load_dict, replace_file

Homes = dict[str, tuple[str, str]]
"""By name: host and address."""

MOST_CLUSTERS = 50

log = logging.getLogger("castray.cluster")


class NameMemory:
    """Reads and writes one file as a whole. What is damaged is set aside; an unwritable one is no error."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self, target: str) -> Homes:
        """What the nodes of that cluster were called."""
        return self._read().get(target, {})

    def keep(self, target: str, homes: Homes) -> None:
        """From now on they are called that."""
        known = self._read()
        if known.get(target, {}) == homes:
            return
        known.pop(target, None)
        if homes:
            known[target] = homes
        for old in list(known)[:-MOST_CLUSTERS]:
            del known[old]
        try:
            replace_file(self._file, msgspec.json.encode(known))
        except OSError as error:
            log.warning("the names of nodes are not kept: %s", error)

    def _read(self) -> dict[str, Homes]:
        return load_dict(self._file, "the names of nodes", Homes)
