"""Processors, memory, disk and load of the node: from Linux's /proc, elsewhere what Python knows."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from pathlib import Path
from typing import Optional

from castray_desktop.core.protocol.nodes.agent_protocol import MachineFacts
from castray_desktop.workers.agent.network_addresses import device_of

DISK_SECONDS = 0.1
"""For so long the first answer of a disk is waited for; it mostly takes microseconds."""


def machine_identity(address: str) -> str:
    """Equal for two agents if and only if they run on the same machine under the same node address.

    The boot id tells machines apart; the address tells hosts apart that share one kernel, such as
    containers and network namespaces.
    """
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        identity = boot.read_text().strip()
    except OSError:
        identity = socket.gethostname()
    return f"{identity}/{address}"


class MachineFactsMeter:
    """Measures this node. Keeps the last processor counters, since the load is a difference of two
    readings.
    """

    def __init__(self, inbox: Path, address: str = "") -> None:
        self._room = _Room(inbox)
        self._link = _link_speed(address)
        self._last: Optional[tuple[int, int]] = _processor_times()

    def measure(self) -> MachineFacts:
        """Current facts. 0 for what this platform can't measure. Raises OSError.

        For the event loop: it never waits for the inbox's disk for long.
        """
        memory, memory_free = _memory()
        free, total, silent = self._room.look()
        return MachineFacts(
            cpus=float(os.cpu_count() or 0),
            memory=memory,
            memory_free=memory_free,
            disk_free=free,
            disk_total=total,
            inbox_silent=silent,
            load=self._load(),
            resident=_resident(),
            link=self._link,
        )

    def _load(self) -> float:
        now, last = _processor_times(), self._last
        self._last = now
        if now is None or last is None or now[1] <= last[1]:
            return 0.0
        busy = 1.0 - (now[0] - last[0]) / (now[1] - last[1])
        return round(min(1.0, max(0.0, busy)), 3)  # the kernel may correct idle time downwards


class _Room:
    """What is free where the inbox lies, asked in a thread: where a mount hangs, nothing ends the call."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox
        self._thread: Optional[threading.Thread] = None
        self._began = 0.0
        self._found: tuple[int, int] = (0, 0)
        self._error: Optional[OSError] = None

    def look(self) -> tuple[int, int, float]:
        """Free and all bytes as of the last answer, and for how long there was none. Raises OSError."""
        if self._thread is None or not self._thread.is_alive():
            self._began = time.monotonic()
            self._thread = threading.Thread(target=self._ask, name="castray-inbox", daemon=True)
            self._thread.start()
            self._thread.join(DISK_SECONDS)
        if self._thread.is_alive():
            return (*self._found, time.monotonic() - self._began)
        if self._error is not None:
            raise self._error
        return (*self._found, 0.0)

    def _ask(self) -> None:
        try:
            disk = shutil.disk_usage(_nearest_existing(self._inbox))
        except OSError as error:
            self._error = error
        else:
            self._error, self._found = None, (disk.free, disk.total)


def _link_speed(address: str, devices: Path = Path("/sys/class/net")) -> int:
    """Bytes per second of the network device with that address; 0 if unknown."""
    device = device_of(address)
    try:
        megabits = int((devices / device / "speed").read_text()) if device else 0
    except (OSError, ValueError):
        return 0
    return max(0, megabits) * 125_000


def _nearest_existing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _processor_times() -> Optional[tuple[int, int]]:
    """Idle and total ticks since the machine started."""
    try:
        with open("/proc/stat") as lines:
            ticks = [int(word) for word in lines.readline().split()[1:9]]
    except OSError:
        return None
    return ticks[3] + ticks[4], sum(ticks)


def _memory() -> tuple[int, int]:
    """Total and available bytes."""
    try:
        with open("/proc/meminfo") as lines:
            table = dict(line.split(":", 1) for line in lines)
        return _kibibytes(table["MemTotal"]), _kibibytes(table["MemAvailable"])
    except (OSError, KeyError):
        return 0, 0


def _kibibytes(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * 1024


def _resident() -> int:
    try:
        with open("/proc/self/statm") as line:
            return int(line.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
