"""Text about a schedule: when it runs, what it sends, how the last run ended."""

from __future__ import annotations

import time
from pathlib import PurePath

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.protocol.messages import Schedule, ScheduleInfo
from castray_desktop.ui.i18n.number_format import DASH
from castray_desktop.ui.transfers.transfer_text import CAST_GLYPHS, cast_word, failure_text, full_time
from castray_desktop.ui.widgets.status_glyphs import GlyphState
from castray_desktop.ui.widgets.text_table import TableCell

translate = QCoreApplication.translate

UNITS = (86400, 3600, 60, 1)


def span_text(seconds: float) -> str:
    """A span in its largest whole unit: "2 h", "90 s"."""
    words = (
        translate("Schedules", "{count} d"),
        translate("Schedules", "{count} h"),
        translate("Schedules", "{count} min"),
        translate("Schedules", "{count} s"),
    )
    whole = round(seconds)
    for unit, word in zip(UNITS, words, strict=True):
        if whole >= unit and whole % unit == 0:
            return word.format(count=whole // unit)
    return words[-1].format(count=whole)


def when_text(schedule: Schedule) -> str:
    """When it runs."""
    if schedule.every:
        return translate("Schedules", "Every {span}").format(span=span_text(schedule.every))
    if schedule.cron:
        return translate("Schedules", "At {times}").format(times=schedule.cron)
    return translate("Schedules", "After changes, {span} quiet").format(span=span_text(schedule.quiet))


def what_text(schedule: Schedule) -> str:
    """What it sends: names, or a name and how many more."""
    paths = schedule.request.paths
    if schedule.demonstration:
        return translate("Schedules", "A small file of its own")
    if not paths:
        return DASH
    first = PurePath(paths[0]).name or paths[0]
    if len(paths) == 1:
        return first
    return translate("Schedules", "{name} and {count} more").format(name=first, count=len(paths) - 1)


def to_text(schedule: Schedule) -> str:
    """Whom it sends to."""
    who = schedule.request.recipients
    return translate("Schedules", "All nodes") if who == ("all",) else ", ".join(who)


def when(at: float) -> str:
    """The time of day; for another day than today with its date."""
    if at <= 0:
        return DASH
    then, now = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%m-%d %H:%M", then)


def last_cell(info: ScheduleInfo) -> TableCell:
    """How the last run ended, or what it waits for."""
    if info.running:
        return TableCell(translate("Schedules", "Running"), "accent", GlyphState.RECEIVING)
    if info.failure is not None:
        text = failure_text(info.failure)
        return TableCell(text, "bad", GlyphState.FAILED, text)
    if info.unchanged and info.last_run:
        return TableCell(
            translate("Schedules", "Nothing new"), "text_2", GlyphState.VERIFIED, full_time(info.last_run)
        )
    if info.last_state is None:
        return TableCell(DASH, "text_3")
    tone = {"completed": "ok", "cancelled": "text_2"}.get(info.last_state.value, "bad")
    if not info.last_state.finished:
        tone = "text"
    tip = full_time(info.last_run) if info.last_run else ""
    return TableCell(cast_word(info.last_state), tone, CAST_GLYPHS[info.last_state], tip)


def next_cell(info: ScheduleInfo) -> TableCell:
    """When it runs next, or what it has seen."""
    if not info.schedule.enabled:
        return TableCell(translate("Schedules", "Switched off"), "text_3")
    if info.changes_seen:
        text = translate("Schedules", "{count} changes wait").format(count=f"{info.changes_seen:,}")
        return TableCell(text, "accent")
    if info.next_run:
        return TableCell(when(info.next_run), "text", tip=full_time(info.next_run))
    if info.looks_every:
        text = translate("Schedules", "Looks every {span}").format(span=span_text(info.looks_every))
        return TableCell(text, "text_2")
    watched = bool(info.schedule.quiet)
    return TableCell(translate("Schedules", "When it changes") if watched else DASH, "text_2")


def schedule_cells(info: ScheduleInfo) -> list[TableCell]:
    """A schedule's row."""
    schedule = info.schedule
    on = schedule.enabled
    state = GlyphState.ONLINE if on else GlyphState.PAUSED
    return [
        TableCell(schedule.name, "text" if on else "text_3", state, schedule.name),
        TableCell(what_text(schedule), "text_2", tip="\n".join(schedule.request.paths)),
        TableCell(to_text(schedule), "text_2", tip=to_text(schedule)),
        TableCell(when_text(schedule), "text_2"),
        next_cell(info),
        TableCell(when(info.last_run), "text_2", tip=full_time(info.last_run) if info.last_run else ""),
        last_cell(info),
    ]
