"""Text of the cells of the transfers table, and the glyphs beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.casts.states import have_files_changed, seconds_to_next_try, waits_for_server
from castray_desktop.core.failures.sentences import translate_value
from castray_desktop.core.protocol.messages import CastState, CastSummary, DeliverySnapshot, DeliveryState
from castray_desktop.ui.i18n.failure_text import in_window_language
from castray_desktop.ui.i18n.number_format import DASH, format_bytes, format_duration, format_rate
from castray_desktop.ui.widgets.status_glyphs import GlyphState

translate = QCoreApplication.translate


def cast_title(cast: CastSummary) -> str:
    """A cast's name, in the window's language: "model.bin and 2 more"."""
    if not cast.others:
        return cast.name
    template = translate("Transfers", "{name} and {count} more")
    return template.format(name=cast.name, count=cast.others)


def cast_share(cast: CastSummary) -> float:
    """How much of a cast is done, 0..1."""
    if cast.bytes <= 0:
        return 1.0 if cast.state is CastState.COMPLETED else 0.0
    return min(1.0, cast.done_bytes / cast.bytes)


def delivery_share(cast: CastSummary, delivery: DeliverySnapshot) -> float:
    """How much of a delivery is there, 0..1."""
    if delivery.state.delivered:
        return 1.0
    return min(1.0, delivery.bytes / cast.bytes) if cast.bytes > 0 else 0.0


def percent_text(share: float) -> str:
    """The share in whole percent: 100% only where nothing is missing."""
    return f"{100 if share >= 1 else min(99, round(share * 100))}%"


def destination_text(cast: CastSummary) -> str:
    """The folder that a cast is saved to."""
    return cast.options.destination or translate("Transfers", "Inboxes")


def rate_text(rate: float) -> str:
    """Bytes per second, or a dash for nothing."""
    return format_rate(rate) if rate >= 1 else DASH


def direction(cast: CastSummary, here: str) -> str:
    """Whether this computer sends or receives."""
    if cast.source == here:
        return translate("Transfers", "Sent")
    if here in cast.recipients:
        return translate("Transfers", "Received")
    return translate("Transfers", "Between other nodes")


def elapsed(cast: CastSummary) -> float | None:
    """Seconds since the start, until the end."""
    if cast.started <= 0:
        return None
    return max(0.0, (cast.finished or time.time()) - cast.started)


def delivery_rate(delivery: DeliverySnapshot) -> float:
    """The rate now while bytes come, the mean rate once all are there."""
    if delivery.state is DeliveryState.COMPLETED and delivery.seconds > 0:
        return delivery.bytes / delivery.seconds
    return delivery.rate if delivery.state is DeliveryState.RECEIVING else 0.0


def hash_text(delivery: DeliverySnapshot) -> str:
    """The file's hash, shortened in the middle: "blake3 9f2c…e41a"."""
    if delivery.state is DeliveryState.VERIFYING:
        return translate("Transfers", "pending")
    kind, _, digits = delivery.hash.partition(":")
    return f"{kind} {digits[:4]}…{digits[-4:]}" if digits else ""


def hook_text(delivery: DeliverySnapshot) -> str:
    """What became of the command after a delivery, in the window's language; "" where there was none."""
    if not delivery.hook_status:
        return ""
    what = translate_value(delivery.hook_status, in_window_language)
    return translate("Transfers", "Command after delivery: {what}").format(what=what)


def cast_status(cast: CastSummary) -> str:
    """The state of a cast in a word or two."""
    if _is_partly_paused(cast):
        return translate("Transfers", "{count} paused").format(count=cast.paused)
    if _has_dead_links(cast):
        one = translate("Transfers", "{count} broken link")
        many = translate("Transfers", "{count} broken links")
        return (one if cast.broken_links == 1 else many).format(count=f"{cast.broken_links:,}")
    if waits_for_server(cast):
        return translate("Transfers", "Waiting for server")
    if cast.state is CastState.FAILED or cast.failed == 0 or cast.state is CastState.CANCELLED:
        return cast_word(cast.state)
    return translate("Transfers", "{count} failed").format(count=cast.failed)


def row_status(cast: CastSummary) -> str:
    """The same where it is shown again each second: it counts down to the next request to a server."""
    seconds = seconds_to_next_try(cast, time.time())
    if not seconds or _is_partly_paused(cast):
        return cast_status(cast)
    if seconds < 60:
        return translate("Transfers", "Next try in {count} s").format(count=seconds)
    return translate("Transfers", "Next try in {time}").format(time=format_duration(seconds))


