"""The throughput plot: what it draws, and when."""

from __future__ import annotations

import csv
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PySide6.QtCore import QPointF, QSettings, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import NodeRate, RateHistory, RateSample, Throughput
from castray_desktop.ui.i18n.language import CHINESE, Language
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.throughput.plot_canvas import HOURS, MINUTES, SPANS, nice_top, scale_unit
from castray_desktop.ui.throughput.rate_history import STEP
from castray_desktop.ui.throughput.throughput_plot import PlotPersistence, ThroughputPlot
from tests.helpers.fake_engine import FakeLink, empty_welcome
from tests.helpers.samples import NOW


@pytest.mark.parametrize("most", [1, 999, 5e5, 5.9e8, 6.1e8, 9.99e9, 123456789.0])
def test_the_scale_holds_every_value(most: float) -> None:
    top = nice_top(most)
    assert most <= top * 1.05
    assert top <= most * 2.5


class Clock:
    """Time that changes only when it is set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def sample(at: float, count: int = 3, rate: float = 100e6) -> Throughput:
    nodes = tuple(NodeRate(node=f"node_{i}", received=rate + i) for i in range(1, count + 1))
    return Throughput(at=at, total=rate * count, upload=rate, nodes=nodes)


class Stage:
    """A plot whose clock and timer the test drives."""

    def __init__(self, qtbot: QtBot) -> None:
        self.clock = Clock()
        self.plot = ThroughputPlot(Theme(), now=self.clock)
        qtbot.addWidget(self.plot)
        self.plot.resize(432, 256)

    def feed(self, seconds: float, count: int = 3) -> None:
        for _ in range(int(seconds / STEP)):
            self.clock.now += STEP
            self.plot.add(sample(self.clock.now, count))


@pytest.fixture
def stage(qtbot: QtBot) -> Stage:
    return Stage(qtbot)


def test_the_legend_says_what_the_colours_stand_for(stage: Stage) -> None:
    stage.plot.show()
    assert stage.plot.legend.entries == ()
    stage.feed(5)
    stage.plot._redraw()
    palette = Theme().palette
    shown = [(entry.text, entry.color) for entry in stage.plot.legend.entries]
    names = [(f"node_{number}", palette.series[number - 1]) for number in (1, 2, 3)]
    assert shown == [("Total", palette.accent), *names]
    stage.feed(5, 12)
    stage.plot._redraw()
    assert [entry.text for entry in stage.plot.legend.entries][:2] == [
        "Total",
        "Slowest to fastest node",
    ]
    assert stage.plot.legend.accessibleName().startswith("Total, ")


def test_the_legend_follows_the_language_while_nothing_moves(stage: Stage, language: Language) -> None:
    stage.plot.show()
    stage.feed(2)
    stage.plot.set_paused(True)
    assert stage.plot.legend.entries[0].text == "Total"
    language.choose(CHINESE)
    QApplication.processEvents()
    assert stage.plot.legend.entries[0].text == "总计"


def test_nothing_is_drawn_while_it_is_hidden(stage: Stage) -> None:
    stage.feed(5)
    assert stage.plot.frames == 0
    assert not stage.plot._timer.isActive()
    stage.plot.show()
    assert stage.plot.frames > 0
    assert stage.plot._timer.isActive()
    stage.plot.hide()
    assert not stage.plot._timer.isActive()


def test_it_stops_when_the_last_rate_has_left_the_plot(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(2)
    stage.clock.now += 58
    while stage.plot._timer.isActive():
        stage.clock.now += stage.plot._timer.interval() / 1000
        stage.plot._frame()
    window, frames = stage.plot._shown, stage.plot.frames
    assert window is not None
    assert not window.total.any()
    stage.clock.now += 60
    stage.plot._frame()
    assert stage.plot.frames == frames


def test_each_recipient_has_a_line(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(10)
    stage.plot._frame()
    assert stage.plot._names == ["node_1", "node_2", "node_3"]
    x, y = stage.plot._curves.lines[0].getOriginalDataset()
    assert x[-1] == 0
    assert y[-1] == pytest.approx(100e6 + 1)
    _, total = stage.plot._curves.total.getOriginalDataset()
    assert total.max() == pytest.approx(300e6)
    assert stage.plot._unit.text() == "MB/s"
    assert not stage.plot._curves.band.isVisible()


def test_many_recipients_are_the_slowest_and_a_band(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(10, count=20)
    stage.plot._frame()
    assert stage.plot._names == [f"node_{i}" for i in range(1, 8)]
    assert stage.plot._curves.band.isVisible()
    stage.plot.hover_at(QPointF(200, 100))
    stage.plot.grab()


def test_pausing_stops_drawing_but_loses_nothing(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(5)
    QTest.mouseClick(stage.plot._pause, Qt.MouseButton.LeftButton)
    assert stage.plot.paused
    assert not stage.plot._timer.isActive()
    shown = stage.plot._shown
    stage.feed(5)
    assert stage.plot._shown is shown
    QTest.mouseClick(stage.plot._pause, Qt.MouseButton.LeftButton)
    window = stage.plot._shown
    assert window is not None
    assert np.count_nonzero(window.total) == 40


def test_the_span_can_be_chosen(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(3)
    for span in SPANS:
        choose(stage.plot, span)
        (left, right), _ = stage.plot._curves.plot.viewRange()
        assert (left, right) == (-span, 0)
        stage.plot.grab()


def choose(plot: ThroughputPlot, span: int) -> None:
    """By its button, or by the menu of the button for hours."""
    if span in MINUTES:
        QTest.mouseClick(plot._spans.button(MINUTES.index(span)), Qt.MouseButton.LeftButton)
        return
    menu = plot._hours_menu()
    menu.actions()[HOURS.index(span)].trigger()
    menu.deleteLater()


def past(step: float, *ages: float, rate: float = 50e6) -> RateHistory:
    """Samples that ended so long ago."""
    samples = tuple(RateSample(NOW - age, 2 * rate, rate, {"node_1": rate}) for age in sorted(ages)[::-1])
    return RateHistory(step, samples)


def test_what_the_engine_knows_of_the_time_before_is_drawn(stage: Stage) -> None:
    for known in (past(120, 7200, 7080), past(30, 600), past(5, 600, 595, rate=70e6), past(1)):
        stage.plot.load_past(known)
    stage.plot.show()
    stage.feed(2)
    choose(stage.plot, 1800)
    window = stage.plot._shown
    assert window is not None
    long_ago = window.total[(window.age > 550) & (window.age < 700)]
    assert set(long_ago.tolist()) == {0.0, 100e6, 140e6}  # the rest of the 30 s is a mean still
    assert window.total[-1] == pytest.approx(300e6, rel=0.01)
    choose(stage.plot, HOURS[0])
    window = stage.plot._shown
    assert window is not None
    two_hours_ago = window.total[(window.age > 7100) & (window.age < 7150)]
    assert two_hours_ago.max() == pytest.approx(100e6)
    assert stage.plot._names[0] == "node_1"


def test_finer_steps_tell_that_nothing_moved_between_them(stage: Stage) -> None:
    coarse = past(30, 60, 30)
    fine = msgspec.structs.replace(past(1, 70, 40), since=NOW - 300)
    for known in (coarse, fine):
        stage.plot.load_past(known)
    stage.plot.show()
    stage.feed(2)
    choose(stage.plot, 300)
    window = stage.plot._shown
    assert window is not None
    before = window.total[(window.age > 20) & (window.age < 200)]
    assert int((before > 0).sum()) == 8  # two seconds in quarters, and no means over half a minute


def test_means_of_a_long_time_hold_what_was_there(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(60)
    choose(stage.plot, HOURS[2])
    window = stage.plot._shown
    assert window is not None
    assert window.total[-3] == pytest.approx(300e6, rel=0.01)
    assert window.low[-3] == pytest.approx(100e6, rel=0.01)


def test_bits_are_eight_times_as_many(stage: Stage, qtbot: QtBot) -> None:
    stage.plot.show()
    stage.feed(2)
    stage.plot._frame()
    menu = stage.plot._export_menu()
    with qtbot.waitSignal(stage.plot.chosen) as caught:
        menu.actions()[-1].trigger()
    assert caught.args == [60, True]
    assert stage.plot._unit.text() == "Gbit/s"
    size, _ = scale_unit(stage.plot._top, bits=True)
    assert 300e6 / size == pytest.approx(2.4)


def test_the_plot_is_saved_as_a_picture_and_as_numbers(stage: Stage, tmp_path: Path) -> None:
    stage.plot.show()
    stage.feed(10)
    stage.plot.save(str(tmp_path / "rates.csv"))
    rows = list(csv.reader((tmp_path / "rates.csv").read_text("utf-8").splitlines()))
    assert rows[0] == ["time", "total", "node_1", "node_2", "node_3"]
    assert [float(cell) for cell in rows[-1][1:]] == pytest.approx([300e6, 100e6, 100e6, 100e6])
    assert rows[-1][0].endswith("+00:00")
    assert len(rows) == 242
    stage.plot.save(str(tmp_path / "rates.png"))
    assert QImage(str(tmp_path / "rates.png")).width() >= 400


def test_a_plot_that_can_not_be_saved_says_why(stage: Stage, tmp_path: Path, qtbot: QtBot) -> None:
    with qtbot.waitSignal(stage.plot.failed) as caught:
        stage.plot.save(str(tmp_path / "missing" / "rates.csv"))
    values = {"path": str(tmp_path / "missing" / "rates.csv"), "reason": "No such file or directory"}
    assert caught.args == [Failure(FailureKind.FILE_NOT_WRITTEN, values)]


def test_a_long_span_is_drawn_seldom(stage: Stage) -> None:
    stage.plot.show()
    choose(stage.plot, HOURS[2])
    frames = stage.plot.frames
    for _ in range(40):  # ten seconds
        stage.feed(STEP)
        stage.plot._frame()
    assert 1 <= stage.plot.frames - frames <= 4


def test_while_nothing_arrives_it_moves_seldom(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(2)
    stage.plot._frame()
    frames = stage.plot.frames
    for _ in range(40):
        stage.clock.now += STEP
        stage.plot._frame()
    assert 2 <= stage.plot.frames - frames <= 4
    assert stage.plot._timer.interval() == 4000  # and does not wake up more often
    stage.feed(STEP)
    assert stage.plot._timer.interval() == 250


def test_it_is_painted_empty_and_in_both_themes(stage: Stage) -> None:
    stage.plot.show()
    for dark in (True, False):
        stage.plot._theme.set_dark(dark)
        stage.plot.grab()
    stage.feed(5)
    stage.plot.hover_at(QPointF(300, 100))
    stage.plot.grab()
    stage.plot.hover_at(None)


def test_the_past_is_asked_for_and_the_choice_is_kept(
    stage: Stage, settings: QSettings, link: FakeLink
) -> None:
    link.answers[m.GetRates] = lambda command: past(1800.0, 600.0) if command.seconds > 20000 else past(5)
    link.start(empty_welcome())
    PlotPersistence(stage.plot, link, settings)
    assert [command.seconds for command in link.asked(m.GetRates)] == [86400, 10800, 1800, 300]
    link.start(empty_welcome())
    assert len(link.asked(m.GetRates)) == 8
    choose(stage.plot, HOURS[1])
    stage.plot._choose(HOURS[1], True)
    again = ThroughputPlot(Theme())
    again.setParent(stage.plot)
    PlotPersistence(again, link, settings)
    assert (again._span, again._bits) == (HOURS[1], True)
