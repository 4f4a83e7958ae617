"""This machine's time zone, with its rules for summer, and cron expressions in it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

LOCAL_ZONE = Path("/etc/localtime")


def local_zone(variable: str | None = None, file: Path = LOCAL_ZONE) -> tzinfo:
    """What `TZ` names, else what the machine is set to, else UTC."""
    name = (os.environ.get("TZ", "") if variable is None else variable).removeprefix(":")
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass
    try:
        with file.open("rb") as opened:
            return ZoneInfo.from_file(opened, key="local time")
    except (OSError, ValueError):
        return UTC


def next_time(cron: str, after: datetime) -> datetime | None:
    """See `core.schedule.NextTime`. Five fields, as Debian's cron reads them."""
    try:
        return next(CronSim(cron, after), None)
    except CronSimError as error:
        raise ValueError(str(error)) from error
