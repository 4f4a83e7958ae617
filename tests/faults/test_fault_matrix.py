"""A sample of the fault matrix, and the checks themselves: each of them can fail."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.agent_stage import make_parcel
from tests.faults.fault_cells import Cell, Component, Fault, Moment
from tests.faults.fault_checks import (
    Ending,
    FinalNames,
    Observation,
    Repeated,
    is_only_late,
    left_behind,
    problems,
)
from tests.faults.fault_matrix import CELL_SECONDS, all_cells, run_cell
from tests.faults.fault_page import NOT_RUN, PAGE, cell_text, read_page, render

TRIES = 3
SAMPLE = [cell for cell in all_cells() if cell.sample]


@pytest.mark.parametrize("cell", SAMPLE, ids=[cell.name for cell in SAMPLE])
@pytest.mark.timeout(TRIES * CELL_SECONDS)
async def test_a_cell_of_the_sample(cell: Cell, tmp_path: Path) -> None:
    """A busy machine may hold up one part of a cell: its times alone are measured again."""
    for _ in range(TRIES):
        found = await run_cell(cell, tmp_path)
        if not found or not is_only_late(found):
            break
    assert found == []


def test_no_cell_is_there_twice() -> None:
    names = [cell.name for cell in all_cells()]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_a_cell_that_is_not_run_says_why() -> None:
    assert [cell.name for cell in all_cells() if cell.run is None and not cell.note] == []


def test_no_cell_of_the_page_failed() -> None:
    texts = read_page()
    assert [name for name, text in texts.items() if "FAILED" in text] == []
    assert render(texts) == PAGE.read_text()


def test_every_cell_has_a_result() -> None:
    texts = read_page()
    assert [cell.name for cell in all_cells() if texts.get(cell.name, NOT_RUN) == NOT_RUN] == []


# --- each check can fail --------------------------------------------------------------------------


def seen(**changes: object) -> Observation:
    facts: dict[str, object] = {
        "endings": {"a": Ending("completed", seconds=1.0), "b": Ending("completed", seconds=1.0)},
        "expected": {},
        "undisturbed": ("a",),
        "usual_seconds": 1.0,
    }
    return Observation(**{**facts, **changes})  # type: ignore[arg-type]


def test_nothing_is_wrong_with_what_is_right() -> None:
    assert problems(seen()) == []


@pytest.mark.parametrize(
    ("letter", "changes"),
    [
        ("(a)", {"wrong": ["a: name"]}),
        ("(b)", {"endings": {"a": Ending("receiving"), "b": Ending("completed")}, "undisturbed": ()}),
        ("(b)", {"endings": {"a": Ending("failed", "damaged", "why")}, "undisturbed": ()}),
        (
            "(b)",
            {
                "endings": {"a": Ending("failed", "no_room")},
                "expected": {"a": ("no_room",)},
                "undisturbed": (),
            },
        ),
        ("(b)", {"expected": {"b": ("no_room",)}}),
        ("(b)", {"file_problems": {"x": "changed"}}),
        ("(b)", {"expected_problems": {"x": ("changed",)}}),
        ("(c)", {"endings": {"a": Ending("completed", seconds=3.3)}}),
        ("(c)", {"endings": {"a": Ending("failed", "no_room", "full")}, "expected": {"a": ("no_room",)}}),
        ("(d)", {"left": ["a folder"]}),
        ("(e)", {"repeated": {"b": Repeated(100, 201, 100)}}),
        ("(e)", {"repeated": {"b": Repeated(100, 100, state="failed")}}),
    ],
)
def test_each_check_can_fail(letter: str, changes: dict[str, object]) -> None:
    (found,) = problems(seen(**changes))
    assert found.startswith(letter)


def test_a_time_alone_is_told_from_what_is_wrong() -> None:
    late = problems(seen(endings={"a": Ending("completed", seconds=3.3)}))
    assert is_only_late(late)
    assert not is_only_late([*late, *problems(seen(wrong=["a: name"]))])
    assert not is_only_late(problems(seen(endings={"a": Ending("failed", "no_room", "it took 3 s")})))


def test_a_final_name_with_other_bytes_is_seen_even_if_it_is_mended_later(tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path / "parcel", {"x": 1000, "y": 1000})
    inbox = tmp_path / "inbox"
    shutil.copytree(parcel.folder, inbox / "parcel")
    (inbox / ".castray-1-a").mkdir()
    (inbox / ".castray-1-a" / "half").write_bytes(b"half")
    with FinalNames({"a": inbox}, parcel.allowed) as names:
        pass
    assert names.wrong == []
    partial, half, whole = inbox / "parcel" / "y", inbox / ".castray-1-a" / "half", inbox / ".castray-1-b"
    shutil.copy(parcel.folder / "y", whole)
    with FinalNames({"a": inbox}, parcel.allowed) as names:
        half.replace(partial)
        while not names.wrong:
            os.sched_yield()
        whole.replace(partial)
    assert names.wrong == ["a: parcel/y has 4 other bytes"]


def test_what_stays_behind_is_found(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep" / ".castray-1-a").mkdir(parents=True)
    (tmp_path / "home" / "staging").mkdir(parents=True)
    (tmp_path / "home" / "staging" / "record").touch()
    found = left_behind({"a": tmp_path / "in"}, [tmp_path / "home"])
    assert found == ["a: deep/.castray-1-a", "record record"]


def test_the_page_is_read_as_it_was_written() -> None:
    texts = {
        f"{Fault.DISK_FULL}/{Component.LAST}/{Moment.HALF}": "passed: `no_room`",
        f"{Fault.DISK_FULL}/{Component.LAST}/{Moment.LAST_PIECE}": "— reason",
        f"{Fault.DISK_FULL}/{Component.LAST}/{Moment.PREFLIGHT}": "not run",
    }
    page = render(texts)
    assert "| last hop | not run | passed: `no_room` | — reason |" in page
    cell = Cell(Component.LAST, Fault.DISK_FULL, Moment.HALF, note="no disk")
    assert cell_text(cell, []) == "— no disk"
