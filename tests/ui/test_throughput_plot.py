"""Rates: the ring of numbers, and when the plot draws."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from castray_desktop.core.messages import NodeRate, Throughput
from castray_desktop.ui.rate_history import CAPACITY, STEP, RateHistory
from castray_desktop.ui.theme import Theme
from castray_desktop.ui.throughput_plot import SPANS, ThroughputPlot, nice_top
from tests.helpers.samples import NOW


def test_samples_lie_where_they_belong() -> None:
    history = RateHistory()
    assert history.empty
    for number in range(8):
        history.add(NOW + number * STEP, 100.0 + number, {"node_1": 10.0})
    window = history.window(NOW + 7 * STEP, 1.0)
    assert window.age.tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert window.total.tolist() == [103, 104, 105, 106, 107]
    assert window.nodes["node_1"].tolist() == [10.0] * 5


def test_a_pause_reads_as_zero_and_a_hiccup_is_bridged() -> None:
    history = RateHistory()
    history.add(NOW, 100.0, {})
    history.add(NOW + 2 * STEP, 120.0, {})
    history.add(NOW + 6 * STEP, 50.0, {})
    window = history.window(NOW + 6 * STEP, 6 * STEP)
    assert window.total.tolist() == [100, 100, 120, 0, 0, 0, 50]


def test_a_late_sample_does_not_read_as_zero() -> None:
    history = RateHistory()
    history.add(NOW, 100.0, {})
    assert history.window(NOW + 3 * STEP, 1.0).total[-1] == 100
    assert history.window(NOW + 8 * STEP, 1.0).total[-1] == 0


def test_nodes_that_were_silent_are_left_out() -> None:
    history = RateHistory()
    history.add(NOW, 1.0, {"old": 5.0})
    history.add(NOW + 120, 1.0, {"new": 5.0})
    assert set(history.window(NOW + 120, 60).nodes) == {"new"}
    assert set(history.window(NOW + 120, 300).nodes) == {"old", "new"}


def test_the_ring_turns() -> None:
    history = RateHistory()
    history.add(NOW, 1.0, {"gone": 1.0})
    history.add(NOW + 3 * CAPACITY * STEP, 2.0, {"node_1": 2.0})
    window = history.window(NOW + 3 * CAPACITY * STEP, 1800)
    assert window.total.sum() == 2.0
    assert set(window.nodes) == {"node_1"}
    history.add(NOW, 99.0, {})
    assert history.window(NOW + 3 * CAPACITY * STEP, 1800).total.sum() == 2.0


@pytest.mark.parametrize("most", [1, 999, 5e5, 5.9e8, 6.1e8, 9.99e9, 123456789.0])
def test_the_scale_holds_every_value(most: float) -> None:
    top = nice_top(most)
    assert most <= top * 1.05
    assert top <= most * 2.5


class Clock:
    """Time that stands until it is moved."""

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
    assert stage.plot._timer.isActive()
    stage.clock.now += 62
    stage.plot._frame()
    frames = stage.plot.frames
    stage.plot._frame()
    assert not stage.plot._timer.isActive()
    assert stage.plot.frames == frames


def test_each_recipient_has_a_line(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(10)
    stage.plot._frame()
    assert stage.plot._names == ["node_1", "node_2", "node_3"]
    x, y = stage.plot._lines[0].getOriginalDataset()
    assert x[-1] == 0
    assert y[-1] == pytest.approx(100e6 + 1)
    _, total = stage.plot._total.getOriginalDataset()
    assert total.max() == pytest.approx(300e6)
    assert stage.plot._unit.text() == "MB/s"
    assert not stage.plot._band.isVisible()


def test_many_recipients_are_the_slowest_and_a_band(stage: Stage) -> None:
    stage.plot.show()
    stage.feed(10, count=20)
    stage.plot._frame()
    assert stage.plot._names == [f"node_{i}" for i in range(1, 8)]
    assert stage.plot._band.isVisible()
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
    for index, span in enumerate(SPANS):
        QTest.mouseClick(stage.plot._spans.button(index), Qt.MouseButton.LeftButton)
        (left, right), _ = stage.plot._plot.viewRange()
        assert (left, right) == (-span, 0)
        stage.plot.grab()


def test_it_is_painted_empty_and_in_both_themes(stage: Stage) -> None:
    stage.plot.show()
    for dark in (True, False):
        stage.plot._theme.set_dark(dark)
        stage.plot.grab()
    stage.feed(5)
    stage.plot.hover_at(QPointF(300, 100))
    stage.plot.grab()
    stage.plot.hover_at(None)
