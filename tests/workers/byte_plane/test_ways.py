"""The ways between two nodes: IPv6."""

from __future__ import annotations

import itertools

import pytest

from castray_desktop.workers.ray_side.addresses import own_addresses
from castray_desktop.workers.ray_side.protocol import RecipientState
from tests.workers.byte_plane.lab import Lab

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)


@pytest.mark.skipif("::1" not in own_addresses(), reason="this machine has no IPv6 loopback")
def test_a_chain_over_ipv6(lab: Lab) -> None:
    nodes = [lab.node(f"node_{number}", address="::1") for number in range(3)]
    path = lab.file("a.bin", 3 * MIB + 5)
    cast = lab.cast(nodes[0], [path])
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    for result, node in zip(cast.results(), nodes[1:], strict=True):
        assert (result.state, result.transport) == (RecipientState.COMPLETED, "direct")
        assert (node.inbox / "a.bin").read_bytes() == path.read_bytes()
