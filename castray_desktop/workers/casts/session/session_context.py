"""What the parts of one cast's session share: its status, the agents and the absences.

It also says which connections of the cast are encrypted. The engine decides that, so nothing on the wire can
change it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from castray_desktop.core.casts.grace_period import AbsenceTracker
from castray_desktop.core.casts.states import CastEvent, DeliveryEvent
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.messages import NodeState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.agent_directory import AgentDirectory, broadcast
from castray_desktop.workers.casts.session.cast_status import CastStatus

TICK_SECONDS = 0.25
"""Polling interval while a node is away."""


class Wakeup:
    """Wakes waiting conditions of one cast; `changed()` is called each time."""

    def __init__(self, absences: AbsenceTracker, changed: Callable[[], None]) -> None:
        self.changed = changed
        self._absences = absences
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something changed."""
        self._woken.set()
        self.changed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true; it is evaluated first and after each change."""
        while not condition():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS if self._absences else None):
                    await self._woken.wait()
            self._woken.clear()


@dataclass(frozen=True)
class SessionContext:
    """The cast's status, its agents, what runs in the background, and the clock.

    `order_failed(node, failure)` is called for an order that was not delivered.
    """

    status: CastStatus
    agents: AgentDirectory
    background: BackgroundTasks
    absences: AbsenceTracker
    wakeup: Wakeup
    clock: Callable[[], float]
    order_failed: Callable[[str, Failure], None]

    async def broadcast(self, nodes: Iterable[str], order: agent_orders.Order) -> None:
        """Send an order to several nodes; errors are ignored, since lost nodes are handled elsewhere."""
        await broadcast(self.agents, nodes, order)

    @property
    def cast(self) -> str:
        """The cast's id."""
        return self.status.cast

    @property
    def source(self) -> str:
        """The requested source."""
        return self.status.request.source

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self.clock()

    def is_online(self, node: str) -> bool:
        """Whether the node has an agent."""
        info = self.agents.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE

    def is_offline(self, node: str) -> bool:
        """Whether the node has no agent, and none is starting."""
        info = self.agents.nodes.get(node)
        return info is None or info.state is NodeState.OFFLINE

    @property
    def plain_peers(self) -> tuple[str, ...]:
        """The nodes of the cluster that can't encrypt, if the cast may serve them nevertheless."""
        if self.status.request.options.encrypt is not Encryption.AUTO:
            return ()
        hellos = {node: self.agents.hello(node) for node in self.agents.nodes}
        return tuple(node for node, hello in hellos.items() if hello is not None and not _can_encrypt(hello))

    def encryption_failure(self, node: str) -> Failure | None:
        """Why a node can't take part in this cast; None if it can, or is not online."""
        hello = self.agents.hello(node)
        if self.status.request.options.encrypt is not Encryption.ALWAYS:
            return None
        if hello is None or _can_encrypt(hello):
            return None
        return Failure(FailureKind.NOT_ENCRYPTED, {"node": node, "reason": hello.not_certified})

    def uses_engine_certificates(
        self, above: agent_reports.AgentHello, below: agent_reports.AgentHello
    ) -> bool:
        """Whether the connection between these nodes is encrypted with the engine's certificates, unless both
        are on one machine. With Ray's it is encrypted in any case.
        """
        never = self.status.request.options.encrypt is Encryption.NEVER
        return not never and above.certified and below.certified

    def advance(self, event: CastEvent, failure: Failure | None = None) -> None:
        """Apply an event of the cast now. Raises IllegalEventError."""
        self.status.advance(event, self.now, failure)
        self.wakeup.changed()

    def end_delivery(self, node: str, event: DeliveryEvent, failure: Failure | None = None) -> None:
        """End a delivery now. No effect if it has ended."""
        self.status.end_delivery(node, event, self.now, failure)


def _can_encrypt(hello: agent_reports.AgentHello) -> bool:
    """Whether the node has a certificate, of Ray or of the engine."""
    return hello.encrypted or hello.certified
