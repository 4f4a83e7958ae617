"""The cluster's state in words and as a glyph: the same everywhere in the window."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus
from castray_desktop.core.protocol.nodes.driver_protocol import OWN_TARGETS, SHARED_TARGET
from castray_desktop.ui.model.engine_link import EngineLinkState
from castray_desktop.ui.widgets.status_glyphs import GlyphState

translate = QCoreApplication.translate


def cluster_name(cluster: ClusterStatus, connection: EngineLinkState) -> str:
    """The first words of the chip."""
    if connection is EngineLinkState.CONNECTING:
        return translate("Cluster", "CastRay engine")
    if connection is not EngineLinkState.CONNECTED:
        return translate("Cluster", "Engine lost")
    if cluster.phase is ClusterPhase.NONE:
        return translate("Cluster", "No cluster")
    return target_name(cluster.target)


def target_name(target: str) -> str:
    """The name of a cluster: its address, unless it is one of this computer's."""
    if target == SHARED_TARGET:
        return translate("Cluster", "Shared cluster")
    return translate("Cluster", "Local cluster") if target == "local" else target


def cluster_facts(cluster: ClusterStatus, connection: EngineLinkState, *, short: bool) -> str:
    """The rest of the chip: what is going on, or how large it is."""
    if connection is EngineLinkState.CONNECTING:
        return translate("Cluster", "Starting…")
    if connection is not EngineLinkState.CONNECTED:
        return translate("Cluster", "Reconnecting…")
    match cluster.phase:
        case ClusterPhase.NONE:
            return translate("Cluster", "Start or attach to one")
        case ClusterPhase.READY:
            return _size(cluster, short)
        case ClusterPhase.FAILED:
            local = cluster.target in OWN_TARGETS
            return (
                translate("Cluster", "Could not start") if local else translate("Cluster", "Could not attach")
            )
        case _:
            return step(cluster)


def step(cluster: ClusterStatus) -> str:
    """The current step of a cluster that is starting."""
    match cluster.phase:
        case ClusterPhase.STARTING:
            local = cluster.target in OWN_TARGETS
            text = translate("Cluster", "Starting Ray…") if local else translate("Cluster", "Connecting…")
            if cluster.attempt > 1:
                again = translate("Cluster", "attempt {number} of {total}")
                text += " " + again.format(number=cluster.attempt, total=cluster.attempts)
            return text
        case ClusterPhase.PREPARING:
            return _preparing(cluster.preparing)
        case ClusterPhase.PLACING:
            if not cluster.nodes_total:
                return translate("Cluster", "Setting up nodes…")
            return translate("Cluster", "Setting up nodes {ready}/{total}").format(
                ready=cluster.nodes_ready, total=cluster.nodes_total
            )
        case ClusterPhase.RECONNECTING:
            return translate("Cluster", "Reconnecting…")
        case ClusterPhase.STOPPING:
            return translate("Cluster", "Stopping…")
        case _:
            return ""


def _preparing(done: str) -> str:
    match done:
        case "python":
            return translate("Cluster", "Looking for a suitable Python…")
        case "environment":
            return translate("Cluster", "Creating an environment…")
        case "ray":
            return translate("Cluster", "Installing the cluster's Ray…")
        case "check":
            return translate("Cluster", "Checking the new driver…")
        case _:
            return translate("Cluster", "Preparing a driver…")


def _size(cluster: ClusterStatus, short: bool) -> str:
    ready, total = cluster.nodes_ready, cluster.nodes_total
    count = str(total) if ready == total else f"{ready}/{total}"
    nodes = translate("Cluster", "{count} node") if total == 1 else translate("Cluster", "{count} nodes")
    parts = [nodes.format(count=count)]
    if cluster.cpus and not short:
        parts.append(translate("Cluster", "{count} CPU").format(count=f"{cluster.cpus:g}"))
    if cluster.gpus and not short:
        parts.append(translate("Cluster", "{count} GPU").format(count=f"{cluster.gpus:g}"))
    return " · ".join(parts)


def cluster_glyph(cluster: ClusterStatus, connection: EngineLinkState) -> GlyphState:
    """The glyph of the cluster's state."""
    if connection is not EngineLinkState.CONNECTED:
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
