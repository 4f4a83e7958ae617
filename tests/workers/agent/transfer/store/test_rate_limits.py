"""Limits of a cast and of a node, and casts that share a node, over real sockets."""

from __future__ import annotations

import time

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import SetCastLimit, SetNodeLimit
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.store.piece_store import RateLimiter
from tests.workers.agent.transfer.lab import Cast, Lab, Node

MB = 1_000_000


def limit_node(node: Node, limit: int) -> None:
    node.plane.carry_out(SetNodeLimit(limit))


def received(cast: Cast) -> int:
    """At this moment; progress reports may be a tenth of a second old."""
    return cast.recipients[0].plane._deliveries[cast.cast].report().content_bytes


def test_two_casts_share_the_limit_of_their_node(lab: Lab) -> None:
    source, one, other = lab.node("s"), lab.node("a"), lab.node("b")
    limit_node(source, 20 * MB)
    casts = [lab.cast(source, [lab.file(node.name, 16 << 20)]) for node in (one, other)]
    start = time.monotonic()
    for cast, node in zip(casts, (one, other), strict=True):
        cast.deliver(node, source.upstream())
    other.await_delivery(casts[1].cast, lambda report: report.content_bytes > 0)
    before = [received(cast) for cast in casts]  # one of them has started before the other
    one.await_delivery(casts[0].cast, lambda report: report.content_bytes >= 12 << 20)
    gained = [received(cast) - had for cast, had in zip(casts, before, strict=True)]
    share = gained[1] / sum(gained)
    results = [cast.results()[0] for cast in casts]
    seconds = time.monotonic() - start
    assert [result.state for result in results] == [RecipientState.COMPLETED] * 2
    assert 0.35 <= share <= 0.65
    assert seconds >= (32 << 20) / (20 * MB) - 0.2
    for cast in casts:
        cast.forget()


@pytest.mark.parametrize("of_node", [True, False])
def test_another_limit_holds_at_once(lab: Lab, of_node: bool) -> None:
    """The next piece would be due in minutes."""
    source, node = lab.node("s"), lab.node("a")

    def change(limit: int) -> None:
        if of_node:
            limit_node(source, limit)
        else:
            source.plane.carry_out(SetCastLimit(cast.cast, limit))

    cast = lab.cast(source, [lab.file("x", 8 << 20)])
    change(5000)
    cast.deliver(node, source.upstream())
    node.await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
    assert received(cast) < 4 << 20
    change(0)
    [result] = cast.results()
    assert result.state is RecipientState.COMPLETED
    cast.forget()


def test_a_slow_cast_takes_nothing_from_the_others(lab: Lab) -> None:
    source, slow, fast = lab.node("s"), lab.node("a"), lab.node("b")
    limit_node(source, 200 * MB)
    held = lab.cast(source, [lab.file("slow", 4 << 20)])
    source.plane.carry_out(SetCastLimit(held.cast, 1000))
    held.deliver(slow, source.upstream())
    slow.await_delivery(held.cast, lambda report: report.stream_bytes > 0)
    cast = lab.cast(source, [lab.file("fast", 8 << 20)])
    cast.deliver(fast, source.upstream())
    assert cast.results()[0].state is RecipientState.COMPLETED
    assert slow.deliveries[held.cast].state is RecipientState.RECEIVING
    held.cancel(source, slow)
    slow.await_end(held.cast)
    held.forget()
    cast.forget()


def test_who_stops_waiting_gives_its_bytes_back() -> None:
    class Stop(Exception):
        pass

    def stop(_seconds: float) -> None:
        raise Stop

    limiter = RateLimiter()
    limiter.set_limit(1000)
    limiter.wait(10_000_000, stop)  # nothing was sent before it
    with pytest.raises(Stop):
        limiter.wait(5, stop)
    before = limiter._pacer._taken - limiter._pacer._earned
    with pytest.raises(Stop):
        limiter.wait(10_000_000, stop)
    assert limiter._pacer._taken - limiter._pacer._earned <= before
