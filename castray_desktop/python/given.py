"""What programs give, made into what the engine takes."""

from __future__ import annotations

import os
from collections.abc import Iterable

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.quantities import parse_limit
from castray_desktop.workers.measure import check_path

Names = str | Iterable[str]
Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def absolute(paths: Paths, links: str, here: bool) -> tuple[str, ...]:
    """Absolute paths, which have to exist where they are of `here`. Raises CastRayError."""
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found = tuple(os.path.abspath(path) if here else os.fspath(path) for path in given)
    for path in found if here else ():
        if (failure := check_path(path, links)) is not None:
            raise CastRayError.of(failure)
    return found


def names(given: Names) -> tuple[str, ...]:
    """Names, from a list or from a text with commas between."""
    several = given.split(",") if isinstance(given, str) else given
    return tuple(name.strip() for name in several if name.strip())


def rate(limit: int | str) -> int:
    """Bytes per second, also from a text such as "10MB/s". Raises CastRayError."""
    return parse_limit(limit) if isinstance(limit, str) else limit
