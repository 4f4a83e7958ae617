"""What the commands about the past, schedules and settings print for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from castray_desktop.cli.text import add_row, print_table, say, state_word, table_of, where
from castray_desktop.core.cast import cast_name
from castray_desktop.core.errors import sentence
from castray_desktop.core.messages import (
    CastSummary,
    EngineSettings,
    ScheduleInfo,
    Statistics,
    StatisticsReport,
)
from castray_desktop.core.quantities import format_bytes


def print_history(casts: Sequence[CastSummary]) -> None:
    """Ended casts as a table."""
    if not casts:
        print("No casts.")
        return
    table = table_of("Cast", "Ended", "Name", "State", "Size", "Took", "Recipients", "Cluster")
    for cast in casts:
        add_row(
            table,
            cast.cast,
            _when(cast.finished),
            cast_name(cast),
            state_word(cast.state),
            format_bytes(cast.bytes),
            _span(cast.finished - cast.started),
            f"{cast.verified}/{len(cast.recipients)}",
            where(cast.cluster),
        )
    print_table(table)


def print_statistics(report: StatisticsReport) -> None:
    """All casts in a table: since the engine's start, and for ever."""
    print(f"{report.active} casts going on, {report.queued} waiting.")
    engine, ever = report.engine, report.ever
    table = table_of("", f"Since {_when(engine.since)}" if engine.since else "This engine", "Ever")
    for name, left, right in zip(_NAMES, _cells(engine), _cells(ever), strict=True):
        add_row(table, name, left, right)
    print_table(table)
    if ever.nodes:
        nodes = table_of("Node", "Delivered", "Failed", "Received", "Mean", "Peak")
        for node in ever.nodes:
            add_row(
                nodes,
                node.node,
                str(node.delivered),
                str(node.failed),
                format_bytes(node.bytes),
                f"{format_bytes(node.mean_rate)}/s",
                f"{format_bytes(node.peak_rate)}/s",
            )
        print_table(nodes)


_NAMES = (
    "Casts",
    "completed",
    "partly failed",
    "failed",
    "cancelled",
    "Deliveries",
    "failed ones",
    "Delivered",
    "Uploaded",
    "Mean rate",
    "Peak rate",
)


def _cells(numbers: Statistics) -> tuple[str, ...]:
    return (
        str(numbers.casts),
        str(numbers.completed),
        str(numbers.partly_failed),
        str(numbers.failed),
        str(numbers.cancelled),
        str(numbers.delivered),
        str(numbers.failed_deliveries),
        format_bytes(numbers.bytes),
        format_bytes(numbers.uploaded),
        f"{format_bytes(numbers.mean_rate)}/s",
        f"{format_bytes(numbers.peak_rate)}/s",
    )


def print_settings(settings: EngineSettings) -> None:
    """The settings in a few lines."""
    limit = f"{format_bytes(settings.limit)}/s" if settings.limit else "none"
    print(f"Limit of every node over all casts: {limit}.")
    print(f"Casts at once: {settings.casts_at_once or 'no bound'}.")
    print(f"After a restart unfinished casts {'go on' if settings.go_on else 'are there, paused'}.")
    kept = f"for {settings.history_days} days" if settings.history_days else "for ever"
    print(f"The history is kept {kept}.")
    print(f"A local cluster starts with {settings.demo_nodes} demo nodes.")
    print(f"While a cast runs this computer {'stays awake' if settings.stay_awake else 'may go to sleep'}.")


def print_schedules(schedules: Sequence[ScheduleInfo]) -> None:
    """The schedules as a table, and why runs could not begin."""
    if not schedules:
        print("No schedules.")
        return
    table = table_of("Schedule", "Name", "When", "To", "Next run", "Last run", "State")
    for info in schedules:
        schedule = info.schedule
        add_row(
            table,
            schedule.schedule,
            schedule.name,
            _rhythm(info),
            ", ".join(schedule.request.recipients),
            _when(info.next_run),
            _when(info.last_run),
            _state(info),
        )
    print_table(table)
    for info in schedules:
        if info.failure is not None:
            say(f"{info.schedule.name}: {sentence(info.failure)}")


def _rhythm(info: ScheduleInfo) -> str:
    schedule = info.schedule
    if schedule.every:
        return f"every {_span(schedule.every)}"
    looks = f", looked at every {_span(info.looks_every)}" if info.looks_every else ""
    return schedule.cron or f"when changed, and quiet for {_span(schedule.quiet)}{looks}"


def _state(info: ScheduleInfo) -> str:
    if info.running:
        return "running"
    if not info.schedule.enabled:
        return "paused"
    if info.unchanged and info.failure is None:
        return "nothing new"
    return state_word(info.last_state) if info.last_state is not None else "on"


def _when(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M") if at else ""


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0.0):.3g} s"
    return str(timedelta(seconds=round(seconds)))
