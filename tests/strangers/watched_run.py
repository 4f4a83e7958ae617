"""A real run: two clusters with tokens, engines, agents, API, window, casts that end well and badly.

Every process runs with the umask 0, logs at DEBUG, and has its secrets and command lines recorded. Afterwards
tests look at what was said, written, opened and started.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.laboratory.lab import ROOT, Host, Lab, ray_environment
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.paths import Paths, find_paths
from castray_desktop.workers.client.engine_client import EngineClient

RECORDER = Path(__file__).parent / "recorder"
COMMAND_SECONDS = 120.0
WAIT_SECONDS = 60.0
MULTICAST_ATTEMPTS, MULTICAST_SECONDS = 4, 20.0
LOOK_SECONDS = 0.3
DATA_PORTS = (7000, 7009)
BIG_BYTES = 60_000_000
SECRET_BYTES = 32
NO_SECRETS = re.compile(r"[0-9a-f]{1,32}")
"""Ids of casts, runs and tunnels are random too, and shorter."""


ASK_RAY = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", b"", timeout=10))
"""
"""Reads the head's table, without a token."""


@dataclass(frozen=True)
class Listening:
    """A socket that listens, or one that receives datagrams."""

    host: str
    kind: str  # "tcp", "udp" or "unix"
    where: str  # address and port, or path
    process: str  # its command line
    pid: int

    @property
    def address(self) -> str:
        return self.where.rpartition(":")[0].strip("[]").partition("%")[0].removeprefix("::ffff:")

    @property
    def port(self) -> int:
        return int(self.where.rpartition(":")[2])


