"""How fast a cast goes by the relay and by its group, and what that says of the network it crosses."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from statistics import median_low

from castray_desktop.core.multicast_choice import Start, trial
from castray_desktop.core.speeds import WayMeter
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.multicast_memory import MulticastLesson
from castray_desktop.workers.ray_side.protocol import MulticastEnd, MulticastState

LOOK_SECONDS = 0.2

_USELESS = frozenset({MulticastEnd.NOTHING_ARRIVES, MulticastEnd.NO_NETWORK})


class Measuring:
    """Looks at the middle one of those recipients that could listen. Nothing is measured before `begin`."""

    def __init__(self, ledger: CastLedger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._network = ""
        self._nodes: tuple[str, ...] = ()
        self._paused: frozenset[str] = frozenset()
        self._goes_on = False
        self._looked = -inf
        self._by_relay, self._by_group = WayMeter(), WayMeter()

    def begin(self, network: str, nodes: Iterable[str]) -> None:
        """From now on these show how fast it goes; the network is called as in the memory."""
        self._network, self._nodes, self._goes_on = network, tuple(nodes), True

    def end(self) -> None:
        """What comes from now on says nothing of a way."""
        self._goes_on = False

    def rest(self) -> None:
        """There was a pause, in which agents neither sent nor missed anything."""
        self._by_relay.rest()
        self._by_group.rest()

    def look(self, *, by_group: bool) -> bool:
        """See how fast it goes, by which way; whether there was anything new to see."""
        now = self._clock()
        if not self._goes_on or now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        paused = frozenset(self._ledger.paused)
        if paused != self._paused:  # another one is in the middle
            self._paused = paused
            self.rest()
        if by_group:
            self._by_relay.rest()
            self._by_group.look(now, self._middle(self._ledger.verified_bytes))
        else:
            self._by_group.rest()
            self._by_relay.look(now, self._middle(self._ledger.received_bytes))
        return True

    @property
    def left(self) -> int:
        """Bytes of the stream that the middle one lacks."""
        return self._ledger.stream_bytes - self._middle(self._ledger.verified_bytes)

    def trial(self) -> Start | None:
        """How the group is tried in the midst of the relay, if that is worth it by now."""
        return trial(self._by_relay.seconds, self._by_relay.rate, self.left)

    def lesson(self, *, tried_amidst: bool) -> MulticastLesson | None:
        """What the cast has shown, if anything; whether its group was tried in the midst of the relay."""
        relay, group = self._by_relay.rate or None, self._shown_by_group(tried_amidst)
        if self._ledger.request.limit:
            relay, group = None, group if group == 0 else None
        if not self._nodes or (relay is None and group is None):
            return None
        return MulticastLesson(self._network, relay, group)

    def _shown_by_group(self, tried_amidst: bool) -> float | None:
        """How fast it was, in bytes per second; 0 where it is of no use, None where that can't be said."""
        report = self._ledger.multicast.report
        if report is None:
            return None
        useless = _USELESS | {MulticastEnd.NOBODY} if tried_amidst else _USELESS
        if report.end in useless:
            return 0.0
        measured = self._by_group.rate
        if not measured and report.state is not MulticastState.SENDING:
            measured = self._ledger.multicast.rate
        if not measured and report.end is MulticastEnd.TOO_SLOW:
            return 0.0
        return measured or None

    def _middle(self, count: Callable[[str], int]) -> int:
        """A count of bytes at the middle one of those that take something."""
        paused = frozenset(self._ledger.paused)
        return median_low([count(node) for node in self._nodes if node not in paused] or [0])