def _is_partly_paused(cast: CastSummary) -> bool:
    return bool(cast.paused) and not cast.failed and cast.state in (CastState.SENDING, CastState.VERIFYING)


def _has_dead_links(cast: CastSummary) -> bool:
    """Whether all of it arrived, and links in it point to nothing at the recipients."""
    return cast.state is CastState.COMPLETED and cast.broken_links > 0


def cast_glyph(cast: CastSummary) -> GlyphState:
    """The shape of a cast's state."""
    if _has_dead_links(cast) or waits_for_server(cast):
        return GlyphState.LAGGING
    if cast.failed and cast.state is not CastState.CANCELLED:
        return GlyphState.FAILED
    return CAST_GLYPHS[cast.state]


CAST_GLYPHS: Mapping[CastState, GlyphState] = {
    CastState.QUEUED: GlyphState.QUEUED,
    CastState.PREPARING: GlyphState.QUEUED,
    CastState.SENDING: GlyphState.RECEIVING,
    CastState.VERIFYING: GlyphState.CHECKING,
    CastState.PAUSED: GlyphState.PAUSED,
    CastState.COMPLETED: GlyphState.VERIFIED,
    CastState.PARTLY_FAILED: GlyphState.FAILED,
    CastState.FAILED: GlyphState.FAILED,
    CastState.CANCELLED: GlyphState.CANCELLED,
}


def cast_word(state: CastState) -> str:
    """A state in a word or two."""
    return {
        CastState.QUEUED: translate("Transfers", "Waiting"),
        CastState.PREPARING: translate("Transfers", "Preparing"),
        CastState.SENDING: translate("Transfers", "Sending"),
        CastState.VERIFYING: translate("Transfers", "Checking hash"),
        CastState.PAUSED: translate("Transfers", "Paused"),
        CastState.COMPLETED: translate("Transfers", "Verified"),
        CastState.PARTLY_FAILED: translate("Transfers", "Partly failed"),
        CastState.FAILED: translate("Transfers", "Failed"),
        CastState.CANCELLED: translate("Transfers", "Cancelled"),
    }[state]


def delivery_status(delivery: DeliverySnapshot) -> str:
    """The state of a delivery in a word or two."""
    if delivery.state is DeliveryState.RECEIVING and delivery.lagging:
        return translate("Transfers", "{size} behind").format(size=format_bytes(delivery.behind))
    words = {
        DeliveryState.WAITING: translate("Transfers", "Waiting"),
        DeliveryState.RECEIVING: translate("Transfers", "Receiving"),
        DeliveryState.VERIFYING: translate("Transfers", "Checking hash"),
        DeliveryState.PAUSED: translate("Transfers", "Paused"),
        DeliveryState.COMPLETED: translate("Transfers", "Verified"),
        DeliveryState.SKIPPED: translate("Transfers", "Already there"),
        DeliveryState.SHARED: translate("Transfers", "Same folder"),
        DeliveryState.FAILED: translate("Transfers", "Failed"),
        DeliveryState.CANCELLED: translate("Transfers", "Cancelled"),
        DeliveryState.AWAITED: translate("Transfers", "When back online"),
    }
    return words[delivery.state]


def attempt_text(cast: CastSummary) -> str:
    """Which attempt of a cast this is, where it is not the first: "attempt 2"; instead of that, that it sends
    other files than the one before.
    """
    if not cast.attempts:
        return ""
    if have_files_changed(cast):
        return translate("Transfers", "files changed")
    return translate("Transfers", "attempt {number}").format(number=len(cast.attempts) + 1)


def files_text(cast: CastSummary) -> str:
    """How many files a cast holds, where it is not a single one: "19 files"."""
    return count_text(cast) if cast.files > 1 or cast.folder else ""


def count_text(cast: CastSummary) -> str:
    """How many files a cast holds: "1 file"."""
    one, many = translate("Transfers", "{count} file"), translate("Transfers", "{count} files")
    return (one if cast.files == 1 else many).format(count=f"{cast.files:,}")


def clock(at: float, other_day: str = "%m-%d") -> str:
    """The local time of day; for another day than today its date, formatted as `other_day`."""
    if at <= 0:
        return DASH
    then, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else other_day, then)


def full_time(at: float) -> str:
    """The local date and time to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
