"""The engine: one process for each user that owns the clients' socket, the clusters and all casts.

It ends five seconds after its last client, unless it is kept, and stops what it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import logging
import logging.handlers
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.base.async_tasks import DaemonThreadPool
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.base.state_files import RecipientGroupFile
from castray_desktop.workers.casts.cast_commands import CastCommands
from castray_desktop.workers.casts.cast_manager import CastManager
from castray_desktop.workers.casts.cast_table import CastServices
from castray_desktop.workers.casts.node_speed_store import NodeSpeedStore
from castray_desktop.workers.casts.session.agent_orders import AgentDirectory
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from castray_desktop.workers.client.engine_client import read_body
from castray_desktop.workers.clusters import reaper
from castray_desktop.workers.clusters.agent_manager import ClusterListener
from castray_desktop.workers.clusters.cluster_discovery import (
    ClusterHistory,
    choose_target,
    find_running_clusters,
    list_clusters,
)
from castray_desktop.workers.clusters.cluster_registry import (
    ClusterFactories,
    ClusterRegistry,
    ManagedCluster,
    NodeRateLimit,
    welcome_status,
)
from castray_desktop.workers.clusters.cluster_sharing import renew_share_token, share_info
from castray_desktop.workers.clusters.cluster_supervisor import ClusterSupervisor
from castray_desktop.workers.clusters.file_browser import browse, measure
from castray_desktop.workers.diagnostics.diagnosis import DiagnosisJobs
from castray_desktop.workers.engine.client_connections import WINDOW, ClientConnection, ClientConnections
from castray_desktop.workers.engine.log_tail import LogTail, read_log
from castray_desktop.workers.engine.sleep_inhibitor import SleepInhibitor
from castray_desktop.workers.history.cast_history import CastHistory, running_and_queued
from castray_desktop.workers.schedules.schedule_manager import ScheduleClusters, ScheduleManager

IDLE_SECONDS = 5.0
"""How long the engine keeps running after its last client."""

THREADS = 64
"""Enough that slow folder scans do not delay ending a driver."""

CHECK_SECONDS = 0.5
HELLO_SECONDS = 5.0
LOG_BYTES = 2 * 1024 * 1024

log = logging.getLogger("castray.engine")


class EngineProcess:
    """Serves the clients and coordinates all parts of the engine. `run` returns when the engine has ended."""

    def __init__(
        self,
        places: Paths,
        supervise: Callable[[Paths, ClusterListener], ClusterSupervisor] = ClusterSupervisor,
        clock: Callable[[], float] = time.monotonic,
        running_here: Callable[[], tuple[str, ...]] = find_running_clusters,
    ) -> None:
        self._clock = clock
        self._running_here = running_here
        self._known = ClusterHistory(places.clusters)
        self._places = places
        self._hub = ClientConnections()
        self._diagnoses = DiagnosisJobs(self._hub.publish)
        self._supervise = functools.partial(supervise, places)
        self._records = CheckpointStore(places.casts)
        self._log_folder = places.log
        self._log_tail = LogTail(places.log, self._hub.publish, lambda: self._hub.watches_log)
        self._history = CastHistory(places.history, self._hub.publish, self._running)
        self._cast_services = CastServices(
            groups=RecipientGroupFile(places.groups).load,
            checkpoints=self._records,
            speeds=NodeSpeedStore(places.speeds),
            find_past_cast=self._history.find_cast,
            ended=self._ended,
        )
        self._settings = SettingsFile(places.settings)
        self._awake = SleepInhibitor(lambda: self._settings.current.stay_awake)
        self._limit_of = functools.partial(NodeRateLimit, self._settings)
        self._made: ClusterRegistry | None = None
        self._schedule_file = places.schedules
        self._scheduled: ScheduleManager | None = None
        self._stopping = asyncio.Event()
        self._kept = False
        self._ending = False  # from then on, new clients have to start another engine
        self._idle_since: float | None = clock()
        self._sessions: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket) -> None:
        """Serve until stopped or unused. Everything it started has ended when this returns."""
        await self._history.start()
        self._history.set_retention_days(self._settings.current.history_days)
        parts = ClusterFactories(self._supervise, self._dispatch, self._limit_of)
        self._made = ClusterRegistry(parts, self._tell, self._hub.tell_windows, self._clock)
        self._go_on(self._records.load())
        self._schedule_casts = ScheduleClusters(self._made)
        self._scheduled = ScheduleManager(self._schedule_file, self._schedule_casts, self._hub.publish)
        await self._scheduled.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._log_tail.start()
        server = await asyncio.start_unix_server(self._serve, sock=listener)
        try:
            await self._wait_for_end()
        finally:
            self._ending = True
            server.close()
            await self._schedules.close()
            await self._clusters.close()
            await self._awake.close()
            await self._history.close()
            await self._log_tail.stop()
            await self._hub.close()
            for session in tuple(self._sessions):
                session.cancel()

    def _go_on(self, records: Iterable[CastCheckpoint]) -> None:
        """Go on with casts of an earlier engine; one with which that is impossible does not stop the rest."""
        paused = not self._settings.current.go_on
        for record in records:
            try:
                self._clusters.restore((record,), paused)
            except Exception as error:
                log.exception("cast %s can't go on", record.cast)
                self._records.set_aside(record, error)

    async def _wait_for_end(self) -> None:
        while not self._stopping.is_set():
            if self._records.unread:
                self._go_on(await asyncio.to_thread(self._records.load))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._stopping.wait()
            self._clusters.close_unused(self._hub.targets)
            if self._is_idle():
                log.info("no client for %.0f seconds", IDLE_SECONDS)
                return

    def _is_idle(self) -> bool:
        if self._needed or len(self._hub) or self._idle_since is None:
            return False
        return self._clock() - self._idle_since >= IDLE_SECONDS

    @property
    def _needed(self) -> bool:
        """Whether it keeps running without clients."""
        return self._kept or self._schedules.active or self._clusters.has_deferred

    @property
    def _schedules(self) -> ScheduleManager:
        if self._scheduled is None:
            raise RuntimeError("the engine is not running")
        return self._scheduled

    def _ended(
        self, request: messages.SendRequest, target: str, result: messages.CastResult, again: bool
    ) -> None:
        (self._history.deferred_settled if again else self._history.cast_ended)(request, target, result)
        if self._scheduled is not None:
            self._scheduled.ended(result)

    @property
    def _clusters(self) -> ClusterRegistry:
        if self._made is None:
            raise RuntimeError("the engine is not running")
        return self._made

    def _dispatch(self, agents: AgentDirectory, publish: Callable[[messages.Event], None]) -> CastManager:
        def tell(event: messages.Event) -> None:
            if isinstance(event, messages.Throughput):
                self._history.throughput(agents.target, event)
            self._awake.record_event(event)
            publish(event)

        return CastManager(
            agents,
            tell,
            self._cast_services,
            self._settings.current.casts_at_once,
        )

    def _tell(self, event: messages.Event, target: str, looking: bool) -> None:
        if isinstance(event, messages.ClusterChanged):
            self._known.record_status(event.cluster, time.time())
        self._hub.send_by_target(event, target, looking)

    def _running(self) -> tuple[int, int]:
        casts = (summary for cluster in self._clusters for summary in cluster.casts.summaries())
        return running_and_queued(summary.state for summary in casts)

    # --- clients --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client until its connection ends."""
        task = asyncio.current_task()
        if task is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        requests: set[asyncio.Task[None]] = set()
        number: int | None = None
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                hello = await _read(reader)
            client = self._welcome(hello, writer)
            if client is None:
                return
            number = self._hub.add_client(client)
            self._idle_since = None
            while True:
                request = await _read(reader)
                if isinstance(request, messages.Request):
                    work = asyncio.create_task(self._answer(client, request))
                    requests.add(work)
                    work.add_done_callback(requests.discard)
        except (OSError, EOFError, TimeoutError, ValueError, msgspec.DecodeError):
            pass
        finally:
            for work in requests:
                work.cancel()
            writer.close()
            if number is not None:
                self._hub.remove_client(number)
                if not len(self._hub):
                    self._idle_since = self._clock()

    def _welcome(self, hello: messages.ToEngine, writer: asyncio.StreamWriter) -> ClientConnection | None:
        if self._ending:
            return None
        if not isinstance(hello, messages.Hello) or hello.protocol != messages.PROTOCOL_VERSION:
            writer.write(messages.encode(messages.Failed(Failure(FailureKind.ENGINE_VERSION))))
            return None
        client = ClientConnection(
            writer, hello.client, self._clusters.current(self._hub.targets_of("window")).target
        )
        writer.write(messages.encode(self._picture(client)))
        return client

    def _picture(self, client: ClientConnection) -> messages.Welcome:
        cluster = self._clusters.get(client.target)
        casts, deliveries = self._clusters.visible_casts(cluster, everything=client.kind == WINDOW)
        return messages.Welcome(
            protocol=messages.PROTOCOL_VERSION,
            version=castray_desktop.__version__,
            pid=os.getpid(),
            cluster=cluster.status,
            nodes=tuple(cluster.agents.nodes.values()),
            casts=casts,
            deliveries=deliveries,
        )

    async def _answer(self, client: ClientConnection, request: messages.Request) -> None:
        reply: messages.Reply
        try:
            self._check_alive(client, request.command)
            reply = await self._carry_out(client, request.command)
        except CastRayError as error:
            reply = messages.Failed(error.failure)
        except Exception as error:
            log.exception("%s", type(request.command).__name__)
            reason = f"{type(error).__name__}: {error}"
            reply = messages.Failed(Failure(FailureKind.INTERNAL, {"reason": reason}))
        answer = messages.Answer(request.number, reply)
        try:
            frame = messages.encode(answer)
        except ValueError as error:  # a name that is not UTF-8, or a message that is too long
            failure = Failure(FailureKind.INTERNAL, {"reason": str(error)})
            frame = messages.encode(messages.Answer(request.number, messages.Failed(failure)))
        client.send(answer, frame)

    def _check_alive(self, client: ClientConnection, command: messages.Command) -> None:
        """Refuse commands that start something while the engine is ending. Raises CastRayError."""
        if self._ending and not isinstance(command, messages.StopEngine):
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it is ending")
        leaving = self._clusters.get(client.target).status.phase is ClusterPhase.STOPPING
        if leaving and isinstance(command, messages.Send | messages.Preflight):
            raise CastRayError(FailureKind.CLUSTER_STOPPED)

    async def _carry_out(self, client: ClientConnection, command: messages.Command) -> messages.Reply:
        if isinstance(command, messages.HistoryCommand):
            return await self._history.answer(command)
        if isinstance(command, messages.ScheduleCommand):
            return await self._schedules.answer(await self._with_cluster(client, command))
        cluster = self._clusters.get(client.target)
        match command:
            case messages.Send(request):
                return messages.Accepted(cluster.casts.send(request))
            case messages.Preflight(request):
                report = await cluster.casts.dry_runs.preflight(request)
                return msgspec.structs.replace(report, cluster=self._named(cluster))
            case messages.AddRecipients(cast, recipients):
                return await self._clusters.casts_with(cast).add_recipients(cast, recipients)
            case messages.GetResult(cast):
                return await self._clusters.casts_with(cast).result(cast)
            case messages.MeasurePaths(paths, exclude, node):
                return messages.Measured(await measure(cluster.agents, node, paths, exclude))
            case messages.Browse(node, path):
                return await browse(cluster.agents, node, path)
            case messages.ShareCluster():
                await self._use(client, driver_protocol.SHARED_TARGET)
                status = await self._clusters.get(driver_protocol.SHARED_TARGET).supervisor.until_settled()
                return share_info(status, self._places)
            case messages.Diagnose(job):
                return await self._diagnoses.diagnose(job, cluster.status, cluster.agents)
            case messages.GetLog(lines):
                return messages.LogLines(await asyncio.to_thread(read_log, self._log_folder, lines))
            case messages.GetStatus():
                return self._status(cluster)
            case messages.ListClusters():
                return await self._list_clusters()
            case messages.GetSettings():
                return messages.SettingsChanged(self._settings.current)
            case _ if isinstance(command, messages.ControlCommand):
                return await self._control_of(cluster, command).carry_out(command)
            case _:
                await self._do(client, command)
                return messages.Done()

    async def _do(self, client: ClientConnection, command: messages.Command) -> None:
        """Execute commands that are answered by `Done`."""
        cluster = self._clusters.get(client.target)
        match command:
            case messages.UseCluster(target):
                await self._use(client, target)
            case messages.PrepareDriver(target):
                await self._use(client, target, prepare=True)
            case messages.RenewShareToken():
                await self._renew_share_token()
            case messages.ForgetCluster(target):
                self._known.forget_cluster(target)
            case messages.JoinCluster(target):
                await self._use(client, target, join=True)
            case messages.CancelDiagnosis(job):
                self._diagnoses.cancel(job)
            case messages.LeaveCluster():
                self._schedule_casts.left(cluster.target)
                await cluster.supervisor.leave()
            case messages.Cancel(cast):
                await self._clusters.casts_with(cast).cancel(cast)
            case messages.SetLimit(limit, cast):
                await self._set_limit(limit, cast)
            case messages.ChangeSettings(settings):
                await self._change_settings(settings)
            case messages.ClearFinished():
                for each in self._clusters if client.kind == WINDOW else (cluster,):
                    each.casts.clear_finished()
            case messages.AddNode(name, on, inbox):
                await cluster.supervisor.add_node(name, inbox, on)
            case messages.RemoveNode(name):
                await cluster.supervisor.remove_node(name)
            case messages.Watch(casts):
                client.watch(casts)
            case messages.WatchLog(level):
                client.watch_log(level)
            case messages.KeepEngine(keep):
                self._kept = keep
                self._clusters.keep(cluster if keep else None)
            case messages.StopEngine(only_if_unused):
                if not only_if_unused or (
                    not self._needed and len(self._hub) <= 1 and not self._clusters.active
                ):
                    self._ending = True
                    self._stopping.set()
            case _:
                raise CastRayError(FailureKind.INTERNAL, reason=f"{type(command).__name__} is not known here")

    async def _use(
        self, client: ClientConnection, wanted: str, *, prepare: bool = False, join: bool = False
    ) -> None:
        """Select a cluster for a client (and for clients without one), and connect to it."""
        target = await self._meant(client, wanted)
        self._known.record_choice(target, time.time())
        cluster = self._clusters.chosen(target)
        self._schedule_casts.used(target)
        for other in self._hub:
            if other.target != cluster.target and (other is client or not other.target):
                other.target = cluster.target
                picture = self._picture(other)
                picture = msgspec.structs.replace(picture, cluster=welcome_status(cluster.status, target))
                other.send(picture, messages.encode(picture))
        await cluster.supervisor.use(target, prepare=prepare, join=join)

    async def _meant(self, client: ClientConnection, wanted: str) -> str:
        """The target that a client means by `wanted`. Raises CastRayError, see `choose`."""
        running = await asyncio.to_thread(self._running_here)
        current = self._clusters.get(client.target).status
        return choose_target(wanted, current, running, others=self._known.others)

    async def _with_cluster(
        self, client: ClientConnection, command: messages.ScheduleCommand
    ) -> messages.ScheduleCommand:
        """A schedule that names no cluster gets the one that a cast of this client would run on."""
        match command:
            case messages.AddSchedule(schedule) | messages.ChangeSchedule(schedule) if not schedule.cluster:
                meant = await self._meant(client, "")
                return type(command)(msgspec.structs.replace(schedule, cluster=meant))
        return command

    async def _renew_share_token(self) -> None:
        """Whoever has the token before is shut out: the cluster that takes it is stopped."""
        cluster = self._clusters.get(agent_protocol.SHARED_TARGET)
        if cluster.casts.unfinished:
            raise CastRayError(FailureKind.CAST_GOES_ON, cast=", ".join(cluster.casts.unfinished))
        await cluster.supervisor.leave()
        await asyncio.to_thread(renew_share_token, self._places)

    async def _list_clusters(self) -> messages.ClusterList:
        running = await asyncio.to_thread(self._running_here)
        in_use = tuple(cluster.status for cluster in self._clusters if cluster.in_use)
        return messages.ClusterList(list_clusters(running, in_use, self._known), self._known.last)

    async def _set_limit(self, limit: int, cast: str) -> None:
        if limit < 0:
            raise CastRayError(FailureKind.BAD_RATE, rate=limit)
        if cast:
            await self._clusters.casts_with(cast).set_limit(cast, limit)
        else:
            await self._change_settings(msgspec.structs.replace(self._settings.current, limit=limit))

    async def _change_settings(self, settings: messages.EngineSettings) -> None:
        self._settings.change(settings)
        self._history.set_retention_days(settings.history_days)
        self._awake.settings_changed()
        self._hub.publish(messages.SettingsChanged(settings))
        await self._clusters.settings_changed(settings)

    def _control_of(self, cluster: ManagedCluster, command: messages.ControlCommand) -> CastCommands:
        """The connection of the cluster that has the cast; that of the client's cluster if none has it."""
        cast = getattr(command, "cast", "")
        known = [other for other in self._clusters if cast and other.casts.knows(cast)]
        return (known[0] if len(known) == 1 else cluster).casts.commands

    def _named(self, cluster: ManagedCluster) -> messages.CastCluster:
        return messages.CastCluster.of(cluster.agents.target, cluster.agents.address)

    def _status(self, cluster: ManagedCluster) -> messages.EngineStatus:
        return messages.EngineStatus(
            pid=os.getpid(),
            cluster=cluster.status,
            nodes=len(cluster.agents.nodes),
            casts=self._clusters.active,
            clients=len(self._hub),
            kept=self._needed,
            limit=cluster.limit.limit,
        )


async def _read(reader: asyncio.StreamReader) -> messages.ToEngine:
    return messages.decode_to_engine(await read_body(reader))


def open_socket(path: Path) -> socket.socket:
    """Open the clients' socket, for this user only. Replaces the socket of a dead engine. Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(64)
    return listener


def _log_to(folder: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(folder / "engine.log", maxBytes=LOG_BYTES, backupCount=2)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs each change


async def _live(places: Paths, listener: socket.socket) -> None:
    asyncio.get_running_loop().set_default_executor(DaemonThreadPool(THREADS, "castray"))
    await EngineProcess(places).run(listener)


def main() -> int:
    """Run the engine process. Exits at once with 0 if another engine serves this home."""
    places = find_paths()
    places.prepare()
    _log_to(places.log)
    with places.lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        reaper.sweep_abandoned(places.runs)
        listener = open_socket(places.socket)
        try:
            asyncio.run(_live(places, listener))
        except Exception:
            log.exception("the engine failed")
            return 1
        finally:
            places.socket.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # Python would wait for threads that scan folders
