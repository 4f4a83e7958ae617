"""The congestion control of a multicast sender, against a model of its network."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest

from castray_desktop.core.multicast.congestion_control import (
    INITIAL_RATE,
    MIN_BURST_DATAGRAMS,
    MIN_RATE,
    MulticastCongestionControl,
)
from castray_desktop.core.multicast.datagrams import MAX_BATCH_DATAGRAMS, ReceiverReport
from tests.core.multicast.simulated_network import DATAGRAM, Bbr, Cubic, Flood, Flow, Network, Queue, Receiver

GIGABIT, FAST_ETHERNET = 125e6, 12.5e6


def network(count: int = 1, lose: float = 0.0, **options: Any) -> Network:
    names = [bytes([index]) * 8 for index in range(count)]
    receivers = [Receiver(name, lose=lose, clock=40.0 * index) for index, name in enumerate(names)]
    rate = options.setdefault("rate", GIGABIT)
    return Network(MulticastCongestionControl(names), receivers, **{"room": rate / 50} | options)


def shares(model: Network, seconds: float) -> list[float]:
    """Each flow's share of the shared link."""
    before = list(model.carried)
    model.run(seconds)
    return [
        (after - had) / seconds / model.shared.rate for after, had in zip(model.carried, before, strict=True)
    ]


def loss(model: Network) -> float:
    """The worst share of lost datagrams of a receiver, over the last half second."""
    receivers = model.control._receivers
    samples = receivers.samples(0, 0.5) or receivers.samples(0, 0.01)
    return max((sample.loss for _, sample in samples), default=0.0)


def sent(model: Network, seconds: float) -> float:
    """The sending rate as a share of the shared link's rate."""
    before = model.sent
    model.run(seconds)
    return (model.sent - before) / seconds / model.shared.rate


# --- alone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listeners", [1, 8])
def test_a_gigabit_is_found_within_a_third_of_a_second_and_kept(listeners: int) -> None:
    model = network(listeners).run(0.3)
    assert shares(model, 0.2)[0] > 0.9
    assert shares(model, 1.5)[0] > 0.98
    assert loss(model) < 0.01
    assert len(model.control.following()) == listeners


def test_one_gibibyte_takes_hardly_longer_than_the_link_needs() -> None:
    model = network(4)
    while model.sent < 1 << 30:
        model.step()
    assert model.elapsed < 1.04 * (1 << 30) / GIGABIT
    assert model.carried[0] > 0.99 * model.sent


@pytest.mark.parametrize("rate", [1e6, FAST_ETHERNET, 10 * GIGABIT])
def test_other_rates_are_found_too(rate: float) -> None:
    model = network(rate=rate).run(1.0)
    assert shares(model, 2.0)[0] > 0.97


def test_a_short_queue_is_used_and_not_flooded() -> None:
    model = network(room=200e3).run(0.5)
    assert shares(model, 2.0)[0] > 0.97
    assert sent(model, 1.0) < 1.03


@pytest.mark.parametrize("socket_bytes", [400e3, 1.5e6])
def test_a_sender_whose_own_device_holds_it_up_keeps_the_queue_short(socket_bytes: float) -> None:
    model = network(2, socket_bytes=socket_bytes).run(0.5)
    assert shares(model, 1.5)[0] > 0.97
    lengths = []
    for _ in range(20):
        model.run(0.025)
        lengths.append(model.shared.length / GIGABIT)
    assert sorted(lengths)[10] < 0.005
    assert model.control.rate < 1.3 * GIGABIT


@pytest.mark.parametrize("rate", [GIGABIT, FAST_ETHERNET])
@pytest.mark.parametrize("lose", [0.01, 0.03])
def test_loss_at_random_does_not_slow_it(rate: float, lose: float) -> None:
    model = network(4, rate=rate, lose=lose).run(0.5)
    assert shares(model, 3.0)[0] > 0.94


def test_it_follows_a_link_that_becomes_slower_and_faster() -> None:
    model = network(2).run(1.0)
    model.shared.rate /= 3
    model.run(0.2)
    assert sent(model, 0.3) < 1.1
    assert shares(model, 0.5)[0] > 0.97
    model.shared.rate *= 3
    model.run(1.5)
    assert shares(model, 0.5)[0] > 0.95


