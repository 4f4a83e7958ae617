"""The logs of engine, driver and agents as one list of lines, and as events while a client watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from castray_desktop.core.failures.redaction import without_secrets
from castray_desktop.core.protocol.messages import LogLine

POLL_SECONDS = 0.5
MAX_READ_BYTES = 2 * 1024 * 1024
"""Bytes read from the end of each file."""

MAX_LINE_LENGTH = 4000
FILES = ("engine.log", "driver.log")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

_HEAD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ([A-Z]+) (\S+) (.*)")
_AGENT = re.compile(r"\((\w+)(?: pid=(\d+))?(?:, ip=([^)]+))?\) (.*)")
_COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def parse_log(lines: Iterable[str], origin: str, at: float = 0.0) -> Iterator[LogLine]:
    """Parse lines of a log file; a line without a header continues the previous one.

    Agent lines forwarded by Ray have no time: they get that of the previous line, or `at`.
    """
    current: LogLine | None = None
    for raw in lines:
        text = _COLOR.sub("", raw.rstrip("\r\n"))
        found = _HEAD.match(text)
        agent = None if found else _AGENT.match(text)
        if found is None and agent is None and current is not None and text.strip():
            current = _line(current.at, current.level, current.origin, f"{current.text}\n{text}")
            continue
        if current is not None:
            yield current
            at, current = current.at, None
        if found is not None:
            current = _headed_line(found, found[4].removeprefix("castray."))
        elif agent is not None:
            current = _agent_line(at, agent)
        elif text.strip():
            current = _line(at, "info", origin, text)
    if current is not None:
        yield current


def _agent_line(at: float, found: re.Match[str]) -> LogLine:
    """Parse an agent's line; Ray puts its origin in front."""
    origin = f"agent {found[3] or found[2] or ''}".strip()
    head = _HEAD.match(found[4])
    return _line(at, "warning", origin, found[4]) if head is None else _headed_line(head, origin)


def _headed_line(head: re.Match[str], origin: str) -> LogLine:
    seconds = time.mktime(time.strptime(head[1], "%Y-%m-%d %H:%M:%S")) + int(head[2]) / 1000
    return _line(seconds, head[3].lower(), origin, head[5])


def _line(at: float, level: str, origin: str, text: str) -> LogLine:
    return LogLine(at, level if level in LEVELS else "info", origin, without_secrets(text[:MAX_LINE_LENGTH]))


def read_log(folder: Path, most: int) -> tuple[LogLine, ...]:
    """The last lines of all logs, sorted by time; blocking."""
    lines: list[LogLine] = []
    for name in FILES:
        path = folder / name
        older = _end_of(folder / f"{name}.1", MAX_READ_BYTES - _size(path))
        lines.extend(parse_log((older + _end_of(path, MAX_READ_BYTES)).splitlines(), path.stem))
    lines.sort(key=lambda line: line.at)
    return tuple(lines[-most:]) if most > 0 else ()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _end_of(path: Path, most: int) -> str:
    if most <= 0:
        return ""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            data = file.read(most)
    except OSError:
        return ""
    if size > most:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace")


class LogTail(logging.Handler):
    """Publishes log lines of engine, driver and agents while a client `wants` them.

    It is a handler of the engine's log; the driver's file is read twice a second.
    """

    def __init__(self, folder: Path, publish: Callable[[LogLine], None], wants: Callable[[], bool]) -> None:
        super().__init__(logging.INFO)
        self._driver = folder / "driver.log"
        self._publish = publish
        self._wants = wants
        self._place = 0
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Publish new lines from now on."""
        self._loop = asyncio.get_running_loop()
        logging.getLogger().addHandler(self)
        self._place = _size(self._driver)
        self._task = asyncio.create_task(self._follow(), name="log tail")

    async def stop(self) -> None:
        """Publish no more lines."""
        logging.getLogger().removeHandler(self)
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`. Called from any thread."""
        if self._loop is None or not self._wants():
            return
        text = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        line = _line(record.created, record.levelname.lower(), record.name.removeprefix("castray."), text)
        with contextlib.suppress(RuntimeError):  # the loop was closed
            self._loop.call_soon_threadsafe(self._publish, line)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.poll()

    def poll(self) -> None:
        """Publish new lines of the driver's log."""
        size = _size(self._driver)
        if not self._wants():
            self._place = size
            return
        if size < self._place:
            self._place = 0
        if size == self._place:
            return
        try:
            with self._driver.open("rb") as file:
                file.seek(self._place)
                data = file.read(MAX_READ_BYTES)
        except OSError:  # it is being rotated
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._place += len(whole)
        for line in parse_log(whole.decode("utf-8", "replace").splitlines(), "driver", time.time()):
            self._publish(line)
