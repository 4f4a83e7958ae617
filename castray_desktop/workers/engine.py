"""The engine: one process for each user that owns the clients' socket, the cluster and every cast.

It ends five seconds after its last client, unless it is kept, and takes down what it started.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import logging.handlers
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

import castray_desktop
from castray_desktop.core import messages
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, NodeInfo
from castray_desktop.workers import reaper
from castray_desktop.workers.cast_records import CastRecords
from castray_desktop.workers.cluster_roles import ClusterListener
from castray_desktop.workers.dispatcher import Dispatcher
from castray_desktop.workers.frames import read_body
from castray_desktop.workers.groups import GroupFile
from castray_desktop.workers.hub import Client, ClientHub
from castray_desktop.workers.log_tail import LogTail, read_log
from castray_desktop.workers.measure import measure_paths
from castray_desktop.workers.node_limit import NodeLimit
from castray_desktop.workers.places import Places, find_places
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.speed_memory import SpeedMemory
from castray_desktop.workers.supervisor import ClusterSupervisor

IDLE_SECONDS = 5.0
"""How long the engine stays after its last client."""

CHECK_SECONDS = 0.5
HELLO_SECONDS = 5.0
LOG_BYTES = 2 * 1024 * 1024

log = logging.getLogger("castray.engine")


class Engine:
    """Listens to the cluster, serves the clients. `run` is its whole life."""

    def __init__(
        self,
        places: Places,
        supervise: Callable[[Places, ClusterListener], ClusterSupervisor] = ClusterSupervisor,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._hub = ClientHub()
        self._supervisor = supervise(places, self)
        self._records = CastRecords(places.casts)
        self._groups = GroupFile(places.groups)
        self._log_folder = places.log
        self._log_tail = LogTail(places.log, self._hub.publish, lambda: self._hub.watches_log)
        self._speeds = SpeedMemory(places.speeds)
        self._limit = NodeLimit(places.settings, self._supervisor)
        self._dispatcher: Dispatcher | None = None
        self._stopping = asyncio.Event()
        self._kept = False
        self._ending = False  # from then on, whoever comes has to start another engine
        self._idle_since: float | None = clock()
        self._sessions: set[asyncio.Task[None]] = set()

    async def run(self, listener: socket.socket) -> None:
        """Serve until stopped or unused. Everything that was started has ended afterwards."""
        self._dispatcher = Dispatcher(
            self._supervisor,
            self._hub.publish,
            speeds=self._speeds,
            records=self._records,
            groups=self._groups.load,
        )
        for record in self._records.load():
            self._dispatcher.go_on(record)
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
            await self._dispatcher.close()
            await self._supervisor.leave()
            await self._log_tail.stop()
            await self._hub.close()
            for session in tuple(self._sessions):
                session.cancel()

    async def _wait_for_end(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._stopping.wait()
            if self._is_idle():
                log.info("no client for %.0f seconds", IDLE_SECONDS)
                return

    def _is_idle(self) -> bool:
        if self._kept or len(self._hub) or self._idle_since is None:
            return False
        return self._clock() - self._idle_since >= IDLE_SECONDS

    # --- what the cluster tells -----------------------------------------------------------------

    def cluster_changed(self, status: ClusterStatus) -> None:
        """See `ClusterListener`."""
        self._hub.publish(messages.ClusterChanged(status))
        if self._dispatcher is not None:
            self._dispatcher.cluster_changed()

    def nodes_changed(self, changed: tuple[NodeInfo, ...], removed: tuple[str, ...]) -> None:
        """See `ClusterListener`."""
        self._limit.nodes_changed(changed, removed)
        self._hub.publish(messages.NodesChanged(changed, removed))
        for node in removed:
            self._casts.node_removed(node)

    def agent_reported(self, node: str, report: protocol.AgentReport) -> None:
        """See `ClusterListener`."""
        self._casts.agent_reported(node, report)

    def unfinished_casts(self) -> tuple[str, ...]:
        """See `ClusterListener`."""
        return self._casts.unfinished

    def agent_up(self, node: str) -> None:
        """See `ClusterListener`."""
        self._casts.agent_up(node)

    def agent_lost(self, node: str) -> None:
        """See `ClusterListener`."""
        self._casts.agent_lost(node)

    async def cluster_leaving(self) -> None:
        """See `ClusterListener`."""
        await self._casts.end_all(Failure(FailureKind.CLUSTER_STOPPED))

    @property
    def _casts(self) -> Dispatcher:
        if self._dispatcher is None:
            raise RuntimeError("the engine is not running")
        return self._dispatcher

    # --- clients --------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its hello to its end."""
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
            number = self._hub.add(client)
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
                self._hub.remove(number)
                if not len(self._hub):
                    self._idle_since = self._clock()

    def _welcome(self, hello: messages.ToEngine, writer: asyncio.StreamWriter) -> Client | None:
        if self._ending:
            return None
        if not isinstance(hello, messages.Hello) or hello.protocol != messages.PROTOCOL_VERSION:
            writer.write(messages.encode(messages.Failed(Failure(FailureKind.ENGINE_VERSION))))
            return None
        welcome = messages.Welcome(
            protocol=messages.PROTOCOL_VERSION,
            version=castray_desktop.__version__,
            pid=os.getpid(),
            cluster=self._supervisor.status,
            nodes=tuple(self._supervisor.nodes.values()),
            casts=self._casts.summaries(),
            deliveries=self._casts.deliveries(),
        )
        writer.write(messages.encode(welcome))
        return Client(writer, hello.client)

    async def _answer(self, client: Client, request: messages.Request) -> None:
        reply: messages.Reply
        try:
            self._check_alive(request.command)
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
        except ValueError as error:  # a name that is not UTF-8, or far too much of it
            failure = Failure(FailureKind.INTERNAL, {"reason": str(error)})
            frame = messages.encode(messages.Answer(request.number, messages.Failed(failure)))
        client.send(answer, frame)

    def _check_alive(self, command: messages.Command) -> None:
        """Whatever would begin something is refused while it would be ended at once. Raises CastRayError."""
        if self._ending and not isinstance(command, messages.StopEngine):
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it is ending")
        leaving = self._supervisor.status.phase is ClusterPhase.STOPPING
        if leaving and isinstance(command, messages.Send | messages.Preflight):
            raise CastRayError(FailureKind.CLUSTER_STOPPED)

    async def _carry_out(self, client: Client, command: messages.Command) -> messages.Reply:
        match command:
            case messages.Send(request):
                return messages.Accepted(self._casts.send(request))
            case messages.Preflight(request):
                return await self._casts.preflight(request)
            case messages.AddRecipients(cast, recipients):
                return await self._casts.add_recipients(cast, recipients)
            case messages.GetResult(cast):
                return await self._casts.result(cast)
            case messages.MeasurePaths(paths, exclude):
                return messages.Measured(await asyncio.to_thread(measure_paths, paths, exclude))
            case messages.GetLog(lines):
                return messages.LogLines(await asyncio.to_thread(read_log, self._log_folder, lines))
            case messages.GetStatus():
                return self._status()
            case _:
                await self._do(client, command)
                return messages.Done()

    async def _do(self, client: Client, command: messages.Command) -> None:
        """The commands that are answered by `Done`."""
        match command:
            case messages.UseCluster(target):
                await self._supervisor.use(target)
            case messages.PrepareDriver(target):
                await self._supervisor.use(target, prepare=True)
            case messages.LeaveCluster():
                await self._supervisor.leave()
            case messages.Cancel(cast):
                await self._casts.cancel(cast)
            case messages.SetLimit(limit, cast):
                await self._set_limit(limit, cast)
            case messages.ClearFinished():
                self._casts.clear_finished()
            case messages.AddNode(name, on, inbox):
                await self._supervisor.add_node(name, inbox, on)
            case messages.RemoveNode(name):
                await self._supervisor.remove_node(name)
            case messages.Watch(casts):
                client.watch(casts)
            case messages.WatchLog(level):
                client.watch_log(level)
            case messages.KeepEngine(keep):
                self._kept = keep
            case messages.StopEngine(only_if_unused):
                if not only_if_unused or (not self._kept and len(self._hub) <= 1 and not self._casts.active):
                    self._ending = True
                    self._stopping.set()
            case _:
                raise CastRayError(FailureKind.INTERNAL, reason=f"{type(command).__name__} is not known here")

    async def _set_limit(self, limit: int, cast: str) -> None:
        if limit < 0:
            raise CastRayError(FailureKind.BAD_RATE, rate=limit)
        await (self._casts.set_limit(cast, limit) if cast else self._limit.change(limit))

    def _status(self) -> messages.EngineStatus:
        return messages.EngineStatus(
            pid=os.getpid(),
            cluster=self._supervisor.status,
            nodes=len(self._supervisor.nodes),
            casts=self._casts.active,
            clients=len(self._hub),
            kept=self._kept,
            limit=self._limit.limit,
        )


async def _read(reader: asyncio.StreamReader) -> messages.ToEngine:
    return messages.decode_to_engine(await read_body(reader))


def open_socket(path: Path) -> socket.socket:
    """The clients' socket, for this user alone. Replaces one that a dead engine left. Raises OSError."""
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


def main() -> int:
    """The engine process. Ends at once, with 0, when another engine serves this home already."""
    places = find_places()
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
            asyncio.run(Engine(places).run(listener))
        except Exception:
            log.exception("the engine failed")
            return 1
        finally:
            places.socket.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
