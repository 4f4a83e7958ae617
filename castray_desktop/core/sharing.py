"""Recipients that would write to the same folder: one writes, the others wait for what it writes."""

from __future__ import annotations

from collections.abc import Mapping


class Sharing:
    """Who writes for whom. A writer never follows another one."""

    def __init__(self) -> None:
        self._writers: dict[str, str] = {}  # storage: the first that would write there
        self._followed: dict[str, str] = {}  # follower: its writer

    def add(self, node: str, storage: str) -> None:
        """`node` would write to `storage`; an empty one is shared with nobody."""
        writer = self._writers.setdefault(storage, node) if storage else node
        if writer != node:
            self._followed[node] = writer

    def writers(self) -> dict[str, str]:
        """By follower: who writes for it."""
        return dict(self._followed)

    def restore(self, writers: Mapping[str, str]) -> None:
        """Follow as it was said before, by another engine."""
        self._followed.update(writers)

    def writer_of(self, node: str) -> str | None:
        """Who writes for `node`; None when it writes itself."""
        return self._followed.get(node)

    def followers_of(self, writer: str) -> tuple[str, ...]:
        """For whom `writer` writes."""
        return tuple(node for node, its in self._followed.items() if its == writer)

    def hand_over(self, writer: str, heir: str) -> None:
        """`heir`, a follower of `writer`, writes for all of them from now on, the former writer included.

        Raises KeyError when it is none.
        """
        if self._followed.get(heir) != writer:
            raise KeyError(heir)
        del self._followed[heir]
        for node, its in self._followed.items():
            if its == writer:
                self._followed[node] = heir
        self._followed[writer] = heir
        for storage, its in self._writers.items():
            if its == writer:
                self._writers[storage] = heir
