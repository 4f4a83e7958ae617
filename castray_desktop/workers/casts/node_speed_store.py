"""Speeds of nodes, saved in the home from one engine to the next."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path

import msgspec

from castray_desktop.core.protocol.messages import NodeInfo
from castray_desktop.core.routing.node_speeds import (
    KnownSpeed,
    SpeedMeasurement,
    average_speed,
    quantized_rate,
)
from castray_desktop.workers.base.state_files import load, save

MAX_NODES = 4096
"""The most recently measured ones are kept."""


class NodeSpeedStore:
    """Identifies nodes by name and address, since Ray's node id changes with every start.

    The file is read at start and written after each cast. One that is damaged or can't be read or written is
    no error: speeds are then known as long as the engine runs. `clock` gives POSIX seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._speeds = _read(path)

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
        save(self._path, "the speeds of nodes", {"speeds": stored})


def _identity(node: NodeInfo) -> str:
    return f"{node.name} {node.address}"


def _read(path: Path) -> dict[str, KnownSpeed]:
    """What the file holds; one that is damaged is set aside."""

    def decode(content: bytes) -> dict[str, KnownSpeed]:
        stored = msgspec.json.decode(content)  # unlike `json`, refuses what `save` can't write
        speeds = {
            name: KnownSpeed(float(rate), float(when)) for name, (rate, when) in stored["speeds"].items()
        }
        return {name: speed for name, speed in speeds.items() if 0 < speed.rate < inf and speed.when < inf}

    return load(path, "the speeds of nodes", decode, {})
