"""The sentences of checks."""

from __future__ import annotations

import string

import pytest

from castray_desktop.core.failures.check_sentences import (
    TEMPLATES,
    by_importance,
    diagnostics_text,
    explain_check,
    worst,
)
from castray_desktop.core.protocol.messages import Check, CheckState

GOOD, NOTICE, BAD = CheckState.GOOD, CheckState.NOTICE, CheckState.BAD


@pytest.mark.parametrize("kind", TEMPLATES)
def test_what_is_wrong_says_what_to_do(kind: str) -> None:
    words = TEMPLATES[kind]
    for found, remedy in (words.notice, words.bad):
        assert bool(found) == bool(remedy)
    for text in words.texts():
        assert all(name is None or name.isidentifier() for _, name, _, _ in string.Formatter().parse(text))


def test_a_check_of_a_node_and_one_of_this_computer() -> None:
    values = {"free": "5 GB", "total": "8 GB"}
    finding = explain_check(Check("shared_memory", GOOD, "worker", values))
    assert (finding.title, finding.found, finding.remedy) == (
        "Shared memory",
        "worker has 5 GB of 8 GB free in /dev/shm.",
        "",
    )
    here = explain_check(Check("shared_memory", NOTICE, values=values))
    assert here.found.startswith("This computer has only 5 GB")
    assert "/dev/shm" in here.remedy


def test_a_failure_inside_gives_its_own_sentences() -> None:
    finding = explain_check(Check("cluster", BAD, values={"because": "cluster_stopped"}))
    assert finding.found == "The cluster was stopped."
    assert finding.remedy == "Start or attach one, then send again."


def test_everything_is_translated_but_names() -> None:
    values = {"ports": "ports 7000 to 7010", "network": "every address"}
    finding = explain_check(Check("data_ports", GOOD, values=values), lambda text: f"[{text}]")
    assert finding.title == "[Data ports]"
    assert "[ports 7000 to 7010]" in finding.found
    assert "[every address]" in finding.found


def test_what_is_missing_shows_as_a_dash() -> None:
    assert "–" in explain_check(Check("engine", GOOD)).found


def test_the_worst_state_and_the_order() -> None:
    checks = [Check("engine", GOOD), Check("display", NOTICE), Check("qt", BAD)]
    assert [worst(checks), worst(checks[:2]), worst(checks[:1]), worst([])] == [BAD, NOTICE, GOOD, GOOD]
    assert [check.state for check in by_importance(checks)] == [BAD, NOTICE, GOOD]


def test_what_is_passed_on_holds_no_secret() -> None:
    token = "0123456789abcdef" * 4
    reason = f"RAY_AUTH_TOKEN={token} and {token}; API token: hunter2"
    text = diagnostics_text(
        [Check("qt", BAD, values={"reason": reason}), Check("engine", GOOD, values={"pid": "7"})]
    )
    assert token not in text
    assert "hunter2" not in text
    assert "RAY_AUTH_TOKEN=…" in text
    assert "The engine runs as process 7." in text
