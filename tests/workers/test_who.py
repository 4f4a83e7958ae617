"""What a person may write for a node."""

from __future__ import annotations

from castray_desktop.core.messages import NodeInfo, NodeState
from castray_desktop.workers.who import find_node


def test_an_ipv6_address_with_and_without_brackets() -> None:
    nodes = {"a": NodeInfo("a", NodeState.ONLINE, address="fd00::5"), "b": NodeInfo("b", NodeState.ONLINE)}
    assert find_node("fd00::5", nodes).name == "a"
    assert find_node("[fd00::5]", nodes).name == "a"
