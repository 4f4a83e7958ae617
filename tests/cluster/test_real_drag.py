"""A drag from another program's window onto a node, with real mouse events: the file arrives."""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import Castray
from tests.helpers.trees import make_file

TOOLS = ("Xvfb", "openbox", "xdotool")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(150),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in TOOLS),
        reason="needs Xvfb, openbox and xdotool",
    ),
]
ROOT = Path(__file__).resolve().parent.parent.parent
STEPS = 12


class Screen:
    """A virtual screen with a window manager and a mouse."""

    def __init__(self, stack: contextlib.ExitStack, environment: dict[str, str]) -> None:
        self._stack = stack
        self.environment = environment | {"DISPLAY": self._serve()}
        self.environment.pop("QT_QPA_PLATFORM", None)
        self.environment.pop("WAYLAND_DISPLAY", None)
        self.start("openbox")

    def _serve(self) -> str:
        read, write = os.pipe()
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1920x1000x24", "-nolisten", "tcp"]
        server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
        self._stack.callback(end, server)
        os.close(write)
        with os.fdopen(read) as number:
            return f":{number.readline().strip()}"

    def start(self, *command: str) -> subprocess.Popen[str]:
        """A program on this screen, which ends with the test."""
        program = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._stack.callback(end, program)
        return program

    def mouse(self, *words: str | int) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self.environment, check=True, timeout=20)

    def drag(self, start: tuple[int, int], goal: tuple[int, int]) -> None:
        """Drag like a person, up to the target: press, and move on the way."""
        self.mouse("mousemove", "--sync", *start, "mousedown", 1)
        for step in range(1, STEPS + 1):
            place = [round(a + (b - a) * step / STEPS) for a, b in zip(start, goal, strict=True)]
            self.mouse("mousemove", *place, "sleep", "0.05")
        self.mouse("mousemove", goal[0] + 1, goal[1])

    def drop(self) -> None:
        """Release, which drops what is dragged on a target that has said that it takes it."""
        self.mouse("mouseup", 1)


def end(program: subprocess.Popen[Any]) -> None:
    program.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(20)
    if program.poll() is None:
        program.kill()
        program.wait()
    for stream in (program.stdin, program.stdout):
        if stream is not None:
            stream.close()


@pytest.fixture
def screen(cluster: Castray) -> Iterator[Screen]:
    with contextlib.ExitStack() as stack:
        yield Screen(stack, cluster.environment)


def told(program: subprocess.Popen[str], event: str) -> dict[str, Any]:
    """The next message of the window, which must be of this kind."""
    assert program.stdout is not None
    line = json.loads(program.stdout.readline() or "{}")
    assert line.get("event") == event, line
    return dict(line)


def test_a_drag_from_another_window_onto_a_selected_node_delivers_the_file_to_all_selected(
    screen: Screen, tmp_path: Path
) -> None:
    chosen = ["node_1", "node_3"]
    file = make_file(tmp_path / "模型 1.bin", 5 << 20)
    window = screen.start(sys.executable, "-m", "tests.helpers.desktop.drop_pilot", *chosen)
    goal = tuple(told(window, "nodes")["places"]["node_3"])
    files = screen.start(sys.executable, "-m", "tests.helpers.desktop.drag_source", "1600", "300", str(file))
    assert files.stdout is not None
    start = tuple(map(int, files.stdout.readline().split()))
    screen.drag(start, goal)
    told(window, "over")
    screen.drop()
    listed = told(window, "listed")
    assert (listed["chosen"], listed["paths"]) == (chosen, [str(file)])
    screen.mouse("mousemove", *goal, "sleep", "0.2", "mousemove", 800, 40, "click", 1)  # takes the focus
    told(window, "ready")
    screen.mouse("key", "ctrl+Return")
    result = told(window, "result")
    assert result["state"] == "completed"
    assert sorted(result["paths"]) == chosen
    for [path] in result["paths"].values():
        assert filecmp.cmp(file, path, shallow=False)
    assert window.wait(30) == 0
