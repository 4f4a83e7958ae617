"""The composition root: the real event loop around the window, with a played engine."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, QTimer
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop import app
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.i18n.language import Language
from castray_desktop.ui.model.engine_link import EngineLink, EngineLinkState
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.window.event_loop import WindowThreadCollector
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.workers.base.paths import Paths
from tests.helpers import fake_engine as fake
from tests.helpers.fake_engine import FakeEngine, FakeLink
from tests.ui.scenes import make_window


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine(fake.busy_welcome())


@pytest.fixture
def live_link(engine: FakeEngine) -> EngineLink:
    async def connect() -> FakeEngine:
        return engine

    return EngineLink(connect)


@pytest.fixture
def live_window(qtbot: QtBot, theme: Theme, live_link: EngineLink, settings: QSettings) -> MainWindow:
    window = make_window(theme, Language(settings), live_link, settings)
    qtbot.addWidget(window)
    window.show()
    return window


def test_the_window_lives_and_leaves_the_engine(
    qapp: QApplication, engine: FakeEngine, live_link: EngineLink, live_window: MainWindow
) -> None:
    live_link.welcome.connect(lambda welcome: QTimer.singleShot(0, live_window.quit_requested.emit))
    assert app.serve(qapp, app.QuitRequest(live_window), live_link) == 0
    assert engine.closed
    assert live_link.connection is EngineLinkState.CLOSED
    assert m.Watch(None) in engine.commands
    assert len(live_window.nodes.nodes()) == 4


def test_a_quit_request_before_the_loop_runs_is_not_lost(
    qapp: QApplication, live_link: EngineLink, live_window: MainWindow
) -> None:
    quit_request = app.QuitRequest(live_window)
    live_window.quit_requested.emit()
    assert app.serve(qapp, quit_request, live_link) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_it_without_a_question(
    qapp: QApplication,
    engine: FakeEngine,
    live_link: EngineLink,
    live_window: MainWindow,
    number: signal.Signals,
) -> None:
    live_link.welcome.connect(lambda welcome: QTimer.singleShot(0, lambda: os.kill(os.getpid(), number)))
    before = signal.getsignal(number)
    with app.closing_signals(live_window):
        assert app.serve(qapp, app.QuitRequest(live_window), live_link) == 0
    assert engine.closed
    assert signal.getsignal(number) is before


def test_the_trace_notes_what_happened(
    qtbot: QtBot, tmp_path: Path, link: FakeLink, window: MainWindow
) -> None:
    path = tmp_path / "trace.jsonl"
    trace = app.StartupTrace(str(path))
    trace.follow(window, link)
    window.painted.emit()
    link.start(fake.busy_welcome())
    trace.stop()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    events = [line["event"] for line in lines if line["event"] != "gap"]
    assert events == ["first_paint", "engine_connected", "ready", "stopped"]
    assert all(line["at"] > 0 for line in lines)


def test_without_a_path_nothing_is_traced(live_link: EngineLink, live_window: MainWindow) -> None:
    trace = app.StartupTrace("")
    trace.follow(live_window, live_link)
    live_window.painted.emit()
    trace.stop()


def test_the_plot_comes_later_and_gets_what_it_missed(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, theme: Theme, live_window: MainWindow
) -> None:
    monkeypatch.setattr(app, "PLOT_DELAY_MS", 0)
    collector = WindowThreadCollector(live_window)
    collector.start()
    live_window.transfers_card.add_throughput(fake.throughput(1.0, 1e6, 1e6))
    loader = app.PlotLoader(theme, live_window, live_window._link)
    with qtbot.waitSignal(loader.loaded):
        pass
    loader.stop()
    collector.stop()
    assert not live_window.transfers_card._backlog


def test_garbage_is_collected_in_the_thread_of_the_window(qtbot: QtBot) -> None:
    class Thing:
        me: object

    collector = WindowThreadCollector()
    collector.start()
    assert not gc.isenabled()
    thing = Thing()
    thing.me = thing
    gone = weakref.ref(thing)
    del thing
    fresh: list[list[object]] = [[] for _ in range(2000)]
    assert gone() is not None
    collector.collect()
    assert gone() is None
    assert len(fresh) == 2000
    collector.stop()
    assert gc.isenabled()
    gc.disable()  # as the fixture of all these tests wants it


def test_settings_lie_in_the_home(tmp_path: Path) -> None:
    settings = app.open_settings(Paths(tmp_path, tmp_path / "socket"))
    settings.setValue("theme", "dark")
    settings.sync()
    assert (tmp_path / "window.ini").is_file()


def test_nothing_heavy_is_imported_before_the_window_is_drawn() -> None:
    heavy = ["asyncio", "ssl", "qasync", "numpy", "pyqtgraph", "subprocess", "ray"]
    code = f"import sys, castray_desktop.app; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


LOOP = """
import asyncio, qasync
# What Python 3.14 deprecates and 3.16 removes.
for name in ("iscoroutinefunction", "get_event_loop_policy", "set_event_loop_policy"):
    delattr(asyncio, name)
from PySide6.QtWidgets import QApplication
from castray_desktop import app

async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()

async def use():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"over a socket\\n")
    print((await reader.readline()).decode().strip())
    writer.close()
    server.close()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(0.01))
        tasks.create_task(asyncio.to_thread(print, "in a thread"))
    print("done")

application = QApplication([])
with {loop}(application) as loop:
    loop.run_until_complete(use())
"""


@pytest.mark.parametrize("loop", ["app.new_event_loop", "qasync.QEventLoop"])
def test_the_event_loop_works_without_what_asyncio_is_going_to_remove(loop: str) -> None:
    """Ours works; qasync's own does not. When the second case fails, `new_event_loop` needs no subclass."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:qasync", "-c", LOOP.replace("{loop}", loop)],
        env=os.environ | {"QT_API": "pyside6"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    if loop.startswith("app."):
        assert (done.returncode, done.stdout.splitlines()) == (0, ["over a socket", "in a thread", "done"])
    else:
        assert "has no attribute 'iscoroutinefunction'" in done.stderr
