"""How much lies under the paths that a person has chosen on this computer."""

from __future__ import annotations

import stat
from pathlib import Path

from castray_desktop.core.failure import CastRayError, Failure
from castray_desktop.core.messages import PathSummary
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.byte_plane.scan import Scanner
from castray_desktop.workers.ray_side.looking import measure_path


def measure_paths(paths: tuple[str, ...], exclude: tuple[str, ...]) -> tuple[PathSummary, ...]:
    """One entry for each path, in order. Blocking: reads every folder below them."""
    return tuple(path_summary(measure_path(path, exclude)) for path in paths)


def check_path(path: str, links: str) -> Failure | None:
    """Why this path can't be sent at all, without looking into folders; None if it can."""
    try:
        if stat.S_ISDIR(Path(path).stat(follow_symlinks=links != "keep").st_mode):
            return None
    except OSError:
        pass  # the scan says what is wrong with it
    try:
        Scanner(links, (), lambda _: None).run([path])
    except CastRayError as error:
        return error.failure
    return None


def path_summary(size: protocol.PathSize) -> PathSummary:
    """What an agent found, as a client is told."""
    return PathSummary(size.path, size.name, size.folder, size.files, size.bytes, size.failure)
