"""Every state of the window as a picture, to look at: `python -m tests.ui.scenes FOLDER [NAME...]`.

Builds the real window with a scripted engine in place of the real one: light, dark, first run, small; each
in English and, with `-zh` behind its name, in Chinese. With QT_SCALE_FACTOR=2 as on a dense screen.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import msgspec
from PySide6.QtCore import QElapsedTimer, QEvent, QSettings
from PySide6.QtWidgets import QApplication

from castray_desktop.app import build_application
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol import messages as m
from castray_desktop.ui.i18n.language import CHINESE, ENGLISH, Language
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.preferences import Preferences
from castray_desktop.ui.theme.fonts import load_fonts
from castray_desktop.ui.theme.theme import Theme, apply_style
from castray_desktop.ui.window.main_window import MainWindow
from castray_desktop.workers.base.state_files import RecipientGroupFile
from tests.helpers import fake_engine as fake

Scene = Callable[[MainWindow, fake.FakeLink], None]


def make_window(theme: Theme, language: Language, link: EngineLink, settings: QSettings) -> MainWindow:
    """The window, with groups of recipients in a file beside its settings."""
    groups = RecipientGroupFile(Path(settings.fileName()).with_name("groups.json"))
    return MainWindow(theme, language, link, Preferences(settings), groups)


@contextmanager
def fake_window(
    application: QApplication, *, dark: bool = False, spoken: str = ENGLISH
) -> Iterator[tuple[MainWindow, fake.FakeLink]]:
    """The window with an engine that says what it is told to say."""
    with tempfile.TemporaryDirectory() as home:
        settings = QSettings(f"{home}/window.ini", QSettings.Format.IniFormat)
        theme = Theme(settings)
        theme.set_dark(dark)
        language = Language(settings)
        language.choose(spoken)
        application.setStyleSheet("")  # as in the application, its style comes once it is whole
        link = fake.FakeLink()
        window = make_window(theme, language, link, settings)
        apply_style(application, theme)
        try:
            yield window, link
        finally:
            window.hide()
            window.deleteLater()
            language.stop()
            application.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def settle(application: QApplication, milliseconds: int = 700) -> None:
    """Handle events for a while: layouts, timers, paints."""
    clock = QElapsedTimer()
    clock.start()
    while clock.elapsed() < milliseconds:
        application.processEvents()


def add_plot(window: MainWindow) -> None:
    from castray_desktop.ui.throughput.throughput_plot import ThroughputPlot

    plot = ThroughputPlot(window._theme)
    window.transfers_card.put_plot(plot, plot.add)


def busy(window: MainWindow, link: fake.FakeLink) -> None:
    """A cast on its way, one that partly failed, and files waiting."""
    import time

    link.start(fake.busy_welcome())
    window.selection.set_selected(["node_1", "node_2", "node_3"])
    window.add_files(
        [
            "/home/ada/models/llama-3-8b.safetensors",
            "/home/ada/models/tokenizer.json",
            "/home/ada/models/configs",
        ]
    )
    add_plot(window)
    now = time.time()
    for number in range(240):
        wave = 1 + 0.06 * ((number * 7919) % 13 - 6) / 6
        link.say(fake.throughput(now - 60 + number / 4, 546e6 * wave, 118e6 * wave))
    window.table.expand(window.transfers.index_of("c0ffee000002"))


def empty(window: MainWindow, link: fake.FakeLink) -> None:
    """A cluster, and nothing to send yet."""
    link.start(m.Welcome(m.PROTOCOL_VERSION, "0.1.0", 4711, fake.local_cluster(), fake.local_nodes(), (), {}))
    add_plot(window)


def first_run(window: MainWindow, link: fake.FakeLink) -> None:
    """No cluster yet."""
    link.start(fake.empty_welcome())
    add_plot(window)


def starting(window: MainWindow, link: fake.FakeLink) -> None:
    """Ray is coming up."""
    first_run(window, link)
    link.say(m.ClusterChanged(m.ClusterStatus(m.ClusterPhase.STARTING, "local", attempt=2, attempts=3)))


def failed(window: MainWindow, link: fake.FakeLink) -> None:
    """Ray did not come up."""
    first_run(window, link)
    reason = {
        "attempts": "3",
        "reason": "port 6379 is taken by another program",
        "log": "/home/ada/.castray/logs",
    }
    failure = Failure(FailureKind.CLUSTER_START_FAILED, reason)
    link.say(m.ClusterChanged(m.ClusterStatus(m.ClusterPhase.FAILED, "local", failure=failure)))


def no_room(window: MainWindow, link: fake.FakeLink) -> None:
    """A recipient that can't take what is to be sent."""
    failure = Failure(
        FailureKind.NO_ROOM,
        {"node": "node_3", "path": "/home/ada/CastRay/node_3", "free": "2.1 GB", "needed": "15.0 GB"},
    )
    problem = m.PreflightProblem("node_3", failure)
    link.answers[m.Preflight] = lambda command: m.PreflightReport(
        16, 15 * fake.GB, command.request.recipients, (problem,)
    )
    busy(window, link)
    settle(QApplication.instance())  # type: ignore[arg-type]
    window.send_panel.send()


