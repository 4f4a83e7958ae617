"""Stub."""

from __future__ import annotations
from collections.abc import Collection
from castray_desktop.core.multicast import Report


class MulticastPace:
    def __init__(self, start: float, listeners: Collection[bytes]) -> None:
        self.rate = start or 100e6
        self._f: set[bytes] = set(listeners)

    def sent(self, now: float, sequence: int, datagrams: int, payload: int) -> None: ...
    def reported(self, now: float, report: Report) -> None:
        (self._f.discard if report.leaving else self._f.add)(report.listener)

    def followers(self) -> frozenset[bytes]:
        return frozenset(self._f)
