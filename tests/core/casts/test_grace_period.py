"""Which nodes wait before they retry, and for how long."""

from __future__ import annotations

from castray_desktop.core.casts.grace_period import RetryBackoff


def test_each_try_waits_twice_as_long_as_the_one_before() -> None:
    back_off = RetryBackoff(30.0)
    assert back_off.due("a", 0.0) == ()
    assert back_off.due("ab", 29.0) == ()
    assert back_off.due("ab", 30.0) == ("a",)
    back_off.record_attempt("a")
    assert back_off.due("ab", 59.0) == ("b",)
    assert back_off.due("ab", 118.0) == ("b",)
    assert back_off.due("ab", 119.0) == ("a", "b")
    back_off.record_attempt("a")
    assert back_off.due("a", 200.0) == ()
    assert back_off.due("a", 319.0) == ()
    assert back_off.due("a", 320.0) == ("a",)


def test_who_got_in_meanwhile_waits_from_its_next_failure_on() -> None:
    back_off = RetryBackoff(30.0)
    back_off.due("a", 0.0)
    assert back_off.due("", 20.0) == ()
    assert back_off.due("a", 40.0) == ()
    assert back_off.due("a", 70.0) == ("a",)
