"""Shared code of the tools: processes in hosts, with millisecond waits and guaranteed termination."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from benchmarks.laboratory.lab import Host, Lab

LIMIT_SECONDS = 1800.0
"""A transfer that takes longer has failed."""

READY_SECONDS = 60.0
END_SECONDS = 3.0


class PeerFailed(Exception):
    """A tool has failed; the text has its output."""


class Peer(Protocol):
    """The interface of every module of this package.

    `run` returns the seconds from the command that starts the transfer until every recipient has written the
    whole source (not synced). Programs that a user would have running already, such as a daemon, are started
    before the clock and ended after it. `hosts` are the source and then the recipients, `destinations` the
    recipients' folders, in which `source` appears under its own name. Raises PeerFailed.
    """

    NAME: str
    RUNS_WITH: str

    def available(self) -> str:
        """Empty, or how to install it."""

    def run(self, lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float: ...


def missing(*tools: tuple[str, str]) -> str:
    """For pairs of a command and its Debian package: empty, or the packages to install."""
    packages = sorted({package for tool, package in tools if shutil.which(tool) is None})
    return f"apt-get install {' '.join(packages)}" if packages else ""


class Conversation:
    """A process that reads a line and answers with lines."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._read = b""

    def say(self, **order: Any) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise PeerFailed(f"it has ended: {tail(self._log)}") from error

    def expect(self, word: str, seconds: float = READY_SECONDS) -> None:
        """Wait for a line that equals this word, and ignore other lines. Raises PeerFailed."""
        limit = time.monotonic() + seconds
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while True:
            while b"\n" in self._read:
                line, self._read = self._read.split(b"\n", 1)
                if line.strip() == word.encode():
                    return
            left = limit - time.monotonic()
            if left <= 0 or not select.select([pipe], [], [], left)[0]:
                raise PeerFailed(f"no {word!r} within {seconds:g} s: {tail(self._log)}")
            data = os.read(pipe, 65536)
            if not data:
                raise PeerFailed(f"it has ended before {word!r}: {tail(self._log)}")
            self._read += data


class Workshop:
    """A context manager: a temporary folder and the processes of one run, all removed after the block."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.folder = Path(tempfile.mkdtemp(prefix="castray-peer-", dir="/tmp"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._logs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for end in (signal.SIGTERM, signal.SIGKILL):
            for process in self._processes:
                with contextlib.suppress(ProcessLookupError):  # the group includes its child processes
                    os.killpg(process.pid, end)
            for process in self._processes:
                with contextlib.suppress(PeerFailed):
                    wait_for(process, time.monotonic() + END_SECONDS)
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(
        self, host: Host, argv: Sequence[object], *, talk: bool = False, **options: Any
    ) -> tuple[subprocess.Popen[bytes], Path]:
        """Start a process in the host; returns it with the log of its output."""
        self._logs += 1
        log = self.folder / f"{self._logs}.log"
        with log.open("wb") as output:
            process = self.lab.popen(
                host,
                [str(word) for word in argv],
                stdin=subprocess.PIPE if talk else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talk else output,
                stderr=output,
                start_new_session=True,
                **options,
            )
        self._processes.append(process)
        return process, log

    def talk(self, host: Host, argv: Sequence[object], **options: Any) -> Conversation:
        return Conversation(*self.start(host, argv, talk=True, **options))

    def daemon(self, host: Host, argv: Sequence[object], port: int, kind: str = "tcp") -> None:
        """Start a server and wait until it has bound its port. Raises PeerFailed."""
        process, log = self.start(host, argv)
        limit = time.monotonic() + READY_SECONDS
        look = ["ss", "-Hln", f"--{kind}", f"sport = :{port}"]
        if kind == "tcp":
            look[-1] += f" and src {host.address}"  # hosts in one namespace share the port numbers
        while not self.lab.run(host, look, capture_output=True, text=True).stdout.strip():
            if process.poll() is not None or time.monotonic() > limit:
                raise PeerFailed(f"{argv[0]} does not listen: {tail(log)}")
            time.sleep(0.01)

    def together(self, commands: Iterable[tuple[Host, Sequence[object]]]) -> float:
        """Seconds until all of these, started at once, have succeeded. Raises PeerFailed."""
        began = time.monotonic()
        started = [self.start(host, argv) for host, argv in commands]
        for process, log in started:
            if status := wait_for(process, began + LIMIT_SECONDS):
                raise PeerFailed(f"status {status}: {tail(log)}")
        return time.monotonic() - began


def wait_for(process: subprocess.Popen[bytes], limit: float) -> int:
    """Its exit status. `Popen.wait` with a time limit polls only every 50 ms. Raises PeerFailed."""
    with contextlib.suppress(ProcessLookupError), _handle(process.pid) as handle:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(max(0.0, limit - time.monotonic()) * 1000):
            raise PeerFailed("it did not end in time")
    return process.wait()


@contextlib.contextmanager
def _handle(process: int) -> Iterator[int]:
    handle = os.pidfd_open(process)
    try:
        yield handle
    finally:
        os.close(handle)


def link_rate(lab: Lab, host: Host) -> int | None:
    """The rate of the host's link in bits per second, or None."""
    shown = lab.run(
        host, ["tc", "-json", "qdisc", "show", "dev", "eth0"], capture_output=True, text=True
    ).stdout
    for queue in json.loads(shown or "[]"):
        if queue.get("kind") == "tbf":
            return int(queue["options"]["rate"]) * 8
    return None


def tail(log: Path) -> str:
    """The end of a process's output, on one line."""
    text = " | ".join(log.read_text(errors="replace").split("\n")[-8:]).strip(" |")
    return text[-600:] or "it printed nothing"
