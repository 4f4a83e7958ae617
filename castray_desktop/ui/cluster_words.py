"""The cluster's state in words and as a glyph: the same everywhere in the window."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.errors import Explanation, explain
from castray_desktop.core.failure import Failure
from castray_desktop.core.messages import ClusterPhase, ClusterStatus
from castray_desktop.ui.connection import Connection
from castray_desktop.ui.glyphs import GlyphState


def tr(text: str) -> str:
    """Translate in the context that these words share."""
    return QCoreApplication.translate("Cluster", text)


def explain_failure(failure: Failure) -> Explanation:
    """The failure in the window's language."""
    return explain(failure, lambda text: QCoreApplication.translate("Failure", text))


def cluster_name(cluster: ClusterStatus, connection: Connection) -> str:
    """The first words of the chip."""
    if connection is Connection.CONNECTING:
        return tr("CastRay engine")
    if connection is not Connection.CONNECTED:
        return tr("Engine lost")
    if cluster.phase is ClusterPhase.NONE:
        return tr("No cluster")
    return tr("Local cluster") if cluster.target == "local" else cluster.target


def cluster_facts(cluster: ClusterStatus, connection: Connection, *, short: bool) -> str:
    """The rest of the chip: what is going on, or how large it is."""
    if connection is Connection.CONNECTING:
        return tr("Starting…")
    if connection is not Connection.CONNECTED:
        return tr("Reconnecting…")
    match cluster.phase:
        case ClusterPhase.NONE:
            return tr("Start one or attach")
        case ClusterPhase.READY:
            return _size(cluster, short)
        case ClusterPhase.FAILED:
            return tr("Could not start") if cluster.target == "local" else tr("Could not attach")
        case _:
            return step(cluster)


def step(cluster: ClusterStatus) -> str:
    """What a cluster on its way is doing now."""
    match cluster.phase:
        case ClusterPhase.STARTING:
            text = tr("Starting Ray…") if cluster.target == "local" else tr("Connecting…")
            if cluster.attempt > 1:
                again = tr("attempt {number} of {total}")
                text += " " + again.format(number=cluster.attempt, total=cluster.attempts)
            return text
        case ClusterPhase.PLACING:
            if not cluster.nodes_total:
                return tr("Placing nodes…")
            return tr("Placing nodes {ready}/{total}").format(
                ready=cluster.nodes_ready, total=cluster.nodes_total
            )
        case ClusterPhase.RECONNECTING:
            return tr("Reconnecting…")
        case ClusterPhase.STOPPING:
            return tr("Stopping…")
        case _:
            return ""


def _size(cluster: ClusterStatus, short: bool) -> str:
    ready, total = cluster.nodes_ready, cluster.nodes_total
    count = str(total) if ready == total else f"{ready}/{total}"
    parts = [(tr("{count} node") if total == 1 else tr("{count} nodes")).format(count=count)]
    if cluster.cpus and not short:
        parts.append(tr("{count} CPU").format(count=f"{cluster.cpus:g}"))
    if cluster.gpus and not short:
        parts.append(tr("{count} GPU").format(count=f"{cluster.gpus:g}"))
    return " · ".join(parts)


def cluster_glyph(cluster: ClusterStatus, connection: Connection) -> GlyphState:
    """The shape for the cluster's state."""
    if connection is not Connection.CONNECTED:
        return GlyphState.QUEUED
    match cluster.phase:
        case ClusterPhase.NONE | ClusterPhase.STOPPING:
            return GlyphState.OFFLINE
        case ClusterPhase.READY:
            return GlyphState.ONLINE
        case ClusterPhase.FAILED:
            return GlyphState.FAILED
        case _:
            return GlyphState.QUEUED
