"""Small files of the home: written for this user alone, and replaced as a whole."""

from __future__ import annotations

import os
from pathlib import Path


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
