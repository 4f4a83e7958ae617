"""The sentences for the end of multicast."""

from __future__ import annotations

import pytest

from castray_desktop.core.casts.multicast_status import explain_multicast_end
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import MulticastSnapshot


@pytest.mark.parametrize("end", list(MulticastEnd))
def test_every_end_says_what_happened_and_leaves_no_blank(end: MulticastEnd) -> None:
    why = explain_multicast_end(
        MulticastSnapshot(MulticastState.STOPPED, end, "Network is unreachable"), "node_1"
    )
    assert why is not None
    assert why.happened.endswith(".")
    assert why.remedy or end is MulticastEnd.ORDERED
    assert "{" not in why.text


def test_what_the_system_said_is_part_of_it() -> None:
    snapshot = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, "Network is unreachable.")
    why = explain_multicast_end(snapshot, "node_1")
    assert why is not None
    assert why.happened == (
        "node_1 can't send by multicast: Network is unreachable. The relay brought the files."
    )


@pytest.mark.parametrize("state", [MulticastState.WAITING, MulticastState.SENDING, MulticastState.DONE])
def test_what_has_not_stopped_needs_no_reason(state: MulticastState) -> None:
    assert explain_multicast_end(MulticastSnapshot(state), "s") is None
    assert explain_multicast_end(None, "s") is None


def test_it_is_said_in_the_language_of_the_window() -> None:
    snapshot = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES)
    why = explain_multicast_end(snapshot, "s", lambda text: f"<{text}>")
    assert why is not None
    assert why.happened.startswith("<Multicast from s")
