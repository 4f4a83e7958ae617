"""Every failure has its sentences and its statuses."""

from __future__ import annotations

import string

import pytest

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import (
    _TABLE,
    TEMPLATES,
    Explanation,
    FailureStatus,
    explain,
    sentence,
)

K = FailureKind


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_has_a_sentence_that_ends_like_one(kind: FailureKind) -> None:
    _, happened, remedy = TEMPLATES[kind]
    assert happened.endswith((".", ":", "}"))
    assert remedy == "" or remedy[-1] in ".}stp"
    names = {name for _, name, _, _ in string.Formatter().parse(happened + remedy) if name}
    text = sentence(Failure(kind, dict.fromkeys(names, "VALUE")))
    assert "–" not in text
    assert text.count("VALUE") >= len(names)


def test_the_table_has_each_kind_once() -> None:
    assert sum(map(len, _TABLE.values())) == len(TEMPLATES) == len(FailureKind)


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


def test_no_cluster_is_the_same_for_commands_and_over_http() -> None:
    for kind, (status, _, _) in TEMPLATES.items():
        assert (status.exit == 3) == (status is FailureStatus.NO_CLUSTER), kind
        assert (status.exit == 3) <= (status.http == 503), kind
        assert (status.exit == 2) <= (status.http in (400, 404, 409)), kind
        assert (status.http in (400, 404)) <= (status.exit == 2), kind


def test_some_kinds_have_the_expected_status() -> None:
    assert {kind for kind in K if TEMPLATES[kind].status.http == 404} == {
        *(K.CAST_UNKNOWN, K.NODE_UNKNOWN, K.SCHEDULE_UNKNOWN, K.GROUP_UNKNOWN, K.JOB_UNKNOWN)
    }
    for kind in (K.CLUSTER_LOST, K.CLUSTER_SILENT, K.NOT_RAY, K.TOKEN_WRONG, K.NOT_A_NODE, K.NOT_SHARED):
        assert TEMPLATES[kind].status is FailureStatus.NO_CLUSTER
    assert TEMPLATES[K.NO_SUCH_FILE].status is FailureStatus.BAD_REQUEST
    assert TEMPLATES[K.CAST_FINISHED].status is FailureStatus.CONFLICT
    assert TEMPLATES[K.NO_ROOM].status is FailureStatus.FAILED
    assert TEMPLATES[K.INTERNAL].status is FailureStatus.INTERNAL
