"""Chooses the cluster when the engine has none: the requested one, the one used last, or none."""

from __future__ import annotations

from PySide6.QtCore import QObject, QSettings, Signal

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
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
        usual = "local" if at_start is AtStart.LOCAL else ""
        self._target = self._left = ""
        self._wanted = wanted or (remembered if isinstance(remembered, str) else "") or usual
        link.welcome.connect(self._on_welcome)
        link.cluster_changed.connect(self._on_cluster)

    @property
    def wanted(self) -> str:
        """The target to use when there is no cluster; empty: ask the user."""
        return self._wanted

    def was_left(self, target: str) -> bool:
        """Whether the user has stopped this cluster, or detached from it."""
        return bool(target) and target == self._left

    def use(self, target: str) -> None:
        """Start or attach."""
        self._wanted = target
        self._left = ""
        self._link.ask(messages.UseCluster(target), messages.Done, None, self.failed.emit)

    def prepare(self, target: str) -> None:
        """Have a driver made for a cluster that runs another Ray, and attach."""
        self._wanted = target
        self._link.ask(messages.PrepareDriver(target), messages.Done, None, self.failed.emit)

    def join(self, target: str) -> None:
        """Make this computer a node of a cluster, and attach."""
        self._wanted = target
        self._link.ask(messages.JoinCluster(target), messages.Done, None, self.failed.emit)

    def share(self) -> None:
        """Start, or use, a local cluster that other machines can join; `shared` tells how they do."""
        self._link.ask(messages.ShareCluster(), messages.ShareInfo, self.shared.emit, self.failed.emit)

    def leave(self) -> None:
        """Stop or detach. What worked before is used again at the next start of the window."""
        self._wanted = ""
        self._left = self._target
        self._link.ask(messages.LeaveCluster(), messages.Done, None, self.failed.emit)

    def _on_welcome(self, welcome: messages.Welcome) -> None:
        if welcome.cluster.phase is ClusterPhase.NONE and self._wanted:
            self.use(self._wanted)
        else:
            self._on_cluster(welcome.cluster)

    def _on_cluster(self, cluster: ClusterStatus) -> None:
        self._target = cluster.target or self._target
        if cluster.phase is ClusterPhase.READY and cluster.target:
            self._wanted = cluster.target
            self._settings.setValue(SETTING, cluster.target)
