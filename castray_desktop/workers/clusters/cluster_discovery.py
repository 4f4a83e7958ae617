"""Clusters that run on this machine, clusters that were used before, and which one a target means.

Running ones are found by their processes, as Ray itself finds them. Ray is not imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import LOCAL_TARGET, ClusterPhase, ClusterStatus, KnownCluster
from castray_desktop.core.protocol.nodes.driver_protocol import CLIENT_PREFIX, OWN_TARGETS, RAY_FOLDER
from castray_desktop.workers.base.state_files import DAMAGED, check_times, load_list, save
from castray_desktop.workers.clusters.reaper import is_temp_dir

PROC = Path("/proc")
_GCS = b"--gcs-address="
_TEMP_DIR = (b"--temp_dir=", b"--temp-dir=")

MAX_CLUSTERS = 50
MARK = "used-other-clusters"
AUTO_TARGET = "auto"
FORGOTTEN = "a cluster that was removed"
CONNECTED = frozenset({ClusterPhase.PLACING, ClusterPhase.READY})
"""Phases of a cluster in use that can be reached."""

log = logging.getLogger("castray.cluster")


def find_running_clusters(proc: Path = PROC) -> tuple[str, ...]:
    """The addresses of the heads, HOST:PORT, sorted. May take some milliseconds."""
    return tuple(sorted(set(head_addresses(_commands(proc)))))


def is_ray_node(proc: Path = PROC) -> bool:
    """Whether any Ray node runs on this machine, including those of own clusters."""
    return any(map(_is_raylet, _commands(proc)))


def head_addresses(commands: Iterable[list[bytes]]) -> Iterator[str]:
    """Head addresses from raylets' command lines."""
    for words in commands:
        if _is_raylet(words) and not _is_of_an_engine(words):
            for word in words:
                if word.startswith(_GCS):
                    yield word[len(_GCS) :].decode(errors="replace")


def _is_raylet(words: list[bytes]) -> bool:
    return bool(words) and words[0].rpartition(b"/")[2] == b"raylet"


def _is_of_an_engine(words: list[bytes]) -> bool:
    """Whether an engine has started this raylet: its files lie in a run's temp folder."""
    folders = [Path(os.fsdecode(word.partition(b"=")[2])) for word in words if word.startswith(_TEMP_DIR)]
    return any(is_temp_dir(folder.parent if folder.name == RAY_FOLDER else folder) for folder in folders)


def _commands(proc: Path) -> Iterator[list[bytes]]:
    """The command lines of the processes that share this one's network."""
    return _linux_commands(proc) if sys.platform.startswith("linux") else _ps_commands()


def _linux_commands(proc: Path) -> Iterator[list[bytes]]:
    own = set(_networks(proc / "self"))
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended meanwhile
            continue
        if not own.isdisjoint(_networks(process)):
            yield words


def _networks(process: Path) -> Iterator[str]:
    """Identifiers of the network namespace of a process, as far as this user can read them.

    The link is for those who may trace the process. A file below `net` is for all, and has another inode in
    each namespace.
    """
    with contextlib.suppress(OSError):
        yield str((process / "ns" / "net").readlink())
    with contextlib.suppress(OSError):
        found = (process / "net" / "tcp").stat()
        yield f"{found.st_dev}:{found.st_ino}"


def _ps_commands() -> Iterator[list[bytes]]:
    table = subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, check=False)
    for line in table.stdout.splitlines():
        yield line.split()


class UsedCluster(msgspec.Struct, frozen=True):
    """A cluster that was used."""

    target: str
    last_used: float  # POSIX seconds
    nodes: int = 0
    ray_version: str = ""


