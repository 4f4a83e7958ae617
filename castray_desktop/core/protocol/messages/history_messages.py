"""Ended casts, statistics, and past traffic."""

from __future__ import annotations

from castray_desktop.core.protocol.messages.cast_messages import CastState, CastSummary
from castray_desktop.core.protocol.messages.message_base import Message, Record


class HistoryQuery(Record, frozen=True):
    """Filter for ended casts, the latest first."""

    text: str = ""  # words in name, path, node or destination, case-insensitive; all must match
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
    """Delete ended casts for good. Reply: `Done`.

    With a `grace` they are hidden until it has passed; `KeepHistory` undoes that.
    """

    casts: tuple[str, ...] = ()  # none: all
    grace: float = 0.0  # seconds


class KeepHistory(Message, frozen=True):
    """Undo the last `ClearHistory` within its grace. Reply: `Done`."""


class HistoryPage(Message, frozen=True):
    """A page of matching casts."""

    casts: tuple[CastSummary, ...]
    total: int  # number of matching casts
    unreadable: int = 0  # casts of the whole history whose rows are damaged, and are left out


class HistoryChanged(Message, frozen=True):
    """Casts were added to the history or removed from it; at most one a second."""


class NodeStatistics(Record, frozen=True):
    """Totals of one recipient."""

    node: str
    delivered: int = 0  # deliveries
    failed: int = 0
    bytes: int = 0  # without those that were there already
    mean_rate: float = 0.0
    peak_rate: float = 0.0


class Statistics(Record, frozen=True):
    """Totals of casts over some time."""

    since: float = 0.0  # POSIX seconds
    casts: int = 0  # ended casts
    completed: int = 0
    partly_failed: int = 0
    failed: int = 0
    cancelled: int = 0
    delivered: int = 0  # deliveries
    failed_deliveries: int = 0
    bytes: int = 0  # delivered, over all recipients, without those that were there already
    uploaded: int = 0  # bytes sent by the sources
    seconds: float = 0.0  # sum of the casts' durations
    mean_rate: float = 0.0  # total rate of all deliveries while casts ran
    peak_rate: float = 0.0  # maximum total rate of all recipients
    nodes: tuple[NodeStatistics, ...] = ()


class GetStatistics(Message, frozen=True):
    """Reply: `StatisticsReport`."""


class StatisticsReport(Message, frozen=True):
    """Totals since this engine's start and of all time."""

    engine: Statistics
    ever: Statistics
    active: int  # running casts
    queued: int


class RateSample(Record, frozen=True):
    """A sample of the traffic, see `Throughput`; means over the step."""

    at: float  # the end of the step
    total: float
    upload: float
    nodes: dict[str, float] = {}  # receive rate by node; at most the hundred with the most traffic


class GetRates(Message, frozen=True):
    """Past traffic, for a plot that was just opened. Reply: `RateHistory`."""

    seconds: float  # up to 24 hours back


class RateHistory(Message, frozen=True):
    """Oldest first; moments without traffic are left out."""

    step: float  # seconds between samples
    samples: tuple[RateSample, ...]
    since: float = 0.0  # from then on, missing samples mean no traffic; before, unknown


HistoryCommand = GetHistory | GetPastCast | ClearHistory | KeepHistory | GetStatistics | GetRates
HistoryReply = HistoryPage | StatisticsReport | RateHistory
HistoryEvent = HistoryChanged
