"""Commands that a node runs after a delivery, where its owner allows that.

The sender names the command; a file on the node decides whether it runs: `node.json` in the folder
`castray` of `XDG_CONFIG_HOME` (by default `~/.config`):

    {"hooks": true, "hook_seconds": 60}

`hooks` may be a list of programs instead, each as written first in a command; others are not run then.

This module imports nothing of CastRay: the guard of a hook runs it as a script.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

SECONDS = 60.0
LONGEST_SECONDS = 24 * 3600.0
LOOK_SECONDS = 0.1
GUARD_GRACE_SECONDS = 2.0
GUARD_POLL_SECONDS = 0.05
TAIL_BYTES = 600
READS = 16
"""Reads in a row, so that a command with endless output is still checked for its end."""

LONGEST_LINES = 64 * 1024
"""Of `CASTRAY_PATHS`: the kernel refuses a variable of 128 KiB."""

DONE = "done"

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER", "XDG_RUNTIME_DIR")
"""Environment variables passed to hooks; the others may contain secrets of the cluster."""


@dataclass(frozen=True)
class HookRules:
    """What this node's owner allows."""

    allowed: bool = False
    programs: Optional[tuple[str, ...]] = None  # None: any program
    seconds: float = SECONDS
    why_not: str = ""


def rules_path() -> Path:
    """The path of the node's configuration."""
    folder = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(folder) / "castray" / "node.json"


def read_rules(path: Path) -> HookRules:
    """Read the rules from that file. Hooks are not allowed if it is missing or writable by other users."""
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if facts.st_uid not in (0, os.getuid()) or stat.S_IMODE(facts.st_mode) & 0o022:
                return HookRules(why_not=f"{path} can be changed by other users")
            given = json.loads(file.read(64 * 1024))
        hooks, seconds = given.get("hooks", False), float(given.get("hook_seconds", SECONDS))
        if not math.isfinite(seconds):
            raise ValueError("hook_seconds is no number")
    except FileNotFoundError:
        return HookRules(why_not=_allow_in(path))
    except (OSError, ValueError, AttributeError, TypeError, ArithmeticError, RecursionError) as error:
        return HookRules(why_not=f"{path} can't be used: {error}")
    seconds = min(max(seconds, 1.0), LONGEST_SECONDS)
    if isinstance(hooks, list):
        return HookRules(True, tuple(str(program) for program in hooks), seconds)
    if hooks is True:
        return HookRules(True, None, seconds)
    return HookRules(why_not=_allow_in(path))


def _allow_in(path: Path) -> str:
    setting = '{"hooks": true}'
    return f"allow it there with {setting} in {path}"


