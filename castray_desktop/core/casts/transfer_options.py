"""Rules of the options that a user can choose for a cast."""

from __future__ import annotations

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import OnConflict, SendRequest


def check_remove_extra(request: SendRequest) -> None:
    """Pruning requires `overwrite`: with other policies a recipient's `model (2).bin` would be removed.
    Raises CastRayError."""
    if request.remove_extra and request.on_conflict is not OnConflict.OVERWRITE:
        raise CastRayError(FailureKind.REMOVE_EXTRA_REFUSED)
