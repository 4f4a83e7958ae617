"""Every failure has its sentences."""

from __future__ import annotations

import string

import pytest

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES, Explanation, explain, sentence


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_has_a_sentence_that_ends_like_one(kind: FailureKind) -> None:
    happened, remedy = TEMPLATES[kind]
    assert happened.endswith((".", ":", "}"))
    assert remedy == "" or remedy[-1] in ".}stp"
    names = {name for _, name, _, _ in string.Formatter().parse(happened + remedy) if name}
    text = sentence(Failure(kind, dict.fromkeys(names, "VALUE")))
    assert "–" not in text
    assert text.count("VALUE") >= len(names)


def test_a_missing_value_does_not_hide_the_failure() -> None:
    assert explain(Failure(FailureKind.NODE_OFFLINE)).happened == "– went offline."


def test_another_language_gets_the_template() -> None:
    chinese = {"{node} went offline.": "{node} 已离线。"}
    explanation = explain(
        Failure(FailureKind.NODE_OFFLINE, {"node": "gpu-1"}), lambda text: chinese.get(text, text)
    )
    assert explanation.happened == "gpu-1 已离线。"


@pytest.mark.parametrize(
    ("happened", "text"),
    [
        ("It failed: no luck", "It failed: no luck. Try again."),
        ("It failed.", "It failed. Try again."),
        ("失败：no luck", "失败：no luck。Try again."),
        ("失败。", "失败。Try again."),
    ],
)
def test_a_line_of_two_sentences_has_a_full_stop_between(happened: str, text: str) -> None:
    assert Explanation(happened, "Try again.").text == text
    assert Explanation(happened, "").text == happened
