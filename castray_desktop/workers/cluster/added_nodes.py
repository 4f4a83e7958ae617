"""The nodes that the user has added to the local cluster: they are there again when it is started again."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from castray_desktop.workers.home_files import load_list, replace_file

log = logging.getLogger("castray.cluster")


class AddedNode(msgspec.Struct, frozen=True):
    """As it was asked for."""

    name: str
    inbox: str = ""  # empty: the one that follows from its name


class AddedNodes:
    """Kept in a file, which is written at each change."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def load(self) -> tuple[AddedNode, ...]:
        """In the order in which they were added; what is damaged is set aside."""
        return tuple(load_list(self._file, "the nodes that were added", AddedNode))

    def add(self, node: AddedNode) -> None:
        """One more, or another one of that name."""
        self._save((*self._others(node.name), node))

    def remove(self, name: str) -> None:
        """It is not wanted any more."""
        others = self._others(name)
        if len(others) != len(self.load()):
            self._save(others)

    def _others(self, name: str) -> tuple[AddedNode, ...]:
        return tuple(node for node in self.load() if node.name != name)

    def _save(self, nodes: tuple[AddedNode, ...]) -> None:
        """Replaced as a whole, so that a crash leaves the old or the new ones."""
        try:
            replace_file(self._file, msgspec.json.encode(nodes))
        except OSError as error:
            log.warning("added nodes will not be there after the next start: %s", error)
