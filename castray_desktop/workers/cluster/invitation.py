"""How another machine joins the cluster that this one shares.

Whoever has the token may run code on every node, so it is in no log, and its file is for this user alone. It
stays the same, so that a machine may come back.
"""

from __future__ import annotations

import os
import re
import secrets

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, ShareInfo
from castray_desktop.workers.home_files import set_aside
from castray_desktop.workers.places import Places

TOKEN = re.compile(r"[0-9a-f]{64}")


def share_token(places: Places) -> str:
    """The token of the cluster that is shared, made when it is first asked for. Raises OSError."""
    path = places.home / "share-token"
    try:
        token = path.read_text().strip()
        if TOKEN.fullmatch(token):
            return token
        set_aside(path, "the token of the shared cluster", ValueError("it is no token"))
    except FileNotFoundError:
        pass
    except ValueError as error:  # not even text
        set_aside(path, "the token of the shared cluster", error)
    token = secrets.token_hex(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def invitation(status: ClusterStatus, places: Places) -> ShareInfo:
    """What another machine has to run to join. Raises CastRayError with why there is no cluster to join."""
    if status.phase is not ClusterPhase.READY:
        raise CastRayError.of(status.failure or Failure(FailureKind.CLUSTER_STOPPED))
    variables = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={share_token(places)}"
    return ShareInfo(f"{variables} ray start --address={status.address}", status.address)
