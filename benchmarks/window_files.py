"""Measure the *Files* tab of a cast with very many files: scrolling, search, sorting.

    python -m benchmarks.window_files                  100,000 files to 3 recipients
    python -m benchmarks.window_files --files 1000000

Puts the list of files of an ended cast into a new home, starts a real engine there (without a cluster), and
opens the real *Details* on the offscreen platform (or on DISPLAY with `--platform xcb`). Prints

- frames: the processor time of one event (a step of the wheel, a page down, a key, a click) with the painting
  that follows it; median, 95 % and the largest. Other programs don't change it. The clock's time of the
  median and the largest frame is beside it;
- gaps: the processor time of the window's thread between two ticks of a 10 ms timer, which also has the
  decoding and painting of pages that arrive later;
- the time from a key or a click to the rows that it leads to. A search begins 200 ms after the last key.

Status 1 if a frame takes more than 50 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QEvent, QPoint, QPointF, QSettings, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget

from benchmarks.window_load import OFFSCREEN, Ticks, _part
from castray_desktop.app import build_application
from castray_desktop.core.casts.cast_statistics import CastTotals
from castray_desktop.core.content.file_outcomes import FileOutcome, FileOutcomes, pack_outcomes
from castray_desktop.core.content.manifest import (
    EntryKind,
    FileResult,
    FileStatus,
    Manifest,
    ManifestEntry,
    encode_manifest,
    encode_trailer,
)
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.i18n.language import ENGLISH, Language
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.theme.theme import Theme, apply_style
from castray_desktop.ui.transfers.cast_sheets import CastDetails
from castray_desktop.ui.window.event_loop import WindowThreadCollector
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.client.engine_client import EngineClient
from castray_desktop.workers.history.file_list_store import FileListStore, OutcomeRecord, ParcelRecord
from castray_desktop.workers.history.history_store import HistoryStore, PastCast

CAST = "c0ffee00f11e"
NODES = ("gpu-1", "gpu-2", "gpu-3")
BAR_MS = 50.0
WORDS = ("shard", "image", "token", "label", "权重", "config", "sample")
RESULT_SECONDS = 60.0


def file_list(count: int) -> tuple[ParcelRecord, tuple[OutcomeRecord, ...]]:
    """The files of a data set in folders of a thousand, and what became of them."""
    chance = random.Random(5)
    entries, results, codes = [], [], bytearray()
    places: dict[bytes, bytes] = {}
    for number in range(count):
        if number % 1000 == 0:
            folder = f"set/part-{number // 1000:04}".encode()
            entries += [ManifestEntry(EntryKind.FOLDER, b"set")] if not number else []
            entries.append(ManifestEntry(EntryKind.FOLDER, folder))
        path = folder + f"/{chance.choice(WORDS)}-{number:07}.bin".encode()
        entries.append(ManifestEntry(EntryKind.FILE, path, size=chance.randrange(10_000_000)))
        results.append(FileResult(FileStatus.OK, chance.randbytes(32)))
        code = FileOutcome.SENT if number % 50 else FileOutcome.RENAMED
        codes.append(code)
        if code is FileOutcome.RENAMED:
            places[path] = path.replace(b".bin", b" (2).bin")
    packed = pack_outcomes(FileOutcomes(bytes(codes), places))
    manifest = zlib.compress(encode_manifest(Manifest(entries)))
    parcel = ParcelRecord("d", "blake3", manifest, encode_trailer(results))
    return parcel, tuple(OutcomeRecord(node, "d", packed) for node in NODES)


def furnish(paths: Paths, count: int) -> m.CastResult:
    """A home whose history has the cast with these files."""
    paths.prepare()
    deliveries = tuple(m.DeliverySnapshot(node, m.DeliveryState.COMPLETED, seconds=9.0) for node in NODES)
    now = time.time()
    summary = m.CastSummary(
        CAST,
        "set/",
        m.CastState.COMPLETED,
        "laptop",
        NODES,
        m.CastMode.MULTICAST,
        now - 60,
        finished=now - 50,
        files=count,
        bytes=count * 5_000_000,
    )
    result = m.CastResult(summary, deliveries, 10.0)
    history = HistoryStore(paths.history)
    history.add_cast(PastCast(m.SendRequest(("/data/set",), NODES), "local", result), CastTotals(), {})
    history.close()
    lists = FileListStore(paths.home / "files")
    parcel, outcomes = file_list(count)
    for record in (parcel, *outcomes):
        lists.append(CAST, record)
    return result


@dataclass
class FilesStage:
    """The details of the cast, and what was measured."""

    application: QApplication
    details: CastDetails
    link: EngineLink
    ticks: Ticks
    frames: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # processor, clock; ms
    slow: bool = False

    def frame(self, name: str, act: Callable[[], object]) -> None:
        """One event, with the painting that follows it."""
        began, busy = time.perf_counter(), time.thread_time()
        act()
        self.details.files.table.viewport().repaint()
        took = ((time.thread_time() - busy) * 1000, (time.perf_counter() - began) * 1000)
        self.frames.setdefault(name, []).append(took)

    def report(self, name: str) -> None:
        """Print the frames of that name, and the gaps of the event loop since the last report."""
        frames = sorted(processor for processor, _ in self.frames[name])
        clock = sorted(clock for _, clock in self.frames[name])
        busy = max((tick.busy_ms for tick in self.ticks.take()), default=0.0)
        self.slow = self.slow or frames[-1] > BAR_MS
        print(
            f"{name:16} {len(frames):4} frames  median {statistics.median(frames):5.1f}"
            f"  p95 {_part(frames, 0.95):5.1f}  largest {frames[-1]:5.1f} ms"
            f"  (clock: {statistics.median(clock):.0f}, {clock[-1]:.0f} ms);  largest gap {busy:5.1f} ms",
            flush=True,
        )

    async def until_answered(self, name: str, act: Callable[[], object]) -> None:
        """Print the time from an action to the painted answer of the engine."""
        answered = asyncio.Event()
        model, search = self.details.files.model, self.details.files.search

        def check() -> None:
            if model.query.text == search.text():
                answered.set()

        began = time.perf_counter()
        self.frame(name, act)
        model.described.connect(check)
        await asyncio.wait_for(answered.wait(), RESULT_SECONDS)
        self.frame(name, lambda: None)
        model.described.disconnect(check)
        page = model.page
        found = f"{page.total:,} of {page.all:,} files" if page is not None else ""
        took = (time.perf_counter() - began) * 1000
        print(f"{'':16} result after {took:5.0f} ms: {found}", flush=True)


def wheel(target: QWidget, steps: int) -> None:
    centre = QPointF(target.rect().center())
    QApplication.sendEvent(
        target,
        QWheelEvent(
            centre,
            target.mapToGlobal(centre),
            QPoint(),
            QPoint(0, -120 * steps),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )


def press(target: QWidget, key: Qt.Key, text: str = "") -> None:
    for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
        QApplication.sendEvent(target, QKeyEvent(kind, key, Qt.KeyboardModifier.NoModifier, text))


def click(target: QWidget, place: QPoint) -> None:
    for kind, held in (
        (QEvent.Type.MouseButtonPress, Qt.MouseButton.LeftButton),
        (QEvent.Type.MouseButtonRelease, Qt.MouseButton.NoButton),
    ):
        QApplication.sendEvent(
            target,
            QMouseEvent(
                kind,
                QPointF(place),
                QPointF(target.mapToGlobal(place)),
                Qt.MouseButton.LeftButton,
                held,
                Qt.KeyboardModifier.NoModifier,
            ),
        )


async def scroll(stage: FilesStage) -> None:
    """By wheel, by page, and by dragging the scroll bar to places whose rows were not fetched yet."""
    table = stage.details.files.table
    for _ in range(150):
        stage.frame("wheel", lambda: wheel(table.viewport(), 1))
        await asyncio.sleep(0.016)
    stage.report("wheel")
    for _ in range(100):
        stage.frame("page down", lambda: press(table, Qt.Key.Key_PageDown))
        await asyncio.sleep(0.03)
    stage.report("page down")
    bar = table.verticalScrollBar()
    for step in range(60):
        stage.frame("scroll bar", lambda: bar.setValue(bar.maximum() * ((step * 37) % 61) // 60))  # noqa: B023
        await asyncio.sleep(0.016)
    await asyncio.sleep(2.0)
    stage.report("scroll bar")
    stage.frame("to the end", lambda: press(table, Qt.Key.Key_End))
    stage.frame("to the end", lambda: press(table, Qt.Key.Key_Home))
    await asyncio.sleep(0.5)
    stage.report("to the end")


async def search(stage: FilesStage) -> None:
    """Type words, and remove them."""
    field = stage.details.files.search
    for text in ("shard", "0099", "权重", "ffff"):
        for letter in text[:-1]:
            stage.frame("typing", lambda: press(field, Qt.Key.Key_unknown, letter))  # noqa: B023
            await asyncio.sleep(0.06)
        await stage.until_answered("typing", lambda: press(field, Qt.Key.Key_unknown, text[-1]))  # noqa: B023
        await stage.until_answered("typing", field.clear)
    stage.report("typing")


async def sort(stage: FilesStage) -> None:
    """Click on the headers of the columns, each twice."""
    header = stage.details.files.table.horizontalHeader()
    for column in (1, 1, 2, 2, 0, 0):
        place = QPoint(header.sectionViewportPosition(column) + 20, header.height() // 2)
        await stage.until_answered("sorting", lambda: click(header.viewport(), place))  # noqa: B023
    stage.report("sorting")


async def fly(application: QApplication, home: Path, count: int) -> bool:
    """Measure; returns whether no frame was too slow."""
    os.environ |= {"CASTRAY_HOME": str(home / "home"), "XDG_RUNTIME_DIR": str(home)}  # of the engine
    paths = find_paths()
    result = furnish(paths, count)

    async def connect() -> EngineClient:
        return await EngineClient.connect(paths, "benchmark")

    settings = QSettings(str(home / "window.ini"), QSettings.Format.IniFormat)
    theme, language = Theme(settings, application), Language(settings, application)
    language.choose(ENGLISH)
    apply_style(application, theme)
    link = EngineLink(connect, application)
    connected = asyncio.Event()
    link.welcome.connect(connected.set)
    running = asyncio.create_task(link.run(), name="link")
    await asyncio.wait_for(connected.wait(), RESULT_SECONDS)
    window = QWidget()
    window.resize(1440, 900)
    window.show()
    collector = WindowThreadCollector(window)
    collector.start()
    details = CastDetails(theme, link, window)
    stage = FilesStage(application, details, link, Ticks())
    details.show()
    details.activateWindow()
    stage.frame("opening", lambda: details.show_cast(result.summary, result.deliveries))
    await stage.until_answered("opening", lambda: details.show_tab("files"))
    stage.report("opening")
    await asyncio.sleep(0.5)
    await scroll(stage)
    await search(stage)
    await sort(stage)
    stage.ticks._timer.stop()
    collector.stop()
    await link.request(m.StopEngine(), m.Done)
    await link.close()
    await asyncio.wait([running])
    details.hide()
    window.hide()
    return not stage.slow


def main() -> int:
    """Print the figures; status 1 if a frame was too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--platform", default=OFFSCREEN)
    options = parser.parse_args()
    os.environ["QT_QPA_PLATFORM"] = options.platform
    os.environ.setdefault("QT_API", "pyside6")
    import qasync

    with tempfile.TemporaryDirectory() as home:
        application = build_application()
        load_fonts()
        with qasync.QEventLoop(application) as loop:
            smooth = loop.run_until_complete(fly(application, Path(home), options.files))
    print(f"{options.files:,} files; bar: no frame above {BAR_MS:.0f} ms")
    return 0 if smooth else 1


if __name__ == "__main__":
    sys.exit(main())
