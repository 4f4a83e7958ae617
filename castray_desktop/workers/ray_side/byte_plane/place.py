"""What a delivery needs to know about its node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from castray_desktop.workers.ray_side.byte_plane.hash_cache import HashCache
from castray_desktop.workers.ray_side.byte_plane.registry import Registry
from castray_desktop.workers.ray_side.byte_plane.room import Ledger
from castray_desktop.workers.ray_side.byte_plane.surroundings import Surroundings


@dataclass(frozen=True)
class Timing:
    """How patient a recipient is, in seconds."""

    lost_after: float = 5.0  # without a living upstream: UPSTREAM_LOST is reported
    grace: float = 5.0  # after that report: what the dispatcher has for another upstream
    first_pause: float = 0.02
    longest_pause: float = 0.5
    keep: float = 30.0  # a connection while the delivery is paused


@dataclass(frozen=True)
class Place:
    """A node as its deliveries see it."""

    node: str
    inbox: Path
    ledger: Ledger
    registry: Registry
    surroundings: Surroundings
    timing: Timing
    hashes: HashCache
