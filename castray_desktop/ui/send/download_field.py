"""Which node downloads the addresses on the send list."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Signal

from castray_desktop.core.protocol.messages import DownloadPlacement, NodeState, StoreSpeed
from castray_desktop.core.routing.download_nodes import speeds_text
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.model.node_list import NodeList
from castray_desktop.ui.model.recipient_selection import RecipientSelection
from castray_desktop.ui.send.option_fields import SourceField
from castray_desktop.ui.theme.theme import Theme

FASTEST = ""


class DownloadField(SourceField):
    """The fastest node, or one that is online.

    Signal: `chosen()` when the user has chosen another one.
    """

    chosen = Signal()

    def __init__(self, theme: Theme, nodes: NodeList, selection: RecipientSelection) -> None:
        self._node = FASTEST
        self._placement: DownloadPlacement | None = None
        super().__init__(theme, nodes, selection)

    def title(self) -> str:
        return self.tr("Download on")

    @property
    def node(self) -> str:
        """The name of the node that is chosen; empty for the fastest."""
        return self._node

    def _choose(self, node: str) -> None:
        self._node = node
        self._describe()
        self.chosen.emit()

    def reset(self) -> None:
        """Choose the fastest node."""
        self._node = FASTEST
        self.refresh()

    def set_placement(self, placement: DownloadPlacement | None) -> None:
        """Show what is known of the nodes' ways to the server."""
        if placement != self._placement:
            self._placement = placement
            self._fill()

    def _choices(self) -> list[str]:
        info = self._nodes.get(self._node) if self._node else None
        if info is None or info.state is not NodeState.ONLINE:
            self._node = FASTEST
        return [FASTEST, *super()._choices()]

    def _item_text(self, name: str) -> str:
        if not name:
            return self.tr("Fastest node (measured)")
        rate = next((speed.rate for speed in self._speeds if speed.node == name), 0.0)
        text = super()._item_text(name)
        return f"{text} · {format_rate(rate)}" if rate else text

    def texts(self) -> tuple[str, str]:
        if self._node:
            return super().texts()
        best = max(self._speeds, key=lambda speed: speed.rate, default=None)
        if best is None:
            return self.tr("Fastest node (measured)"), ""
        return self.tr("Fastest: {node}").format(node=best.node), format_rate(best.rate)

    def sentence(self) -> str:
        """Which node downloads, and what is known of the others."""
        if self._node:
            return self.tr("This node downloads the files and passes them on as they arrive.")
        if not self._speeds:
            return self.tr(
                "The node with the fastest connection to the server downloads the files and passes them on."
            )
        host = self._placement.host if self._placement is not None else ""
        known = speeds_text(self._speeds, lambda text: QCoreApplication.translate("Placement", text))
        return self.tr("Last measured with {host}: {speeds}.").format(host=host, speeds=known)

    @property
    def _speeds(self) -> list[StoreSpeed]:
        speeds = self._placement.speeds if self._placement is not None else ()
        return [speed for speed in speeds if speed.rate]

    def _describe(self) -> None:
        super()._describe()
        text, detail = self.texts()
        self.setToolTip(
            "\n".join(part for part in (f"{text} · {detail}" if detail else text, self.sentence()) if part)
        )
        self.setAccessibleDescription(self.sentence())
