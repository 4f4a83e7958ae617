"""Files that are replaced atomically."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from castray_desktop.workers.base.state_files import replace_file


@pytest.mark.parametrize("synced", [False, True])
def test_a_file_is_replaced_and_belongs_to_its_user_alone(tmp_path: Path, synced: bool) -> None:
    path = tmp_path / "kept.json"
    replace_file(path, b"a longer first one", synced=synced)
    replace_file(path, b"second", synced=synced)
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_beside_it_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    (tmp_path / "kept.json.new").write_bytes(b"half of a much longer content")
    replace_file(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere" / "kept.json", b"")
