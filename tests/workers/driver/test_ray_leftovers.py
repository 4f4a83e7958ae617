"""Files that an older Ray version leaves in the head's folder are removed, and no others."""

from __future__ import annotations

from pathlib import Path

from castray_desktop.workers.driver.cluster_join import RayLeftovers

ADDRESS = "10.0.0.1:6379"


def join(folder: Path) -> Path:
    """The effect of `ray start` there."""
    session = folder / "session_2"
    (session / "logs").mkdir(parents=True)
    latest = folder / "session_latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(session)
    (folder / "ray_current_cluster").write_text(ADDRESS)
    return session


def traces(folder: Path) -> RayLeftovers:
    return RayLeftovers(str(folder), str(folder / "session_2"), ADDRESS)


def test_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    before = traces(folder)
    join(folder)
    before.remove()
    assert not folder.exists()


def test_what_was_there_is_as_it_was(tmp_path: Path) -> None:
    own = tmp_path / "session_1"
    own.mkdir()
    (tmp_path / "session_latest").symlink_to(own)
    (tmp_path / "ray_current_cluster").write_text("127.0.0.1:6379")
    before = traces(tmp_path)
    join(tmp_path)
    before.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("ray_current_cluster", "session_1", "session_latest")
    ]
    assert (tmp_path / "session_latest").readlink() == own
    assert (tmp_path / "ray_current_cluster").read_text() == "127.0.0.1:6379"


def test_what_others_have_done_meanwhile_stays(tmp_path: Path) -> None:
    before = traces(tmp_path / "ray")
    folder = join(tmp_path / "ray").parent
    later = folder / "session_3"
    later.mkdir()
    (folder / "session_latest").unlink()
    (folder / "session_latest").symlink_to(later)
    (folder / "ray_current_cluster").write_text("127.0.0.1:6380")
    before.remove()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("ray_current_cluster", "session_3", "session_latest")
    ]
    assert (folder / "ray_current_cluster").read_text() == "127.0.0.1:6380"


def test_a_head_on_this_machine_keeps_its_files(tmp_path: Path) -> None:
    session = join(tmp_path)
    traces(tmp_path).remove()
    assert session.is_dir()
    assert (tmp_path / "ray_current_cluster").exists()


def test_where_the_head_does_not_tell_nothing_is_touched(tmp_path: Path) -> None:
    RayLeftovers("", "", ADDRESS).remove()
