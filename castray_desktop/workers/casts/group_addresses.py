"""The multicast groups of an engine's casts: each has its own address and port."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import os
from collections.abc import Mapping

from castray_desktop.core.multicast import GROUP_PORTS, group_address
from castray_desktop.workers.ray_side.protocol import MulticastGroup

HOPS_VARIABLE = "CASTRAY_MULTICAST_HOPS"
"""How many routers may pass datagrams on, plus one; 1 without it: they stay within the network."""

PORTS_VARIABLE = "CASTRAY_DATA_PORTS"

MOST_REPORTS = 500
"""A second, of all listeners together: the sender looks at each."""

LONGEST_REPORT_SECONDS = 0.5
"""A listener that is silent for twice that is taken for one that can't follow."""

MOST_HOPS = 255
MOST_ATTEMPTS = 100
"""With few ports, two casts may have to share one; their addresses differ."""

log = logging.getLogger("castray.cast")


def hops_of(environment: Mapping[str, str]) -> int:
    """The hop limit that the user has set, else 1."""
    said = environment.get(HOPS_VARIABLE, "").strip()
    if said.isascii() and said.isdigit() and 1 <= int(said) <= MOST_HOPS:
        return int(said)
    if said:
        log.warning("%s=%s is no number from 1 to %d, so it is 1", HOPS_VARIABLE, said, MOST_HOPS)
    return 1


def ports_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """The ports that a firewall lets through, where the user has said so, else those of `core.multicast`."""
    low, _, high = environment.get(PORTS_VARIABLE, "").strip().partition("-")
    if low.isascii() and low.isdigit() and (high or low).isdigit() and int(low) <= int(high or low):
        return int(low), int(high or low)
    return GROUP_PORTS  # agents say what is wrong with others


class GroupAddresses:
    """Gives them out, and takes them back. No two casts share an address or a port at the same time.

    A network device hears addresses, and a socket hears a port; sharing one of them would cost both casts.
    """

    def __init__(self, hops: int | None = None, ports: tuple[int, int] | None = None) -> None:
        """Without a hop limit or ports, those that the user has set."""
        self._hops = hops_of(os.environ) if hops is None else hops
        self._ports = ports_of(os.environ) if ports is None else ports
        self._taken: dict[str, MulticastGroup] = {}

    def take(self, cast: str, source: str, listeners: int, life: int = 0) -> MulticastGroup:
        """The group of a cast whose datagrams come from the address `source`; the same when asked again.

        `listeners` is about how many there will be, `life` tells the groups of the source's agents apart.
        """
        if cast not in self._taken:
            group = self._free_group(f"{cast} {life}" if life else cast, source)
            seconds = max(group.report_seconds, min(listeners / MOST_REPORTS, LONGEST_REPORT_SECONDS))
            self._taken[cast] = dataclasses.replace(group, report_seconds=seconds)
        return self._taken[cast]

    def free(self, cast: str) -> None:
        """The cast has ended."""
        self._taken.pop(cast, None)

    def _free_group(self, cast: str, source: str) -> MulticastGroup:
        addresses = {group.address for group in self._taken.values()}
        ports = {group.port for group in self._taken.values()}
        for attempt in itertools.count():
            address, port = group_address(cast, ":" in source, attempt, self._ports)
            if address not in addresses and (port not in ports or attempt > MOST_ATTEMPTS):
                break
        return MulticastGroup(address, port, source, self._hops)
