"""An export that the disk does not take leaves no file, and says why."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.ui.model.export_file import ExportFile

ROOM = 64 * 1024


@pytest.fixture
def little_room() -> Iterator[None]:
    """No file of this process gets larger than `ROOM`; writing more fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("width", [60, 3000, 64_000])  # what is still in buffers when the disk is full
def test_a_full_disk_is_a_failure_and_leaves_nothing(little_room: None, tmp_path: Path, width: int) -> None:
    owner, failures = QObject(), list[Failure]()
    file = ExportFile(str(tmp_path / "files.csv"), ("name",), owner)
    file.failed.connect(failures.append)
    file.open()
    for _ in range(2 * ROOM // width + 1):
        file.write_rows([["x" * width]])
    file.finish()
    assert [failure.kind for failure in failures] == [FailureKind.FILE_NOT_WRITTEN]
    assert list(tmp_path.iterdir()) == []
