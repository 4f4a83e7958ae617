"""Which nodes are to receive: one selection, shared by the node graph and the recipient list.

`RecipientSelection` never holds the source, takes up a node that is offline only when that one is ticked by
itself (it gets its files when it is back), and never forgets a choice: a chosen node that goes offline stays
chosen, one that vanishes is chosen again when it is back. `selected()` is what the views tick, `ready()` what
a cast can be sent to now, `waiting()` what gets it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from PySide6.QtCore import QObject, Signal

from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.ui.model.node_list import NodeList


class RecipientSelection(QObject):
    """The chosen recipients and the source.

    Signals: `changed()` when `selected()`, `ready()` or the source is different from before;
    `source_changed(name)` when the source is another node.
    """

    changed = Signal()
    source_changed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._nodes: dict[str, NodeInfo] = {}
        self._chosen: set[str] = set()
        self.source = ""  # the node that a cast starts from; empty while none is known
        self._source_picked = False
        self._seen: tuple[frozenset[str], frozenset[str], str] = (frozenset(), frozenset(), "")

    def follow(self, nodes: NodeList) -> None:
        """Take the nodes from this list, now and whenever it changes."""
        nodes.changed.connect(lambda: self.set_nodes(nodes.nodes()))
        self.set_nodes(nodes.nodes())

    def set_nodes(self, nodes: Sequence[NodeInfo]) -> None:
        """The nodes as known now. The source is this computer's node until another one is set."""
        self._nodes = {node.name: node for node in nodes}
        if not self._source_picked:
            here = next((node.name for node in nodes if node.this_computer), self.source)
            self._become_source(here)
        self._publish()

    def use_source(self, name: str) -> None:
        """Let casts start from this node, whether it is known or not."""
        self._source_picked = True
        self._become_source(name)
        self._publish()

    def _become_source(self, name: str) -> None:
        if name != self.source:
            self.source = name
            self._chosen.discard(name)
            self.source_changed.emit(name)

    def recipients(self) -> frozenset[str]:
        """Every known node but the source."""
        return frozenset(self._nodes.keys() - {self.source})

    def selected(self) -> frozenset[str]:
        """The chosen nodes that are known, also those that have gone offline since."""
        return frozenset(self._chosen & self._nodes.keys())

    def ready(self) -> frozenset[str]:
        """The chosen nodes that are online."""
        return frozenset(name for name in self.selected() if self._nodes[name].state is NodeState.ONLINE)

    def selectable(self, name: str) -> bool:
        """Whether this node can be chosen now."""
        node = self._nodes.get(name)
        return node is not None and name != self.source and node.state is not NodeState.OFFLINE

    def awaitable(self, name: str) -> bool:
        """Whether this node is offline and can be chosen by itself, to get its files when it is back."""
        node = self._nodes.get(name)
        return node is not None and name != self.source and node.state is NodeState.OFFLINE

    def waiting(self) -> frozenset[str]:
        """The chosen nodes that are offline: they get their files when they are back."""
        return frozenset(name for name in self.selected() if self._nodes[name].state is NodeState.OFFLINE)

    def set_selected(self, names: Iterable[str]) -> None:
        """Choose exactly these. A name that can't be chosen is left out, unless it was chosen before."""
        wanted = set(names)
        kept = self._chosen & wanted
        self._chosen = kept | {name for name in wanted if self.selectable(name)}
        self._publish()

    def toggle(self, name: str) -> None:
        """Choose a node, or no longer."""
        if name in self._chosen:
            self._chosen.discard(name)
        elif self.selectable(name) or self.awaitable(name):
            self._chosen.add(name)
        self._publish()

    def select_only(self, name: str) -> None:
        """Choose this node and no other. Does nothing for a node that can't be chosen."""
        if self.selectable(name) or name in self._chosen:
            self.set_selected({name})

    def select_all(self) -> None:
        """Choose every node that can be chosen, beside what is chosen already."""
        self.set_selected(self._chosen | self.recipients())

    def clear(self) -> None:
        """Choose none, and forget the absent too."""
        self._chosen.clear()
        self._publish()

    def invert(self) -> None:
        """Swap chosen and not chosen among the nodes that can be chosen."""
        self.set_selected(self.recipients() - self.selected())

    def _publish(self) -> None:
        seen = (self.selected(), self.ready(), self.source)
        if seen != self._seen:
            self._seen = seen
            self.changed.emit()
