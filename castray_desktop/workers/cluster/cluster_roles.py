"""Whom a cluster's supervisor tells, and what it needs of a driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from castray_desktop.core.messages import ClusterStatus, NodeInfo
from castray_desktop.workers.ray_side import protocol


class ClusterListener(Protocol):
    """Whom the supervisor tells; called in the engine's loop."""

    def cluster_changed(self, status: ClusterStatus) -> None:
        """The cluster's state is another one."""

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """Nodes are new, have changed or are gone."""

    def agent_reported(self, node: str, report: protocol.AgentReport) -> None:
        """An agent's report."""

    def unfinished_casts(self) -> tuple[str, ...]:
        """What agents keep the part files of."""

    def agent_up(self, node: str) -> None:
        """A node can send and receive; its agent is a new one."""

    def agent_lost(self, node: str) -> None:
        """A node can't send or receive now. It may come back."""

    async def cluster_leaving(self) -> None:
        """The cluster is going to be left as soon as this returns. Its agents still answer."""


class Driver(Protocol):
    """What the supervisor needs of a `DriverProcess`."""

    @property
    def temp_dir(self) -> Path:
        """For the files of a local cluster."""

    def send(self, message: Any) -> None:
        """Send an order."""

    def messages(self) -> AsyncIterator[Any]:
        """What the driver says, until its end. Raises ValueError when that makes no sense."""

    def hang_up(self) -> None:
        """End `messages`."""

    async def stop(self) -> None:
        """End the driver and everything that it started."""