def refused(window: MainWindow, link: fake.FakeLink) -> None:
    """Something that could not be done."""
    busy(window, link)
    window.send_panel.entries.clear()
    window.show_failure(Failure(FailureKind.NODE_NOT_REMOVABLE, {"node": "node_1"}))


def closing(window: MainWindow, link: fake.FakeLink) -> None:
    """The question before the window closes on a running cast."""
    busy(window, link)
    window.close()


def dragging(window: MainWindow, link: fake.FakeLink) -> None:
    """Files on their way over the window."""
    from PySide6.QtCore import QMimeData, QPoint, Qt, QUrl
    from PySide6.QtGui import QDragEnterEvent

    busy(window, link)
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile("/home/ada/a.bin"), QUrl.fromLocalFile("/home/ada/b.bin")])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    event = QDragEnterEvent(QPoint(100, 200), Qt.DropAction.CopyAction, data, buttons, keys)
    QApplication.sendEvent(window, event)


def repaired(window: MainWindow, link: fake.FakeLink) -> None:
    """A node was lost; the one below it fetches from another one, and its disk is slow."""
    busy(window, link)
    window.table.select_cast("c0ffee000001")
    first, _, last = fake.sending_deliveries()
    lost = m.DeliverySnapshot(
        "node_2",
        m.DeliveryState.FAILED,
        "127.0.0.3",
        "node_1",
        int(19.2 * fake.GB),
        failure=Failure(FailureKind.NODE_OFFLINE, {"node": "node_2"}),
    )
    moved = msgspec.structs.replace(last, upstream="node_1", writing=0.9, checking=0.05)
    link.say(m.CastChanged(fake.sending_cast(failed=1)))
    link.say(m.DeliveriesChanged("c0ffee000001", (first, lost, moved)))


def relay(count: int) -> Scene:
    """A relay to so many, the third of them slow, the fifth paused."""

    def scene(window: MainWindow, link: fake.FakeLink) -> None:
        names = [f"gpu-{number:02}" for number in range(1, count + 1)]
        cast = fake.multicast_cast(count, multicast=None, paused=1)
        link.start(msgspec.structs.replace(fake.multicast_welcome(count), casts=(cast,), deliveries={}))
        add_plot(window)
        window.table.select_cast(cast.cast)
        link.say(m.DeliveriesChanged(cast.cast, tuple(relayed(names))))

    return scene


