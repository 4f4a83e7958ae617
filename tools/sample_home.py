"""Make a home as a version of the program leaves it, for `tests/workers/engine/test_earlier_homes.py`.

    python -m tools.sample_home CHECKOUT ARCHIVE

Runs the program of that checkout, with the `.venv` in it: a local cluster and another one, casts that
completed, failed, are paused in the middle and have not ended, schedules, groups, settings, an added node,
and the window, off the screen. What belongs to this machine or is secret is left out, such as logs.
Needs root, for the name of the host.

All paths in it begin with `ROOT` plus eight characters, so that a test can replace them, in databases as
well, by those of a folder with a name of the same length.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = "/tmp/castray-sample-"
HOST = "sample-host"
BIG_BYTES = 24 << 20
LIMIT = "2MB/s"
STEP_SECONDS = 120.0
MADE = 1_790_000_000
"""The modification time of all files that are sent, in whole POSIX seconds: an archive keeps them exactly."""

_LEFT_OUT = ("logs", "api-token", "share-token", "engine.lock", "package", "demonstration", "drivers")
_SAVE_GROUP = """
import importlib, sys
from pathlib import Path
for module, name in (("base.state_files", "RecipientGroupFile"), ("groups", "GroupFile")):
    try:
        kind = getattr(importlib.import_module("castray_desktop.workers." + module), name)
    except (ImportError, AttributeError):
        continue
    kind(Path(sys.argv[1])).save({"racks": ("node_1", "node_2")})
