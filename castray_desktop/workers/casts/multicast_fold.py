"""How sending to a multicast group goes, folded from what the source and the recipients report."""

from __future__ import annotations

from castray_desktop.core.messages import CastState, MulticastSnapshot, Transport
from castray_desktop.core.multicast import MulticastEnd, MulticastState
from castray_desktop.workers.ray_side.protocol import DeliveryReport, MulticastReport

MEASURED_SECONDS = 0.3
"""A stream that has gone for so long shows how fast it can be sent."""


class MulticastFold:
    """One cast's, over all agents that its source has had. Nothing of it before it is tried."""

    def __init__(self) -> None:
        self._tried = False
        self._report: MulticastReport | None = None
        self._sent_before = 0  # by agents of the source that are gone
        self._listeners: tuple[str, ...] = ()  # the last ones that there were
        self._since: float | None = None  # the present one sends
        self._until = 0.0
        self._end: MulticastEnd | None = None  # by the engine's decision
        self._reason = ""

    @property
    def report(self) -> MulticastReport | None:
        """The source's last one."""
        return self._report

    @property
    def sends(self) -> bool:
        """Whether datagrams leave the source."""
        report = self._report
        return report is not None and self._end is None and report.state is MulticastState.SENDING

    def tried(self) -> None:
        """Recipients are told to listen."""
        self._tried, self._end, self._reason = True, None, ""

    def stop(self, end: MulticastEnd, reason: str = "") -> None:
        """The engine does without it."""
        self._end, self._reason = end, reason

    def reported(self, report: MulticastReport | None, now: float) -> None:
        """The source has said where it stands."""
        if report is None:
            return
        if self._since is None and report.state is MulticastState.SENDING:
            self._since = now
        if self._report is None or self._report.state is not report.state:
            self._until = now
        self._report = report
        self._listeners = report.listeners or self._listeners

    @property
    def rate(self) -> float:
        """Bytes per second: its pace while it sends, the mean afterwards; 0 where that can't be said."""
        report = self._report
        if report is None or report.state is MulticastState.SENDING or self._since is None:
            return float(report.rate) if report is not None else 0.0
        seconds = self._until - self._since
        return report.sent_bytes / seconds if seconds >= MEASURED_SECONDS else 0.0

    def source_away(self) -> None:
        """The source's agent has gone; the next one counts from zero."""
        if self._report is not None:
            self._sent_before += self._report.sent_bytes
        self._report = self._since = None

    def snapshot(self, cast: CastState) -> MulticastSnapshot | None:
        """As clients hear of it; with the cast it has ended as well."""
        report = self._report or MulticastReport(MulticastState.WAITING)
        if not self._tried and self._end is None:
            return None
        state, end = report.state, report.end
        sent = self._sent_before + report.sent_bytes
        if self._end is not None and state is not MulticastState.DONE:
            state, end = MulticastState.STOPPED, self._end
        elif cast.finished and state in (MulticastState.WAITING, MulticastState.SENDING):
            state, end = _ended_with(cast, sent)
        return MulticastSnapshot(
            state,
            end,
            self._reason or report.reason,
            self._listeners if state is MulticastState.DONE else report.listeners,
            sent,
            self.rate,
        )


def _ended_with(cast: CastState, sent: int) -> tuple[MulticastState, MulticastEnd | None]:
    """What became of a stream that had not ended before its cast."""
    if cast in (CastState.CANCELLED, CastState.FAILED):
        return MulticastState.STOPPED, MulticastEnd.ORDERED
    return (MulticastState.DONE, None) if sent else (MulticastState.STOPPED, MulticastEnd.OVER)


def transport_of(report: DeliveryReport) -> Transport | None:
    """The way that most of the bytes took that a recipient's agent has taken in."""
    if report.datagram_bytes * 2 > report.received_bytes > 0:
        return Transport.UDP
    return Transport(report.transport) if report.transport else None
