"""Where this user's settings, logs and sockets lie."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Places:
    """The folders of one CastRay home. Two homes are two engines that don't know each other."""

    home: Path
    socket: Path

    @property
    def lock(self) -> Path:
        """Held by the engine while it lives."""
        return self.home / "engine.lock"

    @property
    def log(self) -> Path:
        return self.home / "logs"

    @property
    def runs(self) -> Path:
        """One file for each local cluster that was started, until it has been swept."""
        return self.home / "runs"

    @property
    def settings(self) -> Path:
        """What the engine keeps over restarts."""
        return self.home / "engine.json"

    @property
    def groups(self) -> Path:
        """The saved groups of recipients."""
        return self.home / "groups.json"

    @property
    def history(self) -> Path:
        """The casts that have ended, and what they add up to."""
        return self.home / "history.sqlite"

    @property
    def schedules(self) -> Path:
        """What is sent by itself, and when."""
        return self.home / "schedules.json"

    @property
    def added_nodes(self) -> Path:
        """The nodes that the user has added to the local cluster."""
        return self.home / "nodes.json"

    @property
    def speeds(self) -> Path:
        """How fast nodes are, as casts have shown."""
        return self.home / "speeds.json"

    @property
    def clusters(self) -> Path:
        """Which clusters were used before."""
        return self.home / "clusters.json"

    @property
    def names(self) -> Path:
        """What the nodes of each cluster are called."""
        return self.home / "names.json"

    @property
    def casts(self) -> Path:
        """One file for each cast that has not ended."""
        return self.home / "casts"

    @property
    def api_token(self) -> Path:
        """What a client of the HTTP API has to show."""
        return self.home / "api-token"

    def prepare(self) -> None:
        """Make the folders, for this user alone. Raises OSError."""
        for folder in (self.home, self.log, self.runs, self.casts, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check()

    def check(self) -> None:
        """Whether the socket's folder, if it exists, is out of other users' reach.

        The temp folder is everybody's: another user may have made a folder of that name, with an
        engine of theirs in it. Raises PermissionError.
        """
        folder = self.socket.parent
        try:
            facts = folder.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            raise PermissionError(f"{folder} belongs to others; remove it, or set XDG_RUNTIME_DIR")


def find_places(environment: dict[str, str] | None = None) -> Places:
    """The places that `CASTRAY_HOME` names, or the platform's own.

    A socket's path is limited to 107 bytes, so it lies in the run-time folder under a short name
    made from the home.
    """
    variables = os.environ if environment is None else environment
    given = variables.get("CASTRAY_HOME")
    home = Path(given).expanduser() if given else Path(platformdirs.user_data_dir("castray", False))
    home = home.absolute()
    short = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    runtime = Path(variables.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return Places(home, runtime / f"castray-{os.getuid()}" / f"{short}.sock")
