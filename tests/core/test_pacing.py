"""The limit on how fast bytes leave."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.pacing import BURST_SECONDS, Pacer


def test_without_a_limit_nothing_waits() -> None:
    assert Pacer().delay(0.0, 1 << 40) == 0


def test_a_steady_sender_keeps_to_the_limit() -> None:
    pacer, now = Pacer(1000), 0.0
    for _ in range(100):
        now += pacer.delay(now, 100)
    assert 9.5 <= now <= 10.0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5000)), min_size=1))
def test_never_more_than_the_limit_and_one_burst(steps: list[tuple[float, int]]) -> None:
    pacer, now, sent = Pacer(1000), 0.0, 0
    for idle, length in steps:
        now += idle
        now += pacer.delay(now, length)
        assert sent <= 1000 * (now + BURST_SECONDS) + 1e-6
        sent += length
