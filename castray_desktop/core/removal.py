"""When what a source no longer has may be removed at recipients."""

from __future__ import annotations

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.core.messages import OnConflict, SendRequest


def check_removal(request: SendRequest) -> None:
    """Names have to be kept: a recipient with `model (2).bin` would lose it. Raises CastRayError."""
    if request.remove_extra and request.on_conflict is not OnConflict.OVERWRITE:
        raise CastRayError(FailureKind.REMOVE_EXTRA_REFUSED)
