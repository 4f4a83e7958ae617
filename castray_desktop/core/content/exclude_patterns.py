"""Patterns of paths to exclude from a parcel.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence


class ExcludePatterns:
    """Exclusion patterns, a subset of gitignore's.

    A pattern without a slash matches any name; one with a slash matches the whole path (with or without the
    parcel's top folder); `/` at the end restricts it to folders, `/` at the start anchors it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names: list[tuple[str, bool]] = []
        self._paths: list[tuple[str, bool]] = []
        for pattern in patterns:
            folders_only = pattern.endswith("/")
            text = pattern.rstrip("/")
            if not text:
                continue
            if "/" in text:
                text = text.lstrip("/")
                self._paths.append((text, folders_only))
                if text.startswith("**/"):
                    self._paths.append((text[3:], folders_only))
            else:
                self._names.append((text, folders_only))

    def __bool__(self) -> bool:
        return bool(self._names or self._paths)

    def excludes(self, path: str, folder: bool) -> bool:
        """Whether the entry at this path of the parcel is excluded."""
        name = path.rpartition("/")[2]
        inner = path.partition("/")[2]
        for pattern, folders_only in self._names:
            if (folder or not folders_only) and fnmatch.fnmatchcase(name, pattern):
                return True
        for pattern, folders_only in self._paths:
            if (folder or not folders_only) and (
                fnmatch.fnmatchcase(path, pattern) or (inner and fnmatch.fnmatchcase(inner, pattern))
            ):
                return True
        return False
