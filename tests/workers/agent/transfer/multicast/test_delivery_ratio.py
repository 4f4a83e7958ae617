"""Whether a receiver gets a sufficient share of the datagrams."""

from __future__ import annotations

from castray_desktop.workers.agent.transfer.multicast.multicast_receiver import (
    FOLLOWS_WITHIN,
    JUDGED_FROM,
    DeliveryRatio,
)


def judged(came: list[int], every: float = 0.15, sent: int = 100) -> list[bool]:
    """This number of 100 datagrams in each interval."""
    share, total, verdicts = DeliveryRatio(), 0, []
    share.restart(10.0, 0, 0)
    for number, more in enumerate(came, 1):
        total += more
        verdicts.append(share.is_too_small(10.0 + number * every, number * sent, total))
    return verdicts


def test_whoever_gets_half_follows() -> None:
    assert not any(judged([50] * 20))


def test_half_a_second_with_less_is_too_little() -> None:
    assert judged([100, 100] + [40] * 5) == [False] * 5 + [True] * 2
    assert 3 * 0.15 < FOLLOWS_WITHIN < 4 * 0.15


def test_it_may_recover() -> None:
    assert not any(judged([40, 40, 40, 80] * 5))


def test_a_few_datagrams_say_nothing() -> None:
    assert not any(judged([0] * 20, sent=JUDGED_FROM // 20 - 1))
