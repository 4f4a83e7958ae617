"""The reaper ends the processes of one run, and no others."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.workers.clusters import reaper
from tests.helpers.patience import PATIENCE

NOWHERE = Path("/nowhere/castray-none")


@pytest.fixture
def run() -> str:
    return secrets.token_hex(6)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of another run."""
    with marked("other") as process:
        yield process
        process.kill()


def marked(run: str, code: str = "input()") -> subprocess.Popen[bytes]:
    """A running process with the run's marker."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", f"print(flush=True); {code}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {reaper.RUN_VARIABLE: run},
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def ignores(pid: int, number: signal.Signals) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigIgn:")[2].split()[0], 16)
    return bool(mask >> (number - 1) & 1)


def test_it_finds_a_run_by_its_mark_alone(run: str, stranger: subprocess.Popen[bytes]) -> None:
    with marked(run) as process:
        assert list(reaper.processes_of(run, NOWHERE)) == [process.pid]
        process.kill()
    assert list(reaper.processes_of(run, NOWHERE)) == []
    assert stranger.poll() is None


def test_a_sweep_ends_the_run_and_removes_its_folder(
    tmp_path: Path, run: str, stranger: subprocess.Popen[bytes]
) -> None:
    temp_dir = tmp_path / "castray-1"
    temp_dir.mkdir()
    (temp_dir / "file").touch()
    record = reaper.write_run(tmp_path, run, temp_dir, os.getpid())
    ignoring = "import signal; signal.signal(15, signal.SIG_IGN); input()"
    with marked(run) as one, marked(run, ignoring) as other:
        reaper.sweep(record, grace=0.0)
        assert one.wait() == -signal.SIGKILL
        assert other.wait() == -signal.SIGKILL
    assert not temp_dir.exists()
    assert not record.exists()
    assert stranger.poll() is None


def test_a_sweep_that_is_late_still_ends_the_run(
    tmp_path: Path, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine, looking for the processes may take longer than all of its time."""
    monkeypatch.setattr(reaper, "KILL_SECONDS", 0.0)
    record = reaper.write_run(tmp_path, run, tmp_path / "castray-none", os.getpid())
    with marked(run) as process:
        reaper.sweep(record, grace=0.0)
        assert process.wait(PATIENCE) == -signal.SIGKILL


def test_a_title_over_the_environment_hides_nothing(tmp_path: Path, run: str) -> None:
    """Like Ray's agents; a reader of the same logs is left alone."""
    temp_dir = tmp_path / "castray-1"
    temp_dir.mkdir()
    log = temp_dir / "agent.log"
    log.touch()
    record = reaper.write_run(tmp_path, run, temp_dir, os.getpid())
    open_log = f"file = open({str(log)!r}); print(flush=True); input()"
    command = ["-S", "-c", open_log]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        subprocess.Popen(["ray::SomeAgent", *command], executable=sys.executable, env={}, **pipes) as agent,
        subprocess.Popen(["reader", *command], executable=sys.executable, env={}, **pipes) as reader,
    ):
        for process in (agent, reader):
            assert process.stdout is not None
            process.stdout.readline()
        reaper.sweep(record, grace=0.0)
        assert agent.wait(PATIENCE) == -signal.SIGKILL
        assert reader.poll() is None
        reader.kill()


def test_a_folder_that_is_not_ours_is_left(tmp_path: Path, run: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"run": run, "temp_dir": str(precious), "engine": 1}))
    reaper.sweep(record, grace=0.0)
    assert precious.exists()
    assert not record.exists()


@pytest.mark.parametrize("text", ["", "[]", "{}", "{nonsense"])
def test_a_damaged_record_is_dropped(tmp_path: Path, text: str) -> None:
    record = tmp_path / "record.json"
    record.write_text(text)
    reaper.sweep_abandoned(tmp_path)
    assert not record.exists()


def test_it_waits_for_the_end_of_the_engine(tmp_path: Path, run: str) -> None:
    record = reaper.write_run(tmp_path, run, tmp_path / "castray-none", os.getpid())
    guard = subprocess.Popen(
        [sys.executable, "-S", "-E", reaper.__file__, str(record)], stdin=subprocess.PIPE
    )
    with marked(run) as process:
        assert guard.stdin is not None
        assert process.poll() is None
        while not ignores(guard.pid, signal.SIGTERM):
            assert guard.poll() is None
        guard.send_signal(signal.SIGTERM)
        assert guard.poll() is None
        guard.stdin.close()
        assert guard.wait(PATIENCE) == 0
        assert process.wait() == -signal.SIGKILL


def test_the_folder_goes_also_when_something_writes_into_it_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / f"{reaper.TEMP_PREFIX}run"
    folder.mkdir()
    record = reaper.write_run(tmp_path, "0123456789ab", folder, os.getpid())
    remove, calls = reaper.shutil.rmtree, []

    def rmtree(path: Path, ignore_errors: bool) -> None:
        remove(path, ignore_errors=ignore_errors)
        calls.append(path)
        if len(calls) == 1:  # the last output of a process that was not found
            path.mkdir()

    monkeypatch.setattr(reaper.shutil, "rmtree", rmtree)
    reaper.sweep(record, grace=0.0)
    assert not folder.exists()
    assert calls == [folder, folder]
