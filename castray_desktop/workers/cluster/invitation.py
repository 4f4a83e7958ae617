"""How another machine joins the cluster that this one shares.

Whoever has the token may run code on every node, so it is in no log, and its file is for this user alone. It
stays the same, so that a machine may come back.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from pathlib import Path

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import ClusterPhase, ClusterStatus, ShareInfo
from castray_desktop.workers.home_files import set_aside
from castray_desktop.workers.places import Places
from castray_desktop.workers.ray_side.byte_plane.tls import uses_tls

TOKEN = re.compile(r"[0-9a-f]{64}")
_MOST_OF_TOKEN = 200


def share_token(places: Places) -> str:
    """The token of the cluster that is shared, made when it is first asked for.

    Raises OSError, and CastRayError(TOKEN_EXPOSED) where others could have read or written it.
    """
    path = _token_file(places)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return renew_share_token(places)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _not_private(path) from error
        raise
    with os.fdopen(descriptor, errors="replace") as file:
        facts = os.fstat(descriptor)
        private = stat.S_ISREG(facts.st_mode) and not stat.S_IMODE(facts.st_mode) & 0o077
        if not private or facts.st_uid != os.getuid():
            raise _not_private(path)
        token = file.read(_MOST_OF_TOKEN).strip()
    if TOKEN.fullmatch(token):
        return token
    set_aside(path, "the token of the shared cluster", ValueError("it is no token"))
    return renew_share_token(places)


def renew_share_token(places: Places) -> str:
    """Another token: nobody joins with the one before any more. Raises OSError."""
    token, path = secrets.token_hex(32), _token_file(places)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def invitation(status: ClusterStatus, places: Places) -> ShareInfo:
    """What another machine has to run to join. Raises CastRayError with why there is no cluster to join."""
    if status.phase is not ClusterPhase.READY:
        raise CastRayError.of(status.failure or Failure(FailureKind.CLUSTER_STOPPED))
    encrypted = uses_tls(os.environ)
    variables = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={share_token(places)}"
    if encrypted:  # the files of its own certificate are that machine's to name
        variables = f"RAY_USE_TLS=1 {variables}"
    return ShareInfo(f"{variables} ray start --address={status.address}", status.address, encrypted)


def _token_file(places: Places) -> Path:
    return places.home / "share-token"


def _not_private(path: Path) -> CastRayError:
    return CastRayError(FailureKind.TOKEN_EXPOSED, path=path)
