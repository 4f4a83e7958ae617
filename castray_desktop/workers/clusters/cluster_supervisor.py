"""Supervise one cluster: start its driver, restart it where that helps, and report the connection status."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes import agent_reports, driver_protocol
from castray_desktop.workers.base.async_tasks import finish
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.clusters.agent_liveness import CHECK_SECONDS
from castray_desktop.workers.clusters.agent_manager import AgentManager, ClusterListener
from castray_desktop.workers.clusters.cluster_discovery import find_running_clusters
from castray_desktop.workers.clusters.connection_status import (
    ACTIVE_PHASES,
    ATTEMPTS,
    CONNECTED_PHASES,
    ConnectionStatus,
)
from castray_desktop.workers.clusters.driver_environments import DriverEnvironments, RayVersions
from castray_desktop.workers.clusters.driver_process import DriverProcess, probe_endpoint
from castray_desktop.workers.driver.ray_tokens import token_origin

BACK_OFF_SECONDS = (1.0, 3.0)
"""Delays before the second and third attempt."""

LOCAL_START_SECONDS = 60.0
ATTACH_SECONDS = 9.0
"""Together with the driver's end, ten seconds."""

ANSWERED_SECONDS = 60.0
"""Timeout after the head has answered. Ray Client then starts processes on the head, which takes a busy
machine as long as a local start; the address is right, and the user can cancel.
"""

LOST_SECONDS = 60.0
"""A lost cluster counts as failed after this time; it is attached again whenever it is back."""

REPROBE_SECONDS = 2.0

SHARED_MEMORY = "/dev/shm"

_NOT_CONNECTED = (
    FailureKind.CLUSTER_UNREACHABLE,
    FailureKind.CLUSTER_TIMED_OUT,
    FailureKind.CLUSTER_START_FAILED,
)
"""Failures of a driver that was prepared for another Ray version of the cluster."""

_CAN_NOT_BE_SHARED = (FailureKind.NOT_SHARED, FailureKind.TOKEN_EXPOSED)

_LOST = (FailureKind.CLUSTER_LOST, FailureKind.CLUSTER_UNREACHABLE, FailureKind.CLUSTER_SILENT)
"""Failures of a connected cluster, which may come back."""

log = logging.getLogger("castray.cluster")


class DriverHandle(Protocol):
    """The interface of `DriverProcess` for the cluster connection."""

    @property
    def temp_dir(self) -> Path:
        """Folder for the files of a local cluster."""

    def send(self, message: Any) -> None:
        """Send an order."""

    def messages(self) -> AsyncIterator[Any]:
        """Messages of the driver, until it ends. Raises ValueError for invalid messages."""

    def hang_up(self) -> None:
        """End `messages`."""

    async def stop(self) -> None:
        """End the driver and everything it started."""


