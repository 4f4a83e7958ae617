"""The commands of clients: which part of the engine carries out which."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.casts.cast_commands import CastCommands
from castray_desktop.workers.clusters.cluster_discovery import ClusterHistory, choose_target, list_clusters
from castray_desktop.workers.clusters.cluster_registry import ClusterRegistry, ManagedCluster, welcome_status
from castray_desktop.workers.clusters.cluster_sharing import renew_share_token, share_info
from castray_desktop.workers.clusters.file_browser import browse, measure
from castray_desktop.workers.diagnostics.diagnosis import DiagnosisJobs
from castray_desktop.workers.engine.client_connections import WINDOW, ClientConnection, ClientConnections
from castray_desktop.workers.engine.log_tail import read_log
from castray_desktop.workers.engine.sleep_inhibitor import SleepInhibitor
from castray_desktop.workers.history.cast_history import CastHistory
from castray_desktop.workers.schedules.schedule_manager import ScheduleClusters, ScheduleManager
from castray_desktop.workers.sources.address_resolver import AddressResolver


@dataclass(frozen=True)
class EngineParts:
    """The parts of the engine that carry out commands.

    `running_here` returns the addresses of the clusters that run on this machine, and blocks.
    """

    paths: Paths
    clients: ClientConnections
    clusters: ClusterRegistry
    known_clusters: ClusterHistory
    history: CastHistory
    schedules: ScheduleManager
    schedule_clusters: ScheduleClusters
    settings: SettingsFile
    sleep_inhibitor: SleepInhibitor
    diagnoses: DiagnosisJobs
    resolver: AddressResolver
    running_here: Callable[[], tuple[str, ...]]


class EngineCommands:
    """Carries out commands. `stopping` is set by the command that ends the engine."""

    def __init__(self, parts: EngineParts) -> None:
        self.stopping = asyncio.Event()
        self.ending = False
        """From now on, new clients have to start another engine."""
        self._parts = parts
        self._clusters = parts.clusters
        self._kept = False
        self._awaited: set[str] = set()  # casts until whose end the engine is kept

    @property
    def needs_engine(self) -> bool:
        """Whether the engine keeps running without clients."""
        return self._kept_for_good or bool(self._awaited_casts)

    @property
    def _kept_for_good(self) -> bool:
        """Whether it keeps running without clients, whichever casts end."""
        return bool(self._kept or self._parts.schedules.active or self._clusters.has_deferred)

    @property
    def _awaited_casts(self) -> frozenset[str]:
        """The unfinished casts until whose end the engine is kept."""
        self._awaited.intersection_update(self._clusters.unfinished)
        return frozenset(self._awaited)

    def welcome(self, client: ClientConnection) -> messages.Welcome:
        """Show a new client the current cluster; returns what it is sent."""
        client.target = self._clusters.current(self._parts.clients.targets_of(WINDOW)).target
        return self._snapshot(client)

    def _snapshot(self, client: ClientConnection) -> messages.Welcome:
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

    async def carry_out(self, client: ClientConnection, command: messages.Command) -> messages.Reply:
        """Carry out a command and return its reply. Raises CastRayError."""
        self._check_alive(client, command)
        if isinstance(command, messages.HistoryCommand):
            return await self._parts.history.answer(command)
        if isinstance(command, messages.ScheduleCommand):
            return await self._parts.schedules.answer(await self._with_target(client, command))
        cluster = self._clusters.get(client.target)
        match command:
            case messages.Send(request):
                return messages.Accepted(cluster.casts.send(request))
            case messages.Preflight(request):
                report = await cluster.casts.dry_runs.preflight(request)
                named = messages.CastCluster.of(cluster.agents.target, cluster.agents.address)
                return msgspec.structs.replace(report, cluster=named)
            case messages.AddRecipients(cast, recipients):
                return await self._clusters.casts_with(cast).add_recipients(cast, recipients)
            case messages.Retry():
                return messages.Accepted(await self._retry(client, command))
            case messages.GetResult(cast):
                return await self._clusters.casts_with(cast).result(cast)
            case messages.MeasurePaths():
                return messages.Measured(await measure(cluster.agents, self._parts.resolver, command))
            case messages.Browse(node, path):
                return await browse(cluster.agents, node, path)
            case messages.ShareCluster():
                await self._use(client, driver_protocol.SHARED_TARGET)
                status = await self._clusters.get(driver_protocol.SHARED_TARGET).supervisor.until_settled()
                return share_info(status, self._parts.paths)
            case messages.Diagnose(job):
                return await self._parts.diagnoses.diagnose(job, cluster.status, cluster.agents)
            case messages.GetLog(lines):
                return messages.LogLines(await asyncio.to_thread(read_log, self._parts.paths.log, lines))
            case messages.GetStatus():
                return self._status(cluster)
            case messages.ListClusters():
                return await self._list_clusters()
            case messages.GetSettings():
                return messages.SettingsChanged(self._parts.settings.current)
            case _ if isinstance(command, messages.ControlCommand):
                return await self._control_of(cluster, command).carry_out(command)
            case _:
                await self._do(client, command)
                return messages.Done()

    async def _retry(self, client: ClientConnection, command: messages.Retry) -> str:
        """Retry a cast on its own cluster, whichever the client uses; returns its id. Raises CastRayError."""
        own = self._clusters.get(client.target)
        control = self._control_of(own, command)
        past, recipients = await control.find_failed(command.cast, command.recipients)
        if not past.target:  # a version before has not kept it
            past = msgspec.structs.replace(past, target=own.target)
        self._parts.schedule_clusters.used(past.target)
        cluster, cast = await self._clusters.retry(past, recipients)
        if cluster.target != client.target and client.kind != WINDOW:
            client.follow(cast)
            for event in cluster.casts.present(cast):
                client.send(event, messages.encode(event))
        return cast

    def _check_alive(self, client: ClientConnection, command: messages.Command) -> None:
        """Refuse commands that start something while the engine is ending. Raises CastRayError."""
        if self.ending and not isinstance(command, messages.StopEngine):
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="it is shutting down")
        leaving = self._clusters.get(client.target).status.phase is ClusterPhase.STOPPING
        if leaving and isinstance(command, messages.Send | messages.Preflight):
            raise CastRayError(FailureKind.CLUSTER_STOPPED)

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
                self._parts.known_clusters.forget_cluster(target)
            case messages.JoinCluster(target):
                await self._use(client, target, join=True)
            case messages.CancelDiagnosis(job):
                self._parts.diagnoses.cancel(job)
            case messages.LeaveCluster():
                self._parts.schedule_clusters.left(cluster.target)
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
                await cluster.agents.add_node(name, inbox, on)
            case messages.RemoveNode(name):
                cluster.agents.remove_node(name)
            case messages.Watch(casts):
                client.watch(casts)
            case messages.WatchLog(level):
                client.watch_log(level)
            case messages.KeepEngine(keep):
                self._kept = keep
                self._clusters.keep(cluster if keep else None)
            case messages.KeepUntilEnded(cast):
                self._awaited.add(self._clusters.casts_with(cast).find_id(cast))
            case messages.StopEngine(only_if_unused):
                if not only_if_unused or (
                    not self.needs_engine and len(self._parts.clients) <= 1 and not self._clusters.active
                ):
                    self.ending = True
                    self.stopping.set()
            case _:
                raise CastRayError(FailureKind.INTERNAL, reason=f"{type(command).__name__} is not known here")

    async def _use(
        self, client: ClientConnection, wanted: str, *, prepare: bool = False, join: bool = False
    ) -> None:
        """Select a cluster for a client (and for clients without one), and connect to it."""
        target = await self._resolve_target(client, wanted)
        self._parts.known_clusters.record_choice(target, time.time())
        cluster = self._clusters.chosen(target)
        self._parts.schedule_clusters.used(target)
        for other in self._parts.clients:
            if other.target != cluster.target and (other is client or not other.target):
                other.target = cluster.target
                snapshot = self._snapshot(other)
                snapshot = msgspec.structs.replace(snapshot, cluster=welcome_status(cluster.status, target))
                other.send(snapshot, messages.encode(snapshot))
        await cluster.supervisor.use(target, prepare=prepare, join=join)

    async def _resolve_target(self, client: ClientConnection, wanted: str) -> str:
        """The target that a client means by `wanted`. Raises CastRayError, see `choose_target`."""
        running = await asyncio.to_thread(self._parts.running_here)
        current = self._clusters.get(client.target).status
        return choose_target(wanted, current, running, others=self._parts.known_clusters.others)

    async def _with_target(
        self, client: ClientConnection, command: messages.ScheduleCommand
    ) -> messages.ScheduleCommand:
        """A schedule that names no cluster gets the one that a cast of this client would run on."""
        match command:
            case messages.AddSchedule(schedule) | messages.ChangeSchedule(schedule) if not schedule.cluster:
                target = await self._resolve_target(client, "")
                return type(command)(msgspec.structs.replace(schedule, cluster=target))
        return command

    async def _renew_share_token(self) -> None:
        """The old token is refused from now on: the cluster that accepts it is stopped."""
        cluster = self._clusters.get(driver_protocol.SHARED_TARGET)
        if cluster.casts.unfinished:
            raise CastRayError(FailureKind.CAST_GOES_ON, cast=", ".join(cluster.casts.unfinished))
        await cluster.supervisor.leave()
        await asyncio.to_thread(renew_share_token, self._parts.paths)

    async def _list_clusters(self) -> messages.ClusterList:
        running = await asyncio.to_thread(self._parts.running_here)
        in_use = tuple(cluster.status for cluster in self._clusters if cluster.in_use)
        return messages.ClusterList(
            list_clusters(running, in_use, self._parts.known_clusters), self._parts.known_clusters.last
        )

    async def _set_limit(self, limit: int, cast: str) -> None:
        if limit < 0:
            raise CastRayError(FailureKind.BAD_RATE, rate=limit)
        if cast:
            await self._clusters.casts_with(cast).set_limit(cast, limit)
        else:
            await self._change_settings(msgspec.structs.replace(self._parts.settings.current, limit=limit))

    async def _change_settings(self, settings: messages.EngineSettings) -> None:
        self._parts.settings.change(settings)
        self._parts.history.set_retention_days(settings.history_days)
        self._parts.sleep_inhibitor.settings_changed()
        self._parts.clients.publish(messages.SettingsChanged(settings))
        await self._clusters.settings_changed(settings)

    def _control_of(self, cluster: ManagedCluster, command: messages.ControlCommand) -> CastCommands:
        """The commands of the cluster that has the cast; those of the client's cluster if none has it."""
        cast = getattr(command, "cast", "")
        known = [other for other in self._clusters if cast and other.casts.knows(cast)]
        return (known[0] if len(known) == 1 else cluster).casts.commands

    def _status(self, cluster: ManagedCluster) -> messages.EngineStatus:
        return messages.EngineStatus(
            pid=os.getpid(),
            cluster=cluster.status,
            nodes=len(cluster.agents.nodes),
            casts=self._clusters.active,
            clients=len(self._parts.clients),
            kept=self.needs_engine,
            limit=self._parts.settings.current.limit,
            kept_until=() if self._kept_for_good else tuple(sorted(self._awaited_casts)),
            cluster_kept=self._clusters.is_kept(cluster),
        )
