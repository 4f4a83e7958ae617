"""Making this machine a node of a cluster while a driver wants it: `ray start` without CPUs for tasks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from typing import Any, Optional

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.ray_side import addresses
from castray_desktop.workers.ray_side.traces import Traces

JOIN_SECONDS = 45.0
LEAVE_SECONDS = 1.0
STARTED = "Ray runtime started."
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""The least that Ray takes is 75 MiB."""

log = logging.getLogger("castray.driver")


class Membership:
    """The Ray node that was started here. `leave` ends it; if we are killed, the engine's sweep does."""

    def __init__(self) -> None:
        self._process: Optional[subprocess.Popen[str]] = None
        self._reader: Optional[threading.Thread] = None
        self._traces: Optional[Traces] = None
        self._lines: list[str] = []
        self._news = threading.Event()

    def join(self, target: str, temp_dir: str, traces: Optional[Traces] = None) -> str:
        """Start the node and wait until it is one; returns its address, empty if Ray chose that itself.

        `traces` are removed when it is left.

        Raises CastRayError(JOIN_FAILED) with what Ray says.
        """
        address = addresses.address_towards(addresses.without_brackets(target.rpartition(":")[0]))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={target}"]
        command += ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # Older Rays take no folder for a node, only say so, and use the head's: see `traces`.
        command += [f"--temp-dir={temp_dir}", "--disable-usage-stats", "--log-color=false", "--block"]
        command += [f"--node-ip-address={address}"] if address else []
        self._traces = traces
        os.makedirs(temp_dir, mode=0o700, exist_ok=True)
        environment = dict(os.environ, RAY_TMPDIR=temp_dir, RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise CastRayError(FailureKind.JOIN_FAILED, target=target, reason=str(error)) from error
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="ray start", daemon=True
        )
        self._reader.start()
        came = self._news.wait(JOIN_SECONDS)
        if not any(STARTED in line for line in self._lines):
            self.leave()
            text = "\n".join(self._lines) if came else "it took too long"
            raise CastRayError(FailureKind.JOIN_FAILED, target=target, reason=text)
        return address

    def leave(self) -> None:
        """End the node, if there is one. Bounded: what does not end in time is swept."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the node that was started here has not ended yet")
        if self._reader is not None:
            self._reader.join(LEAVE_SECONDS)
        if self._traces is not None:
            self._traces.remove()

    def _read(self, output: Any) -> None:
        """Its output: to the log, and to whoever waits. Ends with it."""
        with output:
            for line in output:
                log.info("ray start: %s", line.rstrip())
                if not self._news.is_set():
                    self._lines.append(line.rstrip())
                    if STARTED in line:
                        self._news.set()
        self._news.set()
