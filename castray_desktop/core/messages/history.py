"""Casts that have ended, and what all of them add up to."""

from __future__ import annotations

from castray_desktop.core.messages.base import Message, Record
from castray_desktop.core.messages.casts import CastState, CastSummary


class HistoryQuery(Record, frozen=True):
    """Which ended casts are asked for, the latest first."""

    text: str = ""  # parts of a name, a path, a node or a destination, in any case; all of them must be there
    states: tuple[CastState, ...] = ()  # none: all
    node: str = ""  # source or recipient
    since: float = 0.0  # POSIX seconds of the end
    until: float = 0.0  # 0: now
    offset: int = 0
    limit: int = 100


class GetHistory(Message, frozen=True):
    """Reply: `HistoryPage`."""

    query: HistoryQuery = HistoryQuery()


class GetPastCast(Message, frozen=True):
    """One ended cast with its deliveries. Reply: `CastResult`."""

    cast: str


class ClearHistory(Message, frozen=True):
    """Forget ended casts for good. Reply: `Done`.

    With a `grace` they are only told no more until it has passed; until then `KeepHistory` takes it back.
    """

    casts: tuple[str, ...] = ()  # none: all
    grace: float = 0.0  # seconds


class KeepHistory(Message, frozen=True):
    """Take back the last `ClearHistory` whose grace has not passed. Reply: `Done`."""


class HistoryPage(Message, frozen=True):
    """Some of the casts that fit the query."""

    casts: tuple[CastSummary, ...]
    total: int  # that fit
    unreadable: int = 0  # casts of the whole history whose rows are damaged, and are left out


class HistoryChanged(Message, frozen=True):
    """Casts were added to the history or removed from it; at most one a second."""


class NodeStatistics(Record, frozen=True):
    """What one recipient has got."""

    node: str
    delivered: int = 0  # deliveries
    failed: int = 0
    bytes: int = 0  # without those that were there already
    mean_rate: float = 0.0
    peak_rate: float = 0.0


class Statistics(Record, frozen=True):
    """Casts in numbers over some time."""

    since: float = 0.0  # POSIX seconds
    casts: int = 0  # that have ended
    completed: int = 0
    partly_failed: int = 0
    failed: int = 0
    cancelled: int = 0
    delivered: int = 0  # deliveries
    failed_deliveries: int = 0
    bytes: int = 0  # delivered, over all recipients, without those that were there already
    uploaded: int = 0  # that left the sources
    seconds: float = 0.0  # of the casts, added up
    mean_rate: float = 0.0  # of all deliveries together while casts ran
    peak_rate: float = 0.0  # the most that all recipients together received
    nodes: tuple[NodeStatistics, ...] = ()


class GetStatistics(Message, frozen=True):
    """Reply: `StatisticsReport`."""


class StatisticsReport(Message, frozen=True):
    """Since this engine started, and for ever."""

    engine: Statistics
    ever: Statistics
    active: int  # casts that run
    queued: int


class RateSample(Record, frozen=True):
    """The traffic of one moment, as in `Throughput`; means over the step."""

    at: float  # the end of the step
    total: float
    upload: float
    nodes: dict[str, float] = {}  # received, by node; of very many, the hundred with the most traffic


class GetRates(Message, frozen=True):
    """The traffic of the past, for a plot that was not there. Reply: `RateHistory`."""

    seconds: float  # up to 24 hours back


class RateHistory(Message, frozen=True):
    """Oldest first; moments without traffic are left out."""

    step: float  # seconds between samples
    samples: tuple[RateSample, ...]
    since: float = 0.0  # from then on, what is left out was without traffic; before, nothing is known


HistoryCommand = GetHistory | GetPastCast | ClearHistory | KeepHistory | GetStatistics | GetRates
HistoryReply = HistoryPage | StatisticsReport | RateHistory
HistoryEvent = HistoryChanged