class ClusterSupervisor:
    """Owns the driver and the connection; `agents` are the nodes and what calls them.

    Events go to the listener.
    """

    def __init__(
        self,
        paths: Paths,
        listener: ClusterListener,
        *,
        start_driver: Callable[..., Awaitable[DriverHandle]] = DriverProcess.start,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        probe: Callable[[str], Awaitable[None]] = probe_endpoint,
        token_origin: Callable[[Mapping[str, str]], str] = token_origin,
        running: Callable[[], tuple[str, ...]] = find_running_clusters,
        environments: DriverEnvironments | None = None,
    ) -> None:
        self._connection = ConnectionStatus(listener.cluster_changed, str(paths.log / "driver.log"))
        self.agents = AgentManager(paths, listener, self._connection, clock, pause)
        self._paths = paths
        self._listener = listener
        self._start_driver = start_driver
        self._clock = clock
        self._pause = pause
        self._probe = probe
        self._token_origin = token_origin
        self._running = running
        self._autoscaled = False
        self._shows_token = False  # only to a cluster that requires one
        self._environments = environments or DriverEnvironments(paths.home, paths.log)
        self._driver: DriverHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._joins = False
        self._changing = asyncio.Lock()  # one change of the cluster at a time

    # --- what the engine asks for ---------------------------------------------------------------

    @property
    def status(self) -> ClusterStatus:
        """The state of the connection."""
        return self._connection.status

    async def use(self, target: str, *, prepare: bool = False, join: bool = False) -> None:
        """Start or attach to a cluster in the background, after leaving the current one.

        Does nothing if that cluster is in use or being connected. With `prepare`, a driver environment is
        created for a cluster with another Ray version; with `join`, this machine becomes a node.
        """
        async with self._changing:
            if self.status.target == target and self.status.phase in ACTIVE_PHASES:
                return
            await finish(self._leave())
            self._connection.starts_node = join or target in driver_protocol.OWN_TARGETS
            self._connection.start(target)
            self._joins = join
            self._shows_token = False
            self._task = asyncio.create_task(self._run_cluster(target, prepare), name="cluster")

    async def until_settled(self) -> ClusterStatus:
        """Wait until the cluster is ready, or there is none; returns its state."""
        return await self._connection.until_settled()

    async def leave(self) -> None:
        """Stop a local cluster, or detach from another one. Everything has ended when this returns."""
        async with self._changing:
            await finish(self._leave())

    def check_heartbeats(self) -> None:
        """Drop agents without reports, or the driver if none reports."""
        if self._driver is not None and self.agents.drop_silent():
            self._driver.hang_up()

    # --- the driver -----------------------------------------------------------------------------

    async def _leave(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            self._connection.stop()
            await self._listener.cluster_leaving()
            task.cancel()
            await asyncio.wait([task])
        self.agents.drop_agents(Failure(FailureKind.CLUSTER_STOPPED))
        self.agents.clear()
        self._connection.clear()

    async def _run_cluster(self, target: str, prepare: bool) -> None:
        try:
            await self._run_drivers(target, prepare)
        except CastRayError as error:
            self._connection.give_up(error.failure, 1)
        except Exception as error:
            log.exception("cluster %s", target)
            self.agents.drop_agents()
            failure = Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
            self._connection.give_up(failure, 1)

    async def _run_drivers(self, target: str, prepare: bool) -> None:
        """Start drivers until one keeps running, at most `ATTEMPTS` in a row.

        An address that never worked is tried once only.
        """
        attempt, been_up = 1, False
        tried: set[RayVersions] = set()
        while True:
            failure = await self._run_driver(target, attempt)
            if failure.kind is FailureKind.RAY_DIFFERS and await self._prepare_versions(
                target, failure, prepare, tried
            ):
                continue
            if failure.kind is FailureKind.TOKEN_NEEDED and self._may_show_token():
                continue
            if failure.kind in _NOT_CONNECTED and self._environments.forget(target):
                log.warning("cluster %s may have another Ray version now: %s", target, failure)
                continue
            log.error("cluster %s, attempt %d of %d: %s", target, attempt, ATTEMPTS, failure)
            been_up = been_up or self.status.phase in (*CONNECTED_PHASES, ClusterPhase.RECONNECTING)
            was_ready = self.status.phase is ClusterPhase.READY
            self.agents.drop_agents()
            if been_up and failure.kind in _LOST:
                await self._wait_until_back(target, failure)
                attempt = 1
                continue
            again = been_up or target in driver_protocol.OWN_TARGETS
            limit = ATTEMPTS if again and failure.kind not in _CAN_NOT_BE_SHARED else 1
            if attempt >= limit and not was_ready:
                self._connection.give_up(failure, attempt)
                return
            attempt = 1 if was_ready else attempt + 1
            phase = ClusterPhase.RECONNECTING if been_up else ClusterPhase.STARTING
            self._connection.try_again(self._connection.detailed(failure, attempt), attempt, phase)
            await self._pause(BACK_OFF_SECONDS[max(0, attempt - 2)])

    async def _wait_until_back(self, target: str, failure: Failure) -> None:
        """Wait until a lost cluster is back at its address."""
        lost = self._clock()
        self._connection.try_again(failure, 1, ClusterPhase.RECONNECTING)
        while True:
            await self._pause(REPROBE_SECONDS)
            try:
                await self._probe(target)
                break
            except CastRayError:
                if self._clock() - lost >= LOST_SECONDS and self.status.phase is not ClusterPhase.FAILED:
                    self._connection.give_up(failure, 1)
        if self.status.phase is ClusterPhase.FAILED:
            self._connection.start(target)

    def _may_show_token(self) -> bool:
        """Whether the next driver sends a token, which the last one has not."""
        if self._shows_token or not self._token_origin(os.environ):
            return False
        self._shows_token = True
        return True

    def _announce_loss(self, failure: Failure) -> None:
        """Report the loss before the driver has ended, which takes a while."""
        if self.status.phase in CONNECTED_PHASES and failure.kind in _LOST:
            self._connection.try_again(failure, 1, ClusterPhase.RECONNECTING)

    async def _prepare_versions(
        self, target: str, failure: Failure, prepare: bool, tried: set[RayVersions]
    ) -> bool:
        """Run the next driver on the cluster's own versions, once for each. Raises CastRayError."""
        versions = RayVersions(failure.values["ray"], failure.values["python"])
        if versions in tried:
            return False
        tried.add(versions)
        if prepare and not self._environments.use(target, versions):
            await self._environments.prepare(versions, self._connection.preparing)
        if not self._environments.use(target, versions):
            return False
        self._connection.start(target)
        return True

    async def _run_driver(self, target: str, attempt: int) -> Failure:
        """Run one driver; returns why it ended."""
        try:
            driver = await self._start_driver(
                self._paths, target, show_token=self._shows_token, join=self._joins
            )
        except CastRayError as error:
            return error.failure
        except OSError as error:
            return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": str(error)})
        self._driver = driver
        self.agents.connect(driver.send, target)
        watching = asyncio.create_task(self._check_agents(), name="watch agents")
        limit = LOCAL_START_SECONDS if self._connection.starts_node else ATTACH_SECONDS
        try:
            async with asyncio.timeout(limit) as timer:
                driver.send(driver_protocol.StartCluster(target, str(driver.temp_dir), self._joins))
                async for message in driver.messages():
                    if isinstance(message, driver_protocol.ClusterFailed):
                        self._announce_loss(message.failure)
                        return await self._with_others(message.failure)
                    if isinstance(message, driver_protocol.HeadAnswered) and not self._connection.starts_node:
                        limit = ANSWERED_SECONDS
                        timer.reschedule(asyncio.get_running_loop().time() + limit)
                    if isinstance(message, driver_protocol.ClusterUp):
                        timer.reschedule(None)
                    self._handle(message, target, attempt)
        except TimeoutError:
            values = {"target": target, "seconds": str(round(limit))}
            return Failure(FailureKind.CLUSTER_TIMED_OUT, values)
        except ValueError as error:
            log.exception("the driver failed")
            return Failure(FailureKind.INTERNAL, {"reason": str(error)})
        finally:
            watching.cancel()
            self._driver = None
            self.agents.disconnect()
            await driver.stop()
        reason = "the driver has stopped"
        if self.status.phase is ClusterPhase.STARTING and target not in driver_protocol.OWN_TARGETS:
            return Failure(FailureKind.CLUSTER_UNREACHABLE, {"target": target, "reason": reason})
        return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": reason})

    async def _with_others(self, failure: Failure) -> Failure:
        """Add the clusters on this machine, if it is a node of others."""
        if failure.kind is not FailureKind.NOT_A_NODE:
            return failure
        others = await asyncio.to_thread(self._running)
        if not others:
            return failure
        return Failure(FailureKind.NODE_OF_ANOTHER, failure.values | {"others": ", ".join(others)})

    async def _check_agents(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check_heartbeats()
            self.agents.publish_facts()
            self.agents.forget_gone_nodes()
            if self._autoscaled:
                self.agents.shut_down_idle()

    def _handle(self, message: object, target: str, attempt: int) -> None:
        match message:
            case driver_protocol.ClusterUp():
                self._cluster_up(message, target, attempt)
            case driver_protocol.NodesSeen(nodes, autoscaled):
                self._autoscaled = autoscaled
                self.agents.ray_nodes_changed(nodes)
                self._connection.ray_nodes_seen(nodes)
            case driver_protocol.AgentUp(hello):
                # before the cluster is ready, so that a waiting command shows the notice
                self._check_object_store(hello)
                self.agents.agent_up(hello)
            case driver_protocol.AgentLost(name, reason):
                self.agents.agent_lost(name, reason)
            case driver_protocol.Reported(name, report):
                self.agents.reported(name, report)
            case driver_protocol.AgentCallResult():
                self.agents.calls.returned(message)

    def _cluster_up(self, up: driver_protocol.ClusterUp, target: str, attempt: int) -> None:
        log.info("connected to %s, Ray %s, Python %s", up.address, up.ray_version, up.python_version)
        self._autoscaled = up.autoscaled
        self.agents.ray_nodes_changed(up.nodes)
        self._connection.connected(up, target, attempt, len(self.agents.nodes))

    def _check_object_store(self, hello: agent_reports.AgentHello) -> None:
        """Add a notice if Ray keeps objects on disk, which makes transfers through it slow. Not for local
        clusters, where nothing goes through Ray."""
        if not hello.store or hello.store.startswith(SHARED_MEMORY) or self.status.notice is not None:
            return
        log.warning("Ray on %s stores objects in %s: %s is too small", hello.node, hello.store, SHARED_MEMORY)
        if self.status.target != driver_protocol.LOCAL_TARGET:
            values = {"node": hello.node, "folder": hello.store}
            self._connection.notice(Failure(FailureKind.SHARED_MEMORY_SMALL, values))
