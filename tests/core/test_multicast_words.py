"""Why multicast has stopped, in plain words."""

from __future__ import annotations

import pytest

from castray_desktop.core.messages import MulticastSnapshot
from castray_desktop.core.multicast import MulticastEnd, MulticastState
from castray_desktop.core.multicast_words import why_stopped


@pytest.mark.parametrize("end", list(MulticastEnd))
def test_every_end_says_what_happened_and_leaves_no_blank(end: MulticastEnd) -> None:
    why = why_stopped(MulticastSnapshot(MulticastState.STOPPED, end, "Network is unreachable"), "node_1")
    assert why is not None
    assert why.happened.endswith(".")
    assert why.remedy or end is MulticastEnd.ORDERED
    assert "{" not in why.text


def test_what_the_system_said_is_part_of_it() -> None:
    snapshot = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NO_NETWORK, "Network is unreachable.")
    why = why_stopped(snapshot, "node_1")
    assert why is not None
    assert why.happened == (
        "node_1 can't send by multicast: Network is unreachable. The relay brought the files."
    )


@pytest.mark.parametrize("state", [MulticastState.WAITING, MulticastState.SENDING, MulticastState.DONE])
def test_what_has_not_stopped_needs_no_reason(state: MulticastState) -> None:
    assert why_stopped(MulticastSnapshot(state), "s") is None
    assert why_stopped(None, "s") is None


def test_it_is_said_in_the_language_of_the_window() -> None:
    snapshot = MulticastSnapshot(MulticastState.STOPPED, MulticastEnd.NOTHING_ARRIVES)
    why = why_stopped(snapshot, "s", lambda text: f"<{text}>")
    assert why is not None
    assert why.happened.startswith("<Multicast from s")