def relayed(names: list[str]) -> Iterator[m.DeliverySnapshot]:
    for number, (upstream, name) in enumerate(pairwise(["ubuntu-ws", *names]), 1):
        paused = number == 5
        yield m.DeliverySnapshot(
            name,
            m.DeliveryState.PAUSED if paused else m.DeliveryState.RECEIVING,
            upstream="gpu-04" if number == 6 else upstream,
            bytes=int((9 - 0.4 * number) * fake.GB),
            rate=0.0 if paused else (21.0 if number == 3 else 118.0) * fake.MB,
            writing=0.9 if number == 3 else 0.2,
        )


def multicast(count: int) -> Scene:
    """One stream to so many but one, of which some are being repaired."""

    def scene(window: MainWindow, link: fake.FakeLink) -> None:
        link.start(fake.multicast_welcome(count))
        add_plot(window)
        window.table.select_cast("c0ffee000001")
        link.say(m.DeliveriesChanged("c0ffee000001", fake.multicast_deliveries(count, 2 * fake.MB)))

    return scene


def multicast_filtered(window: MainWindow, link: fake.FakeLink) -> None:
    """A stream that nobody heard: the relay does all of it."""
    multicast(4)(window, link)
    end = m.MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES)
    link.say(m.CastChanged(fake.multicast_cast(4, multicast=end)))
    deaf = [
        msgspec.structs.replace(delivery, listening=False, datagram_bytes=0, repaired_bytes=0)
        for delivery in fake.multicast_deliveries(4)
    ]
    link.say(m.DeliveriesChanged("c0ffee000001", tuple(deaf)))
    window.graph.side_card.show("ubuntu-ws")


SCENES: dict[str, tuple[Scene, bool, tuple[int, int]]] = {
    "busy-light": (busy, False, (1440, 900)),
    "busy-dark": (busy, True, (1440, 900)),
    "busy-small": (busy, False, (1024, 700)),
    "busy-large": (busy, False, (1920, 1080)),
    "empty-light": (empty, False, (1440, 900)),
    "empty-small": (empty, True, (1024, 700)),
    "first-run-light": (first_run, False, (1440, 900)),
    "first-run-dark": (first_run, True, (1440, 900)),
    "first-run-small": (first_run, False, (1024, 700)),
    "starting-light": (starting, False, (1440, 900)),
    "failed-light": (failed, False, (1440, 900)),
    "failed-small": (failed, True, (1024, 700)),
    "refused-light": (refused, False, (1440, 900)),
    "refused-small": (refused, False, (1024, 700)),
    "closing-dark": (closing, True, (1440, 900)),
    "repaired-light": (repaired, False, (1440, 900)),
    "repaired-dark": (repaired, True, (1440, 900)),
    "relay-light": (relay(12), False, (1440, 900)),
    "relay-dark": (relay(7), True, (1440, 900)),
    "relay-small": (relay(12), False, (1024, 700)),
    "relay-300": (relay(300), False, (1440, 900)),
    "multicast-light": (multicast(4), False, (1440, 900)),
    "multicast-dark": (multicast(7), True, (1440, 900)),
    "multicast-small": (multicast(4), False, (1024, 700)),
    "multicast-many-light": (multicast(40), False, (1440, 900)),
    "multicast-many-dark": (multicast(30), True, (1440, 900)),
    "multicast-1000": (multicast(1000), False, (1440, 900)),
    "multicast-filtered-light": (multicast_filtered, False, (1440, 900)),
    "dragging-light": (dragging, False, (1440, 900)),
    "no-room-light": (no_room, False, (1440, 900)),
    "no-room-small": (no_room, False, (1024, 700)),
}


def main(folder: str, *names: str) -> None:
    application = build_application()
    load_fonts()
    for (plain, (scene, dark, size)), spoken in product(SCENES.items(), (ENGLISH, CHINESE)):
        name = plain if spoken == ENGLISH else f"{plain}-zh"
        if names and name not in names:
            continue
        with fake_window(application, dark=dark, spoken=spoken) as (window, link):
            window.resize(*size)
            window.show()
            settle(application, 100)
            scene(window, link)
            settle(application)
            window.grab().save(f"{folder}/{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
