"""Paths of the user's home folder of CastRay: settings, logs, sockets, state files."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

import platformdirs

from castray_desktop.workers.base.home_format import check_home


class Paths:
    """Paths of one CastRay home. Two homes have independent engines."""

    def __init__(self, home: Path, socket: Path) -> None:
        self.home = home
        self.socket = socket
        self.lock = home / "engine.lock"  # held by the running engine
        self.log = home / "logs"
        self.runs = home / "runs"  # one file for each started local cluster, until it has been swept
        self.casts = home / "casts"  # one file for each unfinished cast
        self.settings = home / "engine.json"
        self.groups = home / "groups.json"  # saved groups of recipients
        self.history = home / "history.sqlite"
        self.schedules = home / "schedules.json"
        self.added_nodes = home / "nodes.json"  # nodes that the user has added to the local cluster
        self.speeds = home / "speeds.json"  # measured node speeds
        self.downloads = home / "downloads.json"  # how fast nodes download from web servers
        self.clusters = home / "clusters.json"  # clusters that were used
        self.names = home / "names.json"  # the names of each cluster's nodes
        self.share_token = home / "share-token"  # of the cluster that other machines can join
        self.api_token = home / "api-token"  # of the HTTP API
        self.api_read_only_token = home / "api-read-only-token"
        self.api_keys = home / "api-keys.sqlite"  # requests with an Idempotency-Key, and their answers

    def prepare(self) -> None:
        """Create the folders, for this user only. Who writes to the home calls this first.

        Raises OSError, or CastRayError(HOME_NEWER) for a home of a later version.
        """
        check_home(self.home)
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
