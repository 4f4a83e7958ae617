"""A paused cast: no byte leaves any node, and it resumes where it was."""

from __future__ import annotations

import threading

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import CancelCast, PauseCast, PauseDelivery, SetUpstream
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import Upstream
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Cast, Lab, Node, await_true

MIB = 1 << 20
QUIET_SECONDS = 0.3


def pause(cast: Cast, paused: bool, number: int) -> None:
    for node in (cast.source, *cast.recipients):
        node.plane.carry_out(PauseCast(cast.cast, paused, number))


def counts(cast: Cast) -> list[int]:
    """The bytes that have left each node, and that have arrived there."""
    found = [cast.source.plane._sources[cast.cast].report().sent_bytes]
    for node in cast.recipients:
        report = node.plane._deliveries[cast.cast].report()
        found += [report.sent_bytes, report.received_bytes]
    return found


def stand_still(cast: Cast) -> list[int]:
    """The counters of all nodes, once they have not changed for a while; something is left to be sent."""
    quiet, waited, before = 0.0, 0.0, counts(cast)
    while quiet < QUIET_SECONDS:
        assert not threading.Event().wait(0.05)
        after = counts(cast)
        quiet = quiet + 0.05 if after == before else 0.0
        before, waited = after, waited + 0.05
        assert waited < PATIENCE, "bytes still flow"
    assert max(before) < cast.totals.stream_bytes
    return before


def unlimit(cast: Cast) -> None:
    """Let the rest follow at any speed."""
    cast.source.plane._sources[cast.cast].pieces.limiter.set_limit(0)
    for node in cast.recipients:
        node.plane._deliveries[cast.cast].store.pieces.limiter.set_limit(0)


def chain_of_three(
    lab: Lab, size: int, limit: int, local: bool = False, timing: PeerTiming | None = None
) -> tuple[Cast, list[Node]]:
    source, *nodes = (lab.node(f"node_{number}", local, timing) for number in range(4))
    cast = lab.cast(source, [lab.file("x", size)])
    for feeder, node in zip((source, *nodes), nodes, strict=False):
        cast.deliver(node, feeder.upstream())
        node.plane._deliveries[cast.cast].store.pieces.limiter.set_limit(limit)
    source.plane._sources[cast.cast].pieces.limiter.set_limit(limit)
    return cast, nodes


@pytest.mark.parametrize("local", [False, True])
def test_every_hop_stops_and_continues_at_the_same_offset(lab: Lab, local: bool) -> None:
    cast, nodes = chain_of_three(lab, 48 * MIB, 16 * MIB, local)
    nodes[-1].await_delivery(cast.cast, lambda report: report.content_bytes >= 2 * MIB)
    pause(cast, True, 1)
    before = stand_still(cast)
    assert max(before) < 40 * MIB
    unlimit(cast)
    pause(cast, False, 2)
    reports = cast.results()
    assert [report.state for report in reports] == [RecipientState.COMPLETED] * 3
    sent = [counts(cast)[at] for at in (0, 1, 3)]
    assert sum(sent) <= 1.01 * 3 * cast.totals.stream_bytes
    cast.forget()


def test_a_connection_lost_during_a_pause_is_not_reported(lab: Lab) -> None:
    cast, nodes = chain_of_three(lab, 32 * MIB, 16 * MIB, timing=PeerTiming(lost_after=0.3, grace=PATIENCE))
    nodes[-1].await_delivery(cast.cast, lambda report: report.content_bytes >= 2 * MIB)
    pause(cast, True, 1)
    before = stand_still(cast)
    for node in nodes:
        channel = node.plane._deliveries[cast.cast].session._channel
        assert channel is not None
        channel.abort()
    assert stand_still(cast) == before
    assert not nodes[0].ends_within(cast.cast, 0.8)
    assert [node.plane._deliveries[cast.cast].report().failure for node in nodes] == [None] * 3
    unlimit(cast)
    pause(cast, False, 2)
    reports = cast.results()
    assert [report.state for report in reports] == [RecipientState.COMPLETED] * 3
    cast.forget()


def test_an_older_order_changes_nothing(lab: Lab) -> None:
    cast, _ = chain_of_three(lab, 32 * MIB, 16 * MIB)
    pause(cast, False, 2)
    pause(cast, True, 1)
    unlimit(cast)
    assert [report.state for report in cast.results()] == [RecipientState.COMPLETED] * 3
    cast.forget()


