"""Measure the window under load: a thousand nodes, ten thousand rows, eight casts at ten hertz.

    python -m benchmarks.window_load --seconds 20

Opens the real window on the offscreen platform (or on DISPLAY with `--platform xcb`) with an engine that
replays generated frames, decoded on the window's event loop as in the real client. Prints

- the gaps of the event loop: the delay of each tick of a 10 ms timer. Ticks at which a bare timer in another
  process was late too are caused by the machine and are excluded from the first figures. The processor time
  of the window's thread between two ticks is printed beside it, since other processes do not increase it;
- frames a second while the graph is panned and zoomed;
- peak memory, and the share of a core that the window uses when nothing moves.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QObject, QPointF, QSettings, Qt, QTimer
from PySide6.QtWidgets import QApplication

from benchmarks.window import BARE_TIMER, Gap
from castray_desktop.app import build_application
from castray_desktop.core.multicast.datagrams import MulticastState
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.i18n.language import ENGLISH, Language
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.theme.theme import Theme, apply_style
from castray_desktop.ui.window.event_loop import WindowThreadCollector
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.workers.base.state_files import RecipientGroupFile

ReplyType = TypeVar("ReplyType", bound=m.Message)

GB, MB = 1_000_000_000, 1_000_000
TICK_MS = 10
FEED_SECONDS = 0.1
NEW_CAST_EVERY = 20  # ticks of the timer
# Qt's own offscreen screen has 800 x 800 pixels; the window is never larger than its screen.
SCREEN = Path(__file__).resolve().parent.parent / "tests" / "screen.json"
OFFSCREEN = f"offscreen:configfile={SCREEN}"
BARS = "bars: p99 16, worst 50 ms; 30 frames/s; 350 MiB; 1 %"


@dataclass(frozen=True)
class Size:
    """The amount of data to show."""

    nodes: int
    rows: int
    casts: int
    multicast: bool = False  # the first cast uses multicast; one recipient in twenty is repaired


class Feed:
    """A cluster of a given size. The first cast goes to every node, the others to a share of the nodes."""

    def __init__(self, size: Size, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._size = size
        self.names = [f"gpu-{number:04}" for number in range(size.nodes - 1)]
        self._share = {f"{number:012x}": self._recipients(number) for number in range(size.casts)}
        self._done = {cast: dict.fromkeys(nodes, 0) for cast, nodes in self._share.items()}
        self._repaired = dict.fromkeys(self.names, 0)
        self._began = time.time()
        self._tick = 0
        self._new = size.casts

    def _recipients(self, number: int) -> tuple[str, ...]:
        if number == 0:
            return tuple(self.names)
        count = max(3, len(self.names) // 8)
        first = (number * count) % max(1, len(self.names) - count)
        return tuple(self.names[first : first + count])

    def welcome(self) -> m.Welcome:
        """The complete state: the active casts, and enough finished casts to fill the rows."""
        casts = [self._summary(cast) for cast in self._share]
        deliveries = {cast: self._deliveries(cast) for cast in self._share}
        rows = len(casts) + sum(map(len, deliveries.values()))
        number = 0
        while rows < self._size.rows:
            summary, completed = self._ended(number, min(40, self._size.rows - rows - 1))
            casts.append(summary)
            deliveries[summary.cast] = completed
            rows += 1 + len(completed)
            number += 1
        cluster = m.ClusterStatus(
            m.ClusterPhase.READY,
            "10.0.0.1:6379",
            address="10.0.0.1:6379",
            nodes_ready=self._size.nodes,
            nodes_total=self._size.nodes,
            cpus=8.0 * self._size.nodes,
            ray_version="2.60.0",
            python_version="3.11.7",
        )
        return m.Welcome(
            m.PROTOCOL_VERSION, "0.1.0", 1, cluster, self._nodes(), tuple(casts), deliveries, True
        )

    def _nodes(self) -> tuple[m.NodeInfo, ...]:
        here = m.NodeInfo("ubuntu-ws", m.NodeState.ONLINE, "10.0.0.1", this_computer=True, cpus=8.0)
        return (here, *(self._node(name, number) for number, name in enumerate(self.names)))

    def _node(self, name: str, number: int) -> m.NodeInfo:
        return m.NodeInfo(
            name,
            m.NodeState.ONLINE,
            f"10.0.{number // 250 + 1}.{number % 250 + 1}",
            inbox=f"/data/castray/{name}",
            cpus=8.0,
            memory=64 * GB,
            memory_free=self._random.randrange(64) * GB,
            disk_free=self._random.randrange(900) * GB,
            disk_total=1000 * GB,
            load=self._random.random(),
            zone=f"rack {number // 40}",
            last_seen=time.time(),
        )

    def _summary(self, cast: str, state: m.CastState = m.CastState.SENDING) -> m.CastSummary:
        nodes = self._share[cast]
        done = sum(self._done[cast].values()) // len(nodes)
        return m.CastSummary(
            cast=cast,
            name=f"model-{int(cast, 16)}.safetensors",
            state=state,
            source="ubuntu-ws",
            recipients=nodes,
            mode=m.CastMode.MULTICAST,
            started=self._began - 60 + int(cast, 16),
            files=1,
            bytes=15 * GB,
            done_bytes=done,
            rate=118.0 * MB,
            upload_rate=118.0 * MB,
            eta=(15 * GB - done) / (118 * MB),
            chain=("ubuntu-ws", *nodes),
            source_copies=1.0,
            multicast=self._stream(cast),
        )

    def _stream(self, cast: str) -> m.MulticastSnapshot | None:
        if not self._size.multicast or int(cast, 16):
            return None
        listeners = tuple(name for number, name in enumerate(self._share[cast]) if not _lags(number))
        return m.MulticastSnapshot(MulticastState.SENDING, listeners=listeners, rate=118.0 * MB)

    def _repair(self, name: str) -> int:
        if self._random.random() < 0.05:
            self._repaired[name] += MB
        return self._repaired[name]

    def _deliveries(self, cast: str) -> tuple[m.DeliverySnapshot, ...]:
        nodes, done = self._share[cast], self._done[cast]
        seconds = round(time.time() - self._began, 1)
        result = []
        for number, name in enumerate(nodes):
            done[name] = min(15 * GB, done[name] + self._random.randrange(8, 14) * MB)
            upstream = nodes[number - 1] if number else "ubuntu-ws"
            rate = float(self._random.randrange(90, 120) * MB)
            left = (15 * GB - done[name]) / rate
            listens = self._size.multicast and not int(cast, 16) and not _lags(number)
            result.append(
                m.DeliverySnapshot(
                    name,
                    m.DeliveryState.RECEIVING,
                    upstream=upstream,
                    bytes=done[name],
                    rate=rate,
                    eta=left,
                    lagging=_lags(number),
                    behind=GB if _lags(number) else 0,
                    seconds=seconds,
                    transport=m.Transport.UDP if listens else m.Transport.DIRECT,
                    listening=listens,
                    datagram_bytes=done[name] if listens else 0,
                    repaired_bytes=self._repair(name) if listens else 0,
                )
            )
        return tuple(result)

    def _ended(self, number: int, count: int) -> tuple[m.CastSummary, tuple[m.DeliverySnapshot, ...]]:
        cast = f"e{number:011x}"
        nodes = tuple(self.names[:count])
        at = self._began - 3600 - number * 60
        completed = tuple(
            m.DeliverySnapshot(
                name,
                m.DeliveryState.COMPLETED,
                bytes=GB,
                seconds=9.0,
                hash="blake3:" + f"{number:064x}",
                paths=(f"/data/castray/{name}/file-{number}.tar",),
            )
            for name in nodes
        )
        summary = m.CastSummary(
            cast,
            f"file-{number}.tar",
            m.CastState.COMPLETED,
            "ubuntu-ws",
            nodes,
            m.CastMode.MULTICAST,
            at,
            finished=at + 9,
            files=1,
            bytes=GB,
            done_bytes=GB,
            verified=count,
        )
        return summary, completed

    def events(self) -> Iterator[m.Event]:
        """The events of an engine within a tenth of a second."""
        self._tick += 1
        for cast in tuple(self._share):
            yield m.CastChanged(self._summary(cast))
            yield m.DeliveriesChanged(cast, self._deliveries(cast))
        if self._tick % 10 == 0:
            yield m.NodesChanged(self._nodes())
        if self._tick % 3 == 0:
            rates = tuple(m.NodeRate(name, self._random.random() * 118 * MB, 0.0) for name in self.names)
            total = sum(rate.received for rate in rates)
            yield m.Throughput(time.time(), total, 118.0 * MB, rates)
        if self._tick % NEW_CAST_EVERY == 0:
            yield from self._replace_one()

    def _replace_one(self) -> Iterator[m.Event]:
        """A cast ends and another one starts."""
        old = next(cast for cast in reversed(self._share))
        ended = self._summary(old, m.CastState.COMPLETED)
        completed = tuple(
            m.DeliverySnapshot(name, m.DeliveryState.COMPLETED, bytes=15 * GB, seconds=60.0)
            for name in self._share[old]
        )
        yield m.CastResult(ended, completed, 60.0)
        fresh = f"{self._new:012x}"
        self._new += 1
        self._share[fresh] = self._share.pop(old)
        self._done[fresh] = dict.fromkeys(self._share[fresh], 0)
        yield m.CastChanged(self._summary(fresh))
        yield m.DeliveriesChanged(fresh, self._deliveries(fresh))


def _lags(number: int) -> bool:
    return number % 97 == 5


class PlayedEngine:
    """A client as `EngineLink` expects it, which decodes frames when they are due."""

    def __init__(self, welcome: m.Welcome) -> None:
        self.welcome = welcome
        self._frames: asyncio.Queue[bytes] = asyncio.Queue()

    def put(self, frames: list[bytes]) -> None:
        for frame in frames:
            self._frames.put_nowait(frame)

    async def request(self, command: m.Command, expect: type[ReplyType]) -> ReplyType:
        reply: m.Reply = m.Done()
        if isinstance(command, m.Preflight):
            reply = m.PreflightReport(1, GB, command.request.recipients)
        if not isinstance(reply, expect):
            raise unknown(command)
        return reply

    async def events(self) -> AsyncIterator[m.Event]:
        while True:
            message = m.decode_from_engine((await self._frames.get())[4:])
            yield message  # type: ignore[misc]

    async def close(self) -> None:
        pass


def unknown(command: m.Command) -> Exception:
    """The engine's answer to an unknown command."""
    from castray_desktop.core.failures.kinds import CastRayError, FailureKind

    return CastRayError(FailureKind.INTERNAL, reason=f"{type(command).__name__} is not played")


