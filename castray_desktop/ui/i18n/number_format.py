"""Sizes, rates, times and lists as people read them. Decimal units: 1 MB is 1,000,000 bytes."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.content import quantities

DASH = "–"

format_bytes = quantities.format_bytes


def format_rate(bytes_per_second: float) -> str:
    """A rate: "0 MB/s", "2.1 MB/s", "118 MB/s", "1.2 GB/s"."""
    if bytes_per_second < 1:
        return "0 MB/s"
    value, unit = quantities.scaled(bytes_per_second)
    decimals = 1 if unit > 0 and value < 9.95 else 0
    return f"{value:.{decimals}f} {quantities.BYTE_UNITS[unit]}/s"


def format_duration(seconds: float | None) -> str:
    """A time span: "0:06", "2:47", "1:02:03"; a dash when it is not known."""
    if seconds is None:
        return DASH
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def format_count(count: int) -> str:
    """A number with separated thousands: "1,408"."""
    return f"{count:,}"


def format_list(words: Iterable[str]) -> str:
    """Words, or names, one after the other: "node_1, node_2", in Chinese "node_1、node_2"."""
    return QCoreApplication.translate("units", ", ").join(words)


def format_series(words: Iterable[str]) -> str:
    """Words, or names, in a sentence: "a, b and c", in Chinese "a、b、c"; empty without any."""
    *first, last = [*words] or [""]
    text = QCoreApplication.translate("units", "{names} and {last}")
    return text.format(names=format_list(first), last=last) if first else last


def format_ago(seconds: float) -> str:
    """How long ago: "just now", "15 s ago", "4 min ago", "3 h ago", "2 days ago"."""
    translate = QCoreApplication.translate
    if seconds < 2:
        return translate("units", "just now")
    if seconds < 60:
        return translate("units", "{count} s ago").format(count=int(seconds))
    if seconds < 3600:
        return translate("units", "{count} min ago").format(count=int(seconds // 60))
    if seconds < 2 * 86400:
        return translate("units", "{count} h ago").format(count=int(seconds // 3600))
    return translate("units", "{count} days ago").format(count=int(seconds // 86400))
