"""A real Ray cluster in the hosts of a laboratory, and the command line in one of them.

    with Lab(5) as lab, LabCluster(lab, python, folder) as cluster:
        status, result = cluster.send("/tmp/file", "--to", "all")

Ray's nodes run on `python`, which may have only Ray; CastRay runs on our own interpreter, in the first host.
The local transport is off, since the hosts share one kernel.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from packaging.requirements import Requirement

from benchmarks.laboratory.lab import ROOT, Host, Lab, LabUnavailable, ray_environment
from castray_desktop.workers.clusters.driver_environments import RayVersions, find_interpreter

COMMAND_SECONDS = 120.0
STOP_SECONDS = 20.0
INSTALL_SECONDS = 300.0


@dataclass(frozen=True)
class Sent:
    """The result of a `castray send --json`."""

    status: int
    result: dict[str, Any]
    first_byte: float  # seconds from the cast's first progress event to its first byte
    errors: str

    @property
    def states(self) -> dict[str, str]:
        """Each recipient's state."""
        return {item["node"]: item["state"] for item in self.result.get("deliveries", ())}

    @property
    def transports(self) -> set[str]:
        """The transports that were used."""
        return {item["transport"] for item in self.result.get("deliveries", ())}


class LabCluster:
    """A context manager: a Ray node in each host, the head in the first one; the engine ends with it."""

    def __init__(
        self,
        lab: Lab,
        python: str | Path,
        folder: Path,
        data_port: int = 0,
        shared_memory: str = "",
        complete: bool = False,
    ) -> None:
        """Create the cluster; `folder` is for homes and files, and the caller removes it.

        `data_port` is the data port of all agents, `shared_memory` the size of /dev/shm in all hosts except
        the first. For `complete`, see `Lab.start_ray`.
        """
        self.lab = lab
        self.folder = folder
        self.address = ""
        self._python = python
        self._data_port = data_port
        self._shared_memory = shared_memory
        self._complete = complete

    def __enter__(self) -> Self:
        head, *others = self.lab.hosts
        self.address = self.lab.start_ray(head, python=self._python, complete=self._complete)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._join, others))
        return self

    def _join(self, host: Host) -> None:
        self.lab.start_ray(
            host,
            self.lab.hosts[0],
            python=self._python,
            shared_memory=self._shared_memory,
            complete=self._complete,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.castray("engine", "stop", timeout=STOP_SECONDS)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the command line."""
        (self.folder / "run").mkdir(mode=0o700, exist_ok=True)
        ports = {"CASTRAY_DATA_PORTS": f"{self._data_port}-{self._data_port}"} if self._data_port else {}
        return (
            ray_environment()
            | ports
            | {
                "HOME": str(self.folder),
                "CASTRAY_HOME": str(self.folder / "castray"),
                "XDG_RUNTIME_DIR": str(self.folder / "run"),
                "CASTRAY_LOCAL_COPY": "0",
                "PYTHONPATH": str(ROOT),
            }
        )

    def castray(
        self, *arguments: str | Path, host: Host | None = None, timeout: float = COMMAND_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a command until it ends, in the first host unless another is given."""
        command = [sys.executable, "-m", "castray_desktop", *map(str, arguments)]
        return self.lab.run(
            host or self.lab.hosts[0],
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def nodes(self) -> dict[str, str]:
        """The nodes' names by address. Raises RuntimeError."""
        listed = self.castray("nodes", "--cluster", self.address, "--json")
        if listed.returncode:
            raise RuntimeError(listed.stderr)
        return {node["address"]: node["name"] for node in json.loads(listed.stdout)}

    def asked(self, sent: Sent) -> Counter[str]:
        """How often each recipient of a cast has asked its upstream to dial, since it could not dial itself.

        By its own clock a recipient asks after 0.25 s and then once a second; a busy machine makes it fewer.
        """
        log = (self.folder / "castray" / "logs" / "engine.log").read_text()
        return Counter(re.findall(rf"cast {sent.result['cast']}: \S+ is to dial (\S+)", log))

    def send(self, path: Path, *options: str | Path) -> Sent:
        """Send a file in this cluster with `--json`."""
        command = [sys.executable, "-m", "castray_desktop", "send", str(path), *map(str, options)]
        process = self.lab.popen(
            self.lab.hosts[0],
            [*command, "--cluster", self.address, "--json"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        began, first, result = 0.0, 0.0, {}
        for event, at in _events(process.stdout):
            began = began or at
            if event["event"] == "result":
                result = event
            elif not first and any(item["bytes"] for item in event["deliveries"]):
                first = at
        _, errors = process.communicate(timeout=COMMAND_SECONDS)
        return Sent(process.returncode, result, (first or time.monotonic()) - began, errors)


def _events(lines: Iterator[str]) -> Iterator[tuple[dict[str, Any], float]]:
    for line in lines:
        yield json.loads(line), time.monotonic()


def ray_alone(folder: Path) -> Path:
    """The interpreter of an environment in `folder` with our version of Ray and its requirements.

    Its files come from our own environment, so nothing is downloaded.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    ours = Path(sysconfig.get_path("purelib"))
    theirs = next((folder / "lib").glob("python*/site-packages"))
    for name in sorted(_required("ray")):
        for entry in {file.parts[0] for file in metadata.distribution(name).files or ()} - {
            "..",
            "__pycache__",
        }:
            if (ours / entry).is_dir():
                shutil.copytree(ours / entry, theirs / entry, copy_function=_link, dirs_exist_ok=True)
            else:
                _link(ours / entry, theirs / entry)
    return folder / "bin" / "python"


def _required(name: str, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """A distribution and all of its requirements, without extras."""
    known |= {name}
    for text in metadata.requires(name) or ():
        needed = Requirement(text)
        wanted = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if wanted and needed.name not in known:
            known = _required(needed.name, known)
    return known


def _link(source: str | Path, target: str | Path) -> None:
    """Hard-link a file, or copy it to another file system."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def ray_of_version(folder: Path, versions: RayVersions) -> Path:
    """The interpreter of an environment with only this version of Ray, installed once in `folder`.

    Raises LabUnavailable if that Python is missing, or Ray can't be installed.
    """
    interpreter = asyncio.run(find_interpreter(versions.python))
    if interpreter is None:
        raise LabUnavailable(f"there is no Python {versions.python} here")
    place = folder / f"ray-{versions.ray}-py{versions.python}"
    python = place / "bin" / "python"
    if not (place / "made").exists():
        _run([str(interpreter), "-I", "-m", "venv", "--clear", str(place)])
        _run([str(python), "-I", "-m", "pip", "install", "--quiet", "--no-input", f"ray=={versions.ray}"])
        (place / "made").touch()
    return python


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False, timeout=INSTALL_SECONDS, capture_output=True, text=True)
    if done.returncode:
        raise LabUnavailable(f"{' '.join(command)}: {done.stderr[-500:]}")
