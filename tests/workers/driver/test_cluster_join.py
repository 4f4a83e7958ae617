"""Joining a cluster, with a fake `ray start`; the files that an older Ray leaves in the head's folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.driver import ray_connection
from castray_desktop.workers.driver.ray_connection import ClusterJoin, RayLeftovers

ADDRESS = "10.0.0.1:6379"


@pytest.fixture
def ray_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that replaces the interpreter; the test writes its code."""
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(ray_connection, "LEAVE_SECONDS", 5.0)
    return program


def write(program: Path, script: str) -> None:
    program.write_text(f'#!/bin/sh\necho "$@" > $0.arguments\n{script}\n')
    program.chmod(0o700)


def test_a_node_without_cpus_that_ends_with_us(ray_start: Path, tmp_path: Path) -> None:
    write(ray_start, "echo $$ > $0.pid; echo Ray runtime started.; exec sleep 600")
    node = ClusterJoin()
    node.join("127.0.0.1:6379", str(tmp_path / "temp"))
    arguments = Path(f"{ray_start}.arguments").read_text().split()
    assert {"--address=127.0.0.1:6379", "--num-cpus=0", "--block"} < set(arguments)
    pid = Path(f"{ray_start}.pid").read_text().strip()
    node.end()
    assert not Path(f"/proc/{pid}").exists()
    node.end()  # does nothing


def test_what_ray_says_is_the_reason(ray_start: Path, tmp_path: Path) -> None:
    write(ray_start, "echo trace; echo 'RuntimeError: no such cluster' >&2; exit 1")
    with pytest.raises(CastRayError) as raised:
        ClusterJoin().join("127.0.0.1:6379", str(tmp_path / "temp"))
    failure = raised.value.failure
    assert failure.kind is FailureKind.JOIN_FAILED
    assert failure.values["reason"] == "RuntimeError: no such cluster"


def test_one_that_hangs_is_ended(ray_start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_connection, "JOIN_SECONDS", 1.0)  # it writes its number before
    write(ray_start, "echo $$ > $0.pid; exec sleep 600")
    with pytest.raises(CastRayError) as raised:
        ClusterJoin().join("127.0.0.1:6379", str(tmp_path / "temp"))
    assert raised.value.failure.values["reason"] == "it took too long"
    assert not Path(f"/proc/{Path(f'{ray_start}.pid').read_text().strip()}").exists()


def test_there_is_no_such_program(ray_start: Path, tmp_path: Path) -> None:
    with pytest.raises(CastRayError) as raised:
        ClusterJoin().join("127.0.0.1:6379", str(tmp_path / "temp"))
    assert raised.value.failure.kind is FailureKind.JOIN_FAILED


def write_files(folder: Path) -> Path:
    """What `ray start` writes there."""
    session = folder / "session_2"
    (session / "logs").mkdir(parents=True)
    latest = folder / "session_latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(session)
    (folder / "ray_current_cluster").write_text(ADDRESS)
    return session


def leftovers(folder: Path) -> RayLeftovers:
    return RayLeftovers(str(folder), str(folder / "session_2"), ADDRESS)


def test_nothing_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "ray"
    before = leftovers(folder)
    write_files(folder)
    before.remove()
    assert not folder.exists()


def test_what_was_there_is_as_it_was(tmp_path: Path) -> None:
    own = tmp_path / "session_1"
    own.mkdir()
    (tmp_path / "session_latest").symlink_to(own)
    (tmp_path / "ray_current_cluster").write_text("127.0.0.1:6379")
    before = leftovers(tmp_path)
    write_files(tmp_path)
    before.remove()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("ray_current_cluster", "session_1", "session_latest")
    ]
    assert (tmp_path / "session_latest").readlink() == own
    assert (tmp_path / "ray_current_cluster").read_text() == "127.0.0.1:6379"


def test_what_others_have_done_meanwhile_stays(tmp_path: Path) -> None:
    before = leftovers(tmp_path / "ray")
    folder = write_files(tmp_path / "ray").parent
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
    session = write_files(tmp_path)
    leftovers(tmp_path).remove()
    assert session.is_dir()
    assert (tmp_path / "ray_current_cluster").exists()


def test_where_the_head_does_not_tell_nothing_is_touched(tmp_path: Path) -> None:
    RayLeftovers("", "", ADDRESS).remove()
