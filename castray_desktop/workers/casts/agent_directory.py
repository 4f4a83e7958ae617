"""The agents of a cluster as other parts of the engine see them, and how they are called."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Protocol

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import NodeInfo
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel

ORDER_SECONDS = 15.0
"""An agent that has not answered an order by then counts as lost."""

SUSPENDED_SECONDS = 1.0
"""A timer that is so late shows that this process was suspended."""

UNREAD_SECONDS = 2.0
"""Time to read, after that, what has come meanwhile."""


class AgentDirectory(Protocol):
    """The nodes, and how their agents are called."""

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""

    @property
    def target(self) -> str:
        """The target of the cluster in use; empty for none."""

    @property
    def address(self) -> str:
        """Of that cluster's head; empty while it is not known."""

    @property
    def settled(self) -> bool:
        """Whether the connection to the cluster is settled: while it is being connected to, absent nodes are
        not missing."""

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        """The hello of a node's agent; None while it is offline."""

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        """Send an order and return its reply.

        Raises CastRayError: NODE_OFFLINE, NODE_SILENT after `seconds`, INTERNAL when it failed there.
        """


@contextlib.asynccontextmanager
async def answer_within(node: str, seconds: float) -> AsyncIterator[None]:
    """Bound the time in which an agent has to answer. Raises CastRayError(NODE_SILENT).

    If this process was suspended at the end of that time, an answer may be there and not be read yet.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    try:
        async with asyncio.timeout(None) as timer:

            def over() -> None:
                now = loop.time()
                timer.reschedule(now + UNREAD_SECONDS if now - deadline > SUSPENDED_SECONDS else now)

            handle = loop.call_at(deadline, over)
            try:
                yield
            finally:
                handle.cancel()
    except TimeoutError:
        raise CastRayError(FailureKind.NODE_SILENT, node=node, seconds=int(seconds)) from None


def common_algorithms(hellos: Iterable[agent_reports.AgentHello]) -> cast_parcel.Algorithms:
    """The best digest and hash algorithms that all of these nodes support.

    The standard library's are on every node, so there always is one.
    """
    those = list(hellos)

    def best(choices: list[tuple[str, ...]], default: str) -> str:
        offered = choices[0] if choices else ()
        return next((name for name in offered if all(name in other for other in choices)), default)

    plain = cast_parcel.Algorithms()
    return cast_parcel.Algorithms(
        best([hello.piece_digests for hello in those], plain.piece),
        best([hello.file_hashes for hello in those], plain.file),
    )


async def broadcast(agents: AgentDirectory, nodes: Iterable[str], order: agent_orders.Order) -> None:
    """Send an order to several nodes; errors are ignored, since lost nodes are handled elsewhere."""
    await asyncio.gather(*(agents.call(node, order) for node in nodes), return_exceptions=True)
