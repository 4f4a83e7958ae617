"""How much lies under the paths that a person has chosen on this computer."""

from __future__ import annotations

from pathlib import Path

from castray_desktop.core.messages import PathSummary
from castray_desktop.workers.ray_side.byte_plane.scan import check_path, count


def measure_paths(paths: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[PathSummary, ...]:
    """One entry for each path, in order. Blocking: reads every folder below them."""
    return tuple(_measure(path, exclude) for path in paths)


def _measure(path: str, exclude: tuple[str, ...]) -> PathSummary:
    name = Path(path).name or path
    if (failure := check_path(path)) is not None:
        return PathSummary(path, name, failure=failure)
    folder = Path(path).is_dir() and not Path(path).is_symlink()
    files, size = count(path, exclude)
    return PathSummary(path, name, folder, files, size)
