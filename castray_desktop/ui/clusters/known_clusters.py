"""The clusters that can be used: running here, in use, or used before."""

from __future__ import annotations

import time

from PySide6.QtCore import QCoreApplication, QObject, QTimer, Signal

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import KnownCluster
from castray_desktop.ui.i18n.number_format import format_ago
from castray_desktop.ui.model.engine_link import EngineLink

translate = QCoreApplication.translate

LOCAL = "local"
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
        return tuple(cluster for cluster in self.clusters if cluster.target != LOCAL)

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


def cluster_title(cluster: KnownCluster) -> str:
    """Its name."""
    return translate("Cluster", "Local cluster") if cluster.target == LOCAL else cluster.target


def cluster_line(cluster: KnownCluster) -> str:
    """The facts about a cluster in one line."""
    parts = []
    if cluster.in_use:
        parts.append(translate("Cluster", "in use"))
    elif cluster.running:
        parts.append(translate("Cluster", "runs on this computer"))
    elif cluster.last_used:
        used = translate("Cluster", "used {ago}")
        parts.append(used.format(ago=format_ago(time.time() - cluster.last_used)))
    if cluster.nodes:
        one, many = translate("Cluster", "{count} node"), translate("Cluster", "{count} nodes")
        parts.append((one if cluster.nodes == 1 else many).format(count=cluster.nodes))
    if cluster.ray_version:
        parts.append(translate("StatusBar", "Ray {version}").format(version=cluster.ray_version))
    return " · ".join(parts)
