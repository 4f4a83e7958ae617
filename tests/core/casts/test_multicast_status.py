"""The receivers of the multicast stream, the bytes they got, the repairs, and why it stopped."""

from __future__ import annotations

import pytest

from castray_desktop.core.casts.multicast_status import (
    RelayOnlyReason,
    RepairRates,
    explain_multicast_end,
    multicast_status,
    received_mostly_multicast,
    receives_multicast,
)
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    CastState,
    DeliverySnapshot,
    DeliveryState,
    MulticastSnapshot,
    Transport,
)
from castray_desktop.core.routing.bottleneck import slowest_hop
from tests.helpers.samples import GB, make_cast, make_delivery

SENDING = MulticastSnapshot(MulticastState.SENDING, rate=100e6)
MB = 1_000_000


def test_a_cast_by_the_relay_has_no_listeners() -> None:
    assert multicast_status(make_cast(), [make_delivery("node_1", listening=True)]) is None


def test_listeners_and_former_listeners_are_distinguished() -> None:
    found = multicast_status(
        make_cast(recipients=4, multicast=SENDING),
        [
            make_delivery("node_1", listening=True, rate=90e6, datagram_bytes=4 * GB),
            make_delivery("node_2", listening=True, rate=70e6, datagram_bytes=3 * GB, repaired_bytes=GB),
            make_delivery("node_3", datagram_bytes=GB),
            make_delivery("node_4"),
            make_delivery("node_5", DeliveryState.COMPLETED, bytes=10 * GB, datagram_bytes=10 * GB),
            make_delivery("node_6", transport=Transport.LOCAL),
        ],
    )
    assert found is not None
    assert found.sending
    assert (found.listeners, found.rate) == (("node_1", "node_2"), 80e6)
    assert found.left == {"node_3": RelayOnlyReason.CANT_FOLLOW, "node_4": RelayOnlyReason.HEARS_NOTHING}
    assert found.datagram_share == pytest.approx(17 / 18)
    assert found.repaired_share == pytest.approx(1 / 18)


@pytest.mark.parametrize("state", [state for state in MulticastState if state is not MulticastState.SENDING])
def test_there_are_no_listeners_while_nothing_is_sent(state: MulticastState) -> None:
    cast = make_cast(multicast=MulticastSnapshot(state, MulticastEnd.ORDERED))
    deliveries = [make_delivery("node_1", listening=True), make_delivery("node_2")]
    found = multicast_status(cast, deliveries)
    assert found is not None
    assert (found.listeners, found.left, found.sending) == ((), {}, False)


def test_a_paused_cast_keeps_its_listeners() -> None:
    cast = make_cast(state=CastState.PAUSED, multicast=SENDING)
    found = multicast_status(cast, [make_delivery("node_1", listening=True), make_delivery("node_2")])
    assert found is not None
    assert (found.listeners, found.left) == (("node_1",), {})


def test_an_ended_cast_has_no_listeners() -> None:
    cast = make_cast(state=CastState.COMPLETED, multicast=SENDING)
    assert not receives_multicast(cast, make_delivery("node_1", listening=True))


def test_the_transport_is_the_one_of_most_bytes() -> None:
    assert received_mostly_multicast(make_delivery("node_1", datagram_bytes=3 * GB))
    assert not received_mostly_multicast(make_delivery("node_1", datagram_bytes=2 * GB))
    assert not received_mostly_multicast(make_delivery("node_1", bytes=0))


def test_a_listener_is_no_slow_hop() -> None:
    """Its upstream only repairs it; a relay connection counts."""
    listener = make_delivery("node_1", upstream="desk", rate=10e6, listening=True)
    relayed = make_delivery("node_2", upstream="desk", rate=20e6)
    cast = make_cast(multicast=SENDING)
    assert slowest_hop(cast, [listener]) is None
    found = slowest_hop(cast, [listener, relayed])
    assert found is not None
    assert found.node == "node_2"


def repaired(total: int, node: str = "node_1") -> list[DeliverySnapshot]:
    return [make_delivery(node, repaired_bytes=total)]


def test_a_repair_has_a_rate_while_it_grows() -> None:
    rates = RepairRates()
    assert rates.update([make_delivery("node_1")], 0.0) == {}
    seen = [
        rates.update(repaired(number * 2 * MB), number * 0.25).get("node_1", 0.0) for number in range(1, 13)
    ]
    assert seen == pytest.approx([8e6] * 12, rel=0.01)


def test_a_repair_is_over_soon_after_it_stops_growing() -> None:
    rates = RepairRates()
    rates.update([make_delivery("node_1")], 0.0)
    assert rates.update(repaired(MB), 0.25) != {}
    shown = [bool(rates.update(repaired(MB), 0.25 + step / 10)) for step in range(1, 20)]
    assert shown == sorted(shown, reverse=True)
    assert 0.5 <= sum(shown) / 10 <= 1.25


def test_earlier_repairs_do_not_count_as_current() -> None:
    rates = RepairRates()
    assert rates.update(repaired(GB), 0.0) == {}
    assert rates.update(repaired(GB), 0.3) == {}
    assert rates.update(repaired(GB + MB), 0.5) != {}


def test_who_has_everything_is_not_repaired() -> None:
    rates = RepairRates()
    rates.update([make_delivery("node_1")], 0.0)
    done = make_delivery("node_1", DeliveryState.VERIFYING, repaired_bytes=MB)
    assert rates.update([done], 0.25) == {}


@pytest.mark.parametrize("end", list(MulticastEnd))
def test_every_end_has_a_complete_sentence(end: MulticastEnd) -> None:
    why = explain_multicast_end(
        MulticastSnapshot(MulticastState.STOPPED, end, "Network is unreachable"), "node_1"
    )
    assert why is not None
    assert why.happened.endswith(".")
    assert why.remedy or end is MulticastEnd.ORDERED
    assert "{" not in why.text


def test_the_system_error_is_part_of_the_reason() -> None:
    snapshot = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, "Network is unreachable.")
    why = explain_multicast_end(snapshot, "node_1")
    assert why is not None
    assert why.happened == (
        "node_1 can't send multicast: Network is unreachable. The relay delivered the files."
    )


@pytest.mark.parametrize("state", [MulticastState.WAITING, MulticastState.SENDING, MulticastState.DONE])
def test_running_multicast_has_no_reason(state: MulticastState) -> None:
    assert explain_multicast_end(MulticastSnapshot(state), "s") is None
    assert explain_multicast_end(None, "s") is None


def test_it_is_said_in_the_language_of_the_window() -> None:
    snapshot = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES)
    why = explain_multicast_end(snapshot, "s", lambda text: f"<{text}>")
    assert why is not None
    assert why.happened.startswith("<No recipient received the multicast from s")
