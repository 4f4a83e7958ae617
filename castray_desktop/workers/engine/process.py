"""The engine: one process for each user that owns the clients' socket, the clusters and all casts.

It ends five seconds after its last client, unless it is kept, and stops what it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.async_tasks import DaemonThreadPool
from castray_desktop.workers.base.home_format import mark_home
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.base.state_files import (
    PrivateLogFile,
    RecipientGroupFile,
    open_private,
    open_socket,
)
from castray_desktop.workers.casts.agent_directory import AgentDirectory
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from castray_desktop.workers.casts.speed_stores import DownloadSpeedStore, NodeSpeedStore
from castray_desktop.workers.clusters import reaper
from castray_desktop.workers.clusters.agent_manager import ClusterListener
from castray_desktop.workers.clusters.cluster_discovery import ClusterHistory, find_running_clusters
from castray_desktop.workers.clusters.cluster_registry import ClusterFactories, ClusterRegistry
from castray_desktop.workers.clusters.cluster_supervisor import ClusterSupervisor
from castray_desktop.workers.diagnostics.diagnosis import DiagnosisJobs
from castray_desktop.workers.engine.client_connections import ClientConnections, ClientServer
from castray_desktop.workers.engine.command_table import EngineCommands, EngineParts
from castray_desktop.workers.engine.log_tail import LogTail
from castray_desktop.workers.engine.sleep_inhibitor import SleepInhibitor
from castray_desktop.workers.history.cast_history import CastHistory
from castray_desktop.workers.schedules.schedule_manager import ScheduleClusters, ScheduleManager
from castray_desktop.workers.sources.address_resolver import AddressResolver

IDLE_SECONDS = 5.0
"""How long the engine keeps running after its last client."""

THREADS = 64
"""Enough that slow folder scans do not delay ending a driver."""

ACCEPTED_AT_ONCE = 32
"""Far fewer than `MAX_SILENT_CLIENTS`: those that are accepted together are read before they are too many."""

BACKLOG = 1024
CHECK_SECONDS = 0.5
LOG_BYTES = 2 * 1024 * 1024

log = logging.getLogger("castray.engine")


class EngineProcess:
    """Creates, connects and closes all parts of the engine; needs a running event loop.

    `run` returns when the engine has ended.
    """

    def __init__(
        self,
        paths: Paths,
        supervise: Callable[[Paths, ClusterListener], ClusterSupervisor] = ClusterSupervisor,
        clock: Callable[[], float] = time.monotonic,
        running_here: Callable[[], tuple[str, ...]] = find_running_clusters,
    ) -> None:
        self.clients = ClientConnections(clock)
        self.known_clusters = ClusterHistory(paths.clusters)
        self.checkpoints = CheckpointStore(paths.casts)
        self.history = CastHistory(
            paths.history,
            self.clients.publish,
            lambda: [summary.state for cluster in self.clusters for summary in cluster.casts.summaries()],
            unfinished=lambda: [cast for cluster in self.clusters for cast in cluster.casts.unfinished],
            discard_kept=self._discard_kept,
        )
        self.speeds = NodeSpeedStore(paths.speeds)
        self._paths = paths
        self._clock = clock
        self._running_here = running_here
        self._settings = SettingsFile(paths.settings)
        self._sleep_inhibitor = SleepInhibitor(lambda: self._settings.current.stay_awake)
        resolver = AddressResolver()
        self._cast_services = CastServices(
            resolver=resolver,
            groups=RecipientGroupFile(paths.groups).load,
            encryption=lambda: self._settings.current.encrypt,
            limit=lambda: self._settings.current.limit,
            checkpoints=self.checkpoints,
            speeds=self.speeds,
            downloads=DownloadSpeedStore(paths.downloads),
            find_past_cast=self.history.find_cast,
            keep_file_record=self.history.keep_file_record,
            file_records=self.history.file_records,
            ended=self._cast_ended,
        )
        self.clusters = ClusterRegistry(
            ClusterFactories(functools.partial(supervise, paths), self._manage_casts),
            self._settings,
            self._publish_to_target,
            self.clients.tell_others,
            clock,
        )
        schedule_clusters = ScheduleClusters(self.clusters)
        self._schedules = ScheduleManager(paths.schedules, schedule_clusters, self.clients.publish)
        self.commands = EngineCommands(
            EngineParts(
                paths=paths,
                clients=self.clients,
                clusters=self.clusters,
                known_clusters=self.known_clusters,
                history=self.history,
                schedules=self._schedules,
                schedule_clusters=schedule_clusters,
                settings=self._settings,
                sleep_inhibitor=self._sleep_inhibitor,
                diagnoses=DiagnosisJobs(self.clients.publish),
                resolver=resolver,
                running_here=running_here,
            )
        )

    async def run(self, listener: socket.socket) -> None:
        """Serve until stopped or unused. Everything it started has ended when this returns."""
        await self.history.start()
        self.history.set_retention_days(self._settings.current.history_days)
        self._restore_casts(self.checkpoints.load())
        await self._schedules.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.commands.stopping.set)
        log_tail = LogTail(self._paths.log, self.clients.publish, lambda: self.clients.watches_log)
        log_tail.start()
        client_server = ClientServer(
            self.clients, lambda: self.commands.ending, self.commands.welcome, self.commands.carry_out
        )
        server = await asyncio.start_unix_server(client_server.serve, sock=listener, backlog=ACCEPTED_AT_ONCE)
        listener.listen(BACKLOG)  # asyncio takes one number for both
        try:
            await self._wait_for_end()
        finally:
            self.commands.ending = True
            server.close()
            await self._schedules.close()
            await self.history.end_undo()  # nodes can still remove what they keep for it
            await self.clusters.close()
            await self._sleep_inhibitor.close()
            await self.history.close()
            await log_tail.stop()
            await self.clients.close()
            client_server.close()

    def _restore_casts(self, checkpoints: Iterable[CastCheckpoint]) -> None:
        """Continue casts of an earlier engine; a failure of one does not stop the others."""
        paused = not self._settings.current.go_on
        for checkpoint in checkpoints:
            try:
                self.clusters.restore(checkpoint, paused)
            except Exception as error:
                log.exception("cast %s can't continue", checkpoint.cast)
                self.checkpoints.set_aside(checkpoint, error)

    async def _wait_for_end(self) -> None:
        stopping = self.commands.stopping
        while not stopping.is_set():
            if self.checkpoints.unread:
                self._restore_casts(await asyncio.to_thread(self.checkpoints.load))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await stopping.wait()
            self.clusters.close_unused(self.clients.targets)
            idle_since = self.clients.idle_since
            if idle_since is None or self.commands.needs_engine:
                continue
            if self._clock() - idle_since >= IDLE_SECONDS:
                log.info("no client for %.0f seconds", IDLE_SECONDS)
                return

    def _discard_kept(self, casts: Collection[str]) -> None:
        """Casts are no longer in the history, so nodes need not keep anything for their retry."""
        for cluster in self.clusters:
            cluster.casts.discard_kept(casts)

    def _cast_ended(
        self, request: messages.SendRequest, target: str, result: messages.CastResult, again: bool
    ) -> None:
        self.history.cast_ended(request, target, result, again=again)
        self._schedules.ended(result)

    def _manage_casts(self, agents: AgentDirectory, publish: Callable[[messages.Event], None]) -> CastManager:
        def publish_and_record(event: messages.Event) -> None:
            if isinstance(event, messages.Throughput):
                self.history.throughput(agents.target, event)
            self._sleep_inhibitor.record_event(event)
            publish(event)

        return CastManager(
            agents, publish_and_record, self._cast_services, self._settings.current.casts_at_once
        )

    def _publish_to_target(self, event: messages.Event, target: str, looking: bool) -> None:
        if isinstance(event, messages.ClusterChanged):
            self.known_clusters.record_status(event.cluster, time.time())
        self.clients.send_by_target(event, target, looking)


def _log_to(folder: Path) -> None:
    handler = PrivateLogFile(folder / "engine.log", maxBytes=LOG_BYTES, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs each change


async def _live(paths: Paths, listener: socket.socket) -> None:
    asyncio.get_running_loop().set_default_executor(DaemonThreadPool(THREADS, "castray"))
    await EngineProcess(paths).run(listener)


def main() -> int:
    """Run the engine process. Exits at once with 0 if another engine serves this home, and with 1 if a later
    version has written it."""
    paths = find_paths()
    try:
        paths.prepare()
    except CastRayError as error:
        print(f"castray: {sentence(error.failure)}", file=sys.stderr)  # noqa: T201 - the log is in that home
        return 1
    _log_to(paths.log)
    with open_private(paths.lock, "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        mark_home(paths.home, castray_desktop.__version__)
        reaper.sweep_abandoned(paths.runs)
        listener = open_socket(paths.socket)
        try:
            asyncio.run(_live(paths, listener))
        except Exception:
            log.exception("the engine failed")
            return 1
        finally:
            paths.socket.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Python would wait for threads that scan folders
