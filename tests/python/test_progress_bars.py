"""The display of a program's casts."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from castray_desktop.core.casts.json_views import CastForm
from castray_desktop.core.protocol.messages import DeliveryState
from castray_desktop.python.progress_bars import (
    CallBars,
    NoBars,
    NotebookBars,
    TerminalBars,
    as_html,
    bars_for,
    in_notebook,
)
from tests.helpers.samples import make_cast, make_delivery

CAST = make_cast("<b>model</b>.bin")
DELIVERIES = (make_delivery("node_1"), make_delivery("node_2", DeliveryState.COMPLETED))


def pretend_notebook(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """An IPython with a kernel; records what it was told to display."""
    shown: list[Any] = []
    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]

    def show(page: Any, display_id: bool) -> Any:
        assert display_id
        shown.append(page)
        return SimpleNamespace(update=shown.append)

    display.HTML, display.display = str, show  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_a_notebook_gets_one_table_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = pretend_notebook(monkeypatch)
    assert in_notebook()
    with bars_for(None) as bars:
        assert isinstance(bars, NotebookBars)
        bars.show(CAST, DELIVERIES)
        bars.show(CAST, DELIVERIES)
    assert len(shown) == 2
    assert "&lt;b&gt;model&lt;/b&gt;.bin: sending" in shown[0]


def test_names_of_files_are_no_markup_and_many_recipients_are_counted() -> None:
    page = as_html(CAST, tuple(make_delivery(f"node_{number}") for number in range(30)))
    assert "<b>" not in page
    assert page.count("<progress") == 24
    assert "and 6 more" in page


def test_bars_are_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert type(bars_for(None)) is NoBars
    assert isinstance(bars_for(True), TerminalBars)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert isinstance(bars_for(None), TerminalBars)
    assert type(bars_for(False)) is NoBars


def test_a_program_s_own_function_gets_the_cast() -> None:
    seen: list[CastForm] = []
    with bars_for(seen.append) as bars:
        assert isinstance(bars, CallBars)
        bars.show(CAST, DELIVERIES)
    assert [item.node for item in seen[0].deliveries] == ["node_1", "node_2"]


def test_bars_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with TerminalBars() as bars:
        bars.show(CAST, DELIVERIES)
    assert "node_1" in capsys.readouterr().err
