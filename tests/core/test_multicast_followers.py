"""What the samples of all listeners say together."""

from __future__ import annotations

import pytest

from castray_desktop.core.multicast_followers import Samples, offered, sustained
from castray_desktop.core.multicast_samples import Listener, Sample

BURST = 64_000
SECONDS = 0.08


def sample(sent: float, delivered: float, ambient: float = 0.0) -> tuple[Listener, Sample]:
    """Bytes per second, over a time in which bursts come to 0.8 MB/s."""
    listener = Listener(b"listener")
    listener.ambient = ambient
    return listener, Sample(SECONDS, sent, delivered, 1000, 0)


def uneven() -> Samples:
    """All that was sent has come, but bursts and pauses are not the same in each one's time."""
    return [sample(rate, rate) for rate in (21e6, 19e6, 25e6, 22e6, 18e6, 23e6, 24e6, 20e6)]


def test_what_came_is_compared_with_what_was_sent_meanwhile() -> None:
    assert offered(uneven()) == 22e6
    assert sustained(uneven(), BURST) == 22e6


def test_a_burst_more_or_less_is_nothing() -> None:
    assert sustained([*uneven(), sample(22e6, 21.3e6)], BURST) == 22e6


def test_the_slowest_counts() -> None:
    assert sustained([*uneven(), sample(22e6, 11e6)], BURST) == pytest.approx(11.8e6)


def test_what_most_lack_counts_as_it_is() -> None:
    short = [sample(22e6, 21.5e6) for _ in range(9)]
    assert sustained([*uneven(), *short], BURST) == 21.5e6


def test_whoever_is_on_trial_does_not_count() -> None:
    slow, slowly = sample(22e6, 2e6)
    slow.trial = 1.0
    assert sustained([*uneven(), (slow, slowly)], BURST) == 22e6
    assert sustained([(slow, slowly)], BURST) == 2e6


def test_what_always_gets_lost_does_not_count() -> None:
    samples = [sample(20e6, 19.6e6, ambient=0.02) for _ in range(4)]
    assert sustained(samples, BURST) == pytest.approx(20e6)
