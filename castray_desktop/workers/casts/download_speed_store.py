"""How fast the nodes of each cluster download from web servers, saved in the home."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path

import msgspec

from castray_desktop.core.protocol.messages import NodeInfo, StoreSpeed
from castray_desktop.workers.base.state_files import load, save

FRESH_SECONDS = 24 * 3600.0
"""An older measurement is repeated."""

MAX_SPEEDS = 2048
"""The most recent measurements are kept."""

MAX_RECENT = 256
"""So many downloads are remembered while the engine runs."""

WHAT = "the speeds of downloads"


class DownloadMeasurement(msgspec.Struct, frozen=True):
    """One measurement."""

    cluster: str
    host: str
    node: str  # name and address: Ray's node id changes with every start
    rate: float  # bytes per second
    when: float  # POSIX seconds


class DownloadSpeedStore:
    """The last measurement of each node with each server.

    The file is read at start and written after each measurement. One that is damaged or can't be read or
    written is no error. `clock` gives POSIX seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        nothing: list[DownloadMeasurement] = []
        self._measured = {_key(item): item for item in load(path, WHAT, _decode, nothing)}

    def speeds(self, cluster: str, host: str, nodes: Iterable[NodeInfo]) -> tuple[StoreSpeed, ...]:
        """What is known of these nodes and not too old."""
        now, found = self._clock(), []
        for node in nodes:
            item = self._measured.get((cluster, host, _identity(node)))
            if item is not None and 0 <= now - item.when <= FRESH_SECONDS:
                found.append(StoreSpeed(node.name, item.rate, item.when))
        return tuple(found)

    def record(self, cluster: str, host: str, nodes: Iterable[NodeInfo], rates: Mapping[str, float]) -> None:
        """Record measured rates, by name, in bytes per second.

        What was known of other nodes is dropped: it is from another time.
        """
        now = self._clock()
        kept = {key: item for key, item in self._measured.items() if key[:2] != (cluster, host)}
        for node in nodes:
            if (rate := rates.get(node.name, 0.0)) > 0:
                item = DownloadMeasurement(cluster, host, _identity(node), rate, now)
                kept[_key(item)] = item
        latest = sorted(kept.values(), key=lambda item: item.when, reverse=True)[:MAX_SPEEDS]
        self._measured = {_key(item): item for item in latest}
        save(self._path, WHAT, {"downloads": msgspec.to_builtins(latest)})


class RecentDownloaders:
    """Which node of one cluster has downloaded which files last, in memory: it knows their hashes, and does
    not download what recipients have.
    """

    def __init__(self) -> None:
        self._nodes: dict[str, str] = {}  # by version of the files

    def record(self, version: str, node: str) -> None:
        """The node has downloaded these files completely."""
        self._nodes.pop(version, None)
        self._nodes[version] = node
        while len(self._nodes) > MAX_RECENT:
            del self._nodes[next(iter(self._nodes))]

    def find(self, version: str) -> str:
        """The node that has downloaded them; empty if there is none."""
        return self._nodes.get(version, "")


def _identity(node: NodeInfo) -> str:
    return f"{node.name} {node.address}"


def _key(item: DownloadMeasurement) -> tuple[str, str, str]:
    return item.cluster, item.host, item.node


def _decode(content: bytes) -> list[DownloadMeasurement]:
    stored = msgspec.convert(msgspec.json.decode(content)["downloads"], list[DownloadMeasurement])
    return [item for item in stored if 0 < item.rate < inf and 0 <= item.when < inf]
