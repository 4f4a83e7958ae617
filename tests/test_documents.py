"""The documents: their links lead somewhere, every decision says why, and what they repeat of the code is
what the code says.
"""

from __future__ import annotations

import ast
import enum
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from castray_desktop.core.casts import states
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.nodes import agent_orders, peer_frames
from tools import structure

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "resources").glob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

_CODE = re.compile(r"^(```|~~~).*?^\1|^(?: {4}|\t)[^\n]*|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_MODULE = re.compile(r"`((?:\w+/)*\w+\.py)`")
_FOLDER = re.compile(r"`((?:core|workers|ui|cli|python)(?:/\w+)*)/?`")
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(document: Path) -> list[str]:
    """The relative targets of the document's links and images, without code."""
    targets = _LINK.findall(_CODE.sub("", document.read_text()))
    return [unquote(target) for target in targets if not _ELSEWHERE.match(target)]


def anchors(document: Path) -> set[str]:
    """The anchors of its headings, as GitHub creates them."""
    titles = _HEADING.findall(re.sub(r"^(```|~~~).*?^\1", "", document.read_text(), flags=re.M | re.S))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_are_documents() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/README.md"} <= {name(path) for path in DOCUMENTS}
    assert len(DECISIONS) >= 7


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_relative_link_leads_to_a_file(document: Path) -> None:
    broken = []
    for target in links(document):
        path, _, anchor = target.partition("#")
        found = document.parent / path if path else document
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_no_link_leads_out_of_the_repository(document: Path) -> None:
    paths = [(document.parent / target.partition("#")[0]).resolve() for target in links(document)]
    assert [str(path) for path in paths if not path.is_relative_to(ROOT)] == []


@pytest.mark.parametrize("decision", DECISIONS, ids=name)
def test_every_decision_has_its_sections(decision: Path) -> None:
    number = decision.name[:4]
    headings = _HEADING.findall(decision.read_text())
    assert headings[0].startswith(f"{number}: ")
    if headings[-1] == "What was removed and why":
        headings.pop()
    assert headings[1:] in (
        ["Context", "What was weighed", "Decision", "Measurement", "Consequences"],
        ["Context", "What was weighed", "Decision", "Evidence", "Consequences"],
    )


def test_decisions_are_numbered_without_a_gap() -> None:
    numbers = [int(decision.name[:4]) for decision in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_index_names_every_document() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / target).resolve() for target in links(index)}
    documents = {path for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")} - {index}
    assert sorted(name(path) for path in documents - linked) == []


# --- what documents repeat of the code


def table(document: str, heading: str) -> list[list[str]]:
    """The rows of the table that begins with the heading `heading`, without that row."""
    lines = iter((ROOT / "docs" / document).read_text().splitlines())
    assert any(line.startswith(f"| {heading} |") for line in lines), f"{document} has no table {heading!r}"
    next(lines)  # | --- |
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def named(rows: list[list[str]]) -> set[str]:
    """The names in backticks in the first column, without parameters."""
    return {name for row in rows for name in re.findall(r"`(\w+)", row[0])}


def union(kind: object) -> set[str]:
    """The names of the classes of a union."""
    found: set[str] = set()
    for part in typing.get_args(kind):
        nested = isinstance(part, types.UnionType) or typing.get_origin(part) is typing.Union
        found |= union(part) if nested else {part.__name__}
    return found


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path not in DECISIONS], ids=name)
def test_modules_and_folders_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text()
    if document.name == "CHANGELOG.md":
        text = text.partition("\n## [")[0]  # what has been released stays as it was
    missing = [
        path
        for path in [*_MODULE.findall(text), *_FOLDER.findall(text)]
        if not any((base / path).exists() for base in (ROOT, ROOT / "castray_desktop", ROOT / "docs"))
    ]
    assert missing == []


def test_the_walk_visits_each_module_once() -> None:
    """The figures below the walk are its last numbers."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    walk = text.partition("## From a drop")[2].partition("That is ")
    numbers = [int(number) for number in re.findall(r"(\d+)\. `[\w/]+\.py`", walk[0])]
    sent = numbers.index(1, 1)
    assert numbers[:sent] == list(range(1, sent + 1))
    assert numbers[sent:] == list(range(1, len(numbers) - sent + 1))
    visited = re.findall(r"\d+\. `([\w/]+\.py)`", walk[0])
    assert len(set(visited)) == len(visited)
    assert walk[2].startswith(f"{sent} modules")


def test_every_order_is_in_the_table_of_orders() -> None:
    assert named(table("protocol.md", "order")) == union(agent_orders.Order)


def test_every_command_is_in_the_table_of_commands() -> None:
    assert named(table("protocol.md", "command")) == union(messages.Command)


def test_every_event_is_in_the_table_of_events() -> None:
    assert named(table("protocol.md", "event")) == union(messages.Event)


def test_every_frame_is_in_the_table_of_frames() -> None:
    rows = table("protocol.md", "type | number")
    told = {
        kind: int(number)
        for row in rows
        for kind, number in zip(row[0].split(", "), row[1].split(", "), strict=True)
    }
    assert told == {kind.name: kind.value for kind in peer_frames.FrameType}


@pytest.mark.parametrize(
    ("heading", "transitions"),
    [
        ("state of a delivery", states.DELIVERY_TRANSITIONS),
        ("state of a cast", states.CAST_TRANSITIONS),
        ("state of the source failover", states.FAILOVER_TRANSITIONS),
    ],
)
def test_the_tables_of_states_are_those_of_the_code(
    heading: str, transitions: Mapping[enum.Enum, Mapping[enum.Enum, enum.Enum]]
) -> None:
    told = {row[0]: set(row[1].split(", ")) for row in table("cast-rules.md", heading)}
    true = {
        str(state.value).replace("_", " "): {
            str(to.value).replace("_", " ") for to in after.values() if to is not state
        }
        for state, after in transitions.items()
    }
    assert told == true


def test_the_table_of_timeouts_has_the_values_of_the_code() -> None:
    paths = {path.stem: path for path in structure.source_files(ROOT).values()}
    wrong = []
    for row in table("timeouts-and-recovery.md", "step"):
        module, _, constant = row[2].strip("`").partition(".")
        values = [
            ast.literal_eval(node.value)
            for node in ast.walk(ast.parse(paths[module].read_text()))
            if isinstance(node, ast.Assign | ast.AnnAssign)
            and isinstance(node.value, ast.Constant)
            and constant in ast.unparse(node).split("=")[0].replace(":", " ").split()
        ]
        if values != [float(row[1])]:
            wrong.append(f"{row[2]}: {values}, not {row[1]}")
    assert wrong == []


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_first_page_is_short_and_its_pictures_load_fast(name: str) -> None:
    text = (ROOT / name).read_text()
    assert len(text.splitlines()) <= 100
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 2
    assert all((ROOT / picture).stat().st_size < 1_000_000 for picture in pictures)
