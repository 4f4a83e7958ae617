"""The connection of a command or a program to the engine, with the cluster that it needs."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Self

from castray_desktop.cli.output.terminal import format_count, output_style, print_note
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes.driver_protocol import OWN_TARGETS
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.client_cache import ClientCache
from castray_desktop.workers.client.engine_client import EngineClient

STOP_SECONDS = 10.0

DEMO_INSTEAD = (
    "No cluster was found, so this uses the demo on this computer, whose nodes are local folders. To"
    " use a cluster, specify --cluster HOST:PORT."
)
DEMO_IN_USE = "The cluster in use is the demo on this computer, not one of these: {others}"


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """Run `work` in a task while entered. Its error is raised, and ends what is done meanwhile."""
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work, name=name)
            try:
                yield
            finally:
                task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Session:
    """Connects to the running engine, or starts one, which ends with the session."""

    def __init__(
        self,
        *,
        start: bool = True,
        quiet: bool = False,
        on_event: Callable[[messages.Event], None] = lambda event: None,
    ) -> None:
        """`quiet`: print nothing while the cluster starts. `on_event` gets each event, `Welcome` first."""
        self._start = start
        style = output_style()
        self._quiet = quiet or style.quiet
        self._verbose = style.verbose
        self._on_event = on_event
        self._client: EngineClient | None = None
        self.cache = ClientCache()
        """The cluster with its nodes and casts, as of the events that were read."""
        self.keep = False
        self._noticed: Failure | None = None
        self._demo_note = ""  # printed once the cluster turns out to be the demo

    async def __aenter__(self) -> Self:
        self._client = await EngineClient.connect(find_paths(), "cli", start=self._start)
        self.cache.apply_event(self._client.welcome)
        self._on_event(self._client.welcome)
        if self._verbose:
            await self._client.request(messages.WatchLog("info"), messages.Done)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client = self.client
        if client.welcome.started and not self.keep:
            with contextlib.suppress(CastRayError, TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await client.request(messages.StopEngine(only_if_unused=True), messages.Done)
                    await self._wait_for_end(client)
        await client.close()

    @property
    def client(self) -> EngineClient:
        """The connection. Raises RuntimeError outside of the session."""
        if self._client is None:
            raise RuntimeError("the session is not open")
        return self._client

    async def events(self) -> AsyncIterator[messages.Event]:
        """The events of the engine; reading them keeps `cache` up to date."""
        async for event in self.client.events():
            self.cache.apply_event(event)
            self._on_event(event)
            if isinstance(event, messages.LogLine):
                print_note(f"{event.level}: {event.origin}: {event.text}")
            yield event

    @contextlib.asynccontextmanager
    async def reading_events(self) -> AsyncIterator[None]:
        """Read the events while entered, so that they do not pile up."""
        reading = asyncio.create_task(self.drain(), name="session events")
        try:
            yield
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    async def drain(self) -> None:
        """Read events until the connection ends."""
        async for _ in self.events():
            pass

    async def ready(self, target: str | None) -> None:
        """Wait until `target` can be used; else the cluster in use, or that of this machine.

        In a home that has never used another cluster it is then the demo on this computer, and standard error
        says so, also where the session is `quiet`. Raises CastRayError with what keeps it from coming up.
        """
        in_use = self.cache.cluster.phase not in (ClusterPhase.NONE, ClusterPhase.FAILED)
        if not target and in_use:
            await self._note_other_clusters()
        elif not target:
            self._demo_note = DEMO_INSTEAD
        if target or not in_use:
            await self.use(messages.UseCluster(target or ""))
        else:
            await self._until_ready()

    async def use(self, command: messages.UseCluster | messages.PrepareDriver | messages.JoinCluster) -> None:
        """Have the engine use a cluster, and wait until it is ready. Raises CastRayError."""
        known = self.client.welcome
        await self.client.request(command, messages.Done)
        if self.client.welcome is not known:  # another cluster: events about the previous one do not count
            async for event in self.events():
                if isinstance(event, messages.Welcome):
                    self._print_demo_note(event.cluster)
                    break
        elif self.cache.cluster.phase in (ClusterPhase.NONE, ClusterPhase.FAILED):
            self.cache.apply_event(
                messages.ClusterChanged(ClusterStatus(ClusterPhase.STARTING, target=command.target))
            )
        await self._until_ready()

    async def _until_ready(self) -> None:
        """Raises CastRayError when the start fails; events before the start do not count."""
        if self.cache.cluster.phase is ClusterPhase.READY:
            return
        started = self.cache.cluster.phase is not ClusterPhase.STARTING
        announced = ""
        async for event in self.events():
            if not isinstance(event, messages.ClusterChanged):
                continue
            phase = event.cluster.phase
            started = started or phase is ClusterPhase.STARTING
            self._print_demo_note(event.cluster)
            if not self._quiet:
                announced = _announce(event.cluster, announced)
                self._print_notice(event.cluster.notice)
            if phase is ClusterPhase.READY:
                return
            if started and phase in (ClusterPhase.FAILED, ClusterPhase.NONE):
                raise CastRayError.of(event.cluster.failure or Failure(FailureKind.CLUSTER_STOPPED))
        raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it has stopped")

    async def _note_other_clusters(self) -> None:
        """Print a note if the demo is in use, and other clusters were used before."""
        if self.cache.cluster.target != messages.LOCAL_TARGET:
            return
        known = await self.client.request(messages.ListClusters(), messages.ClusterList)
        others = [item.target for item in known.clusters if item.last_used]
        others = [target for target in others if target != messages.LOCAL_TARGET]
        if others:
            print(DEMO_IN_USE.format(others=", ".join(others)), file=sys.stderr, flush=True)

    def _print_demo_note(self, cluster: ClusterStatus) -> None:
        """Print a note if the cluster is the demo and was not named, before anything else about it."""
        if self._demo_note and cluster.target == messages.LOCAL_TARGET:
            print(self._demo_note, file=sys.stderr, flush=True)
            self._demo_note = ""

    def _print_notice(self, notice: Failure | None) -> None:
        """Print the notice of the cluster on stderr, each notice once."""
        if notice is not None and notice != self._noticed:
            self._noticed = notice
            print(sentence(notice), file=sys.stderr, flush=True)

    async def _wait_for_end(self, client: EngineClient) -> None:
        """Wait for the end of the engine; it goes on if other clients use it."""
        try:
            await client.request(messages.GetStatus(), messages.EngineStatus)
        except CastRayError:
            await self.drain()


_PREPARING = {
    "python": "Looking for a suitable Python …",
    "environment": "Creating an environment for the cluster's Ray …",
    "ray": "Installing the cluster's Ray …",
    "check": "Checking the new driver …",
}


def _announce(status: ClusterStatus, announced: str) -> str:
    """Print the phase of the cluster on stderr, each step once; returns the last printed text."""
    if status.phase is ClusterPhase.STARTING:
        again = f", attempt {status.attempt} of {status.attempts}" if status.attempt > 1 else ""
        text = (
            f"Starting Ray{again} …"
            if status.target in OWN_TARGETS
            else f"Connecting to {status.target}{again} …"
        )
    elif status.phase is ClusterPhase.PREPARING:
        text = _PREPARING.get(status.preparing, "Preparing a driver …")
    elif status.phase is ClusterPhase.PLACING:
        text = f"Setting up {format_count(status.nodes_total, 'node')} …"
    else:
        return announced
    if text != announced:
        print(text, file=sys.stderr, flush=True)
    if status.failure is not None and status.attempt > 1 and text != announced:
        print(sentence(status.failure), file=sys.stderr, flush=True)
    return text
