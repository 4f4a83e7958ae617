"""The API's view of the engine: what it has heard, made into answers once for each change."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

import castray_desktop
from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError
from castray_desktop.core.forms import CastForm, cast_form, cluster_form, node_form
from castray_desktop.core.messages import NodeState
from castray_desktop.core.mirror import Mirror
from castray_desktop.workers.http_api.answers import StatusForm, TotalsForm
from castray_desktop.workers.http_api.metrics import exposition

ReplyType = TypeVar("ReplyType", bound=messages.Message)


class Engine(Protocol):
    """What the API needs of `EngineConnection`."""

    @property
    def mirror(self) -> Mirror: ...

    @property
    def connected(self) -> bool: ...

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType: ...


class Picture:
    """Answers from the mirror without asking the engine, and asks it for the rest."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._status = b""
        self._made_from: tuple[int, bool] | None = None

    @property
    def mirror(self) -> Mirror:
        return self._engine.mirror

    async def ask(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        """The engine's reply. Raises CastRayError."""
        return await self._engine.request(command, expect)

    def status(self) -> bytes:
        """`StatusForm` as JSON, made anew only when something has changed."""
        state = (self.mirror.version, self._engine.connected)
        if self._made_from != state:
            self._status = msgspec.json.encode(self._status_form())
            self._made_from = state
        return self._status

    def active(self) -> tuple[CastForm, ...]:
        """The casts that have not ended, with their deliveries."""
        mirror = self.mirror
        return tuple(cast_form(cast, mirror.deliveries(cast.cast)) for cast in mirror.active)

    async def statistics(self) -> messages.StatisticsReport | None:
        """The engine's statistics, None where it can't tell."""
        try:
            return await self.ask(messages.GetStatistics(), messages.StatisticsReport)
        except CastRayError:
            return None

    async def metrics(self) -> bytes:
        """Prometheus' text."""
        return exposition(self.mirror, self._engine.connected, await self.statistics())

    def _status_form(self) -> StatusForm:
        mirror = self.mirror
        active = mirror.active
        throughput = mirror.throughput if active else None
        return StatusForm(
            state="running" if self._engine.connected else "away",
            version=castray_desktop.__version__,
            cluster=cluster_form(mirror.cluster),
            nodes=tuple(node_form(node) for node in mirror.nodes.values()),
            totals=TotalsForm(
                nodes=len(mirror.nodes),
                nodes_online=sum(node.state is NodeState.ONLINE for node in mirror.nodes.values()),
                casts=len(mirror.casts),
                casts_active=len(active),
                received_rate=round(throughput.total) if throughput else 0,
                upload_rate=round(throughput.upload) if throughput else 0,
            ),
        )
