"""The status bar: the selected cast, or the state of the cluster."""

from __future__ import annotations

from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QWidget

from castray_desktop.core.casts.multicast_status import MulticastStatus
from castray_desktop.core.protocol.messages import CastSummary, ClusterPhase, ClusterStatus
from castray_desktop.core.routing.bottleneck import SlowestHop
from castray_desktop.ui.i18n.language import Retranslator
from castray_desktop.ui.i18n.number_format import format_rate
from castray_desktop.ui.model.cluster_text import step
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.theme.theme import Theme
from castray_desktop.ui.transfers import path_text
from castray_desktop.ui.transfers.path_text import bottleneck_short_line
from castray_desktop.ui.transfers.transfer_text import cast_glyph, cast_title
from castray_desktop.ui.widgets.basic_widgets import DotLabel, GlyphLabel, label, lay_in
from castray_desktop.ui.widgets.status_glyphs import GlyphState


class StatusBar(QWidget):
    """Shows the selected cast; without one, the state of the cluster."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._cluster = ClusterStatus()
        self._connection = EngineLinkState.CONNECTING
        self._cast: CastSummary | None = None
        self._slowest: SlowestHop | None = None
        self._listening: MulticastStatus | None = None
        self._glyph = GlyphLabel(theme, GlyphState.QUEUED, 12)
        self._name = label("", 12, 500)
        self._facts = DotLabel(theme)
        self._versions = label("", 12, 400, "2", tabular=True)
        self.setFixedHeight(28)
        parts = (self._glyph, self._name, 4, (self._facts, 1), self._versions)
        lay_in(QHBoxLayout(self), *parts, spacing=8, margins=(16, 1, 16, 0))
        Retranslator(self, self._refresh)

    def set_status(self, cluster: ClusterStatus, connection: EngineLinkState) -> None:
        self._cluster, self._connection = cluster, connection
        self._refresh()

    def show_cast(
        self,
        cast: CastSummary | None,
        slowest: SlowestHop | None = None,
        listening: MulticastStatus | None = None,
    ) -> None:
        """Show the state of this cast, of its multicast stream, and its slowest hop."""
        self._cast, self._slowest, self._listening = cast, slowest, listening
        self._refresh()

    def text(self) -> str:
        """Everything on the left, as words."""
        return " · ".join(part for part in (self._name.text(), *self._facts.parts) if part)

    def _refresh(self) -> None:
        glyph, name, facts = self._words()
        self._glyph.set_state(glyph)
        self._name.setText(name)
        self._facts.set_parts(facts)
        cluster = self._cluster
        versions = []
        if cluster.ray_version:
            versions.append(self.tr("Ray {version}").format(version=_short(cluster.ray_version)))
        if cluster.python_version:
            versions.append(self.tr("Python {version}").format(version=_short(cluster.python_version)))
        self._versions.setText(" · ".join(versions))

    def _words(self) -> tuple[GlyphState, str, list[str]]:
        if self._connection is EngineLinkState.CONNECTING:
            return GlyphState.QUEUED, self.tr("Starting the engine…"), []
        if self._connection is not EngineLinkState.CONNECTED:
            return GlyphState.QUEUED, self.tr("Engine lost, reconnecting…"), []
        if self._cluster.phase is ClusterPhase.RECONNECTING:
            return GlyphState.QUEUED, self.tr("Cluster lost, reconnecting…"), []
        if self._cast is not None:
            return cast_glyph(self._cast), cast_title(self._cast), self._cast_facts(self._cast)
        return self._cluster_words()

    def _cluster_words(self) -> tuple[GlyphState, str, list[str]]:
        phase = self._cluster.phase
        if phase is ClusterPhase.NONE:
            return GlyphState.OFFLINE, self.tr("Not connected"), []
        if phase is ClusterPhase.FAILED:
            return GlyphState.FAILED, self.tr("No cluster"), [self.tr("the last attempt failed")]
        if phase is ClusterPhase.READY:
            return GlyphState.ONLINE, self.tr("Ready"), []
        return GlyphState.QUEUED, step(self._cluster), []

    def _cast_facts(self, cast: CastSummary) -> list[str]:
        count = len(cast.recipients)
        recipients = self.tr("{count} recipient") if count == 1 else self.tr("{count} recipients")
        facts = [recipients.format(count=count)]
        if not cast.state.finished:
            rate = self.tr("{rate} each").format(rate=format_rate(cast.rate))
            if cast.lagging:
                rate += self.tr(" ({count} lagging)").format(count=cast.lagging)
            facts.append(rate)
        errors = self.tr("{count} error") if cast.failed == 1 else self.tr("{count} errors")
        if cast.failed:
            facts.append(errors.format(count=cast.failed))
        if not cast.state.finished and (stream := path_text.multicast_short_line(self._listening)):
            facts.append(stream)
        if self._slowest is not None and len(cast.recipients) > 1 and not cast.state.finished:
            facts.append(bottleneck_short_line(self._slowest))
        if cast.source_copies:
            facts.append(self.tr("source upload {copies} copies").format(copies=f"{cast.source_copies:.2f}"))
        if not cast.failed:
            facts.append(errors.format(count=0))
        return facts

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), self._theme.color("card"))
        painter.fillRect(0, 0, self.width(), 1, self._theme.color("line"))


def _short(version: str) -> str:
    return ".".join(version.split(".")[:2])
