"""A disk that does not answer is noticed, and only where nothing goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.system.disk_watch import CHECK_SECONDS, SILENT_SECONDS, DiskWatch


class Watched:
    """A watch whose question hangs until the test answers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked, self.answer, self.told = threading.Event(), threading.Event(), threading.Event()
        self.silent: list[bytes] = []
        self.watch = DiskWatch(self._paths, self._silent, lambda: self.now)

    def _paths(self) -> tuple[bytes, ...]:
        self.asked.set()
        assert self.answer.wait(20)
        return ()

    def _silent(self, path: bytes) -> None:
        self.silent.append(path)
        self.told.set()

    def check(self, seconds: float, progress: int = 0) -> None:
        self.now += seconds
        self.watch.check(progress)


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.check(CHECK_SECONDS)
    assert watched.asked.wait(20)
    return watched


def test_silence_is_told_once(watched: Watched) -> None:
    watched.check(SILENT_SECONDS - 1)
    assert not watched.silent
    watched.check(1)
    assert watched.told.wait(20)
    watched.check(SILENT_SECONDS)
    watched.answer.set()
    assert watched.silent == [b""]


def test_progress_is_no_silence(watched: Watched) -> None:
    for progress in range(1, 4):
        watched.check(SILENT_SECONDS - 1, progress)
    watched.answer.set()
    assert not watched.silent


def test_a_folder_that_is_not_there_yet_answers(tmp_path: Path) -> None:
    told = threading.Event()
    asked = threading.Event()

    def paths() -> tuple[bytes, ...]:
        asked.set()
        return (bytes(tmp_path / "no" / "such" / "folder"), b"relative")

    watch = DiskWatch(paths, lambda path: told.set(), iter(range(0, 100, 3)).__next__)
    for _ in range(5):
        watch.check(0)
        assert asked.wait(20)
    assert not told.is_set()