def test_it_does_not_run_ahead_of_a_sender_that_is_slower() -> None:
    model = network(limit=20e6).run(2.0)
    assert model.control.rate < 3 * 20e6
    model.limit = GIGABIT * 2
    assert shares(model.run(0.7), 0.5)[0] > 0.95


def test_a_pause_changes_nothing() -> None:
    model = network(2).run(1.0)
    model.limit = 0.0
    model.run(3.0)
    model.limit = 1e12
    assert shares(model, 0.5)[0] > 0.95
    assert len(model.control.following()) == 2


# --- receivers --------------------------------------------------------------------------------------


def test_one_of_eight_receivers_that_gets_a_tenth_is_not_followed() -> None:
    model = network(8)
    slow = model.receivers[3]
    slow.link = Queue(GIGABIT / 10, 250e3)
    assert shares(model, 1.0)[0] > 0.75
    assert {each.name for each in model.receivers} - model.control.following() == {slow.name}
    assert shares(model, 1.0)[0] > 0.97
    assert loss(model) < 0.05


def test_a_receiver_that_becomes_slow_delays_the_others_for_half_a_second() -> None:
    model = network(8).run(1.0)
    slow = model.receivers[3]
    slow.link = Queue(GIGABIT / 10, 250e3)
    model.run(0.5)
    assert shares(model, 1.0)[0] > 0.95
    assert {each.name for each in model.receivers} - model.control.following() == {slow.name}
    slow.link = Queue(2 * GIGABIT, 250e3)
    model.run(1.0)
    assert len(model.control.following()) == 8, "it follows again"


def test_the_slowest_receiver_with_more_than_half_sets_the_rate() -> None:
    model = network(8)
    model.receivers[3].link = Queue(0.7 * GIGABIT, 1e6)
    model.run(0.7)
    assert 0.68 < sent(model, 2.0) < 0.75
    assert len(model.control.following()) == 8
    assert loss(model) < 0.05


def test_if_most_receivers_get_little_the_sender_slows_down() -> None:
    model = network(8)
    for receiver in model.receivers[:6]:
        receiver.link = Queue(GIGABIT / 10, 250e3)
    model.run(1.0)
    assert 0.09 < sent(model, 1.0) < 0.11
    assert len(model.control.following()) == 8


def test_receivers_that_pause_for_a_moment_do_not_slow_it() -> None:
    model = network(8)
    for number, receiver in enumerate(model.receivers):
        receiver.stops = ((1.0 + number / 4, 1.06 + number / 4),)
    model.run(0.9)
    assert shares(model, 2.0)[0] > 0.95
    assert len(model.control.following()) == 8


def test_busy_machines_do_not_slow_it_much() -> None:
    """Each receiver occasionally loses the processor for some milliseconds."""
    model = network(8)
    chance = random.Random(3)
    for receiver in model.receivers:
        starts = itertools.accumulate(chance.expovariate(1 / 0.04) + 0.01 for _ in range(100))
        receiver.stops = tuple((start, start + chance.uniform(0.002, 0.01)) for start in starts)
    model.run(0.5)
    assert shares(model, 2.0)[0] > 0.9


def test_clock_drift_is_no_queue() -> None:
    model = network()
    model.receivers[0].drift += 9e-5
    model.run(14.0)
    assert shares(model, 1.5)[0] > 0.97


def test_a_link_that_stops_for_a_moment_does_not_mislead_it() -> None:
    model = network(4).run(0.5)
    for _ in range(8):
        model.shared.rate = 1.0
        model.run(0.01)
        model.shared.rate = GIGABIT
        model.run(0.2)
    assert shares(model, 0.5)[0] > 0.9


def test_receivers_that_are_silent_get_nothing_or_leave_are_not_followed() -> None:
    model = network(4).run(0.5)
    silent, deaf, leaving = model.receivers[:3]
    silent.gone_at = model.elapsed
    deaf.lose = 1.0
    model.run(0.5)
    assert deaf.name not in model.control.following()
    model.run(0.8)
    report = ReceiverReport(leaving.name, leaving.number + 50, True, 0, 0, 0, 0, 0)
    model.control.record_report(model.now, report)
    model.control.update(model.now)
    assert model.control.following() == {model.receivers[3].name}
    assert shares(model, 0.5)[0] > 0.95


