"""The slowest hop and its bottleneck, in realistic cases."""

from __future__ import annotations

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import CastState, DeliverySnapshot, DeliveryState
from castray_desktop.core.routing.bottleneck import BottleneckCause, SlowestHop, slowest_hop
from tests.helpers.samples import GB, make_cast, make_delivery

MB = 1_000_000


def hop(node: str, upstream: str, megabytes: int, rate: int, **facts: object) -> DeliverySnapshot:
    return make_delivery(node, upstream=upstream, bytes=megabytes * MB, rate=float(rate * MB), **facts)


def chain(*facts: dict[str, object], rates: tuple[int, ...] = (110, 40, 40)) -> list[DeliverySnapshot]:
    """desk to node_1 to node_2 to node_3, where node_2 receives at the lowest rate."""
    nodes = (("node_1", "desk", 4000), ("node_2", "node_1", 2000), ("node_3", "node_2", 1995))
    extra = [*facts, {}, {}, {}]
    return [hop(*node, rate, **values) for node, rate, values in zip(nodes, rates, extra, strict=False)]


def test_a_node_far_behind_its_upstream_is_the_slowest_and_those_below_are_not() -> None:
    assert slowest_hop(make_cast(), chain()) == SlowestHop("node_1", "node_2", 40e6, BottleneckCause.LINK)


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"writing": 0.8, "checking": 0.1}, BottleneckCause.DISK),
        ({"writing": 0.1, "checking": 0.8}, BottleneckCause.PROCESSOR),
        ({"writing": 0.5, "checking": 0.5}, BottleneckCause.DISK),
        ({"writing": 0.1, "checking": 0.1}, BottleneckCause.LINK),
        ({"writing": 0.3, "checking": 0.3}, BottleneckCause.UNKNOWN),
    ],
)
def test_where_its_time_goes_says_what_holds_it_up(facts: dict[str, object], cause: BottleneckCause) -> None:
    found = slowest_hop(make_cast(), chain({}, facts))
    assert found is not None
    assert (found.node, found.cause) == ("node_2", cause)


def test_an_even_chain_is_as_fast_as_what_leaves_the_source() -> None:
    even = [hop("node_1", "desk", 4000, 110), hop("node_2", "node_1", 3995, 109)]
    assert slowest_hop(make_cast(), even) == SlowestHop("desk", "node_1", 110e6, BottleneckCause.LINK)
    reading = make_cast(reading=0.9, checking=0.1)
    assert slowest_hop(reading, even) == SlowestHop("desk", "node_1", 110e6, BottleneckCause.SOURCE_DISK)
    hashing = make_cast(reading=0.3, checking=0.6)
    assert slowest_hop(hashing, even) == SlowestHop("desk", "node_1", 110e6, BottleneckCause.SOURCE_PROCESSOR)


def test_a_limit_is_named_where_it_is_reached() -> None:
    even = [hop("node_1", "desk", 4000, 49), hop("node_2", "node_1", 3995, 49)]
    limited = make_cast(options=TransferOptions(limit=50 * MB))
    assert slowest_hop(limited, even) == SlowestHop("desk", "node_1", 49e6, BottleneckCause.LIMIT)
    assert slowest_hop(make_cast(), even, 50 * MB) == SlowestHop(
        "desk", "node_1", 49e6, BottleneckCause.LIMIT
    )
    assert slowest_hop(make_cast(options=TransferOptions(limit=200 * MB)), even) == SlowestHop(
        "desk", "node_1", 49e6, BottleneckCause.LINK
    )


def test_a_limit_that_binds_is_named_though_the_disk_is_busy() -> None:
    busy = [hop("node_1", "desk", 4000, 49, writing=0.9), hop("node_2", "node_1", 3995, 49, writing=0.9)]
    found = slowest_hop(make_cast(options=TransferOptions(limit=50 * MB)), busy)
    assert found == SlowestHop("desk", "node_1", 49e6, BottleneckCause.LIMIT)


def test_a_node_divides_the_limit_among_those_that_it_feeds() -> None:
    fed = [hop("node_1", "desk", 4000, 25), hop("node_2", "desk", 4000, 24)]
    found = slowest_hop(make_cast(options=TransferOptions(limit=50 * MB)), fed)
    assert found == SlowestHop("desk", "node_2", 24e6, BottleneckCause.LIMIT)


def test_a_limit_that_casts_share_is_named_where_they_reach_it_together() -> None:
    fed = [hop("node_1", "desk", 4000, 24, writing=0.9)]
    other = hop("node_2", "desk", 100, 25)
    found = slowest_hop(make_cast(), fed, 50 * MB, [other])
    assert found == SlowestHop("desk", "node_1", 24e6, BottleneckCause.SHARED_LIMIT)
    elsewhere = hop("node_2", "node_3", 100, 25)
    waiting = make_delivery("node_2", DeliveryState.PAUSED, upstream="desk", rate=25e6)
    for others in ([], [elsewhere], [waiting]):
        alone = slowest_hop(make_cast(), fed, 50 * MB, others)
        assert alone == SlowestHop("desk", "node_1", 24e6, BottleneckCause.DISK)


@pytest.mark.parametrize(
    ("facts", "cause"), [({"writing": 0.9}, BottleneckCause.DISK), ({}, BottleneckCause.UNKNOWN)]
)
def test_a_hop_that_leaves_its_share_of_the_limit_to_other_casts_is_slow_by_itself(
    facts: dict[str, object], cause: BottleneckCause
) -> None:
    found = slowest_hop(
        make_cast(), [hop("node_1", "desk", 4000, 10, **facts)], 50 * MB, [hop("node_2", "desk", 9, 40)]
    )
    assert found == SlowestHop("desk", "node_1", 10e6, cause)


def test_one_below_a_node_that_has_everything_is_held_up_by_itself() -> None:
    done = make_delivery("node_1", DeliveryState.COMPLETED, bytes=10 * GB)
    last = hop("node_2", "node_1", 9990, 90)
    assert slowest_hop(make_cast(), [done, last]) == SlowestHop(
        "node_1", "node_2", 90e6, BottleneckCause.LINK
    )


def test_nothing_is_said_while_nothing_moves() -> None:
    assert slowest_hop(make_cast(), []) is None
    assert slowest_hop(make_cast(), [make_delivery("node_1", rate=0.0)]) is None
    assert slowest_hop(make_cast(state=CastState.COMPLETED), chain()) is None
