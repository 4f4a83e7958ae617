"""The engine's settings, saved across restarts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import (
    MOST_CASTS_AT_ONCE,
    MOST_DEMO_NODES,
    MOST_HISTORY_DAYS,
    EngineSettings,
)
from castray_desktop.workers.base.state_files import UNREADABLE, keep_readable_parts, load, replace_file


class SettingsFile:
    """The current settings; defaults if the file is missing or damaged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.current = load(file, "the settings", lambda content: _decode(file, content), EngineSettings())

    def change(self, settings: EngineSettings) -> None:
        """Change and save the settings. Raises OSError, or CastRayError for invalid numbers."""
        check_settings(settings)
        replace_file(self._file, msgspec.json.encode(settings))
        self.current = settings


def check_settings(settings: EngineSettings) -> None:
    """Raises CastRayError for numbers that can't be set."""
    if settings.limit < 0:
        raise CastRayError(FailureKind.BAD_RATE, rate=settings.limit)
    for number, most in (
        (settings.casts_at_once, MOST_CASTS_AT_ONCE),
        (settings.history_days, MOST_HISTORY_DAYS),
        (settings.demo_nodes, MOST_DEMO_NODES),
    ):
        if not 0 <= number <= most:
            raise CastRayError(FailureKind.BAD_SETTING, number=number, most=most)


def _decode(file: Path, content: bytes) -> EngineSettings:
    """Decode each setting alone, so that a damaged one does not reset the others."""
    settings, bad = EngineSettings(), []
    given = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    for field in msgspec.structs.fields(EngineSettings):
        if field.encode_name in given:
            try:
                value = msgspec.json.decode(given[field.encode_name], type=field.type)
                changed = msgspec.structs.replace(settings, **{field.name: value})
                check_settings(changed)
            except UNREADABLE as error:
                bad.append(error)
            else:
                settings = changed
    if bad:
        keep_readable_parts(file, "the settings", bad, msgspec.json.encode(settings))
    return settings
