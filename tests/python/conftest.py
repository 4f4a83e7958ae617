from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.workers.base.paths import Paths
from tests.helpers.command_home import command_home


@pytest.fixture
def paths(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A home that is set in the environment."""
    return command_home(tmp_path, tmp_path_factory, monkeypatch)