@pytest.mark.parametrize("away", [0.1, 1.2])
@pytest.mark.parametrize("clock", [0.0, 100.0])
def test_a_restarted_receiver_is_followed_again_and_slows_nobody(away: float, clock: float) -> None:
    model = network(3)
    model.receivers[0].clock = clock
    model.run(0.6)
    killed = model.receivers[0]
    killed.gone_at = model.elapsed
    model.run(away)
    before = model.control.rate
    killed.gone_at, killed.datagrams, killed.clock, killed.lose = 1e9, 0.0, 0.0, 0.03
    killed.pending, killed.sequence = 0.0, model.sequence  # it has another socket
    killed.number += 5000
    seen = [(model.run(0.02).control.rate, loss(model)) for _ in range(40)]
    assert min(rate for rate, _ in seen) > 0.8 * before
    assert 0.02 < max(loss for _, loss in seen) < 0.1
    killed.lose = 0.0
    model.run(1.0)
    assert killed.name in model.control.following()
    assert loss(model) < 0.01  # its current rate is known


def test_without_any_report_the_rate_falls_to_the_minimum_and_recovers() -> None:
    model = network(2).run(1.0)
    numbers = [receiver.number for receiver in model.receivers]
    for receiver in model.receivers:
        receiver.gone_at = model.elapsed
    model.run(1.7)
    assert not model.control.following()
    assert model.control.rate < 0.3 * GIGABIT
    model.run(6.0)
    assert model.control.rate == MIN_RATE
    for receiver, number in zip(model.receivers, numbers, strict=True):
        assert receiver.number == number
        receiver.gone_at = 1e9
    model.run(2.0)
    assert len(model.control.following()) == 2
    assert shares(model, 0.5)[0] > 0.9


def test_reports_may_come_twice_and_out_of_order() -> None:
    model = network(4, seed=5)
    chance = random.Random(1)
    reported = model.control.record_report
    held: list[ReceiverReport] = []

    def mixed(now: float, report: ReceiverReport) -> None:
        held.append(report)
        if len(held) > 3:
            chance.shuffle(held)
            for each in held[:2] * 2:
                reported(now, each)
            del held[:2]

    model.control.record_report = mixed  # type: ignore[method-assign]
    model.run(0.7)
    assert shares(model, 2.0)[0] > 0.93


def test_a_late_receiver_is_followed_too() -> None:
    model = network(4)
    late = model.receivers.pop()
    model.run(0.6)
    late.next_at = model.now
    late.link = Queue(0.7 * GIGABIT, 1e6)
    model.receivers.append(late)
    model.run(0.6)
    assert late.name in model.control.following()
    assert 0.65 < sent(model, 0.5) < 0.77


def test_invalid_reports_do_no_harm() -> None:
    control = MulticastCongestionControl([b"a" * 8])
    assert control.rate == INITIAL_RATE
    assert not control.following()
    control.record_report(1.0, ReceiverReport(b"a" * 8, 1, False, 0, 0, 0, 5, 0))
    control.update(1.0)
    assert not control.following()
    control.record_burst(1.1, 0, 44, 44 * DATAGRAM)
    for number, sequence in enumerate((44, 7_000_000, 3, 44, 44)):
        control.record_report(1.2, ReceiverReport(b"b" * 8, number + 2, False, sequence, 44, 1, 9, 0))
        control.update(1.2)
    assert control.rate >= MIN_RATE
    assert control.following() == {b"b" * 8}


@pytest.mark.parametrize(
    ("rate", "listeners", "datagrams"),
    [
        (1e9, 1, MAX_BATCH_DATAGRAMS),
        (120e6, 1, MAX_BATCH_DATAGRAMS),
        (50e6, 1, MAX_BATCH_DATAGRAMS),
        (28e6, 1, 20),
        (5e6, 1, MIN_BURST_DATAGRAMS),
        (0.3e6, 1, 1),
        (10e6, 16, 14),
        (28e6, 16, MAX_BATCH_DATAGRAMS),
    ],
)
def test_a_burst_takes_a_millisecond_and_longer_for_many(rate: float, listeners: int, datagrams: int) -> None:
    control = MulticastCongestionControl([bytes([number]) * 8 for number in range(listeners)])
    control.rate = rate
    assert control.burst_datagrams(1400) == datagrams


