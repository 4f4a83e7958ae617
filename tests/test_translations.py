"""The translation files: complete, up to date with the sources, and typographically correct Chinese."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.failures.sentences import (
    SYSTEM_ERROR_TEXTS,
    TRANSLATABLE_VALUES,
    translate_value,
)
from tools import catalogue
from tools.catalogue_messages import messages

ROOT = Path(__file__).resolve().parent.parent
CJK = r"[\u3400-\u9fff]"


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_the_catalogue_is_that_of_the_sources(language: str) -> None:
    assert catalogue.stale(language) == [], "run python -m tools.catalogue"


def test_a_new_text_makes_it_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "SYSTEM_ERROR_TEXTS", (*SYSTEM_ERROR_TEXTS, "Not seen before"))
    assert catalogue.stale("zh_CN") == ["castray_zh_CN.ts"]


@pytest.mark.parametrize("language", catalogue.LANGUAGES)
def test_every_text_is_translated_with_its_placeholders(language: str) -> None:
    found = messages(catalogue.source(language))
    assert len(found) > 350
    assert [item.source for item in found if item.state or not item.translation.strip()] == []
    assert [item.source for item in found if fields(item.source) != fields(item.translation)] == []


def fields(text: str) -> set[str]:
    return {str(field) for _, field, _, _ in Formatter().parse(text) if field is not None}


def test_one_text_has_one_translation() -> None:
    """Except *None*, which means no selection in one place and no limit in another."""
    words: dict[str, set[str]] = {}
    for item in messages(catalogue.source("zh_CN")):
        words.setdefault(item.source, set()).add(item.translation)
    assert {text: found for text, found in words.items() if len(found) > 1 and text != "None"} == {}


def test_one_and_many_are_one_form_in_chinese() -> None:
    """English says "{count} node" and "{count} nodes" with two texts; Chinese needs both."""
    words = {item.source: item.translation for item in messages(catalogue.source("zh_CN"))}
    pairs = [(one, one + "s") for one in words if "{count}" in one and one + "s" in words]
    assert len(pairs) >= 5
    assert [one for one, many in pairs if words[one] != words[many]] == []


def test_chinese_is_set_as_chinese() -> None:
    wrong = re.compile(
        rf"{CJK}[,!?;:]|{CJK}\.(?!\w)|\.\.\."  # its own punctuation
        rf"|{CJK}[A-Za-z0-9{{]|[A-Za-z0-9}}]{CJK}"  # a space between the scripts
        r"| [，。：（]|[，。：）] "  # and none beside full-width characters
    )
    texts = [item.translation for item in messages(catalogue.source("zh_CN"))]
    # "4 分钟前在线": the inserted value ends in Chinese.
    assert [text for text in texts if wrong.search(text) and text != "{ago}在线"] == []


def test_known_reasons_are_words_of_the_code() -> None:
    files = (ROOT / "castray_desktop").rglob("*.py")
    code = " ".join(path.read_text("utf-8") for path in files if path.name != "reasons.py")
    code = re.sub(r"\{[\w.+ ]+\}", "{}", code)
    assert [text for text in TRANSLATABLE_VALUES if f'"{re.sub(r"{.*?}", "{}", text)}"' not in code] == []


def test_a_reason_with_a_number_keeps_it() -> None:
    def shout(text: str) -> str:
        return text.replace("room for", "ROOM FOR").replace("files", "FILES")

    assert translate_value("room for 12 files", shout) == "ROOM FOR 12 FILES"
    assert translate_value("12 files", shout) == "12 FILES"
    assert translate_value("model.bin", shout) == "model.bin"


def test_every_kind_of_failure_is_in_the_catalogue() -> None:
    contexts = [item for item in messages(catalogue.source("zh_CN")) if item.context == "Failure"]
    assert len(contexts) > 2 * len(FailureKind) - 3
