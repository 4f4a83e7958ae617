"""What the window says about the slowest hop of a relay and what holds it up."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.bottleneck import Cause, SlowestHop
from castray_desktop.ui.units import format_rate


def cause_words(hop: SlowestHop) -> str:
    """What holds the hop up: "disk of gpu-b2"."""
    translate = QCoreApplication.translate
    words = {
        Cause.LINK: translate("Relay", "the link"),
        Cause.LIMIT: translate("Relay", "the speed limit"),
        Cause.DISK: translate("Relay", "the disk of {node}"),
        Cause.PROCESSOR: translate("Relay", "the processor of {node}"),
        Cause.SOURCE_DISK: translate("Relay", "the disk of {upstream}"),
        Cause.SOURCE_PROCESSOR: translate("Relay", "the processor of {upstream}"),
    }
    return words[hop.cause].format(node=hop.node, upstream=hop.upstream)


def slowest_lines(hop: SlowestHop) -> tuple[str, str]:
    """The slowest hop in two lines: which and how fast, and what holds it up."""
    translate = QCoreApplication.translate
    which = translate("Relay", "Slowest: {upstream} → {node}, {rate}")
    why = translate("Relay", "Held up by {cause}")
    rate = format_rate(hop.rate)
    return which.format(upstream=hop.upstream, node=hop.node, rate=rate), why.format(cause=cause_words(hop))


def short_line(hop: SlowestHop) -> str:
    """The same for the status bar."""
    template = QCoreApplication.translate("Relay", "slowest {upstream} → {node}: {cause}")
    return template.format(upstream=hop.upstream, node=hop.node, cause=cause_words(hop))


def held_up_line(hop: SlowestHop) -> str:
    """For the slowest node's own facts."""
    return QCoreApplication.translate("Relay", "Holds up the cast: {cause}").format(cause=cause_words(hop))
