"""What a delivery needs to know about its node."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from castray_desktop.workers.agent.transfer.peer.dial import ConnectionFactory
from castray_desktop.workers.agent.transfer.store.destination_check import SpaceReservations
from castray_desktop.workers.agent.transfer.store.hash_cache import HashCache
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry


@dataclass(frozen=True)
class PeerTiming:
    """Timeouts of a recipient, in seconds."""

    lost_after: float = 5.0  # without a living upstream: UPSTREAM_LOST is reported
    grace: float = 5.0  # after that report: what the cast manager has for another upstream
    first_pause: float = 0.02
    longest_pause: float = 0.5
    keep: float = 30.0  # a connection while the delivery is paused


@dataclass(frozen=True)
class NodeContext:
    """What deliveries need to know about their node."""

    node: str
    inbox: Path
    reservations: SpaceReservations
    registry: StagingRegistry
    connections: ConnectionFactory
    timing: PeerTiming
    hash_cache: HashCache
