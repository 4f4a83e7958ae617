"""How fast the nodes of a running cast are: who holds up others, and what is worth remembering."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from castray_desktop.core.fan_out import FanOutWatch, SlowFanOut
from castray_desktop.core.lag import LOOK_SECONDS, LagWatch
from castray_desktop.core.route import Route
from castray_desktop.core.speeds import Measure, SpeedMeter


class Pace:
    """Looks at the progress of one cast, as often as reports come. `speeds` is what is known before it."""

    def __init__(self, speeds: Mapping[str, float]) -> None:
        self.speeds = speeds
        self._meter = SpeedMeter()
        self._lag = LagWatch()
        self._fan_out = FanOutWatch({}, 0)
        self._looked = -inf

    def begin(self, zones: Mapping[str, str], limit: int) -> None:
        """The cast is under way, or a node has come back to it, whose count begins anew.

        `limit` is the cast's own in bytes per second, 0 for none.
        """
        self._meter.interrupt()
        self._lag = LagWatch(zones, self.speeds, limit)
        self._fan_out = FanOutWatch(zones, limit)

    def rest(self) -> None:
        """Bytes come otherwise than along the route for now, which says nothing of its nodes."""
        self._meter.interrupt()

    def is_due(self, now: float) -> bool:
        """Whether a look would say anything new."""
        return now - self._looked >= LOOK_SECONDS

    def look(
        self,
        now: float,
        route: Route,
        progress: Mapping[str, int],
        received: Mapping[str, int],
        total: int,
    ) -> str | None:
        """The node that is to go to the tail now, if any. As in `LagWatch.look` and `SpeedMeter.look`."""
        self._looked = now
        self._meter.look(now, route, progress, received)
        return self._lag.look(now, route, progress, total)

    def find_slow_fan_out(
        self, now: float, route: Route, progress: Mapping[str, int], total: int
    ) -> SlowFanOut | None:
        """Why a chain would be faster than this route, if it would. As in `FanOutWatch.look`."""
        slow = self._fan_out.look(now, route, progress, total)
        if slow is not None:
            self._meter.correct(slow.node, slow.rate)
        return slow

    def measured(self) -> dict[str, Measure]:
        """What the cast has shown of its nodes."""
        return self._meter.measured()
