"""Every promise of `docs/guarantees.md` names tests, and each of them exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "guarantees.md"

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def functions(path: Path) -> frozenset[str]:
    """The names of all functions of a file."""
    tree = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in tree if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def promises() -> list[str]:
    """The rows of the tables of promises."""
    lines = PAGE.read_text().splitlines()
    rows, inside = [], False
    for line in lines:
        inside = line.startswith("|") and (inside or line.startswith("| promise |"))
        if inside and not line.startswith(("| promise |", "| --- |")):
            rows.append(line)
    return rows


def test_each_promise_names_a_test() -> None:
    rows = promises()
    assert len(rows) > 25
    assert [row for row in rows if not _NAMED.search(row)] == []


def test_each_named_test_exists() -> None:
    named = _NAMED.findall(PAGE.read_text())
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).is_file() or test not in functions(ROOT / file)
    ]
    assert missing == []
    assert len(named) == PAGE.read_text().count("::test_"), "a test is named in another form"
