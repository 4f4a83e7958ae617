"""Processes are told apart by their start time, and ended also where they are suspended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from castray_desktop.workers.agent.transfer.system.processes import end_process, is_running, process_start


@pytest.fixture
def sleeping() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_suspended_process_runs_and_can_be_ended(sleeping: subprocess.Popen[bytes]) -> None:
    start = process_start(sleeping.pid)
    sleeping.send_signal(signal.SIGSTOP)
    assert is_running(sleeping.pid, start)
    assert end_process(sleeping.pid, start)
    assert not is_running(sleeping.pid, start)  # though nobody has waited for it
    assert sleeping.wait(20) == -signal.SIGKILL


def test_a_later_process_with_the_same_number_is_left_alone(sleeping: subprocess.Popen[bytes]) -> None:
    assert not is_running(sleeping.pid, "1")
    assert end_process(sleeping.pid, "1")
    assert sleeping.poll() is None


def test_what_does_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process whose disk hangs."""
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    assert not end_process(os.getpid(), process_start(os.getpid()), 0)


def test_the_process_of_another_user_is_told_at_once(
    sleeping: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", forbidden)
        assert not end_process(sleeping.pid, process_start(sleeping.pid), 60)


@pytest.mark.parametrize("pid", [0, -1, 1 << 22])
def test_there_is_no_such_process(pid: int) -> None:
    assert process_start(pid) == ""
    assert not is_running(pid, "")
    assert end_process(pid, "")
