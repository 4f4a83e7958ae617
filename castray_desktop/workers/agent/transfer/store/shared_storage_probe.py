"""Uniquely named probe files by which nodes find out whether they write to the same folder.

One node creates such a file, the others look it up by name, since listings of network storage are cached.
Each is in the node's registry, so that a later start removes what a killed agent left.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
from collections import defaultdict
from pathlib import Path

from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.nodes.agent_orders import Probe, ProbeReply, ProbeVerb
from castray_desktop.workers.agent.transfer.store.destination_check import nearest_folder, resolve_destination
from castray_desktop.workers.agent.transfer.store.staging import (
    MAX_PROBE_CONTENT,
    PROBE_NAME,
    StagingRegistry,
)

log = logging.getLogger("castray.byte_plane")


class StorageProbes:
    """The probe files of one node. All methods may be called from any thread; `carry_out` may block."""

    def __init__(self, node: str, inbox: Path, registry: StagingRegistry) -> None:
        self._node = node
        self._inbox = inbox
        self._registry = registry
        self._lock = threading.Lock()
        self._placed: dict[str, dict[str, bytes]] = defaultdict(dict)  # cast -> name -> path
        self._unwanted: dict[str, set[str]] = defaultdict(set)  # removed, perhaps before they were placed

    def carry_out(self, order: Probe) -> ProbeReply:
        """Create a probe file, look it up, or remove it. Any error means no."""
        if not PROBE_NAME.fullmatch(order.name) or len(order.content) > MAX_PROBE_CONTENT:
            return ProbeReply(False)
        try:
            if order.verb is ProbeVerb.PLACE:
                return self._place(order)
            if order.verb is ProbeVerb.LOOK:
                return ProbeReply(self._look(order))
            self._remove(order.cast, order.name)
        except (OSError, CastRayError) as error:
            log.info("probe of cast %s on %s: %s", order.cast, self._node, error)
            return ProbeReply(False)
        return ProbeReply(True)

    def forget(self, cast: str) -> None:
        """The cast has ended."""
        for name in tuple(self._placed.get(cast, ())):
            self._remove(cast, name)
        with self._lock:
            self._placed.pop(cast, None)
            self._unwanted.pop(cast, None)

    def close(self) -> None:
        """Remove them all."""
        for cast in tuple(self._placed):
            self.forget(cast)

    def _place(self, order: Probe) -> ProbeReply:
        destination = resolve_destination(order.destination, self._node, self._inbox)
        folder = nearest_folder(destination, self._node)
        path = os.path.join(folder, os.fsencode(order.name))
        with self._lock:
            if order.name in self._unwanted[order.cast]:
                return ProbeReply(False)
            self._placed[order.cast][order.name] = path
        self._registry.write(self._record(order.cast, order.name), order.cast, path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
            try:
                os.write(fd, order.content.encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError:
            self._remove(order.cast, order.name)
            raise
        with self._lock:
            wanted = order.name in self._placed.get(order.cast, ())
        if not wanted:  # the engine did not wait so long
            self._unlink(order.cast, order.name, path)
        return ProbeReply(wanted, os.fsdecode(destination[len(folder) :].strip(b"/")))

    def _look(self, order: Probe) -> bool:
        """Look in the existing folder above the destination that the other node reported."""
        path = resolve_destination(order.destination, self._node, self._inbox)
        below = os.fsencode(order.below)
        if below:
            if not path.endswith(b"/" + below):
                return False
            path = path[: -len(below) - 1] or b"/"
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(os.path.join(path, os.fsencode(order.name)), flags)
        try:
            return (
                stat.S_ISREG(os.fstat(fd).st_mode)
                and os.read(fd, MAX_PROBE_CONTENT + 1) == order.content.encode()
            )
        finally:
            os.close(fd)

    def _remove(self, cast: str, name: str) -> None:
        with self._lock:
            self._unwanted[cast].add(name)
            path = self._placed[cast].pop(name, None)
        if path is not None:
            self._unlink(cast, name, path)

    def _unlink(self, cast: str, name: str, path: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._record(cast, name).unlink(missing_ok=True)

    def _record(self, cast: str, name: str) -> Path:
        return self._registry.path(cast, name.lstrip("."))
