"""What multicast and the relay have reached in each network, kept in a file of the home."""

from __future__ import annotations

import ipaddress
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

from castray_desktop.core.multicast_choice import Known
from castray_desktop.core.speeds import Speed
from castray_desktop.workers.home_files import load, replace_file
from castray_desktop.workers.ray_side.protocol import AgentHello

MOST_NETWORKS = 256
"""Those that were used last are kept."""

log = logging.getLogger("castray.speeds")


@dataclass(frozen=True)
class MulticastLesson:
    """What a cast has shown of a network, in bytes per second; None for nothing.

    0: multicast is of no use there.
    """

    network: str  # as `network_of` says it
    relay: float | None = None
    multicast: float | None = None


class MulticastMemory:
    """The last speed of each way counts: a network that has changed is not averaged with what it was.

    The file is read at once and written after each lesson. One that is damaged or can't be read or
    written is no error. `clock` gives POSIX seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._known = _read(path)

    def known(self, network: str) -> Known:
        """What is known of a network, and not too old."""
        return self._known.get(network, Known()).fresh(self._clock())

    def learn(self, lesson: MulticastLesson) -> None:
        """Take in what a cast has shown."""
        now, before = self._clock(), self._known.pop(lesson.network, Known())
        self._known[lesson.network] = Known(
            before.relay if lesson.relay is None else Speed(lesson.relay, now),
            before.multicast if lesson.multicast is None else Speed(lesson.multicast, now),
        )
        self._known = dict(list(self._known.items())[-MOST_NETWORKS:])
        try:
            replace_file(self._path, json.dumps({"networks": _plain(self._known)}).encode())
        except OSError as error:
            log.warning("speeds of networks are not kept: %s", error)


def network_of(source: AgentHello, recipients: Iterable[AgentHello]) -> str:
    """What the way from a source to these recipients is remembered by.

    A source with another address, or recipients in other networks, are another way.
    """
    networks = sorted({_network(hello.address) for hello in recipients})
    return f"{source.node} {source.address} to {','.join(networks)}"


def _network(address: str) -> str:
    """The network that an address most probably lies in."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64 if parsed.version == 6 else 24), strict=False))


def _plain(known: Mapping[str, Known]) -> dict[str, object]:
    return {network: asdict(speeds) for network, speeds in known.items()}


def _read(path: Path) -> dict[str, Known]:
    """What the file holds; one that is damaged is set aside."""

    def decode(content: bytes) -> dict[str, Known]:
        networks = json.loads(content)["networks"]
        return {
            network: Known(_speed(speeds["relay"]), _speed(speeds["multicast"]))
            for network, speeds in networks.items()
        }

    return load(path, "the speeds of networks", decode, {})


def _speed(stored: Mapping[str, float] | None) -> Speed | None:
    """Raises ValueError for what is no speed."""
    if stored is None:
        return None
    speed = Speed(float(stored["rate"]), float(stored["when"]))
    if not (0 <= speed.rate < inf and speed.when < inf):
        raise ValueError(f"{speed} is none")
    return speed
