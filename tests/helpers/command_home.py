"""A home that commands and programs find through the environment, as in normal use."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.workers.base.paths import Paths, find_paths


def command_home(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Paths:
    """The home in `tmp_path`; its socket is in a folder with a short path."""
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.delenv("CASTRAY_CLUSTER", raising=False)
    paths = find_paths()
    paths.prepare()
    return paths
