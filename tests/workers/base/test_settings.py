"""The engine's settings: stored, and never a reason for a failed start."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import EngineSettings
from castray_desktop.workers.base.settings import SettingsFile

OTHERS = EngineSettings(limit=1000, casts_at_once=2, go_on=False, history_days=30)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "engine.json"


def test_they_survive_a_restart(file: Path) -> None:
    settings = SettingsFile(file)
    assert settings.current == EngineSettings()
    settings.change(OTHERS)
    assert file.stat().st_mode & 0o777 == 0o600
    assert SettingsFile(file).current == OTHERS == settings.current


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"limit": -1}', '{"limit": "much"}', '{"casts_at_once": -1}']
)
def test_a_damaged_file_means_those_of_the_first_start(file: Path, text: str) -> None:
    file.write_text(text)
    settings = SettingsFile(file)
    assert settings.current == EngineSettings()
    settings.change(OTHERS)
    assert SettingsFile(file).current == OTHERS


def test_what_an_earlier_version_kept_is_understood(file: Path) -> None:
    file.write_text('{"limit": 5, "what a later one has": 1}')
    assert SettingsFile(file).current == EngineSettings(limit=5)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (EngineSettings(limit=-1), FailureKind.BAD_RATE),
        (EngineSettings(casts_at_once=-1), FailureKind.BAD_SETTING),
        (EngineSettings(casts_at_once=1001), FailureKind.BAD_SETTING),
        (EngineSettings(history_days=-1), FailureKind.BAD_SETTING),
        (EngineSettings(history_days=36501), FailureKind.BAD_SETTING),
        (EngineSettings(demo_nodes=-1), FailureKind.BAD_SETTING),
        (EngineSettings(demo_nodes=13), FailureKind.BAD_SETTING),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    file: Path, settings: EngineSettings, kind: FailureKind
) -> None:
    kept = SettingsFile(file)
    with pytest.raises(CastRayError) as error:
        kept.change(settings)
    assert error.value.failure.kind is kind
    assert kept.current == EngineSettings()
    assert not file.exists()
