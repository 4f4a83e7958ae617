"""What the source of a cast has said and sent, over all agents that it has had."""

from __future__ import annotations

from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.progress import RateMeter
from castray_desktop.workers.ray_side.protocol import ParcelTotals, SourceReport, SourceState


class SourceAccount:
    """`report` is the last one of the source's present agent. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.report: SourceReport | None = None
        self.totals: ParcelTotals | None = None
        self.trailer_digest = ""  # once the source has read everything
        self.upload = RateMeter()
        self.checking, self.reading = RateMeter(), RateMeter()
        self._last: SourceReport | None = None  # its present agent's, or that of one before
        self._sent_before = self._lists_before = 0  # by agents that are gone

    def restore(self, sent_contents: int, totals: ParcelTotals | None) -> None:
        """As it was known under another engine."""
        self._sent_before, self.totals = sent_contents, totals

    def reported(self, report: SourceReport, now: float) -> None:
        """The source has said where it stands."""
        self.report = self._last = report
        self.upload.add(now, self._sent_before + report.sent_bytes)
        self.checking.add(now, report.checking)
        self.reading.add(now, report.reading)
        if self.totals is None:  # what a source says that is back is compared with these
            self.totals = report.totals
        if report.state is SourceState.SEALED and not self.trailer_digest:
            self.trailer_digest = report.trailer_digest

    def away(self) -> None:
        """The source's agent has gone, with all that it knew."""
        if self.report is not None:
            self._sent_before += self.report.sent_bytes
            self._lists_before += self.report.sent_lists
        self.checking, self.reading = RateMeter(), RateMeter()
        self.report = None

    @property
    def sent_bytes(self) -> int:
        """Payload that left it."""
        return self._sent_before + (self.report.sent_bytes if self.report is not None else 0)

    @property
    def sent_contents(self) -> int:
        """The part of it that is files' contents."""
        lists = self._lists_before + (self.report.sent_lists if self.report is not None else 0)
        return self.sent_bytes - lists

    @property
    def copies(self) -> float:
        """Of the files' contents: what is compared and not sent counts for nothing, however short it is."""
        if self.totals is None:
            return 0.0
        contents, stream = self.totals.content_bytes, self.totals.stream_bytes
        if contents:
            return round(self.sent_contents / contents, 4)
        return round(self.sent_bytes / stream, 4) if stream else 0.0

    def files_failed(self) -> Failure | None:
        """What it could not send of a parcel whose rest has arrived, by its first file's name."""
        report, totals = self._last, self.totals
        if report is None or totals is None or not report.problem_count:
            return None
        first, total = report.problems[0], totals.files + totals.left_out
        values = {
            "path": first.path,
            **first.failure.values,
            "count": str(report.problem_count),
            "total": str(total),
            "because": first.failure.kind.value,
        }
        everything = report.problem_count >= total
        return Failure(FailureKind.NO_FILE_DELIVERED if everything else FailureKind.FILES_FAILED, values)