class ClusterHistory:
    """Clusters that were used. A damaged file is set aside; write errors are only logged."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mark = file.with_name(MARK)
        what = "the clusters that were used before"
        used = load_list(file, what, UsedCluster, lambda item: check_times((item.last_used,)))
        self._clusters = {item.target: item for item in used}
        damaged = any(file.parent.glob(f"{DAMAGED}*-{file.name}"))
        if damaged or self._others():  # if unsure, assume that one was used
            self._note_other()

    @property
    def last(self) -> str:
        """The last chosen target; empty for none."""
        return next((item.target for item in self.remembered), "")

    @property
    def others(self) -> tuple[str, ...] | None:
        """Those beside the demo on this computer, the latest first; None where never another one was used."""
        others = self._others()
        return others if others or self._mark.exists() else None

    @property
    def remembered(self) -> tuple[UsedCluster, ...]:
        """All known clusters."""
        return tuple(sorted(self._clusters.values(), key=lambda item: -item.last_used))

    def record_status(self, status: ClusterStatus, now: float) -> None:
        """Record a connected cluster. `now` is POSIX seconds."""
        known = self._clusters.get(status.target)
        if status.phase is not ClusterPhase.READY or not status.target:
            return
        last_used = known.last_used if known is not None else now
        used = UsedCluster(status.target, last_used, status.nodes_total, status.ray_version)
        if used != known:
            self._put(used)

    def record_choice(self, target: str, now: float) -> None:
        """Record that a known cluster was chosen."""
        known = self._clusters.get(target)
        if known is not None:
            self._put(msgspec.structs.replace(known, last_used=now))

    def forget_cluster(self, target: str) -> None:
        """Remove a cluster from the list."""
        if self._clusters.pop(target, None) is not None:
            self._save()

    def _others(self) -> tuple[str, ...]:
        return tuple(item.target for item in self.remembered if item.target != LOCAL_TARGET)

    def _note_other(self) -> None:
        try:
            self._mark.touch(0o600)
        except OSError as error:
            log.warning("the list of used clusters could not be saved: %s", error)

    def _put(self, item: UsedCluster) -> None:
        self._clusters[item.target] = item
        if item.target != LOCAL_TARGET:
            self._note_other()
        for old in self.remembered[MAX_CLUSTERS:]:
            del self._clusters[old.target]
        self._save()

    def _save(self) -> None:
        save(self._file, "the clusters that were used", self.remembered)


def list_clusters(
    running: tuple[str, ...], in_use: tuple[ClusterStatus, ...], known: ClusterHistory
) -> tuple[KnownCluster, ...]:
    """Running clusters first, then those in use and known ones, the latest first."""
    found: dict[str, KnownCluster] = {
        item.target: KnownCluster(
            item.target, last_used=item.last_used, nodes=item.nodes, ray_version=item.ray_version
        )
        for item in known.remembered
    }
    for status in in_use:
        before = found.get(status.target, KnownCluster(status.target))
        found[status.target] = msgspec.structs.replace(
            before,
            in_use=status.phase in CONNECTED,
            nodes=status.nodes_total or before.nodes,
            ray_version=status.ray_version or before.ray_version,
        )
    for target in running:
        before = found.get(target, KnownCluster(target))
        found[target] = msgspec.structs.replace(before, running=True)
    return tuple(
        sorted(found.values(), key=lambda item: (not item.running, not item.in_use, -item.last_used))
    )


def split_address(target: str) -> tuple[str, int]:
    """Split HOST:PORT or ray://HOST:PORT. Raises CastRayError(CLUSTER_UNREACHABLE)."""
    host, _, port = target.removeprefix(CLIENT_PREFIX).rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        reason = "the format is HOST:PORT or ray://HOST:PORT"
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason)
    return host.strip("[]"), int(port)


def choose_target(
    wanted: str,
    current: ClusterStatus,
    running: tuple[str, ...],
    environment: Mapping[str, str] = os.environ,
    others: tuple[str, ...] | None = None,
) -> str:
    """Resolve `wanted` to a target; `current` is the one in use.

    Empty: the current one, else a cluster running on this machine (`running`), else a local one. `auto`:
    RAY_ADDRESS, else a cluster running on this machine. Raises CastRayError: CLUSTER_NOT_HERE,
    CLUSTER_NOT_NAMED, CLUSTER_AMBIGUOUS, or CLUSTER_UNREACHABLE for what is no address.
    """
    if wanted not in ("", AUTO_TARGET, *OWN_TARGETS):
        split_address(wanted)
    if wanted not in ("", AUTO_TARGET):
        return wanted
    if not wanted and current.phase is not ClusterPhase.NONE:
        return current.target
    named = environment.get("RAY_ADDRESS", "")
    if named and named not in (AUTO_TARGET, *OWN_TARGETS):
        return choose_target(named, current, running)
    if len(running) > 1:
        raise CastRayError(FailureKind.CLUSTER_AMBIGUOUS, addresses=", ".join(running))
    if running:
        return running[0]
    if wanted:
        raise CastRayError(FailureKind.CLUSTER_NOT_HERE)
    if others is not None:
        raise CastRayError(FailureKind.CLUSTER_NOT_NAMED, clusters=", ".join(others) or FORGOTTEN)
    return LOCAL_TARGET