class WatchedRun:
    """The processes of the run in a laboratory of four hosts, and what was seen of them."""

    def __init__(self, lab: Lab, folder: Path, ray_alone: Path) -> None:
        """`ray_alone` is an interpreter that has only Ray."""
        self.lab = lab
        self._ray_alone = ray_alone
        self.folder = folder
        self.shared, self.joined, self.head, self.worker = lab.hosts
        self.ray_token = os.urandom(SECRET_BYTES).hex()
        self.outputs: list[tuple[str, str]] = []  # what commands have printed
        self.listening: set[Listening] = set()
        self.command_lines: set[bytes] = set()
        self.token_holders: dict[tuple[int, int], str] = {}  # user and process of environments with a secret
        self.modes: dict[Path, int] = {}
        self.written: dict[str, bytes] = {}  # everything in files, by path
        self.api = ""
        self.without_token = ""  # what somebody got from Ray's head
        for kind in ("secrets", "commands", "logs"):
            (folder / "watch" / kind).mkdir(parents=True, mode=0o700)
        self.homes = {name: folder / name / "castray" for name in ("first", "second")}
        for name in self.homes:
            (folder / name / "run").mkdir(parents=True, mode=0o700)
        token_file = folder / "ray-token"
        token_file.touch(0o600)
        token_file.write_text(self.ray_token)

    # --- processes

    def environment(self, home: str) -> dict[str, str]:
        variables = (
            ray_environment()
            | self.recording
            | {
                "HOME": str(self.folder / home),
                "CASTRAY_HOME": str(self.homes[home]),
                "XDG_RUNTIME_DIR": str(self.folder / home / "run"),
                "CASTRAY_DATA_PORTS": "{}-{}".format(*DATA_PORTS),
                "CASTRAY_WINDOW_LOG": "debug",
                "QT_QPA_PLATFORM": "offscreen",
            }
        )
        if home == "second":
            variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self.folder / "ray-token")}
        return variables

    @property
    def recording(self) -> dict[str, str]:
        """What a process needs in order to be recorded."""
        return {
            "CASTRAY_WATCHED": str(self.folder / "watch"),
            "PYTHONPATH": f"{RECORDER}{os.pathsep}{ROOT}",
            "CASTRAY_LOCAL_COPY": "1",
        }

    def paths(self, home: str) -> Paths:
        return find_paths(self.environment(home))

    def start(
        self, home: str, *arguments: str | Path, module: str = "castray_desktop"
    ) -> subprocess.Popen[str]:
        command = [*self._python(module), *map(str, arguments)]
        return self.lab.popen(
            self.shared if home == "first" else self.head,
            ["sh", "-c", 'umask 0 && exec "$@"', "sh", *command],
            cwd=ROOT,
            env=self.environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _python(self, module: str) -> list[str]:
        return [sys.executable, "-m", module]

    def run(
        self, home: str, *arguments: str | Path, kept: bool = True, module: str = "castray_desktop"
    ) -> tuple[int, str, str]:
        """Run a command until it ends; what it prints is looked at later, if it is `kept`."""
        process = self.start(home, *arguments, module=module)
        output, errors = process.communicate(timeout=COMMAND_SECONDS)
        if kept:
            self.outputs.append((" ".join(map(str, arguments)), output + errors))
        return process.returncode, output, errors

    def must(self, home: str, *arguments: str | Path, **options: Any) -> str:
        status, output, errors = self.run(home, *arguments, **options)
        assert status == 0, f"{arguments}: {output}{errors}"
        return output

    # --- the run

    def carry_out(self) -> None:
        """All of it. What was seen is in the attributes then."""
        before = os.umask(0)
        try:
            with self._looking():
                self._share()
                self._attach()
                self._collect()
                self._stop()
        finally:
            os.umask(before)

    def _share(self) -> None:
        """A cluster that others may join, one of whom does; the API, the window, and casts."""
        big, small = self._file("big.bin", BIG_BYTES), self._file("small.bin", 1000)
        self.must("first", "engine", "start", "--cluster", "shared")
        told = json.loads(self.must("first", "cluster", "share", "--json", kept=False))
        self._join(told["command"])
        self._await_nodes("first", 2)
        online = {node["address"] for node in json.loads(self.must("first", "nodes", "--json"))}
        assert online == {self.shared.address, self.joined.address}
        server = self.start("first", "serve", "--host", self.shared.address, "--port", "0")
        window = self.start("first")
        assert server.stdout is not None
        self.api = server.stdout.readline().split()[4].rstrip(",")
        window_socket = self.paths("first").socket.with_suffix(".window")
        _until(window_socket.exists, "the window's socket")
        self._send_by_multicast(big)
        visited = self.lab.run(
            self.joined,
            [
                *self._python("tests.strangers.api_visitor"),
                self.api,
                str(self.paths("first").api_token),
                str(small),
                str(self.folder / "by-api" / "{node}"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert visited.returncode == 0, visited.stdout + visited.stderr
        self.outputs.append(("api", visited.stdout + visited.stderr))
        tried = self.lab.run(
            self.worker,
            [sys.executable, "-c", ASK_RAY, f"{self.shared.address}:6379"],
            env=ray_environment(),
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        self.without_token = f"{tried.returncode} {tried.stdout}{tried.stderr}"
        for options in (
            ("--dest", "/proc/nowhere"),
            ("--hook", "true", "--dest", self.folder / "hook" / "{node}"),
            ("--transport", "ray", "--dest", self.folder / "ray" / "{node}"),
        ):
            self.run("first", "send", small, "--to", "all", "--json", *options)
        self._ask("first")
        self.outputs.append(("logs", asyncio.run(self._engine_log("first"))))
        for process, name in ((server, "serve"), (window, "window")):
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=60)
            self.outputs.append((name, output + errors))

    def _send_by_multicast(self, path: Path) -> None:
        """Send a file by multicast, and look at its sockets.

        Where the first datagrams are late, since the machine is busy, the relay delivers; then send again.
        """
        for attempt in range(MULTICAST_ATTEMPTS):
            where = ("--dest", self.folder / f"to-{attempt}" / "{node}")
            how = ("--transport", "udp", "--limit", "1MB/s", "--json")  # until all has been seen
            sending = self.start("first", "send", path, "--to", "all", *how, *where)
            assert sending.stdout is not None
            said = []
            for line in sending.stdout:
                said.append(line)
                if any(item["bytes"] for item in json.loads(line).get("deliveries", ())):
                    break
            checkpoints = list(self.paths("first").casts.iterdir())
            assert checkpoints
            self._keep(*checkpoints)
            seen = _comes_true(self._sees_multicast, MULTICAST_SECONDS)
            for _ in range(3 if seen else 0):
                self._look_at_sockets()
            self.must("first", "limit", "off", "--cast", json.loads(said[-1])["cast"])
            rest, errors = sending.communicate(timeout=COMMAND_SECONDS)
            self.outputs.append(("send udp", "".join(said) + rest + errors))
            assert sending.returncode == 0, errors
            if seen:
                return
        pytest.fail(f"the sockets of the multicast were not seen: {rest}")

    def _join(self, command: str) -> None:
        """Join the shared cluster as its user does on another host, which has only Ray."""
        folder = tempfile.mkdtemp(prefix="clr", dir="/tmp")  # Ray's sockets need a short path
        self.lab._folders.append(folder)
        line = command.replace(" ray start ", f" {self._ray_alone} -m ray.scripts.scripts start ")
        assert line != command
        joined = self.lab.run(
            self.joined,
            ["sh"],  # a line on its standard input is not on a command line
            input=f"{line} --node-ip-address={self.joined.address} --disable-usage-stats\n",
            env=self.recording
            | {"PATH": f"{self._ray_alone.parent}:/usr/bin:/bin"}
            | {"PYTHONPATH": str(RECORDER), "RAY_TMPDIR": folder, "HOME": str(self.folder / "joined")},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
        )
        assert joined.returncode == 0, joined.stdout + joined.stderr

    def _attach(self) -> None:
        """A cluster of somebody else that wants a token."""
        with_token = self.recording | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.ray_token}
        address = self.lab.start_ray(self.head, environment=with_token, complete=True)
        self.lab.start_ray(self.worker, self.head, environment=with_token, complete=True)
        self.must("second", "engine", "start", "--cluster", address)
        self._await_nodes("second", 2)
        small = self._file("other.bin", 5_000_000)
        self.must("second", "send", small, "--to", "all", "--json", "--dest", self.folder / "b" / "{node}")
        self._ask("second")
        self._look_at_sockets()

    def _ask(self, home: str) -> None:
        for words in (
            *(("doctor", "--json"), ("nodes", "--json"), ("casts", "--json"), ("history", "--json")),
            *(
                ("engine", "status", "--json"),
                ("settings",),
                ("stats", "--json"),
                ("schedule", "list", "--json"),
            ),
        ):
            self.run(home, *words)

    async def _engine_log(self, home: str) -> str:
        client = await EngineClient.connect(self.paths(home), "test", start=False)
        try:
            lines = await client.request(messages.GetLog(100_000), messages.LogLines)
            return "\n".join(line.text for line in lines.lines)
        finally:
            await client.close()

    def _stop(self) -> None:
        for home in self.homes:
            self.run(home, "engine", "stop")

    def _file(self, name: str, size: int) -> Path:
        path = self.folder / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(os.urandom(size))
        return path

    def _await_nodes(self, home: str, count: int) -> None:
        def online() -> bool:
            nodes = json.loads(self.must(home, "nodes", "--json"))
            return [node["state"] for node in nodes].count("online") == count

        _until(online, f"{count} nodes")

    # --- looking

    @contextlib.contextmanager
    def _looking(self) -> Iterator[None]:
        """Look at the command lines of all processes meanwhile."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(LOOK_SECONDS):
                for folder in Path("/proc").glob("[0-9]*"):
                    with contextlib.suppress(OSError):
                        self.command_lines.add((folder / "cmdline").read_bytes())

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _sees_multicast(self) -> bool:
        """Look at the sockets; whether those of the multicast's source and of a recipient were among them."""
        self._look_at_sockets()
        addresses = [found.address for found in self.listening if found.kind == "udp"]
        return {address.startswith("239.") for address in addresses} == {True, False}

    def _look_at_sockets(self) -> None:
        for host in self.lab.hosts:
            for words in (["ss", "-Hltnp"], ["ss", "-Hlunp"], ["ss", "-Hlxp"]):
                shown = self.lab.run(host, words, capture_output=True, text=True, check=True).stdout
                for line in shown.splitlines():
                    found = _listening(host, words[1], line)
                    self.listening.add(found)
                    if found.kind == "unix":
                        self._keep(Path(found.where), Path(found.where).parent)
        time.sleep(0.2)

    def _collect(self) -> None:
        """Read every file, and note all modes, while the engines still run."""
        self._keep(*(path for path in self.folder.rglob("*") if "watch" not in path.parts))
        for line in (self.folder / "watch" / "secrets").iterdir():
            assert line.stat().st_size
        for run in (path for home in self.homes.values() for path in (home / "runs").iterdir()):
            temp = Path(json.loads(run.read_text())["temp_dir"])
            self.modes[temp] = temp.lstat().st_mode
            self._keep(*temp.rglob("*"), modes=False)
        for line in self._ray_folders():
            self._keep(*line.rglob("*"), modes=False)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = (folder / "environ").read_bytes()
                name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if any(form in variables for form in self.forms()):
                    self.token_holders[folder.stat().st_uid, int(folder.name)] = name

    def _ray_folders(self) -> Sequence[Path]:
        """The files of Ray's own nodes in the laboratory."""
        return [Path(name) for name in self.lab._folders]

    def _keep(self, *paths: Path, modes: bool = True) -> None:
        for path in paths:
            with contextlib.suppress(OSError):
                facts = path.lstat()
                if modes:
                    self.modes[path] = facts.st_mode
                if stat.S_ISREG(facts.st_mode) and facts.st_size < BIG_BYTES:
                    self.written[str(path)] = path.read_bytes()

    # --- secrets

    def secrets(self) -> Mapping[str, str]:
        """Every secret of the run, with its maker."""
        found = {self.ray_token: "Ray's token of the attached cluster"}
        for path in (self.folder / "watch" / "secrets").iterdir():
            for line in path.read_text().splitlines():
                maker, function, value = line.split(" ", 2)
                if NO_SECRETS.fullmatch(value) is None:
                    found[value] = f"{function} of {maker}"  # `token_hex` calls `token_bytes`
        return found

    def forms(self) -> Mapping[bytes, str]:
        """Every way in which a secret may be written, with its maker."""
        found = {b"BEGIN PRIVATE KEY": "the key of an agent's certificate", b"BEGIN EC PRIVATE": "the same"}
        for value, maker in self.secrets().items():
            forms = {value.encode()}
            with contextlib.suppress(ValueError):
                raw = bytes.fromhex(value)
                forms |= {raw, value.upper().encode(), repr(raw).encode()[2:-1]}
                forms |= {base64.b64encode(raw), base64.urlsafe_b64encode(raw)}
                forms |= {value[:24].encode()}  # a part of it is too much
            found |= dict.fromkeys(forms, maker)
        return found

    def logged(self) -> Mapping[str, bytes]:
        """Every log record of each process, and the commands that it has started."""
        return {
            f"{kind}/{path.name}": path.read_bytes()
            for kind in ("logs", "commands")
            for path in (self.folder / "watch" / kind).iterdir()
        }


def _listening(host: Host, option: str, line: str) -> Listening:
    words = line.split()
    kind = {"-Hltnp": "tcp", "-Hlunp": "udp", "-Hlxp": "unix"}[option]
    where = words[4] if kind == "unix" else words[3]
    found = re.search(r"pid=(\d+)", line)
    pid = int(found[1]) if found else 0
    process = ""
    with contextlib.suppress(OSError):
        process = (
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        )
    return Listening(host.name, kind, where, process, pid)


def _until(done: Callable[[], bool], what: str) -> None:
    assert _comes_true(done, WAIT_SECONDS), what


def _comes_true(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
