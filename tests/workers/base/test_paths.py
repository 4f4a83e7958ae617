"""The locations of files, and their permissions."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.base.state_files import open_socket


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_deep_home_has_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    paths = find_paths({"CASTRAY_HOME": str(deep), "XDG_RUNTIME_DIR": "/run/user/1000"})
    assert paths.home == deep
    assert len(os.fsencode(paths.socket)) <= 107
    assert paths.socket.parent.parent == Path("/run/user/1000")


def test_two_homes_have_two_sockets(tmp_path: Path) -> None:
    one, other, again = (
        find_paths({"CASTRAY_HOME": str(tmp_path / name), "XDG_RUNTIME_DIR": "/run"})
        for name in ("one", "other", "one")
    )
    assert one.socket != other.socket
    assert (one.home, one.socket) == (again.home, again.socket)


def test_without_a_home_or_a_run_time_folder() -> None:
    paths = find_paths({})
    assert paths.home.is_absolute()
    assert str(os.getuid()) in paths.socket.parent.name


def test_folders_and_socket_are_for_this_user_alone(tmp_path: Path) -> None:
    paths = find_paths({"CASTRAY_HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path)})
    mask = os.umask(0)
    try:
        paths.prepare()
    finally:
        os.umask(mask)
    assert {mode(path) for path in (paths.home, paths.log, paths.runs, paths.socket.parent)} == {0o700}
    with open_socket(paths.socket):
        assert mode(paths.socket) == 0o600
    with open_socket(paths.socket):  # replaces the socket of a dead engine
        assert mode(paths.socket) == 0o600


@pytest.mark.parametrize("how", ["writable", "link", "file"])
def test_a_folder_that_others_reach_into_is_refused(tmp_path: Path, how: str) -> None:
    paths = find_paths({"CASTRAY_HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path)})
    folder = paths.socket.parent
    if how == "writable":
        folder.mkdir()
        folder.chmod(0o777)
    elif how == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.touch()
    with pytest.raises(PermissionError, match="belongs to others"):
        paths.check()