@pytest.mark.parametrize("seed", range(3))
def test_with_many_receivers_on_a_busy_machine_the_link_s_rate_is_found(seed: int) -> None:
    """Long bursts, few reports, and a sender that does not always run: each receiver has got a little less or
    more than was sent in its time.
    """
    names = [bytes([index]) * 8 for index in range(32)]
    receivers = [Receiver(name, every=0.066) for name in names]
    model = Network(
        MulticastCongestionControl(names), receivers, rate=25e6, room=0.5e6, rests=0.05, seed=seed
    )
    assert shares(model.run(2.0), 4.0)[0] > 0.93


@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("slow", [40e6, 100e6])
def test_slow_receivers_lose_nothing_and_are_kept_busy(count: int, slow: float) -> None:
    """The path would carry more, and has no queue; only the receivers can report that it is too much."""
    model = network(count, rate=1e9)
    for index, receiver in enumerate(model.receivers):
        receiver.socket = Queue(slow * (1 + 0.02 * index), 0.2 * slow)
    model.run(1.0)
    assert model.shared.rate * sent(model, 2.0) > 0.85 * slow
    before = [receiver.sequence - receiver.datagrams for receiver in model.receivers]
    model.run(2.0)
    after = [receiver.sequence - receiver.datagrams for receiver in model.receivers]
    assert after == pytest.approx(before, abs=1)
    assert len(model.control.following()) == count


def test_startup_ends_at_the_rate_of_a_receiver_that_reports_a_filled_buffer() -> None:
    name, rate, every = b"a" * 8, 50e6, 0.02
    control, datagrams = MulticastCongestionControl([name]), int(rate * every / DATAGRAM)
    for number in range(1, 12):
        now = 100.0 + number * every
        control.record_burst(now, (number - 1) * datagrams, datagrams, datagrams * DATAGRAM)
        came, micros = number * datagrams, int((now + 0.001) * 1e6)
        control.record_report(
            now,
            ReceiverReport(name, number, False, came, came, came * DATAGRAM, micros, 0, crowded=number > 3),
        )
        control.update(now)
        assert number < 4 or control.rate > 0.5 * rate


def test_one_slow_receiver_does_not_delay_the_others() -> None:
    model = network(8)
    model.receivers[3].socket = Queue(10e6, 10e6)
    model.run(2.0)
    assert len(model.control.following()) == 7
    assert shares(model, 1.0)[0] > 0.95


# --- competing flows --------------------------------------------------------------------------------

FLOWS: dict[str, Callable[[float], Flow]] = {"cubic": Cubic, "bbr": Bbr}


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("rate", [GIGABIT, FAST_ETHERNET])
@pytest.mark.parametrize("delay", [0.0003, 0.002])
def test_tcp_that_starts_later_gets_a_fair_share(flow: str, rate: float, delay: float) -> None:
    model = network(rate=rate, delay=delay, flows=(FLOWS[flow](1.0),)).run(3.0)
    ours, theirs = shares(model, 3.0)
    assert 0.3 < ours < 0.7
    assert 0.3 < theirs < 0.7


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("rate", [GIGABIT, FAST_ETHERNET])
def test_it_gets_a_fair_share_beside_tcp_that_started_before(flow: str, rate: float) -> None:
    model = network(rate=rate, delay=0.001, flows=(FLOWS[flow](0.0),))
    model.control.rate = model.limit = 0.0
    model.run(2.0)
    model.control, model.limit = MulticastCongestionControl([model.receivers[0].name]), 1e12
    model.run(4.0)
    ours, theirs = shares(model, 3.0)
    assert 0.3 < ours < 0.7
    assert 0.3 < theirs < 0.7


def test_a_link_that_is_full_from_the_start_is_not_mistaken_for_a_slow_one() -> None:
    rate = 25e6
    model = network(rate=rate, flows=(Flood(1.5 * rate),)).run(0.3)
    assert sent(model, 0.3) > 0.25, "a fight that it can't win, but not one to starve in"
    slow = network(rate=1e6).run(0.5)
    assert sent(slow, 0.5) < 1.1


def test_capacity_that_another_flow_frees_is_used_soon() -> None:
    flow = Cubic(0.0)
    model = network(rate=FAST_ETHERNET, delay=0.002, flows=(flow,)).run(3.0)
    flow.start = 1e9
    model.run(1.5)
    assert shares(model, 0.5)[0] > 0.95
