"""The saved groups of recipients, in a file of the home that window, engine and command line read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import msgspec

from castray_desktop.core.groups import Groups
from castray_desktop.workers.home_files import UNREADABLE, load_dict, read_file


class GroupFile:
    """`groups.json`: an object of lists of node names. It is read anew each time: others write it too."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[str, tuple[str, ...]]:
        """All groups; none where the file is not there or is not readable as such."""
        try:
            groups = msgspec.json.decode(read_file(self._path), type=dict[str, msgspec.Raw])
        except (OSError, *UNREADABLE):
            return {}
        found = {}
        for name, nodes in groups.items():
            with contextlib.suppress(*UNREADABLE):
                found[name] = msgspec.json.decode(nodes, type=tuple[str, ...])
        return found

    def save(self, groups: Groups) -> None:
        """Keep exactly these. Raises OSError; then the file is as it was."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=".groups-", dir=self._path.parent)
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(dict(sorted(groups.items()))), indent=2))
            Path(name).replace(self._path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise

    def put(self, name: str, nodes: tuple[str, ...]) -> None:
        """Keep a group under this name, in the place of one that has it. Raises OSError."""
        self.save({**self._kept(), name: nodes})

    def remove(self, name: str) -> None:
        """Forget a group; an unknown one does not matter. Raises OSError."""
        self.save({other: nodes for other, nodes in self._kept().items() if other != name})

    def _kept(self) -> dict[str, tuple[str, ...]]:
        """All groups, before they are written. A damaged file is set aside, never overwritten."""
        return load_dict(self._path, "the groups of recipients", tuple[str, ...])
