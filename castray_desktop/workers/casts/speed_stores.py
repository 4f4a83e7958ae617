"""Speeds of nodes, saved in the home from one engine to the next: as relays, and as downloaders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path

import msgspec

from castray_desktop.core.protocol.messages import NodeInfo, StoreSpeed
from castray_desktop.core.routing.node_speeds import (
    KnownSpeed,
    SpeedMeasurement,
    average_speed,
    quantized_rate,
)
from castray_desktop.workers.base.state_files import load, save

MAX_NODES = 4096
"""Of the relays, the most recently measured ones are kept."""

FRESH_SECONDS = 24 * 3600.0
"""An older measurement of a download is repeated."""

MAX_SPEEDS = 2048
"""Of downloads, the most recent measurements are kept."""

MAX_RECENT = 256
"""Number of downloads that are remembered while the engine runs."""

SPEEDS = "the speeds of nodes"
DOWNLOADS = "the speeds of downloads"


def _identity(node: NodeInfo) -> str:
    return f"{node.name} {node.address}"


class NodeSpeedStore:
    """Identifies nodes by name and address, since Ray's node id changes with every start.

    The file is read at start and written after each cast. One that is damaged or can't be read or written is
    no error: speeds are then known as long as the engine runs. `clock` gives POSIX seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._speeds: dict[str, KnownSpeed] = load(path, SPEEDS, _decode_speeds, {})

    def speeds(self, nodes: Iterable[NodeInfo]) -> dict[str, float]:
        """Known speeds by node name, in bytes per second."""
        now = self._clock()
        known = {node.name: self._speeds.get(_identity(node)) for node in nodes}
        return {
            name: quantized_rate(speed.rate)
            for name, speed in known.items()
            if speed and not speed.is_old(now)
        }

    def record(self, nodes: Iterable[NodeInfo], measured: Mapping[str, SpeedMeasurement]) -> None:
        """Record the speeds that a cast measured, by name."""
        now = self._clock()
        for node in nodes:
            measure = measured.get(node.name)
            if measure is not None and measure.rate > 0:
                identity = _identity(node)
                self._speeds[identity] = average_speed(self._speeds.get(identity), measure, now)
        latest = sorted(self._speeds.items(), key=lambda item: item[1].when, reverse=True)
        self._speeds = {name: speed for name, speed in latest[:MAX_NODES] if not speed.is_old(now)}
        stored = {name: [round(speed.rate), speed.when] for name, speed in self._speeds.items()}
        save(self._path, SPEEDS, {"speeds": stored})


def _decode_speeds(content: bytes) -> dict[str, KnownSpeed]:
    stored = msgspec.json.decode(content)["speeds"]  # unlike `json`, refuses what `save` can't write
    speeds = {name: KnownSpeed(float(rate), float(when)) for name, (rate, when) in stored.items()}
    return {name: speed for name, speed in speeds.items() if 0 < speed.rate < inf and speed.when < inf}


class DownloadMeasurement(msgspec.Struct, frozen=True):
    """One measurement."""

    cluster: str
    host: str
    node: str  # name and address: Ray's node id changes with every start
    rate: float  # bytes per second
    when: float  # POSIX seconds


class DownloadSpeedStore:
    """The last measurement of each node with each server that files were downloaded from.

    The file is read at start and written after each measurement. One that is damaged or can't be read or
    written is no error. `clock` gives POSIX seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        measured: list[DownloadMeasurement] = load(path, DOWNLOADS, _decode_downloads, [])
        self._measured = {_key(item): item for item in measured}

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
        save(self._path, DOWNLOADS, {"downloads": msgspec.to_builtins(latest)})


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


def _key(item: DownloadMeasurement) -> tuple[str, str, str]:
    return item.cluster, item.host, item.node


def _decode_downloads(content: bytes) -> list[DownloadMeasurement]:
    stored = msgspec.convert(msgspec.json.decode(content)["downloads"], list[DownloadMeasurement])
    return [item for item in stored if 0 < item.rate < inf and 0 <= item.when < inf]
