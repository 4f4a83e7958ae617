"""Whether a listener gets enough of what is sent. The time is passed in."""

from __future__ import annotations

FOLLOWS_WITHIN = 0.5
LEAST_SHARE = 0.5
"""Whoever gets less than this share for half a second can't follow."""

JUDGED_SECONDS = 0.1
JUDGED_FROM = 30
"""It is looked at so often, over so many datagrams at least: a sender that has begun too fast for all has
slowed down before half a second is over."""


class Share:
    """Of the datagrams that were sent, those that came."""

    def __init__(self) -> None:
        self._then, self._sent, self._came = 0.0, 0, 0  # when it was looked at, and what had been counted
        self._small_since = 0.0

    def begin(self, now: float, sent: int, came: int) -> None:
        """Judge what comes from here on: so many datagrams were sent before it, and so many have come."""
        self._then, self._sent, self._came = now, sent, came
        self._small_since = now

    def is_too_small(self, now: float, sent: int, came: int) -> bool:
        """Whether less than half has come, all the time."""
        datagrams = sent - self._sent
        if now - self._then < JUDGED_SECONDS or datagrams < JUDGED_FROM:
            return False
        if came - self._came >= datagrams * LEAST_SHARE:
            self._small_since = now
        self._then, self._sent, self._came = now, sent, came
        return now - self._small_since >= FOLLOWS_WITHIN
