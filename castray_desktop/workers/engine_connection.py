"""A client's connection to the engine for as long as the client runs: lost, it is made again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.mirror import Mirror
from castray_desktop.workers.client import EngineClient
from castray_desktop.workers.places import Places

ReplyType = TypeVar("ReplyType", bound=messages.Message)

AGAIN_SECONDS = 1.0

log = logging.getLogger("castray.client")


class EngineConnection:
    """Keeps `mirror` up to date and hands on every event, the picture of each new connection first.

    An engine that was killed is started again; one that was ended in order is waited for.
    """

    def __init__(self, places: Places, kind: str, target: str = "") -> None:
        """`target` is the cluster to look at; without it the one that the engine has in use."""
        self.mirror = Mirror()
        self._places = places
        self._kind = kind
        self._heard: list[Callable[[messages.Event], None]] = []
        self._client: EngineClient | None = None
        self._following: asyncio.Task[None] | None = None
        self._target = target

    def listen(self, heard: Callable[[messages.Event], None]) -> None:
        """Have every event from now on given to `heard`, after the mirror has it."""
        self._heard.append(heard)

    async def open(self) -> None:
        """Connect for the first time, starting an engine where there is none. Raises CastRayError."""
        client = await EngineClient.connect(self._places, self._kind)
        self._take(client)
        await self._use(client)
        self._following = asyncio.create_task(self._follow(client), name="engine connection")

    async def close(self) -> None:
        """Leave the engine."""
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        if self._client is not None:
            await self._client.close()
            self._client = None

    @property
    def connected(self) -> bool:
        return self._client is not None

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        """As `EngineClient.request`; ENGINE_UNREACHABLE while there is no connection."""
        if self._client is None:
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it has ended")
        return await self._client.request(command, expect)

    def _take(self, client: EngineClient) -> None:
        self._client = client
        self._hear(client.welcome)

    def _hear(self, event: messages.Event) -> None:
        self.mirror.take(event)
        for heard in self._heard:
            heard(event)

    async def _follow(self, client: EngineClient) -> None:
        while True:
            async for event in client.events():
                self._hear(event)
            self._client = None
            await client.close()
            log.warning("the engine has gone")
            client = await self._connect_again()
            self._take(client)
            await self._use(client)

    async def _connect_again(self) -> EngineClient:
        while True:
            try:
                # An engine that ends in order takes its socket away, one that was killed leaves it.
                return await EngineClient.connect(
                    self._places, self._kind, start=self._places.socket.exists()
                )
            except CastRayError as error:
                log.info("the engine is not there: %s", error.failure.values)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _use(self, client: EngineClient) -> None:
        """A new engine has no cluster yet, and one of several may be in view."""
        if not self._target or self._target == self.mirror.cluster.target:
            return
        with contextlib.suppress(CastRayError):
            await client.request(messages.UseCluster(self._target), messages.Done)
