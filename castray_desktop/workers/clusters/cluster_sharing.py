"""How another machine joins the cluster that this one shares.

A machine with the token may run code on every node. So the token is in no log, and only this user can
read its file. It stays the same, so that a machine may return.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import ClusterPhase, ClusterStatus, ShareInfo
from castray_desktop.workers.agent.transfer.peer.tls import uses_tls
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import quarantine_file

TOKEN = re.compile(r"[0-9a-f]{64}")
_MOST_OF_TOKEN = 200


def share_token(paths: Paths) -> str:
    """The token of the shared cluster, created on first use.

    Raises OSError, and CastRayError(TOKEN_EXPOSED) where others could have read or written it.
    """
    path = paths.share_token
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return renew_share_token(paths)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CastRayError(FailureKind.TOKEN_EXPOSED, path=path) from error
        raise
    with os.fdopen(descriptor, errors="replace") as file:
        facts = os.fstat(descriptor)
        private = stat.S_ISREG(facts.st_mode) and not stat.S_IMODE(facts.st_mode) & 0o077
        if not private or facts.st_uid != os.getuid():
            raise CastRayError(FailureKind.TOKEN_EXPOSED, path=path)
        token = file.read(_MOST_OF_TOKEN).strip()
    if TOKEN.fullmatch(token):
        return token
    quarantine_file(path, "the token of the shared cluster", ValueError("it is no token"))
    return renew_share_token(paths)


def renew_share_token(paths: Paths) -> str:
    """Replace the token: the old one is refused from now on. Raises OSError."""
    token = secrets.token_hex(32)
    paths.share_token.unlink(missing_ok=True)
    descriptor = os.open(paths.share_token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)
    return token


def share_info(status: ClusterStatus, paths: Paths) -> ShareInfo:
    """The command with which another machine joins. Raises CastRayError if there is no cluster to join."""
    if status.phase is not ClusterPhase.READY:
        raise CastRayError.of(status.failure or Failure(FailureKind.CLUSTER_STOPPED))
    encrypted = uses_tls(os.environ)
    variables = f"RAY_AUTH_MODE=token RAY_AUTH_TOKEN={share_token(paths)}"
    if encrypted:  # the files of its own certificate are that machine's to name
        variables = f"RAY_USE_TLS=1 {variables}"
    return ShareInfo(f"{variables} ray start --address={status.address}", status.address, encrypted)
