"""Keeps one cluster: starts its driver, again where that helps, and says where the connection stands."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, NodeInfo
from castray_desktop.workers.cluster.cluster_roles import ClusterListener, Driver
from castray_desktop.workers.cluster.driver_environments import DriverEnvironments, Versions
from castray_desktop.workers.cluster.driver_process import DriverProcess
from castray_desktop.workers.cluster.greeting import greet
from castray_desktop.workers.cluster.pulse import CHECK_SECONDS
from castray_desktop.workers.cluster.roster import Roster
from castray_desktop.workers.cluster.running_clusters import running_clusters
from castray_desktop.workers.cluster.standing import ATTEMPTS, UP, WORKING, Standing
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.tokens import token_origin
from castray_desktop.workers.tasks import to_the_end

BACK_OFF_SECONDS = (1.0, 3.0)
"""Before the second and the third attempt."""

LOCAL_START_SECONDS = 60.0
ATTACH_SECONDS = 9.0
"""With the end of the driver it makes ten."""

ANSWERED_SECONDS = 30.0
"""For a cluster whose head has answered: Ray Client has processes started there, which may be slow."""

LOST_SECONDS = 60.0
"""A cluster that has been lost is reported as failed after this. It is attached again whenever it is back."""

KNOCK_SECONDS = 2.0

SHARED_MEMORY = "/dev/shm"

_NOT_CONNECTED = (
    FailureKind.CLUSTER_UNREACHABLE,
    FailureKind.CLUSTER_TIMED_OUT,
    FailureKind.CLUSTER_START_FAILED,
)
"""What becomes of a driver that was made for the Ray which a cluster ran before."""

_CAN_NOT_BE_SHARED = (FailureKind.NOT_SHARED, FailureKind.TOKEN_EXPOSED)

_LOST = (FailureKind.CLUSTER_LOST, FailureKind.CLUSTER_UNREACHABLE, FailureKind.CLUSTER_SILENT)
"""Of a cluster that was there: it may come back."""

log = logging.getLogger("castray.cluster")


class ClusterSupervisor:
    """Owns the driver. The listener hears what becomes of it."""

    def __init__(
        self,
        places: Places,
        listener: ClusterListener,
        *,
        start_driver: Callable[..., Awaitable[Driver]] = DriverProcess.start,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        greet: Callable[[str], Awaitable[None]] = greet,
        token_origin: Callable[[Mapping[str, str]], str] = token_origin,
        running: Callable[[], tuple[str, ...]] = running_clusters,
        environments: DriverEnvironments | None = None,
    ) -> None:
        self.roster = Roster(places, listener, self._count, clock, pause)
        self._standing = Standing(listener.cluster_changed, str(places.log / "driver.log"))
        self._places = places
        self._listener = listener
        self._start_driver = start_driver
        self._clock = clock
        self._pause = pause
        self._greet = greet
        self._token_origin = token_origin
        self._running = running
        self._autoscaled = False
        self._start_options: dict[str, bool] = {}
        self._environments = environments or DriverEnvironments(places.home, places.log)
        self._driver: Driver | None = None
        self._life: asyncio.Task[None] | None = None
        self._joins = False
        self._changing = asyncio.Lock()  # one change of the cluster at a time

    # --- what the engine asks for ---------------------------------------------------------------

    @property
    def status(self) -> ClusterStatus:
        """Where the connection stands."""
        return self._standing.status

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        """The nodes by name."""
        return self.roster.nodes

    @property
    def target(self) -> str:
        """The cluster that is in use, as it was asked for; empty for none."""
        return self.status.target

    @property
    def address(self) -> str:
        """Of that cluster's head; empty while it is not known."""
        return self.status.address

    @property
    def settled(self) -> bool:
        """Whether a node that is not there is missing: not while the cluster itself is being connected to."""
        return self._standing.settled

    def hello(self, node: str) -> protocol.AgentHello:
        """Where a node's agent can be reached. Raises CastRayError(NODE_OFFLINE)."""
        return self.roster.hello(node)

    async def call(self, node: str, order: protocol.Order) -> protocol.Answers | None:
        """Have an agent carry out an order. Raises CastRayError, see `AgentCalls.call`."""
        return await self.roster.call(node, order)

    async def use(self, target: str, *, prepare: bool = False, join: bool = False) -> None:
        """Start or attach to a cluster in the background, after leaving the one before.

        Does nothing when that very cluster is in use already, or on its way. With `prepare`, a cluster that
        runs another Ray gets a driver with that one made for it; with `join`, this machine becomes its node.
        """
        async with self._changing:
            if self.status.target == target and self.status.phase in WORKING:
                return
            await to_the_end(self._leave())
            self._standing.start(target, ours=join or target in protocol.OWN_TARGETS)
            self._joins = join
            self._start_options = {}
            self._life = asyncio.create_task(self._live(target, prepare), name="cluster")

    async def until_settled(self) -> ClusterStatus:
        """Wait until the cluster is ready, or there is none; returns its state."""
        return await self._standing.until_settled()

    async def leave(self) -> None:
        """Stop a local cluster, or detach. Nothing of it is left when this returns."""
        async with self._changing:
            await to_the_end(self._leave())

    async def add_node(self, name: str, inbox: str, on: str = "") -> None:
        """Add a node, see `Roster.add`. Raises CastRayError."""
        self.roster.check_name(name)
        if self.status.phase not in UP:
            raise CastRayError(FailureKind.NO_CLUSTER)
        await self.roster.add(name, inbox, on)

    async def remove_node(self, name: str) -> None:
        """Remove a node that was added. Raises CastRayError."""
        self.roster.remove(name)

    def check_pulse(self) -> None:
        """Part with agents that have gone silent, or with the driver when none says anything."""
        if self._driver is not None and self.roster.part_with_silent():
            self._driver.hang_up()

    # --- the driver's life ----------------------------------------------------------------------

    async def _leave(self) -> None:
        life, self._life = self._life, None
        if life is not None:
            self._standing.stop()
            await self._listener.cluster_leaving()
            life.cancel()
            await asyncio.wait([life])
        self.roster.drop_agents(Failure(FailureKind.CLUSTER_STOPPED))
        self.roster.clear()
        self._standing.clear()

    async def _live(self, target: str, prepare: bool) -> None:
        try:
            await self._keep_driving(target, prepare)
        except CastRayError as error:
            self._standing.give_up(error.failure, 1)
        except Exception as error:
            log.exception("cluster %s", target)
            self.roster.drop_agents()
            failure = Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
            self._standing.give_up(failure, 1)

    async def _keep_driving(self, target: str, prepare: bool) -> None:
        """Start drivers until one stays, at most `ATTEMPTS` in a row.

        The address of another cluster is tried once, unless it has been right before.
        """
        attempt, been_up = 1, False
        tried: set[Versions] = set()
        while True:
            failure = await self._drive(target, attempt)
            if failure.kind is FailureKind.RAY_DIFFERS and await self._fit(target, failure, prepare, tried):
                continue
            if failure.kind is FailureKind.TOKEN_NEEDED and self._may_show_token():
                continue
            if failure.kind in _NOT_CONNECTED and self._environments.forget(target):
                log.warning("cluster %s may run another Ray by now: %s", target, failure)
                continue
            log.error("cluster %s, attempt %d of %d: %s", target, attempt, ATTEMPTS, failure)
            been_up = been_up or self.status.phase in (*UP, ClusterPhase.RECONNECTING)
            was_ready = self.status.phase is ClusterPhase.READY
            self.roster.drop_agents()
            if been_up and failure.kind in _LOST:
                await self._until_back(target, failure)
                attempt = 1
                continue
            again = been_up or target in protocol.OWN_TARGETS
            limit = ATTEMPTS if again and failure.kind not in _CAN_NOT_BE_SHARED else 1
            if attempt >= limit and not was_ready:
                self._standing.give_up(failure, attempt)
                return
            attempt = 1 if was_ready else attempt + 1
            phase = ClusterPhase.RECONNECTING if been_up else ClusterPhase.STARTING
            self._standing.try_again(self._standing.detailed(failure, attempt), attempt, phase)
            await self._pause(BACK_OFF_SECONDS[max(0, attempt - 2)])

    async def _until_back(self, target: str, failure: Failure) -> None:
        """Wait for a cluster that has been lost to be back at its address."""
        lost = self._clock()
        self._standing.try_again(failure, 1, ClusterPhase.RECONNECTING)
        while True:
            await self._pause(KNOCK_SECONDS)
            try:
                await self._greet(target)
                break
            except CastRayError:
                if self._clock() - lost >= LOST_SECONDS and self.status.phase is not ClusterPhase.FAILED:
                    self._standing.give_up(failure, 1)
        if self.status.phase is ClusterPhase.FAILED:
            self._standing.start(target, ours=self._joins)

    def _may_show_token(self) -> bool:
        """Whether the next driver shows a token where this one has not: only who asks for one is shown it."""
        if self._start_options or not self._token_origin(os.environ):
            return False
        self._start_options = {"show_token": True}
        return True

    def _announce_loss(self, failure: Failure) -> None:
        """The end of the driver takes a while; what happened is said before."""
        if self.status.phase in UP and failure.kind in _LOST:
            self._standing.try_again(failure, 1, ClusterPhase.RECONNECTING)

    async def _fit(self, target: str, failure: Failure, prepare: bool, tried: set[Versions]) -> bool:
        """Have the next driver run on the cluster's own versions, each once. Raises CastRayError."""
        versions = Versions(failure.values["ray"], failure.values["python"])
        if versions in tried:
            return False
        tried.add(versions)
        if prepare and not self._environments.use(target, versions):
            await self._environments.prepare(versions, self._standing.prepare)
        if not self._environments.use(target, versions):
            return False
        self._standing.start(target, ours=self._joins)
        return True

    async def _drive(self, target: str, attempt: int) -> Failure:
        """One driver from its start to its end. Returns why it ended."""
        try:
            options = self._start_options | ({"join": True} if self._joins else {})
            driver = await self._start_driver(self._places, target, **options)
        except CastRayError as error:
            return error.failure
        except OSError as error:
            return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": str(error)})
        self._driver = driver
        self.roster.connect(driver.send, target)
        watching = asyncio.create_task(self._watch(), name="watch agents")
        starts = target in protocol.OWN_TARGETS or self._joins
        limit = LOCAL_START_SECONDS if starts else ATTACH_SECONDS
        try:
            async with asyncio.timeout(limit) as timer:
                driver.send(protocol.StartCluster(target, str(driver.temp_dir), self._joins))
                async for message in driver.messages():
                    if isinstance(message, protocol.ClusterFailed):
                        self._announce_loss(message.failure)
                        return await self._with_others(message.failure)
                    if isinstance(message, protocol.HeadAnswered) and not starts:
                        limit = ANSWERED_SECONDS
                        timer.reschedule(asyncio.get_running_loop().time() + limit)
                    if isinstance(message, protocol.ClusterUp):
                        timer.reschedule(None)
                    self._handle(message, target, attempt)
        except TimeoutError:
            values = {"target": target, "seconds": str(round(limit))}
            return Failure(FailureKind.CLUSTER_TIMED_OUT, values)
        except ValueError as error:
            log.exception("the driver")
            return Failure(FailureKind.INTERNAL, {"reason": str(error)})
        finally:
            watching.cancel()
            self._driver = None
            self.roster.disconnect()
            await driver.stop()
        reason = "the driver has ended"
        if self.status.phase is ClusterPhase.STARTING and target not in protocol.OWN_TARGETS:
            return Failure(FailureKind.CLUSTER_UNREACHABLE, {"target": target, "reason": reason})
        return Failure(FailureKind.CLUSTER_START_FAILED, {"reason": reason})

    async def _with_others(self, failure: Failure) -> Failure:
        """This machine may well be a node, but of other clusters."""
        if failure.kind is not FailureKind.NOT_A_NODE:
            return failure
        others = await asyncio.to_thread(self._running)
        if not others:
            return failure
        return Failure(FailureKind.NODE_OF_ANOTHER, failure.values | {"others": ", ".join(others)})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check_pulse()
            self.roster.tell_facts()
            self.roster.forget_gone()
            if self._autoscaled:
                self.roster.let_rest()

    def _handle(self, message: object, target: str, attempt: int) -> None:
        match message:
            case protocol.ClusterUp():
                self._cluster_up(message, target, attempt)
            case protocol.NodesSeen(nodes, autoscaled):
                self._autoscaled = autoscaled
                self._nodes_seen(nodes)
            case protocol.AgentUp(hello):
                self._note_store(hello)  # before it is ready, so that a command that waits says it
                self.roster.agent_up(hello)
            case protocol.AgentLost(name, reason):
                self.roster.agent_lost(name, reason)
            case protocol.Reported(name, report):
                self.roster.reported(name, report)
            case protocol.Returned():
                self.roster.returned(message)

    def _cluster_up(self, up: protocol.ClusterUp, target: str, attempt: int) -> None:
        log.info("connected to %s, Ray %s, Python %s", up.address, up.ray_version, up.python_version)
        self._autoscaled = up.autoscaled
        self.roster.follow(up.nodes, local=target == protocol.LOCAL_TARGET)
        self._standing.connected(up, target, attempt, len(self.nodes))

    def _nodes_seen(self, nodes: tuple[protocol.RayNode, ...]) -> None:
        self.roster.follow(nodes, local=self.status.target == protocol.LOCAL_TARGET)
        self._standing.ray_nodes_seen(nodes)

    def _note_store(self, hello: protocol.AgentHello) -> None:
        """Where Ray keeps objects on disk, what goes through it is slow. In a local cluster nothing does."""
        if not hello.store or hello.store.startswith(SHARED_MEMORY) or self.status.notice is not None:
            return
        log.warning("Ray on %s keeps objects in %s: %s is too small", hello.node, hello.store, SHARED_MEMORY)
        if self.status.target != protocol.LOCAL_TARGET:
            values = {"node": hello.node, "folder": hello.store}
            self._standing.notice(Failure(FailureKind.SHARED_MEMORY_SMALL, values))

    def _count(self) -> None:
        self._standing.count(self.nodes.values())
