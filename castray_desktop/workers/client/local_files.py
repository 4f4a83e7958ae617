"""Sizes of paths on this computer, and whether they can be sent."""

from __future__ import annotations

import stat
from pathlib import Path

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.protocol.messages import PathSummary
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.workers.agent.node_inspection import measure_path
from castray_desktop.workers.agent.transfer.source.scanner import Scanner


def measure_paths(paths: tuple[str, ...], patterns: NamePatterns) -> tuple[PathSummary, ...]:
    """Measure paths; one entry for each, in order. Blocking: reads every folder below them."""
    return tuple(path_summary(measure_path(path, patterns)) for path in paths)


def check_path(path: str, links: str) -> Failure | None:
    """Why this path can't be sent at all, without reading folders; None if it can."""
    try:
        if stat.S_ISDIR(Path(path).stat(follow_symlinks=links != "keep").st_mode):
            return None
    except OSError:
        pass  # the scan reports the error
    try:
        Scanner(links, NamePatterns(), lambda: None).run([path])
    except CastRayError as error:
        return error.failure
    return None


def path_summary(size: agent_orders.PathSize) -> PathSummary:
    """Convert an agent's measurement to the message for clients."""
    return PathSummary(size.path, size.name, size.folder, size.files, size.bytes, size.failure)
