"""The limit of the sending rate."""

from __future__ import annotations

import heapq

from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.protocol.nodes.token_bucket import (
    BURST_SECONDS,
    MAX_SEND_BYTES,
    MIN_SEND_BYTES,
    SendSize,
    TokenBucket,
)

PIECE = 5000


def test_without_a_limit_nothing_waits() -> None:
    pacer = TokenBucket()
    assert pacer.delay(0.0, pacer.reserve(0.0, 1 << 40)) == 0
    assert pacer.delay(0.0, pacer.reserve(0.0, 1 << 40)) == 0


def test_a_steady_sender_keeps_to_the_limit() -> None:
    pacer, now = TokenBucket(1000), 100.0
    for _ in range(100):
        now += pacer.delay(now, pacer.reserve(now, 100))
    assert 109.5 <= now <= 110.0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, PIECE)), min_size=1))
def test_never_more_than_the_limit_and_one_burst(steps: list[tuple[float, int]]) -> None:
    pacer, now, sent = TokenBucket(1000), 0.0, 0
    for idle, length in steps:
        now += idle
        now += pacer.delay(now, pacer.reserve(now, length))
        assert sent <= 1000 * (now + BURST_SECONDS) + 1e-6
        sent += length


def test_a_higher_limit_applies_to_waiting_senders() -> None:
    pacer = TokenBucket(10)
    pacer.reserve(0.0, 10_000)
    ticket = pacer.reserve(0.0, 10_000)
    assert pacer.delay(0.0, ticket) > 900
    pacer.set_limit(0.0, 100_000)
    assert pacer.delay(0.0, ticket) <= 0.1
    pacer.set_limit(0.0, 0)
    assert pacer.delay(0.0, ticket) == 0


def test_a_limit_that_comes_later_counts_from_then_on() -> None:
    pacer = TokenBucket()
    pacer.reserve(0.0, 1 << 40)
    pacer.set_limit(1.0, 1000)
    assert pacer.delay(1.0, pacer.reserve(1.0, 500)) == 0
    assert 0.4 <= pacer.delay(1.0, pacer.reserve(1.0, 500)) <= 0.5


def test_returned_bytes_delay_nobody() -> None:
    pacer = TokenBucket(1000)
    pacer.reserve(0.0, 100_000)
    behind = pacer.reserve(0.0, 100)
    pacer.release(0.0, 100_000)
    assert pacer.delay(0.0, behind) == 0


@given(
    lengths=st.lists(st.integers(1, PIECE), min_size=2, max_size=6),
    limits=st.lists(st.integers(500, 50_000), min_size=1, max_size=5),
)
def test_senders_take_turns_piece_by_piece(lengths: list[int], limits: list[int]) -> None:
    """Each sender has one piece at a time and always another one after it; the limit changes in between."""
    pacer, now = TokenBucket(limits[0]), 1.0
    waiting = [(pacer.reserve(now, length), sender) for sender, length in enumerate(lengths)]
    heapq.heapify(waiting)
    pieces, allowed, sent = [0] * len(lengths), limits[0] * BURST_SECONDS, 0
    for limit in limits:
        pacer.set_limit(now, limit)
        for _ in range(4 * len(lengths)):
            ticket, sender = min(waiting, key=lambda item: pacer.delay(now, item[0]))
            seconds = pacer.delay(now, ticket)
            now, allowed = now + seconds, allowed + seconds * limit
            assert sent <= allowed + 1e-6
            waiting.remove((ticket, sender))
            sent, pieces[sender] = sent + lengths[sender], pieces[sender] + 1
            waiting.append((pacer.reserve(now, lengths[sender]), sender))
            assert max(pieces) - min(pieces) <= 1


def test_portions_follow_the_line() -> None:
    portion = SendSize()
    assert not portion.record(1 << 20, 0.001)
    assert portion.bytes == MAX_SEND_BYTES
    assert portion.record(1 << 20, 1.0)
    assert portion.bytes == int((1 << 20) / 20)
    assert not portion.record(portion.bytes, 0.05)
    assert portion.record(portion.bytes, 10.0)
    assert portion.bytes == MIN_SEND_BYTES
    assert not portion.record(100, 0.0)  # less than a portion does not measure the link
    while portion.record(portion.bytes, 0.001):
        assert portion.bytes <= MAX_SEND_BYTES
    assert portion.bytes == MAX_SEND_BYTES
