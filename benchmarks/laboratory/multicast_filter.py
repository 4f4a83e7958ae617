"""Networks without multicast: filters that drop datagrams to groups, in a laboratory.

Unicast passes, and so do the control messages of the network.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterable, Iterator

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.laboratory.namespaces import nft


class At(enum.Enum):
    """Where datagrams to groups are dropped."""

    SWITCH = "forward"  # in the switch
    SOURCE = "output"  # before they leave a host; its programs get an error
    RECIPIENT = "input"  # on their way into a host


_FAMILIES = {At.SWITCH: "bridge", At.SOURCE: "inet", At.RECIPIENT: "inet"}
_NAME = "no_multicast"
_TABLE = """
table {family} {name} {{
  chain to_groups {{
    type filter hook {hook} priority 0
    ip daddr 224.0.0.0/4 meta l4proto udp drop
    ip6 daddr ff00::/8 meta l4proto udp drop
  }}
}}
"""


@contextlib.contextmanager
def filtered(lab: Lab, at: At, hosts: Iterable[Host] = ()) -> Iterator[None]:
    """Inside the block, no datagram to a group passes the switch, or these hosts. Raises LabUnavailable."""
    places = [lab.switch] if at is At.SWITCH else [host.namespace for host in hosts]
    family = _FAMILIES[at]
    for place in places:
        nft(place, _TABLE.format(family=family, name=_NAME, hook=at.value))
    try:
        yield
    finally:
        for place in places:
            nft(place, f"delete table {family} {_NAME}\n")
