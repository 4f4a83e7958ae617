"""One window for each home: the files that a second start hands over."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.client.single_instance import (
    HandoverRequest,
    InstanceListener,
    SecondInstance,
    hand_over,
    instance_socket_path,
)
from tests.helpers.instance_window import read_handover


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "home", tmp_path / "run" / "a.sock")


def test_files_go_to_the_window_that_is_there(paths: Paths) -> None:
    door = InstanceListener(paths)
    answers: list[bool] = []
    wanted = HandoverRequest(("/data/模型.bin", "/b" * 30_000), "10.0.0.1:6379")
    second = threading.Thread(target=lambda: answers.append(hand_over(paths, wanted)))
    second.start()
    try:
        assert read_handover(door) == wanted
    finally:
        second.join(5)
        door.close()
    assert answers == [True]
    assert not instance_socket_path(paths).exists()


def test_without_a_window_nothing_is_handed_over(paths: Paths) -> None:
    assert not hand_over(paths, HandoverRequest(("/a",)))
    paths.prepare()
    instance_socket_path(paths).touch()  # of a killed window
    assert not hand_over(paths, HandoverRequest(("/a",)))
    door = InstanceListener(paths)
    assert instance_socket_path(paths).stat().st_mode & 0o077 == 0
    door.close()


def test_a_window_that_does_not_answer_is_not_waited_for(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("castray_desktop.workers.client.single_instance.ANSWER_SECONDS", 0.05)
    door = InstanceListener(paths)
    assert not hand_over(paths, HandoverRequest(("/a",)))
    door.close()


@pytest.mark.parametrize("said", [b"nonsense\n", b'{"files": 1}\n', b""])
def test_a_visitor_that_speaks_nonsense_is_refused(said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(said)
        theirs.shutdown(socket.SHUT_WR)
        visitor = SecondInstance(ours)
        if said == b"":
            with pytest.raises(ValueError, match="went away"):
                visitor.read_request()
            return
        with pytest.raises(ValueError, match=r"malformed|Expected"):
            visitor.read_request()
