"""Nodes on loopback, and a check that none of them leaves threads, descriptors or staging folders."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Lab


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The registry of staging folders is in a folder of the test."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("CASTRAY_HOME", str(folder))
    return folder


def our_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("castray-")}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.fixture
def lab(tmp_path: Path, home: Path) -> Iterator[Lab]:
    """Nodes in this process, closed and checked at the end."""
    before = descriptors()
    lab = Lab(tmp_path)
    yield lab
    lab.close()
    deadline = time.monotonic() + PATIENCE
    while (our_threads() or descriptors() > before) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert our_threads() == set()
    assert descriptors() <= before
    assert [str(path) for path in tmp_path.rglob(".castray-*")] == []
    assert not list((home / "staging").glob("*"))


@pytest.fixture
def refusing() -> int:
    """A port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
