"""Whether a cast is sent to a multicast group: what was asked for, and what is known of the network.

A relay brings one copy's time to many recipients, so multicast wins only where the links between them are
what is scarce. Nobody can tell by looking, so `auto` tries it once in a while, in the midst of a cast that
will take long enough for the trial to cost next to nothing, and remembers what came of it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from castray_desktop.core.messages import Ways
from castray_desktop.core.speeds import Speed

LEAST_LISTENERS = 3
LEAST_BYTES = 64 << 20
"""With fewer listeners, or bytes, there is nothing to win."""

WORTH = 1.1
"""Multicast has to reach this many times the relay's speed to be taken unasked."""

FRESH_SECONDS = 7 * 86_400.0
"""What was found out longer ago is found out again."""

TRIAL_AFTER_SECONDS = 2.0
"""The relay runs for this long before multicast is tried, so that there is a speed to be beaten."""

TRIAL_LEFT_SECONDS = 40.0
"""A trial may hold a cast up for most of a second where nothing arrives, and for two where little does. With
this long to go, that stays within a few per cent."""

ASKED_SHARE = 0.5
"""Whoever asks for multicast gets it, unless it is slower than this share of the relay's speed."""


class Choice(enum.Enum):
    """How a cast begins."""

    RELAY = "relay"
    MULTICAST = "multicast"
    TRIAL = "trial"  # by the relay, and multicast is tried while it runs


@dataclass(frozen=True)
class Known:
    """What both ways have reached from a source in a network. A rate of 0: multicast is of no use there."""

    relay: Speed | None = None
    multicast: Speed | None = None

    def fresh(self, now: float) -> Known:
        """Without what has to be found out again. `now` in POSIX seconds."""
        return Known(
            *(
                speed if speed is not None and now - speed.when <= FRESH_SECONDS else None
                for speed in (self.relay, self.multicast)
            )
        )


@dataclass(frozen=True)
class Start:
    """What the source is told, in bytes per second; 0 where it is not known."""

    rate: int = 0  # to begin with
    least: int = 0  # below this it stops


def choose(asked: Ways, listeners: int, size: int, limit: int, known: Known) -> Choice:
    """How a cast of `size` bytes begins that `listeners` nodes could hear. `known` is fresh.

    Under a `limit` the relay is as fast as anything.
    """
    if asked is Ways.UDP:
        return Choice.MULTICAST
    if asked is not Ways.AUTO or limit or listeners < LEAST_LISTENERS or size < LEAST_BYTES:
        return Choice.RELAY
    if known.multicast is None or (known.relay is None and known.multicast.rate > 0):
        return Choice.TRIAL
    if known.relay is not None and known.multicast.rate >= WORTH * known.relay.rate:
        return Choice.MULTICAST
    return Choice.RELAY


def start(asked: Ways, known: Known) -> Start:
    """How multicast begins without a trial. `known` is fresh."""
    share = ASKED_SHARE if asked is Ways.UDP else 1.0
    return Start(
        round(known.multicast.rate) if known.multicast is not None else 0,
        round(known.relay.rate * share) if known.relay is not None else 0,
    )


def trial(seconds: float, rate: float, left: int) -> Start | None:
    """How multicast is tried now, if it is.

    The relay has run for `seconds` at `rate`, in bytes per second; `left` bytes are to come.
    """
    if seconds < TRIAL_AFTER_SECONDS or rate <= 0 or left < TRIAL_LEFT_SECONDS * rate:
        return None
    return Start(round(rate), round(rate * WORTH))
