"""Paths of the user's home folder of CastRay: settings, logs, sockets, state files."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Paths:
    """Paths of one CastRay home. Two homes have independent engines."""

    home: Path
    socket: Path

    @property
    def lock(self) -> Path:
        """The lock file, held by the running engine."""
        return self.home / "engine.lock"

    @property
    def log(self) -> Path:
        return self.home / "logs"

    @property
    def runs(self) -> Path:
        """The folder with one file for each started local cluster, until it has been swept."""
        return self.home / "runs"

    @property
    def settings(self) -> Path:
        """The settings file."""
        return self.home / "engine.json"

    @property
    def groups(self) -> Path:
        """The saved groups of recipients."""
        return self.home / "groups.json"

    @property
    def history(self) -> Path:
        """The database of ended casts and totals."""
        return self.home / "history.sqlite"

    @property
    def schedules(self) -> Path:
        """The schedules."""
        return self.home / "schedules.json"

    @property
    def added_nodes(self) -> Path:
        """The nodes that the user has added to the local cluster."""
        return self.home / "nodes.json"

    @property
    def speeds(self) -> Path:
        """Measured node speeds."""
        return self.home / "speeds.json"

    @property
    def clusters(self) -> Path:
        """The known clusters."""
        return self.home / "clusters.json"

    @property
    def names(self) -> Path:
        """The names of each cluster's nodes."""
        return self.home / "names.json"

    @property
    def casts(self) -> Path:
        """The folder with one file for each unfinished cast."""
        return self.home / "casts"

    @property
    def api_token(self) -> Path:
        """The token of the HTTP API."""
        return self.home / "api-token"

    def prepare(self) -> None:
        """Create the folders, for this user only. Raises OSError."""
        for folder in (self.home, self.log, self.runs, self.casts, self.socket.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.check()

    def check(self) -> None:
        """Check that other users have no access to the socket's folder, if it exists.

        The temp folder is public: another user may have created a folder of that name, with an engine in it.
        Raises PermissionError.
        """
        folder = self.socket.parent
        try:
            facts = folder.lstat()
        except FileNotFoundError:
            return
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            raise PermissionError(f"{folder} belongs to others; remove it, or set XDG_RUNTIME_DIR")


def find_paths(environment: dict[str, str] | None = None) -> Paths:
    """The paths of `CASTRAY_HOME`, or the platform's default.

    Socket paths are limited to 107 bytes, so the socket is in the runtime folder under a short name derived
    from the home.
    """
    variables = os.environ if environment is None else environment
    given = variables.get("CASTRAY_HOME")
    home = Path(given).expanduser() if given else Path(platformdirs.user_data_dir("castray", False))
    home = home.absolute()
    short = hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    runtime = Path(variables.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    return Paths(home, runtime / f"castray-{os.getuid()}" / f"{short}.sock")