def test_a_paused_cast_can_be_cancelled(lab: Lab) -> None:
    cast, nodes = chain_of_three(lab, 32 * MIB, 16 * MIB)
    nodes[-1].await_delivery(cast.cast, lambda report: report.content_bytes >= MIB)
    pause(cast, True, 1)
    stand_still(cast)
    for node in (cast.source, *nodes):
        node.plane.carry_out(CancelCast(cast.cast))
    assert [node.await_end(cast.cast).state for node in nodes] == [RecipientState.CANCELLED] * 3
    assert not list(lab.folder.rglob(".castray*"))


# --- one recipient alone ---------------------------------------------------------------------------


def channel_of(cast: Cast, node: Node) -> PeerConnection | None:
    return node.plane._deliveries[cast.cast].session._channel


def pause_first(lab: Lab, local: bool = False, keep: float = 30.0) -> tuple[Cast, Node, Node]:
    """Two recipients fetch from the source; the first is paused halfway. The cast and both of them."""
    timing = PeerTiming(lost_after=1.0, grace=1.0, keep=keep)
    source, first, second = (lab.node(name, local, timing) for name in ("s", "a", "b"))
    cast = lab.cast(source, [lab.file("x", 12 * MIB)])
    limiter = source.plane._sources[cast.cast].pieces.limiter
    limiter.set_limit(8 * MIB)
    for node in (first, second):
        cast.deliver(node, source.upstream())
    first.await_delivery(cast.cast, lambda report: report.content_bytes >= 2 * MIB)
    first.plane.carry_out(PauseDelivery(cast.cast, 2))
    limiter.set_limit(24 * MIB)
    return cast, first, second


def received(cast: Cast, node: Node) -> int:
    return node.plane._deliveries[cast.cast].report().received_bytes


def goes_on(cast: Cast, node: Node, upstream: Upstream) -> int:
    """Let the node fetch from there; returns the bytes that it has received at its end."""
    node.plane.carry_out(SetUpstream(cast.cast, 3, upstream))
    states = [report.state for report in cast.results()]
    assert states == [RecipientState.COMPLETED] * 2
    return received(cast, node)


@pytest.mark.parametrize("local", [False, True])
def test_a_paused_recipient_stops_and_continues_over_the_same_connection(lab: Lab, local: bool) -> None:
    cast, first, second = pause_first(lab, local)
    cast.finish_source()
    assert second.await_end(cast.cast).state is RecipientState.COMPLETED
    had, channel = received(cast, first), channel_of(cast, first)
    before = counts(cast)
    assert had < 10 * MIB  # the other one had time for the rest of its data
    assert before[0] < cast.totals.stream_bytes + 10 * MIB
    assert not first.ends_within(cast.cast, QUIET_SECONDS)
    assert counts(cast) == before
    assert channel is not None
    assert goes_on(cast, first, cast.source.upstream()) == cast.totals.stream_bytes
    assert counts(cast)[0] == 2 * cast.totals.stream_bytes
    cast.forget()


def test_a_connection_is_not_kept_for_ever(lab: Lab) -> None:
    cast, first, _ = pause_first(lab, keep=0.2)
    await_true(lambda: channel_of(cast, first) is None)
    await_true(lambda: first.plane._deliveries[cast.cast].report().upstream == "")  # called by another thread
    assert goes_on(cast, first, cast.source.upstream()) == cast.totals.stream_bytes
    cast.forget()


def test_a_paused_recipient_continues_from_another_upstream(lab: Lab) -> None:
    cast, first, second = pause_first(lab)
    assert goes_on(cast, first, second.upstream()) <= cast.totals.stream_bytes + MIB
    cast.forget()


def test_an_older_order_is_ignored(lab: Lab) -> None:
    source, node = lab.chain(1)
    cast = lab.cast(source, [lab.file("x", 4 * MIB)])
    cast.deliver(node, source.upstream())
    node.plane.carry_out(PauseDelivery(cast.cast, 1))
    assert [report.state for report in cast.results()] == [RecipientState.COMPLETED]
    cast.forget()


def test_a_paused_recipient_can_be_cancelled_while_its_upstream_is_silent(lab: Lab) -> None:
    cast, first, _ = pause_first(lab)
    cast.cancel(first)
    assert first.await_end(cast.cast).state is RecipientState.CANCELLED
    cast.cancel(cast.source, *cast.recipients)
    cast.forget()
