"""Make this machine a node of a cluster while a driver needs it, and remove what that leaves behind.

`ray start` without CPUs for tasks. A node of an older Ray has its files where the head has its own, at
the same path: a session folder, a link to the latest session, and a file with the cluster's address,
which `ray.init()` of others would follow.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import threading
from typing import Any, Optional

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.agent import network_addresses

_LATEST = "session_latest"

_ADDRESS = "ray_current_cluster"


class RayLeftovers:
    """Created before the node starts; `remove` is called after its end. Files that existed before
    are kept.
    """

    def __init__(self, folder: str, session: str, address: str) -> None:
        """`folder` and `session` are the head's (empty if unknown); `address` is its own."""
        self._folder, self._session, self._address = folder, session, address
        self._had_folder, self._had_session = os.path.lexists(folder), os.path.lexists(session)
        self._latest = _target(os.path.join(folder, _LATEST))
        self._before = _text(os.path.join(folder, _ADDRESS))

    def remove(self) -> None:
        """Does nothing if the head is on this machine or shares the folder."""
        if not self._session or self._had_session:
            return
        shutil.rmtree(self._session, ignore_errors=True)
        latest, address = os.path.join(self._folder, _LATEST), os.path.join(self._folder, _ADDRESS)
        with contextlib.suppress(OSError):
            if _target(latest) == self._session:
                os.unlink(latest)
                if self._latest is not None:
                    os.symlink(self._latest, latest)
        with contextlib.suppress(OSError):
            if _text(address) == self._address:
                if self._before is None:
                    os.unlink(address)
                else:
                    with open(address, "w") as file:
                        file.write(self._before)
        if not self._had_folder:
            with contextlib.suppress(OSError):  # another process has put something there
                os.rmdir(self._folder)


def _target(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _text(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, ValueError):
        return None


JOIN_SECONDS = 45.0

LEAVE_SECONDS = 1.0

STARTED = "Ray runtime started."

OBJECT_STORE_BYTES = 80 * 1024 * 1024

"""Ray requires at least 75 MiB."""

log = logging.getLogger("castray.driver")


class ClusterJoin:
    """The Ray node started on this machine. `end` stops it; if this process is killed, the engine's sweep
    does."""

    def __init__(self) -> None:
        self._process: Optional[subprocess.Popen[str]] = None
        self._reader: Optional[threading.Thread] = None
        self._traces: Optional[RayLeftovers] = None
        self._lines: list[str] = []
        self._news = threading.Event()

    def join(self, target: str, temp_dir: str, traces: Optional[RayLeftovers] = None) -> str:
        """Start the node and wait until it has joined; returns its address, empty if Ray chose it.

        `traces` are removed when the node ends.

        Raises CastRayError(JOIN_FAILED) with Ray's message.
        """
        address = network_addresses.address_towards(
            network_addresses.without_brackets(target.rpartition(":")[0])
        )
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={target}"]
        command += ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # Older versions of Ray ignore the folder for a node and use the head's: see `RayLeftovers`.
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
            self.end()
            text = "\n".join(self._lines) if came else "it took too long"
            raise CastRayError(FailureKind.JOIN_FAILED, target=target, reason=text)
        return address

    def end(self) -> None:
        """Stop the node, if there is one. Bounded: processes that do not end in time are swept by
        the engine.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the Ray node of this machine has not ended yet")
        if self._reader is not None:
            self._reader.join(LEAVE_SECONDS)
        if self._traces is not None:
            self._traces.remove()

    def _read(self, output: Any) -> None:
        """Copy its output to the log and to the waiting task. Ends with it."""
        with output:
            for line in output:
                log.info("ray start: %s", line.rstrip())
                if not self._news.is_set():
                    self._lines.append(line.rstrip())
                    if STARTED in line:
                        self._news.set()
        self._news.set()
