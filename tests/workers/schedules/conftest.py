from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from castray_desktop.workers.schedules import file_watch
from castray_desktop.workers.schedules import schedule_manager as schedules_module
from tests.helpers.schedule_stage import Stage


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(schedules_module, "PUBLISH_SECONDS", 0.0)
    monkeypatch.setattr(file_watch, "STEP_MS", 10)
    monkeypatch.setattr(file_watch, "CHECK_MS", 50)
    monkeypatch.setattr(file_watch, "GATHER_MS", 100)
    (tmp_path / "data").mkdir()
    stage = Stage(tmp_path)
    await stage.schedules.start()
    yield stage
    await stage.schedules.close()
