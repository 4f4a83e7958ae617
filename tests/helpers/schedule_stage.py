"""Schedules whose casts and clock the test controls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState, DeliveryState, OnConflict, Schedule, SendRequest
from castray_desktop.workers.schedules.schedule_manager import ScheduleManager
from castray_desktop.workers.schedules.schedule_runner import ScheduleRunner, SourceSnapshot

NOW = 1_790_000_000.0
NODES = ("a", "b")


class FakeScheduledCasts:
    """Implements `ScheduledCasts`."""

    def __init__(self) -> None:
        self.ready = True
        self.here = True
        self.brought_up: list[str] = []
        self.held: set[str] = set()
        self.digest = "first"
        self.recipients = NODES
        self.offline: frozenset[str] = frozenset()
        self.failure: Failure | None = None
        self.looks = 0
        self.sent: list[tuple[str, SendRequest, str]] = []
        self.running: set[str] = set()
        self.gate = asyncio.Event()
        self.gate.set()

    def is_ready(self, target: str) -> bool:
        return self.ready

    async def bring_up(self, target: str) -> None:
        self.brought_up.append(target)

    def is_local(self, target: str, source: str) -> bool:
        return self.here

    async def snapshot(self, target: str, request: SendRequest) -> SourceSnapshot:
        self.looks += 1
        await self.gate.wait()
        if self.failure is not None:
            raise CastRayError.of(self.failure)
        return SourceSnapshot(self.digest, self.recipients, self.offline)

    def send(self, target: str, request: SendRequest, schedule: str) -> str:
        cast = f"cast {len(self.sent)}"
        self.sent.append((target, request, schedule))
        self.running.add(cast)
        return cast

    def is_running(self, cast: str) -> bool:
        return cast in self.running

    def keep_in_use(self, targets: set[str]) -> None:
        self.held = targets


class Stage:
    """Schedules in a temporary home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.casts = FakeScheduledCasts()
        self.now = NOW
        self.events: list[m.Event] = []
        self.schedules = self._new()

    def _new(self) -> ScheduleManager:
        return ScheduleManager(
            self.home / "schedules.json", self.casts, self.events.append, lambda: self.now, lambda: UTC
        )

    async def add(self, **values: object) -> str:
        request = SendRequest(
            (str(self.home / "data"),), ("all",), options=TransferOptions(on_conflict=OnConflict.OVERWRITE)
        )
        values = {"request": request, "name": "models", **values}
        schedule = Schedule("", **values)  # type: ignore[arg-type]
        reply = await self.schedules.answer(m.AddSchedule(schedule))
        assert isinstance(reply, m.ScheduleAdded)
        return reply.schedule

    def info(self) -> m.ScheduleInfo:
        return self.schedules._message().schedules[0]

    def runner(self) -> ScheduleRunner:
        """Of the only schedule."""
        (runner,) = self.schedules._runners.values()
        return runner

    async def settle(self) -> None:
        """Run everything that is due as far as it gets."""
        self.schedules._wake.set()
        for _ in range(20):
            await asyncio.sleep(0)

    async def later(self, seconds: float) -> None:
        self.now += seconds
        await self.settle()

    async def end(self, *failed: str, cast: int = -1, state: DeliveryState = DeliveryState.FAILED) -> None:
        """The latest cast ends; all recipients except these have the files."""
        number = cast % len(self.casts.sent)
        _, request, schedule = self.casts.sent[number]
        name = f"cast {number}"
        self.casts.running.discard(name)
        rows = tuple(
            m.DeliverySnapshot(node, state if node in failed else DeliveryState.COMPLETED)
            for node in request.recipients
        )
        outcome = CastState.PARTLY_FAILED if failed else CastState.COMPLETED
        summary = m.CastSummary(
            name,
            "data",
            outcome,
            "s",
            request.recipients,
            m.CastMode.MULTICAST,
            self.now,
            schedule=schedule,
        )
        self.schedules.ended(m.CastResult(summary, rows, 1.0))
        await self.settle()

    async def restart(self) -> None:
        await self.schedules.close()
        self.schedules = self._new()
        await self.schedules.start()
        await self.settle()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - inotify's thread tells, and the clock is the test's
                await asyncio.sleep(0.01)
