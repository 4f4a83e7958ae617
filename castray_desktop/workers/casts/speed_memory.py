"""The speeds of nodes from one engine to the next, in a small file of the home."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from math import inf
from pathlib import Path

from castray_desktop.core.messages import NodeInfo
from castray_desktop.core.speeds import Measure, Speed, comparable, learned
from castray_desktop.workers.home_files import load, replace_file

MOST_NODES = 4096
"""Those measured last are kept."""

log = logging.getLogger("castray.speeds")


class SpeedMemory:
    """Knows nodes by name and address: Ray's node id changes with every start.

    The file is read at once and written after each lesson. One that is damaged or can't be read or
    written is no error: speeds are then known as long as the engine runs. `clock` gives POSIX seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._speeds = _read(path)

    def speeds(self, nodes: Iterable[NodeInfo]) -> dict[str, float]:
        """The speed of each node that is known, by name, in bytes per second."""
        now = self._clock()
        known = {node.name: self._speeds.get(_identity(node)) for node in nodes}
        return {
            name: comparable(speed.rate) for name, speed in known.items() if speed and not speed.is_old(now)
        }

    def learn(self, nodes: Iterable[NodeInfo], measured: Mapping[str, Measure]) -> None:
        """Take in what a cast has shown of these nodes, by name."""
        now = self._clock()
        for node in nodes:
            measure = measured.get(node.name)
            if measure is not None and measure.rate > 0:
                identity = _identity(node)
                self._speeds[identity] = learned(self._speeds.get(identity), measure, now)
        latest = sorted(self._speeds.items(), key=lambda item: item[1].when, reverse=True)
        self._speeds = {name: speed for name, speed in latest[:MOST_NODES] if not speed.is_old(now)}
        try:
            _write(self._path, self._speeds)
        except OSError as error:
            log.warning("speeds are not kept: %s", error)


def _identity(node: NodeInfo) -> str:
    return f"{node.name} {node.address}"


def _read(path: Path) -> dict[str, Speed]:
    """What the file holds; one that is damaged is set aside."""

    def decode(content: bytes) -> dict[str, Speed]:
        stored = json.loads(content)
        speeds = {name: Speed(float(rate), float(when)) for name, (rate, when) in stored["speeds"].items()}
        return {name: speed for name, speed in speeds.items() if 0 < speed.rate < inf and speed.when < inf}

    return load(path, "the speeds of nodes", decode, {})


def _write(path: Path, speeds: Mapping[str, Speed]) -> None:
    """Replace the file as a whole. Raises OSError."""
    text = json.dumps({"speeds": {name: [round(speed.rate), speed.when] for name, speed in speeds.items()}})
    replace_file(path, text.encode())
