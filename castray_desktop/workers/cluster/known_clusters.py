"""The clusters that were used before, and which was chosen last: one file in the home.

An empty file beside it says that another cluster than the demo on this computer was used at some time. It
stays when clusters are forgotten, and when the list is damaged.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from castray_desktop.core.messages import LOCAL_TARGET, ClusterPhase, ClusterStatus, KnownCluster
from castray_desktop.workers.home_files import DAMAGED, check_times, load_list, replace_file

MOST = 50
MARK = "used-other-clusters"

log = logging.getLogger("castray.cluster")


class Remembered(msgspec.Struct, frozen=True):
    """A cluster that could be used at that time."""

    target: str
    last_used: float  # POSIX seconds
    nodes: int = 0
    ray_version: str = ""


class KnownClusters:
    """Those that were used. A damaged file is set aside, and one that can't be written is no error."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._mark = file.with_name(MARK)
        self._clusters = {item.target: item for item in _load(file)}
        damaged = any(file.parent.glob(f"{DAMAGED}*-{file.name}"))
        if damaged or self._others():  # in doubt, one was used
            self._note_other()

    @property
    def last(self) -> str:
        """The one that was chosen last; empty for none."""
        return next((item.target for item in self.remembered), "")

    @property
    def others(self) -> tuple[str, ...] | None:
        """Those beside the demo on this computer, the latest first; None where never another one was used."""
        others = self._others()
        return others if others or self._mark.exists() else None

    @property
    def remembered(self) -> tuple[Remembered, ...]:
        """All of them."""
        return tuple(sorted(self._clusters.values(), key=lambda item: -item.last_used))

    def changed(self, status: ClusterStatus, now: float) -> None:
        """Remember a cluster that can be used. `now` is POSIX seconds."""
        known = self._clusters.get(status.target)
        if status.phase is not ClusterPhase.READY or not status.target:
            return
        if known is not None and (known.nodes, known.ray_version) == (
            status.nodes_total,
            status.ray_version,
        ):
            return
        last_used = known.last_used if known is not None else now
        self._put(Remembered(status.target, last_used, status.nodes_total, status.ray_version))

    def chosen(self, target: str, now: float) -> None:
        """Somebody has chosen one that has been used before."""
        known = self._clusters.get(target)
        if known is not None:
            self._put(msgspec.structs.replace(known, last_used=now))

    def forget(self, target: str) -> None:
        """Take it off the list."""
        if self._clusters.pop(target, None) is not None:
            self._save()

    def _others(self) -> tuple[str, ...]:
        return tuple(item.target for item in self.remembered if item.target != LOCAL_TARGET)

    def _note_other(self) -> None:
        try:
            self._mark.touch(0o600)
        except OSError as error:
            log.warning("it is not noted that another cluster was used: %s", error)

    def _put(self, item: Remembered) -> None:
        self._clusters[item.target] = item
        if item.target != LOCAL_TARGET:
            self._note_other()
        for old in self.remembered[MOST:]:
            del self._clusters[old.target]
        self._save()

    def _save(self) -> None:
        """Replaced as a whole, so that a crash leaves the old or the new one."""
        try:
            replace_file(self._file, msgspec.json.encode(self.remembered))
        except OSError as error:
            log.warning("clusters are not remembered: %s", error)


def list_clusters(
    running: tuple[str, ...], in_use: tuple[ClusterStatus, ...], known: KnownClusters
) -> tuple[KnownCluster, ...]:
    """Running ones first, then those in use and those used before, the latest first."""
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
            in_use=True,
            nodes=status.nodes_total or before.nodes,
            ray_version=status.ray_version or before.ray_version,
        )
    for target in running:
        before = found.get(target, KnownCluster(target))
        found[target] = msgspec.structs.replace(before, running=True)
    order = sorted(found.values(), key=lambda item: (not item.running, not item.in_use, -item.last_used))
    return tuple(order)


def _load(file: Path) -> list[Remembered]:
    def check(item: Remembered) -> None:
        check_times((item.last_used,))

    return load_list(file, "the clusters that were used before", Remembered, check)
