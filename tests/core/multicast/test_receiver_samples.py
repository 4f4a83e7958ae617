"""The combined evaluation of the samples of all receivers."""

from __future__ import annotations

import pytest

from castray_desktop.core.multicast.receiver_samples import (
    DeliverySample,
    ReceiverSamples,
    ReceiverState,
    offered_rate,
    sustainable_rate,
)

BURST = 64_000
SECONDS = 0.08


def sample(sent: float, delivered: float, ambient: float = 0.0) -> tuple[ReceiverState, DeliverySample]:
    """Bytes per second, over a time in which bursts amount to 0.8 MB/s."""
    listener = ReceiverState(b"listener")
    listener.ambient = ambient
    return listener, DeliverySample(SECONDS, sent, delivered, 1000, 0)


def uneven() -> ReceiverSamples:
    """Everything that was sent has arrived, but bursts and pauses differ between the receivers' times."""
    return [sample(rate, rate) for rate in (21e6, 19e6, 25e6, 22e6, 18e6, 23e6, 24e6, 20e6)]


def test_delivered_data_is_compared_with_data_sent_in_the_same_time() -> None:
    assert offered_rate(uneven()) == 22e6
    assert sustainable_rate(uneven(), BURST) == 22e6


def test_one_burst_of_difference_is_ignored() -> None:
    assert sustainable_rate([*uneven(), sample(22e6, 21.3e6)], BURST) == 22e6


def test_the_slowest_receiver_counts() -> None:
    assert sustainable_rate([*uneven(), sample(22e6, 11e6)], BURST) == pytest.approx(11.8e6)


def test_a_shortage_of_most_receivers_counts_in_full() -> None:
    short = [sample(22e6, 21.5e6) for _ in range(9)]
    assert sustainable_rate([*uneven(), *short], BURST) == 21.5e6


def test_a_receiver_on_trial_does_not_count() -> None:
    slow, slowly = sample(22e6, 2e6)
    slow.trial = 1.0
    assert sustainable_rate([*uneven(), (slow, slowly)], BURST) == 22e6
    assert sustainable_rate([(slow, slowly)], BURST) == 2e6


def test_ambient_loss_does_not_count() -> None:
    samples = [sample(20e6, 19.6e6, ambient=0.02) for _ in range(4)]
    assert sustainable_rate(samples, BURST) == pytest.approx(20e6)
