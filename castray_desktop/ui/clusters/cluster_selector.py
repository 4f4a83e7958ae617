"""The list of clusters that can be used, and commands that start, attach or leave one."""

from __future__ import annotations

import time

from PySide6.QtCore import QCoreApplication, QObject, QSettings, QTimer, Signal

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import LOCAL_TARGET, ClusterPhase, ClusterStatus, KnownCluster
from castray_desktop.ui.i18n.number_format import format_ago
from castray_desktop.ui.model.engine_link import EngineLink
from castray_desktop.ui.model.preferences import AtStart

SETTING = "cluster"


class ClusterSelector(QObject):
    """Starts, attaches and leaves for the user, and remembers what worked.

    Signals: `failed(Failure)` when the engine would not even try; `shared(ShareInfo)`.
    """

    failed = Signal(object)
    shared = Signal(object)

    def __init__(
        self,
        link: EngineLink,
        settings: QSettings,
        wanted: str | None = None,
        *,
        at_start: AtStart = AtStart.LAST,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._link = link
        self._settings = settings
        remembered = settings.value(SETTING, "") if at_start is AtStart.LAST else ""
        usual = LOCAL_TARGET if at_start is AtStart.LOCAL else ""
        self._target = self._left = ""
        self.wanted = wanted or (remembered if isinstance(remembered, str) else "") or usual
        """The target to use when there is no cluster; empty: ask the user."""
        link.welcome.connect(self._on_welcome)
        link.cluster_changed.connect(self._on_cluster)

    def was_left(self, target: str) -> bool:
        """Whether the user has stopped this cluster, or detached from it."""
        return bool(target) and target == self._left

    def use(self, target: str) -> None:
        """Start or attach."""
        self.wanted = target
        self._left = ""
        self._link.ask(messages.UseCluster(target), messages.Done, None, self.failed.emit)

    def prepare(self, target: str) -> None:
        """Have a driver made for a cluster that runs another Ray, and attach."""
        self.wanted = target
        self._link.ask(messages.PrepareDriver(target), messages.Done, None, self.failed.emit)

    def join(self, target: str) -> None:
        """Make this computer a node of a cluster, and attach."""
        self.wanted = target
        self._link.ask(messages.JoinCluster(target), messages.Done, None, self.failed.emit)

    def share(self) -> None:
        """Start, or use, a local cluster that other machines can join; `shared` tells how they do."""
        self._link.ask(messages.ShareCluster(), messages.ShareInfo, self.shared.emit, self.failed.emit)

    def leave(self) -> None:
        """Stop or detach. What worked before is used again at the next start of the window."""
        self.wanted = ""
        self._left = self._target
        self._link.ask(messages.LeaveCluster(), messages.Done, None, self.failed.emit)

    def _on_welcome(self, welcome: messages.Welcome) -> None:
        if welcome.cluster.phase is ClusterPhase.NONE and self.wanted:
            self.use(self.wanted)
        else:
            self._on_cluster(welcome.cluster)

    def _on_cluster(self, cluster: ClusterStatus) -> None:
        self._target = cluster.target or self._target
        if cluster.phase is ClusterPhase.READY and cluster.target:
            self.wanted = cluster.target
            self._settings.setValue(SETTING, cluster.target)


translate = QCoreApplication.translate

SOON_MS = 400


class KnownClusters(QObject):
    """Asks the engine at each connection and when the cluster has changed. Signals: `changed()`."""

    changed = Signal()

    def __init__(self, link: EngineLink, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._link = link
        self.clusters: tuple[KnownCluster, ...] = ()
        self._soon = QTimer(self, singleShot=True, interval=SOON_MS)
        self._soon.timeout.connect(self.refresh)
        link.welcome.connect(lambda _: self.refresh())
        link.cluster_changed.connect(lambda _: self._soon.start())

    def others(self) -> tuple[KnownCluster, ...]:
        """All clusters but the local one."""
        return tuple(cluster for cluster in self.clusters if cluster.target != LOCAL_TARGET)

    def refresh(self) -> None:
        """Look again."""
        if not self._link.connected:
            return

        def got(reply: messages.ClusterList) -> None:
            if reply.clusters != self.clusters:
                self.clusters = reply.clusters
                self.changed.emit()

        self._link.ask(messages.ListClusters(), messages.ClusterList, got)

    def forget(self, target: str) -> None:
        """Take one off the list of those used before."""

        def done(_: messages.Done) -> None:
            self.refresh()

        self._link.ask(messages.ForgetCluster(target), messages.Done, done)


def cluster_line(cluster: KnownCluster) -> str:
    """The facts about a cluster in one line."""
    parts = []
    if cluster.in_use:
        parts.append(translate("Cluster", "in use"))
    elif cluster.running:
        parts.append(translate("Cluster", "running on this computer"))
    elif cluster.last_used:
        used = translate("Cluster", "used {ago}")
        parts.append(used.format(ago=format_ago(time.time() - cluster.last_used)))
    if cluster.nodes:
        one, many = translate("Cluster", "{count} node"), translate("Cluster", "{count} nodes")
        parts.append((one if cluster.nodes == 1 else many).format(count=cluster.nodes))
    if cluster.ray_version:
        parts.append(translate("StatusBar", "Ray {version}").format(version=cluster.ray_version))
    return " · ".join(parts)
