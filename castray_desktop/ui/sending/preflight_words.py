"""What the line below the send button says beforehand, and the banner about what stands in the way."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication

from castray_desktop.core import messages
from castray_desktop.core.errors import Explanation
from castray_desktop.ui.clusters.cluster_words import explain_failure
from castray_desktop.ui.controls.glyphs import GlyphState
from castray_desktop.ui.sending.preflight import PreflightCheck
from castray_desktop.ui.units import format_bytes

translate = QCoreApplication.translate

Verdict = tuple[GlyphState | None, str, str, str]
"""Glyph, line, tone and details."""


def verdict(check: PreflightCheck, waiting: int) -> Verdict:
    """What the preflight has shown; `waiting` recipients are offline and get it later."""
    if check.failure is not None:
        words = explain_failure(check.failure)
        return GlyphState.LAGGING, words.happened, "warn", words.text
    report = check.report
    if report is None:
        return None, translate("SendPanel", "Checking the recipients…"), "2", ""
    if report.problems:
        all_words = [explain_failure(problem.failure) for problem in report.problems]
        details = "\n".join(words.text for words in all_words)
        return GlyphState.LAGGING, all_words[0].happened, "warn", details
    warned = caution(report)
    if warned is not None:
        named = [explain_failure(item.failure).text for item in report.left_out] or report.broken_names
        return GlyphState.LAGGING, warned.happened, "warn", "\n".join((warned.text, *named))
    return _good(report, waiting)


def caution(report: messages.PreflightReport) -> Explanation | None:
    """What would not arrive as the user may think, though every recipient can take the parcel."""
    if report.left_out_count:
        first = explain_failure(report.left_out[0].failure)
        if report.left_out_count == 1:
            return first
        more = translate("SendPanel", "{problem} (and {count} more)")
        count = f"{report.left_out_count - 1:,}"
        return Explanation(more.format(problem=first.happened, count=count), first.remedy)
    if report.broken_links:
        one = translate("SendPanel", "A link would lead nowhere at the recipients: {name}")
        many = translate("SendPanel", "{count} links would lead nowhere at the recipients, {name} first")
        text = one if report.broken_links == 1 else many
        name = report.broken_names[0] if report.broken_names else ""
        why = translate("SendPanel", "What they point to is not there, or is not sent.")
        return Explanation(text.format(count=f"{report.broken_links:,}", name=name), why)
    return None


def _good(report: messages.PreflightReport, waiting: int) -> Verdict:
    removed = sum(removal.count for removal in report.removals)
    if removed:
        text = translate("SendPanel", "Removes {count} entries at the recipients")
        return GlyphState.LAGGING, text.format(count=f"{removed:,}"), "warn", ""
    count = max(0, len(report.recipients) - waiting)
    fits = translate("SendPanel", "Fits on all {count}") if count > 1 else translate("SendPanel", "Fits")
    parts = [fits.format(count=count)] if count else []
    if waiting:
        later = translate("SendPanel", "{count} get it when they are back")
        parts.append(later.format(count=waiting))
    else:
        once = translate("SendPanel", "uploaded once, {size}")
        parts.append(once.format(size=format_bytes(report.bytes)))
    return GlyphState.VERIFIED if count else GlyphState.QUEUED, " · ".join(parts), "2", ""


def problems_text(problems: Sequence[messages.PreflightProblem]) -> Explanation:
    """The first problem, and how many more there are."""
    first = explain_failure(problems[0].failure)
    if len(problems) == 1:
        return first
    more = translate("SendPanel", "{problem} (and {count} more)")
    return Explanation(more.format(problem=first.happened, count=len(problems) - 1), first.remedy)