@dataclass(frozen=True)
class Tick:
    """The delay of a tick of the timer, and the processor time of this thread since the last tick."""

    at: float
    late_ms: float
    busy_ms: float


class Ticks(QObject):
    """Every tick of a 10 ms timer."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks: list[Tick] = []
        self._last, self._busy = time.perf_counter(), time.thread_time()
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(TICK_MS)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now, busy = time.perf_counter(), time.thread_time()
        late = max(0.0, (now - self._last) * 1000 - TICK_MS)
        self.ticks.append(Tick(time.time(), late, (busy - self._busy) * 1000))
        self._last, self._busy = now, busy

    def take(self) -> list[Tick]:
        """The ticks since the last call."""
        taken, self.ticks = self.ticks, []
        return taken


@contextmanager
def bare_timer(path: Path) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-S", "-c", BARE_TIMER, str(path)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def bare_gaps(path: Path) -> list[Gap]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [Gap(*map(float, line.split())) for line in lines if len(line.split()) == 2]


def describe(name: str, ticks: list[Tick], bare: list[Gap]) -> str:
    """The gaps as one line."""
    own = [tick for tick in ticks if not Gap(tick.at - tick.late_ms / 1000 - 0.02, tick.at).overlaps(bare)]
    late = sorted(tick.late_ms for tick in own) or [0.0]
    busy = sorted(tick.busy_ms for tick in ticks) or [0.0]
    return (
        f"{name:18} gaps p50 {_part(late, 0.5):5.1f}  p99 {_part(late, 0.99):5.1f}  worst {late[-1]:6.1f} ms "
        f"({len(ticks) - len(own)} of {len(ticks)} left out);  "
        f"busy p99 {_part(busy, 0.99):5.1f}  worst {busy[-1]:6.1f} ms"
    )


def _part(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


@dataclass
class Stage:
    """The window with its simulated engine."""

    application: QApplication
    window: MainWindow
    link: EngineLink
    engine: PlayedEngine
    feed: Feed
    found: dict[str, list[Tick]] = field(default_factory=dict)


def build(size: Size, home: Path) -> Stage:
    application = build_application()
    load_fonts()
    settings = QSettings(str(home / "window.ini"), QSettings.Format.IniFormat)
    theme, language = Theme(settings, application), Language(settings, application)
    language.choose(ENGLISH)
    feed = Feed(size)
    engine = PlayedEngine(feed.welcome())

    async def connect() -> PlayedEngine:
        return engine

    link = EngineLink(connect, application)
    window = MainWindow(
        theme, language, link, Preferences(settings), RecipientGroupFile(home / "groups.json")
    )
    apply_style(application, theme)
    window.resize(1440, 900)
    window.show()
    return Stage(application, window, link, engine, feed)


def add_plot(stage: Stage) -> None:
    from castray_desktop.ui.throughput.throughput_plot import ThroughputPlot

    plot = ThroughputPlot(stage.window._theme)
    stage.window.transfers_card.put_plot(plot, plot.add)


async def play(stage: Stage, seconds: float, ticks: Ticks) -> None:
    """Replay the load. The frames are encoded before, so that this does not cost the window time."""
    count = round(seconds / FEED_SECONDS)
    frames = deque([m.encode(event) for event in stage.feed.events()] for _ in range(count))
    stage.window.table.expand(stage.window.transfers.index_of(f"{1:012x}"))
    gc.collect()
    await asyncio.sleep(1.0)
    ticks.take()
    began = time.perf_counter()
    for number in range(count):
        stage.engine.put(frames.popleft())
        await asyncio.sleep(max(0.0, began + (number + 1) * FEED_SECONDS - time.perf_counter()))
    stage.found["feed"] = ticks.take()


async def connect_and_calm(stage: Stage, ticks: Ticks) -> None:
    """The complete state arrives; then nothing moves."""
    await asyncio.sleep(0.3)
    ticks.take()
    running = asyncio.create_task(stage.link.run(), name="link")
    await asyncio.sleep(3.0)
    stage.found["first picture"] = ticks.take()
    add_plot(stage)
    stage.window.table.select_cast(f"{0:012x}")
    await asyncio.sleep(1.0)
    stage.running = running  # type: ignore[attr-defined]


async def idle_share(seconds: float) -> float:
    """The share of a core that this process uses."""
    before, at = time.process_time(), time.perf_counter()
    await asyncio.sleep(seconds)
    return (time.process_time() - before) / (time.perf_counter() - at)


def frames_a_second(stage: Stage, zoom: float) -> tuple[float, float]:
    """Median and slowest frame while the pointer drags the graph at this zoom."""
    view = stage.window.graph.view
    view.set_zoom(zoom)
    stage.application.processEvents()
    bars = view.horizontalScrollBar(), view.verticalScrollBar()
    took = []
    for step in range(60):
        began = time.perf_counter()
        for bar in bars:
            bar.setValue(round(bar.maximum() * (0.5 + 0.4 * ((step * 7) % 60 - 30) / 30)))
        view.viewport().repaint()
        took.append(time.perf_counter() - began)
    return 1 / statistics.median(took), 1 / max(took)


def frames_zooming(stage: Stage) -> tuple[float, float]:
    """Median and slowest frame while the wheel zooms in and out."""
    view = stage.window.graph.view
    took = []
    for step in [*range(12), *range(12, 0, -1)]:
        began = time.perf_counter()
        view.set_zoom(1.0 + step * 0.25, QPointF(300, 200).toPoint())
        view.viewport().repaint()
        took.append(time.perf_counter() - began)
    view.set_zoom(1.0)
    return 1 / statistics.median(took), 1 / max(took)


async def fly(stage: Stage, seconds: float) -> None:
    ticks = Ticks()
    await connect_and_calm(stage, ticks)
    await play(stage, seconds, ticks)
    for zoom in (1.0, 2.0, 4.0):
        middle, least = frames_a_second(stage, zoom)
        print(f"panning at {zoom:.0f}x: {middle:5.0f} frames/s, slowest {least:5.0f}")
    middle, least = frames_zooming(stage)
    print(f"zooming      : {middle:5.0f} frames/s, slowest {least:5.0f}")
    ticks._timer.stop()
    await asyncio.sleep(2.0)
    print(f"idle: {await idle_share(5.0) * 100:.2f} % of a core")
    await stage.link.close()
    stage.window.hide()


def main() -> None:
    """Run what the command line selects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--casts", type=int, default=8)
    parser.add_argument("--multicast", action="store_true", help="the first cast goes to a multicast group")
    parser.add_argument("--platform", default=OFFSCREEN)
    parser.add_argument("--profile", default="", help="a file for cProfile's figures of the feed")
    options = parser.parse_args()
    os.environ["QT_QPA_PLATFORM"] = options.platform
    os.environ.setdefault("QT_API", "pyside6")
    import qasync

    size = Size(options.nodes, options.rows, options.casts, options.multicast)
    with tempfile.TemporaryDirectory() as home, bare_timer(Path(home) / "bare"):
        stage = build(size, Path(home))
        collector = WindowThreadCollector(stage.window)
        collector.start()
        loop = qasync.QEventLoop(stage.application)
        with loop:
            if options.profile:
                import cProfile

                with cProfile.Profile() as profile:
                    loop.run_until_complete(fly(stage, options.seconds))
                profile.dump_stats(options.profile)
            else:
                loop.run_until_complete(fly(stage, options.seconds))
        collector.stop()
        bare = bare_gaps(Path(home) / "bare")
    for name, ticks in stage.found.items():
        print(describe(name, ticks, bare))
    print(f"memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB at most; {BARS}")


if __name__ == "__main__":
    main()
