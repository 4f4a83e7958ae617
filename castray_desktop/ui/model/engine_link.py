"""The window's connection to the engine: commands out, events in as Qt signals."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from PySide6.QtCore import QObject, Signal, SignalInstance

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages

if TYPE_CHECKING:
    import asyncio


class EngineLinkState(enum.Enum):
    """The state of the connection to the engine."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


ReplyType = TypeVar("ReplyType", bound=messages.Message)

FLUSH_SECONDS = 0.1
MOST_IN_A_TURN = 300
"""Nodes and deliveries together; what belongs to one cast is not divided."""

TURN_SECONDS = 0.002
"""Between two turns, so that other events (clicks, painting) are handled in the meantime."""

FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS = 0.2, 3.0


class Engine(Protocol):
    """What the link needs of an `EngineClient`."""

    welcome: messages.Welcome

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType: ...

    def events(self) -> AsyncIterator[messages.Event]: ...

    async def close(self) -> None: ...


Connector = Callable[[], Awaitable[Engine]]


class EngineLink(QObject):
    """The window's one way to the engine.

    Signals: `welcome(Welcome)` on every connection, the complete state; `cluster_changed(ClusterStatus)`;
    `nodes_changed(tuple[NodeInfo, ...], tuple[str, ...])`, changed and removed;
    `cast_changed(CastSummary)`; `deliveries_changed(str, tuple[DeliverySnapshot, ...])`;
    `cast_finished(CastResult)`; `casts_removed(tuple[str, ...])`; `throughput(Throughput)`;
    `settings_changed(EngineSettings)`; `schedules_changed(tuple[ScheduleInfo, ...])`; `history_changed()`;
    `log_line(LogLine)`; `verify_progress(VerifyProgress)`; `diagnosis_progress(DiagnosisProgress)`;
    `connection_changed(Connection)`; `connection_failed(Failure)`, again at every failed attempt.
    """

    welcome = Signal(object)
    cluster_changed = Signal(object)
    nodes_changed = Signal(object, object)
    cast_changed = Signal(object)
    deliveries_changed = Signal(str, object)
    cast_finished = Signal(object)
    casts_removed = Signal(object)
    throughput = Signal(object)
    settings_changed = Signal(object)
    schedules_changed = Signal(object)
    history_changed = Signal()
    log_line = Signal(object)
    verify_progress = Signal(object)
    diagnosis_progress = Signal(object)
    connection_changed = Signal(object)
    connection_failed = Signal(object)
    _turn_begun = Signal(object)  # with a function to call; an error in it does not stop the others

    def __init__(self, connect: Connector, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._connect = connect
        self._engine: Engine | None = None
        self._closing = False
        self._running: asyncio.Task[Any] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = PendingEvents()
        self._flush_timer: asyncio.TimerHandle | None = None
        self._released: deque[tuple[int, Callable[[], object]]] = deque()  # how much it is, and what emits it
        self._next_turn: asyncio.TimerHandle | None = None
        self.connection = EngineLinkState.CONNECTING
        self._turn_begun.connect(lambda part: part())
        self._signals: dict[type[messages.Message], SignalInstance] = {
            messages.Welcome: self.welcome,
            messages.CastResult: self.cast_finished,
            messages.Throughput: self.throughput,
            messages.LogLine: self.log_line,
            messages.VerifyProgress: self.verify_progress,
            messages.DiagnosisProgress: self.diagnosis_progress,
        }

    @property
    def connected(self) -> bool:
        return self.connection is EngineLinkState.CONNECTED

    async def run(self) -> None:
        """Stay connected until `close`. The one loop of the link."""
        import asyncio

        self._running = asyncio.current_task()
        delay = FIRST_DELAY_SECONDS
        try:
            while not self._closing:
                try:
                    engine = await self._connect()
                except (CastRayError, OSError) as error:
                    self._set_connection(EngineLinkState.RECONNECTING)
                    self.connection_failed.emit(failure_of(error))
                    await asyncio.sleep(delay)
                    delay = min(delay * 2, LAST_DELAY_SECONDS)
                    continue
                delay = FIRST_DELAY_SECONDS
                await self._serve(engine)
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._running = None

    async def request(self, command: messages.Command, expect: type[ReplyType]) -> ReplyType:
        """Send a command and return its reply. Raises CastRayError."""
        if self._engine is None:
            raise CastRayError(FailureKind.ENGINE_UNREACHABLE, reason="there is no connection yet")
        return await self._engine.request(command, expect)

    def ask(
        self,
        command: messages.Command,
        expect: type[ReplyType],
        done: Callable[[ReplyType], None] | None = None,
        failed: Callable[[Failure], None] | None = None,
    ) -> None:
        """`request` for slots: returns at once, calls one of the two later."""
        import asyncio

        async def ask() -> None:
            try:
                reply = await self.request(command, expect)
            except CastRayError as error:
                if failed is not None:
                    failed(error.failure)
            else:
                if done is not None:
                    done(reply)

        task = asyncio.get_running_loop().create_task(ask(), name=f"ask {type(command).__name__}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Disconnect. Nothing is emitted afterwards except `connection_changed(CLOSED)`."""
        import asyncio

        self._closing = True
        self._stop_flushing()
        tasks = [*self._tasks]
        if self._running is not None and self._running is not asyncio.current_task():
            tasks.append(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await engine.close()
        self._set_connection(EngineLinkState.CLOSED)

    async def _serve(self, engine: Engine) -> None:
        self._engine = engine
        self._pending = PendingEvents()
        self._released.clear()
        self._set_connection(EngineLinkState.CONNECTED)
        self.handle_event(engine.welcome)
        async for event in engine.events():
            self.handle_event(event)
        self.flush()
        self._engine = None
        await engine.close()
        self._set_connection(EngineLinkState.RECONNECTING)

    def _set_connection(self, connection: EngineLinkState) -> None:
        if connection is not self.connection:
            self.connection = connection
            self.connection_changed.emit(connection)

    def handle_event(self, event: messages.Event) -> None:
        """Emit an event now, or queue it behind those that wait."""
        if self._pending.add(event):
            if self._flush_timer is None:
                self._flush_due()
            return
        self._release()
        whole = isinstance(event, messages.Welcome)  # what it brings with it is for later turns
        self._released.append((MOST_IN_A_TURN if whole else 1, partial(self._emit, event)))
        self._go_on()

    def in_turns(self, *parts: Callable[[], object]) -> None:
        """Do each of these in a turn of the loop of its own, before anything else that the engine reports."""
        turns = [(MOST_IN_A_TURN, partial(self._turn_begun.emit, part)) for part in parts]
        self._released.extendleft(reversed(turns))
        self._go_on_soon()

    def _emit(self, event: messages.Event) -> None:
        match event:
            case messages.ClusterChanged(cluster):
                self.cluster_changed.emit(cluster)
            case messages.CastsRemoved(casts):
                self.casts_removed.emit(casts)
            case messages.SettingsChanged(settings):
                self.settings_changed.emit(settings)
            case messages.SchedulesChanged(schedules):
                self.schedules_changed.emit(schedules)
            case messages.HistoryChanged():
                self.history_changed.emit()
            case _:
                if (signal := self._signals.get(type(event))) is not None:
                    signal.emit(event)

    def flush(self) -> None:
        """Emit all that is held back."""
        self._release()
        while self._released:
            self._emit_some()

    def _release(self) -> None:
        """Queue what is held back, in the order in which it is emitted."""
        pending, self._pending = self._pending, PendingEvents()
        if pending.nodes or pending.removed:
            changed, removed = tuple(pending.nodes.values()), tuple(pending.removed)
            self._released.append((len(changed), partial(self.nodes_changed.emit, changed, removed)))
        for summary in pending.casts.values():
            self._released.append((1, partial(self.cast_changed.emit, summary)))
        for cast, deliveries in pending.deliveries.items():
            newest = tuple(deliveries.values())
            self._released.append((len(newest), partial(self.deliveries_changed.emit, cast, newest)))

    def _emit_some(self) -> None:
        """Do as much as fits in one turn of the event loop."""
        done = 0
        while self._released and done < MOST_IN_A_TURN:
            size, emit = self._released.popleft()
            done += size
            emit()

    def _flush_due(self) -> None:
        self._flush_timer = None
        if not self._pending.empty:
            self._release()
            self._go_on()
            self._flush_later()

    def _go_on(self) -> None:
        """Emit now and, so that a thousand deliveries don't hold up the window, in further turns."""
        if self._next_turn is None:
            self._emit_some()
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        import asyncio

        if self._released and self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_later(TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        self._next_turn = None
        self._go_on()

    def _flush_later(self) -> None:
        import asyncio

        self._flush_timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush_due)

    def _stop_flushing(self) -> None:
        for handle in (self._flush_timer, self._next_turn):
            if handle is not None:
                handle.cancel()
        self._flush_timer = self._next_turn = None
        self._released.clear()


def failure_of(error: CastRayError | OSError) -> Failure:
    """Why there is no connection. A timeout is an OSError, and so is an engine that can't be started."""
    if isinstance(error, CastRayError):
        return error.failure
    reason = "it took too long" if isinstance(error, TimeoutError) else error.strerror or str(error)
    return Failure(FailureKind.ENGINE_UNREACHABLE, {"reason": reason})


class PendingEvents:
    """Collects the newest event of each kind that changes often, until it is passed on."""

    def __init__(self) -> None:
        self.nodes: dict[str, messages.NodeInfo] = {}
        self.removed: dict[str, None] = {}
        self.casts: dict[str, messages.CastSummary] = {}
        self.deliveries: dict[str, dict[str, messages.DeliverySnapshot]] = {}

    @property
    def empty(self) -> bool:
        return not (self.nodes or self.removed or self.casts or self.deliveries)

    def add(self, event: messages.Event) -> bool:
        """Keep the event if it is one that may wait; says whether it is."""
        match event:
            case messages.NodesChanged(changed, removed):
                for node in changed:
                    self.nodes[node.name] = node
                    self.removed.pop(node.name, None)
                for name in removed:
                    self.nodes.pop(name, None)
                    self.removed[name] = None
            case messages.CastChanged(summary):
                self.casts[summary.cast] = summary
            case messages.DeliveriesChanged(cast, deliveries):
                newest = self.deliveries.setdefault(cast, {})
                for delivery in deliveries:
                    newest[delivery.node] = delivery
            case _:
                return False
        return True
