"""Which cluster is meant: by its address, by `auto`, or by nothing at all."""

from __future__ import annotations

import os
from collections.abc import Mapping

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus
from castray_desktop.workers.cluster.greeting import split_address
from castray_desktop.workers.ray_side.protocol import LOCAL_TARGET, OWN_TARGETS

AUTO = "auto"
FORGOTTEN = "one that was forgotten"


def choose(
    wanted: str,
    current: ClusterStatus,
    running: tuple[str, ...],
    environment: Mapping[str, str] = os.environ,
    others: tuple[str, ...] | None = None,
) -> str:
    """The target that is meant by `wanted`, where `current` is what is used now.

    Nothing means the one in use, else that of this machine (`running`), else the demo on this computer, but
    only in a home that has never used another cluster: `others` are those that it has used, None for never.
    `auto` is that in RAY_ADDRESS, else that of this machine. Raises CastRayError: CLUSTER_NOT_HERE,
    CLUSTER_NOT_NAMED, CLUSTER_AMBIGUOUS, or CLUSTER_UNREACHABLE for what is no address.
    """
    if wanted not in ("", AUTO, *OWN_TARGETS):
        split_address(wanted)
    if wanted not in ("", AUTO):
        return wanted
    if not wanted and current.phase is not ClusterPhase.NONE:
        return current.target
    named = environment.get("RAY_ADDRESS", "")
    if named and named not in (AUTO, *OWN_TARGETS):
        return choose(named, current, running)
    if len(running) > 1:
        raise CastRayError(FailureKind.CLUSTER_AMBIGUOUS, addresses=", ".join(running))
    if running:
        return running[0]
    if wanted:
        raise CastRayError(FailureKind.CLUSTER_NOT_HERE)
    if others is not None:
        raise CastRayError(FailureKind.CLUSTER_NOT_NAMED, clusters=", ".join(others) or FORGOTTEN)
    return LOCAL_TARGET
