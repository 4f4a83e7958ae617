"""The documents: their links lead somewhere, and every decision says why."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "resources").glob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

_CODE = re.compile(r"^(```|~~~).*?^\1|^(?: {4}|\t)[^\n]*|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(document: Path) -> list[str]:
    """The relative targets of the document's links and images, code left out."""
    targets = _LINK.findall(_CODE.sub("", document.read_text()))
    return [unquote(target) for target in targets if not _ELSEWHERE.match(target)]


def anchors(document: Path) -> set[str]:
    """What its headings can be reached by, as GitHub makes it."""
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
