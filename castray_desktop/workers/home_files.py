"""Small files of the home: written for this user alone, replaced as a whole, and set aside when damaged."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

log = logging.getLogger("castray.home")


def replace_file(path: Path, content: bytes, *, synced: bool = False) -> None:
    """Have `path` hold exactly this: a crash of ours leaves the old or the new one.

    With `synced` a crash of the machine does as well; that takes a disk's time. Raises OSError.
    """
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if synced:
            file.flush()
            os.fsync(file.fileno())
    beside.replace(path)


def set_aside(path: Path, what: str, error: Exception) -> None:
    """Give a damaged file another name: nothing overwrites it, and whoever wants to can still look at it.

    The log says so, in a sentence about `what` is in it ("the schedules").
    """
    aside = path.with_name(f"damaged-{time.strftime('%Y%m%d-%H%M%S')}-{path.name}")
    try:
        path.rename(aside)
    except OSError as trouble:
        log.warning("%s can't be read from %s (%s), which can't be set aside: %s", what, path, error, trouble)
    else:
        log.warning("%s can't be read (%s). The file was set aside as %s.", what, error, aside)