"""


class Sample:
    """One home in the making."""

    def __init__(self, checkout: Path, root: Path) -> None:
        self.root = root
        self.home = root / "castray"
        self._trace = root / "run" / "trace"  # of the window
        self._python = checkout / ".venv" / "bin" / "python"
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        self._environment = kept | {
            "HOME": str(root),
            "CASTRAY_HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(root / "run"),
            "QT_QPA_PLATFORM": "offscreen",
            "CASTRAY_STARTUP_TRACE": str(self._trace),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def castray(self, *words: str, fails: bool = False) -> str:
        """Run a command; returns its output."""
        done = subprocess.run(
            [self._python, "-m", "castray_desktop", *words],
            env=self._environment,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
            timeout=STEP_SECONDS,
        )
        if (done.returncode != 0) != fails:
            raise RuntimeError(f"castray {' '.join(words)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def running(self, *words: str) -> Iterator[None]:
        """Run `python words` while entered, and end it by SIGTERM."""
        process = subprocess.Popen(
            [self._python, *words],
            env=self._environment,
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STEP_SECONDS)

    def make(self) -> None:
        """Everything that leaves something in the home."""
        files = self.root / "files"
        write_files(files)
        (self.root / "run").mkdir(mode=0o700)
        self.castray("settings", "--casts-at-once", "7", "--history-days", "400", "--stay-awake", "no")
        self.castray("settings", "--go-on", "yes")
        self.castray("limit", "50MB/s")
        port = free_port()
        head = ("-m", "ray.scripts.scripts", "start", "--head", "--block", "--include-dashboard=false")
        with (
            tempfile.TemporaryDirectory(prefix="ray-") as folder,  # the paths of Ray's sockets must be short
            self.running(*head, f"--port={port}", "--num-cpus=1", f"--temp-dir={folder}"),
        ):
            until(lambda: is_open(port))
            until(lambda: self._lists_nodes(f"127.0.0.1:{port}"))
        self.castray("engine", "start", "--cluster", "local")
        try:
            self._use_local(files)
        finally:
            self.castray("engine", "stop")

    def _lists_nodes(self, cluster: str) -> bool:
        """Whether that cluster is complete: its port opens before this computer is a node of it."""
        try:
            self.castray("nodes", "--cluster", cluster)
        except RuntimeError:
            return False
        return True

    def _use_local(self, files: Path) -> None:
        self.castray("node", "add", "spare", "--inbox", str(self.root / "spare"))
        here, both = ("--cluster", "local"), ("--to", "node_1,node_2")
        note, project = str(files / "note.txt"), str(files / "project")
        into = ("--dest", f"{self.root}/in/{{node}}")
        self.castray("send", note, *here, *both, *into)
        self.castray("send", project, *here, *both, *into, "--on-conflict", "overwrite", "--exclude", "*.tmp")
        self.castray("send", note, *here, "--to", "node_1", "--dest", f"{note}/below", fails=True)
        plan = ("--dest", f"{self.root}/plan/{{node}}", "--on-conflict", "overwrite", "--delete")
        self.castray("schedule", "add", "nightly", project, *here, *both, *plan, "--cron", "0 3 * * *")
        self.castray("schedule", "add", "hourly", note, *here, "--to", "node_3", "--every", "2h", "--paused")
        self.castray("schedule", "run", "nightly")
        until((self.root / "plan" / "node_2" / "project" / "main.py").exists)
        subprocess.run(
            [self._python, "-c", _SAVE_GROUP, self.home / "groups.json"],
            env=self._environment,
            check=True,
            timeout=STEP_SECONDS,
        )
        big = ("--limit", LIMIT, "--dest", f"{self.root}/big/{{node}}")
        send = ("-m", "castray_desktop", "send")
        command = [self._python, *send, str(files / "big.bin"), *here, *both, *big]
        paused = self._start(command)
        self._until_bytes(paused, BIG_BYTES // 3)
        self.castray("pause", paused)
        command = [self._python, *send, str(files / "other.bin"), *here, "--to", "node_3", *big]
        unfinished = self._start(command)
        self._until_bytes(unfinished, BIG_BYTES // 6)
        with self.running("-m", "castray_desktop"):
            until(lambda: self._trace.exists() and "ready" in self._trace.read_text())
        if not (self.home / "window.ini").exists():
            raise RuntimeError("the window has saved nothing")

    def _start(self, command: list[str | Path]) -> str:
        """Start a cast in an own session, so that it survives its command; returns its id."""
        before = {cast["cast"] for cast in self._casts()}
        subprocess.Popen(
            command,
            env=self._environment,
            cwd=self.root,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(lambda: {cast["cast"] for cast in self._casts()} - before)
        (cast,) = {cast["cast"] for cast in self._casts()} - before
        return str(cast)

    def _casts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.castray("casts", "--json"))
        return found

    def _until_bytes(self, cast: str, count: int) -> None:
        """Wait until every recipient has more than this."""

        def has_arrived() -> bool:
            (found,) = (item for item in self._casts() if item["cast"] == cast)
            return min(int(delivery["bytes"]) for delivery in found["deliveries"]) > count

        until(has_arrived)

    def strip(self) -> None:
        """Remove what belongs to this machine, or is secret."""
        for name in _LEFT_OUT:
            path = self.home / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for path in self.root.iterdir():
            if path.name not in ("castray", "files", "in", "plan", "big", "spare"):
                shutil.rmtree(path)
        for record in (self.home / "staging").iterdir():
            known = json.loads(record.read_text())
            known.update(host="", boot="", namespace="", start="")
            record.write_text(json.dumps(known))


def write_files(folder: Path) -> None:
    """The files that are sent; the same each time."""
    block = random.Random(1).randbytes(1 << 12)
    contents = {
        "note.txt": b"a note\n",
        "project/main.py": b"print()\n",
        "project/data/rows.csv": b"1,2\n" * 500,
        "project/left out.tmp": b"x",
        "big.bin": block * (BIG_BYTES // len(block)),
        "other.bin": block[::-1] * (BIG_BYTES // len(block)),
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (MADE, MADE))
    for path in (folder / "project" / "data", folder / "project"):
        os.utime(path, (MADE, MADE))


def until(done: Callable[[], object]) -> None:
    """Wait until `done` is true. Raises TimeoutError."""
    deadline = time.monotonic() + STEP_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def pack(root: Path, archive: Path) -> None:
    """Write the archive; nothing in it names the user of this machine."""

    def anonymous(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info if info.isfile() or info.isdir() or info.issym() else None

    with tarfile.open(archive, "w:xz", preset=9) as packed:
        packed.add(root, arcname=root.name, filter=anonymous)


def main(checkout: Path, archive: Path) -> int:
    if socket.gethostname() != HOST:
        again = f'hostname {HOST} && exec "$@"'
        words = ["unshare", "--uts", "sh", "-c", again, "sh", sys.executable, "-m", "tools.sample_home"]
        return subprocess.run([*words, checkout, archive], check=False).returncode
    root = Path(tempfile.mkdtemp(prefix=Path(ROOT).name, dir=Path(ROOT).parent))
    try:
        sample = Sample(checkout, root)
        sample.make()
        sample.strip()
        pack(root, archive)
    finally:
        shutil.rmtree(root)
    print(f"{archive}: {archive.stat().st_size} bytes, made in {root}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()))
