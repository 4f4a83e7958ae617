"""What joining a cluster leaves on this machine beside our own temp folder, and how that goes again.

A node of an older Ray has its files where the head has its own, at the same path: a session's folder, a link
to the latest session, and a file with the cluster's address, which `ray.init()` of others would follow.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Optional

_LATEST = "session_latest"
_ADDRESS = "ray_current_cluster"


class Traces:
    """Made before the node is started; `remove` is for after its end. What was there stays as it was."""

    def __init__(self, folder: str, session: str, address: str) -> None:
        """`folder` and `session` are the head's, empty where they are not known; `address` is its own."""
        self._folder, self._session, self._address = folder, session, address
        self._had_folder, self._had_session = os.path.lexists(folder), os.path.lexists(session)
        self._latest = _target(os.path.join(folder, _LATEST))
        self._before = _text(os.path.join(folder, _ADDRESS))

    def remove(self) -> None:
        """Does nothing where the head itself is on this machine, or shares the folder."""
        if not self._session or self._had_session:
            return
        shutil.rmtree(self._session, ignore_errors=True)
        latest, address = os.path.join(self._folder, _LATEST), os.path.join(self._folder, _ADDRESS)
        with contextlib.suppress(OSError):
            if _target(latest) == self._session:
                os.unlink(latest)
                if self._latest is not None:
                    os.symlink(self._latest, latest)
        with contextlib.suppress(OSError):
            if _text(address) == self._address:
                if self._before is None:
                    os.unlink(address)
                else:
                    with open(address, "w") as file:
                        file.write(self._before)
        if not self._had_folder:
            with contextlib.suppress(OSError):  # somebody else has put something there
                os.rmdir(self._folder)


def _target(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _text(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, ValueError):
        return None
