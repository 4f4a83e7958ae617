"""`castray history` and `castray stats`, with a running engine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from castray_desktop.cli.commands import history_command
from castray_desktop.cli.commands.history_command import csv_cell, print_history, yes_or_no
from castray_desktop.cli.session import Session
from castray_desktop.core.protocol import messages
from tests.cli.examples import running_cast
from tests.cli.run_words import run_words
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import make_cast


async def test_the_past(engine_home: EngineHome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cast = await running_cast(engine_home, tmp_path)
    await run_words("cancel", cast)
    async with asyncio.timeout(PATIENCE):
        while True:
            capsys.readouterr()
            assert await run_words("history", "--json") == 0
            known = json.loads(capsys.readouterr().out)
            if known:
                break
    assert [(one["cast"], one["state"]) for one in known] == [(cast, "cancelled")]
    assert "deliveries" not in known[0]
    await run_words("history", "--csv", "--state", "cancelled")
    header, row = capsys.readouterr().out.splitlines()
    assert header.startswith("cast,name,state,source,recipients")
    assert row.startswith(f"{cast},x,cancelled,")
    assert header.endswith(",followed_links,kept_links,dangling_links,encrypted")
    assert row.endswith(",0,0,0,")
    await run_words("history", cast, "--json")
    assert json.loads(capsys.readouterr().out)["event"] == "result"
    await run_words("history", "--state", "failed")
    assert capsys.readouterr().out == "No casts.\n"
    await run_words("stats", "--json")
    assert json.loads(capsys.readouterr().out)["ever"]["cancelled"] == 1
    await run_words("stats")
    assert "Peak speed" in capsys.readouterr().out


async def test_a_cast_that_ends_between_two_pages_moves_none(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_command, "PAGE", 2)
    request = messages.SendRequest(("/x",), ("all",))

    def end(number: int) -> None:
        summary = make_cast(f"c{number}", state=messages.CastState.COMPLETED, finished=float(number + 1))
        engine_home.engine.history.cast_ended(request, "local", messages.CastResult(summary, (), 1.0))

    async with Session(start=False) as session:
        for number in range(4):
            end(number)
        found = []
        async for cast in history_command._pages(session, messages.HistoryQuery(), 0):
            found.append(cast.cast)
            end(3 + len(found))
    assert found == ["c3", "c2", "c1", "c0"]


def test_a_name_is_no_formula_in_a_spreadsheet() -> None:
    assert csv_cell("=cmd()") == "'=cmd()"
    assert csv_cell("-x") == "'-x"
    assert csv_cell("x=1") == "x=1"
    assert csv_cell(None) == ""


def test_a_table_says_whether_a_cast_was_encrypted() -> None:
    assert [yes_or_no(value) for value in (True, False, None)] == ["true", "false", ""]


def test_no_line_is_folded_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_history([make_cast("a name that is rather long, and longer still " * 3, finished=5.0)])
    assert len(capsys.readouterr().out.splitlines()) == 2
