"""A cast manager whose agents do what the test says, and a clock that the test advances."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from castray_desktop.core.casts.grace_period import GRACE_SECONDS, AbsenceTracker
from castray_desktop.core.protocol.messages import CastMode, CastResult, CastState, Event, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_reports import SourceState
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.cast_status import CastStatus
from castray_desktop.workers.casts.session.multicast_control import MulticastGroups
from castray_desktop.workers.casts.session.session_context import SessionContext, Wakeup
from castray_desktop.workers.sources.address_resolver import AddressResolver
from tests.helpers.fake_agents import STREAM, FakeAgents
from tests.helpers.patience import PATIENCE

REQUEST = SendRequest(("/data/model.bin",), ("all",), leave_out=True)


async def retry_cast(cast_manager: CastManager, cast: str, *recipients: str) -> str:
    """Retry a cast of this cluster, as the engine does; returns its id."""
    past, failed = await cast_manager.commands.find_failed(cast, recipients)
    return cast_manager.retry(past, failed)


def session_context(
    agents: AgentDirectory, background: BackgroundTasks, request: SendRequest = REQUEST
) -> SessionContext:
    """The context of a session of these agents that nobody runs."""
    absences = AbsenceTracker()
    return SessionContext(
        CastStatus("cast", request, {}, CastMode.MULTICAST, 0.0, 0.0),
        agents,
        background,
        absences,
        Wakeup(absences, lambda: None),
        time.monotonic,
        lambda node, failure: None,
    )


class Stage:
    """A cast manager with a source `s` and recipients a, b, c."""

    request = REQUEST

    def __init__(
        self,
        multicast_groups: MulticastGroups | None = None,
        resolver: AddressResolver | None = None,
        **services: Any,
    ) -> None:
        """`services` are further ones of `CastServices`."""
        self.agents = FakeAgents("s", "a", "b", "c")
        self.events: list[Event] = []
        self.skipped = 0.0
        self.cast_manager = CastManager(
            self.agents,
            self.events.append,
            CastServices(
                clock=self._clock,
                multicast_groups=multicast_groups or MulticastGroups(),
                resolver=resolver or AddressResolver(),
                **services,
            ),
        )
        self.agents.cast_manager = self.cast_manager

    def _clock(self) -> float:
        return time.monotonic() + self.skipped

    def skip(self, seconds: float = GRACE_SECONDS) -> None:
        """Advance the clock."""
        self.skipped += seconds

    async def start(self, request: SendRequest = REQUEST, nodes: str = "abc") -> str:
        """Start a cast, and wait until the last recipient was ordered to fetch."""
        cast = self.cast_manager.send(request)
        for node in nodes:
            await self.agents.wait_for(node, agent_orders.StartDelivery)
        return cast

    async def retry(self, cast: str, *recipients: str) -> str:
        """Retry a cast; returns its id."""
        return await retry_cast(self.cast_manager, cast, *recipients)

    def finish_source(self, cast: str, sent: int = STREAM) -> None:
        self.agents.report_source(
            "s", cast, SourceState.HASHED, totals=None, trailer_digest="t", sent_bytes=sent
        )

    async def result(self, cast: str) -> CastResult:
        async with asyncio.timeout(PATIENCE):
            return await self.cast_manager.result(cast)

    async def complete(self, cast: str, *hops: str) -> None:
        """These recipients complete it; a hop is a recipient and its upstream, `s` if omitted."""
        for node, *upstream in hops:
            await self.agents.wait_for(node, agent_orders.AnnounceTrailer)
            self.agents.complete(node, cast, *upstream or "s")

    async def finish(self, cast: str, *hops: str) -> CastState:
        """The source announces the trailer and these recipients complete it; returns the final state."""
        self.finish_source(cast)
        await self.complete(cast, *hops)
        return (await self.result(cast)).summary.state
