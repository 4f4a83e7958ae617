"""The engine's settings, kept in the home over restarts."""

from __future__ import annotations

from pathlib import Path

import msgspec

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import MOST_DEMO_NODES, EngineSettings
from castray_desktop.workers.home_files import replace_file, set_aside


class SettingsFile:
    """The settings as of now; those of the first start where there is no file, or a damaged one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.current = _load(file)

    def change(self, settings: EngineSettings) -> None:
        """Keep these from now on. Raises OSError, or CastRayError for numbers that make no sense."""
        _check(settings)
        _save(self._file, settings)
        self.current = settings


def _check(settings: EngineSettings) -> None:
    if settings.limit < 0:
        raise CastRayError(FailureKind.BAD_RATE, rate=settings.limit)
    if settings.casts_at_once < 0 or settings.history_days < 0:
        number = min(settings.casts_at_once, settings.history_days)
        raise CastRayError(FailureKind.BAD_SETTING, number=number)
    if not 0 <= settings.demo_nodes <= MOST_DEMO_NODES:
        raise CastRayError(FailureKind.BAD_SETTING, number=settings.demo_nodes)


def _load(file: Path) -> EngineSettings:
    try:
        settings = msgspec.json.decode(file.read_bytes(), type=EngineSettings)
        _check(settings)
        return settings
    except FileNotFoundError:
        return EngineSettings()
    except (OSError, ValueError, CastRayError) as error:
        set_aside(file, "the settings", error)
        return EngineSettings()


def _save(file: Path, settings: EngineSettings) -> None:
    """Replaced as a whole, so that a crash leaves the old or the new ones."""
    replace_file(file, msgspec.json.encode(settings))
