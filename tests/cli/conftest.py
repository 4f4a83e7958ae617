from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from castray_desktop.cli.output.cast_reporters import JsonReporter
from castray_desktop.core.protocol.messages import CastResult
from castray_desktop.workers.base.paths import Paths
from tests.helpers.command_home import command_home


@pytest.fixture
def paths(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A home that is set in the environment."""
    return command_home(tmp_path, tmp_path_factory, monkeypatch)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[CastResult], dict[str, Any]]:
    """The last line of `send --json` for a result."""

    def say(result: CastResult) -> dict[str, Any]:
        JsonReporter().result(result)
        line: dict[str, Any] = json.loads(capsys.readouterr().out)
        return line

    return say
