"""What a supervisor calls, and what it needs of a driver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from castray_desktop.core.protocol.messages import ClusterStatus, NodeInfo
from castray_desktop.core.protocol.nodes import agent_protocol


class ClusterListener(Protocol):
    """Gets the events of the cluster connection, in the engine's event loop."""

    def cluster_changed(self, status: ClusterStatus) -> None:
        """The cluster's state has changed."""

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """Nodes were added, changed or removed."""

    def agent_reported(self, node: str, report: agent_protocol.AgentReport) -> None:
        """An agent sent a report."""

    def unfinished_casts(self) -> tuple[str, ...]:
        """Casts whose part files agents have to keep."""

    def agent_up(self, node: str) -> None:
        """A node can send and receive; its agent is new."""

    def agent_lost(self, node: str) -> None:
        """A node can't send or receive now; it may come back."""

    async def cluster_leaving(self) -> None:
        """The cluster is left as soon as this returns; its agents still answer."""


class DriverHandle(Protocol):
    """The interface of `DriverProcess` for the cluster connection."""

    @property
    def temp_dir(self) -> Path:
        """Folder for the files of a local cluster."""

    def send(self, message: Any) -> None:
        """Send an order."""

    def messages(self) -> AsyncIterator[Any]:
        """Messages of the driver, until it ends. Raises ValueError for invalid messages."""

    def hang_up(self) -> None:
        """End `messages`."""

    async def stop(self) -> None:
        """End the driver and everything it started."""
