"""The nodes' agents as casts see them, and what several of them have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from castray_desktop.core.messages import NodeInfo
from castray_desktop.workers.ray_side import protocol


class Agents(Protocol):
    """Who they are, where they are, and how they are given orders."""

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""

    @property
    def target(self) -> str:
        """The cluster that is in use, as it was asked for; empty for none."""

    @property
    def address(self) -> str:
        """Of that cluster's head; empty while it is not known."""

    @property
    def settled(self) -> bool:
        """Whether a node that is not there is missing: not while the cluster itself is being connected to."""

    def hello(self, node: str) -> protocol.AgentHello:
        """Where a node's agent can be reached. Raises CastRayError(NODE_OFFLINE)."""

    async def call(self, node: str, order: protocol.Order) -> protocol.Answers | None:
        """Have an order carried out. Raises CastRayError(NODE_OFFLINE)."""


def common_algorithms(hellos: Iterable[protocol.AgentHello]) -> protocol.Algorithms:
    """The best digest and hash that every one of these nodes can compute.

    What the standard library has is on every node, so there always is one.
    """
    those = list(hellos)

    def best(choices: list[tuple[str, ...]], default: str) -> str:
        offered = choices[0] if choices else ()
        return next((name for name in offered if all(name in other for other in choices)), default)

    plain = protocol.Algorithms()
    return protocol.Algorithms(
        best([hello.piece_digests for hello in those], plain.piece),
        best([hello.file_hashes for hello in those], plain.file),
    )