def run_hook(
    command: str,
    rules: HookRules,
    variables: dict[str, str],
    folder: str,
    stopped: Callable[[], bool],
    paths: Sequence[bytes] = (),
) -> str:
    """Run a command, without a shell, in `folder`; returns "done" or an error text.

    `CASTRAY_PATHS_FILE` names a file with the `paths`, each ended by a NUL byte, which is removed at the end.
    `CASTRAY_PATHS` has a line for each, and is set only where that is unmistakable.

    The window translates these texts, see `core.failures.translation`.

    `stopped` is called ten times a second; True ends the command, and so does the configured time limit. A
    guard process ends the command if this process is killed.
    """
    if not rules.allowed:
        return f"not allowed on this node: {rules.why_not}"
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"not a command: {error}"
    if not words:
        return "not a command: it is empty"
    if rules.programs is not None and words[0] not in rules.programs:
        program = words[0]
        reason = f"{program} is not in its list of programs"
        return f"not allowed on this node: {reason}"
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    with contextlib.ExitStack() as stack:
        try:
            paths_file = stack.enter_context(_written_paths(paths))
            guard = stack.enter_context(_guarded(environment, paths_file))
            variables = {**variables, **_paths_variable(paths), "CASTRAY_PATHS_FILE": paths_file}
            process = subprocess.Popen(
                words,
                cwd=folder,
                env={**environment, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"could not be started: {error}"
        _tell_guard(guard, process.pid)
        return _await_end(process, rules.seconds, stopped)


@contextlib.contextmanager
def _written_paths(paths: Sequence[bytes]) -> Iterator[str]:
    """A file with these, for this user alone, which is removed at the end. Raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix="castray-paths-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(path + b"\0" for path in paths)
        yield name
    finally:
        with contextlib.suppress(OSError):
            os.unlink(name)


def _paths_variable(paths: Sequence[bytes]) -> dict[str, str]:
    """A line for each path, unless a name has a line end or is no UTF-8, or they are too long."""
    text = b"\n".join(paths)
    try:
        lines = text.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    if text.count(b"\n") >= max(len(paths), 1) or len(text) > LONGEST_LINES:
        return {}
    return {"CASTRAY_PATHS": lines}


@contextlib.contextmanager
def _guarded(environment: dict[str, str], paths_file: str) -> Iterator[subprocess.Popen[bytes]]:
    """A guard process for a hook that has ended, or was not started, when this is left. Raises OSError.

    It has its own session, and not the variable by which the engine's sweep finds processes.
    """
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, paths_file],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield guard
    finally:
        _tell_guard(guard, 0)
        assert guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            guard.stdin.close()
        guard.wait()


def _tell_guard(guard: subprocess.Popen[bytes], group: int) -> None:
    """Tell the guard the process group, or 0 once it has ended."""
    assert guard.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the guard was killed
        guard.stdin.write(f"{group}\n".encode())
        guard.stdin.flush()


def _await_end(process: subprocess.Popen[bytes], seconds: float, stopped: Callable[[], bool]) -> str:
    """Wait for the command's end, keeping the last part of its output."""
    assert process.stdout is not None
    tail = bytearray()
    deadline = time.monotonic() + seconds
    os.set_blocking(process.stdout.fileno(), False)
    with process.stdout, selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while process.poll() is None:
            if stopped():
                _end(process)
                return "stopped because the cast was cancelled"
            if time.monotonic() >= deadline:
                _end(process)
                limit = f"{seconds:g}"
                output = _single_line(tail)
                if output:
                    return f"stopped after {limit} s because it had not finished: {output}"
                return f"stopped after {limit} s because it had not finished"
            if selector.get_map() and selector.select(LOOK_SECONDS):
                if not _read(process, tail):
                    selector.unregister(process.stdout)
            else:
                _wait_briefly(process)
        _read(process, tail)
    if process.returncode == 0:
        return DONE
    status, number, output = process.returncode, -process.returncode, _single_line(tail)
    if status > 0:
        return f"exited with status {status}: {output}" if output else f"exited with status {status}"
    return f"was killed by signal {number}: {output}" if output else f"was killed by signal {number}"


def _read(process: subprocess.Popen[bytes], tail: bytearray) -> bool:
    """Read some output. False once the output is closed."""
    assert process.stdout is not None
    for _ in range(READS):
        data = process.stdout.read(64 * 1024)
        if data is None:
            return True
        if not data:
            return False
        tail += data
        del tail[:-TAIL_BYTES]
    return True


def _wait_briefly(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LOOK_SECONDS)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with everything it has started in its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GUARD_GRACE_SECONDS)
    process.wait()


def _single_line(tail: bytearray) -> str:
    return " ".join(tail.decode("utf-8", "replace").split())


def guard() -> None:
    """End a hook whose agent has gone, for whatever reason.

    The agent runs this module as a script. It writes the id of the hook's process group, and 0 once the hook
    has ended, or if it could not be started. The kernel closes the pipe when the agent has ended; an agent
    that was killed just after it had started the hook has written nothing.
    """
    told = sys.stdin.read().split()
    group = int(told[-1]) if told else _find_group(sys.argv[1])
    if group:
        end_group(group)
    if told[-1:] != ["0"]:
        with contextlib.suppress(OSError):
            os.unlink(sys.argv[1])


def _find_group(paths_file: str) -> int:
    """The process group of a hook that has just been started, known by its environment. 0: there is none."""
    mark = b"CASTRAY_PATHS_FILE=" + os.fsencode(paths_file)
    deadline = time.monotonic() + GUARD_GRACE_SECONDS
    while os.path.isdir("/proc/self") and time.monotonic() < deadline:
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                variables = Path("/proc", name, "environ").read_bytes().split(b"\0")
                if mark in variables:
                    return os.getsid(int(name))
        time.sleep(GUARD_POLL_SECONDS)
    return 0


def end_group(group: int) -> None:
    """End a process group: SIGTERM, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GUARD_GRACE_SECONDS
        try:
            os.killpg(group, number)
            while time.monotonic() < deadline:
                time.sleep(GUARD_POLL_SECONDS)
                os.killpg(group, 0)
        except (ProcessLookupError, PermissionError):  # it has ended; macOS says the latter of what is dead
            return


if __name__ == "__main__":
    guard()
