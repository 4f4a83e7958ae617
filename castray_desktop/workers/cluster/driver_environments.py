"""Environments for drivers: each has exactly the Ray that a cluster runs, on a Python that fits it.

They lie in `HOME/drivers`, one folder for each pair of versions, and are kept for the next time. Which
of them a cluster needs is noted by its target in `HOME/drivers/targets.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.cluster.driver_hashes import known_hashes
from castray_desktop.workers.cluster.interpreters import find_interpreter, find_uv, minor
from castray_desktop.workers.home_files import load_dict, replace_file

INTERPRETER_VARIABLE = "CASTRAY_DRIVER_PYTHON"
STEP_SECONDS = 900.0
MARK = "castray-driver.json"
KEPT_TARGETS = 200
WHEELS_ALONE = ("--only-binary", ":all:")
"""Building a source package would run its code here."""

# As PEP 440 has them: what a head says of itself becomes a part of a path, and of a command.
_RAY_VERSION = re.compile(
    r"\d{1,4}(\.\d{1,6}){1,3}((a|b|rc)\d{1,4})?(\.post\d{1,4})?(\.dev\d{1,8})?"
    r"(\+[a-z0-9]{1,40}(\.[a-z0-9]{1,40}){0,4})?",
    re.ASCII,
)
_PYTHON_VERSION = re.compile(r"\d\.\d{1,3}(\.\d{1,3})?((a|b|rc)\d{1,3})?\+?", re.ASCII)

log = logging.getLogger("castray.drivers")


@dataclass(frozen=True)
class Versions:
    """What a cluster runs: "2.49.2" and "3.12.1"."""

    ray: str
    python: str

    @property
    def are_sound(self) -> bool:
        """Whether they look like versions of Ray and Python. Others have no environment."""
        ray, python = _RAY_VERSION.fullmatch(self.ray), _PYTHON_VERSION.fullmatch(self.python)
        return ray is not None and python is not None

    @property
    def fits_us(self) -> bool:
        """Whether a driver of our own interpreter would do: the same Ray, and the same minor Python."""
        return self.ray == own_versions().ray and minor(self.python) == minor(platform.python_version())


def own_versions() -> Versions:
    """Those of the interpreter that runs this."""
    try:
        ray = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        ray = ""
    return Versions(ray, platform.python_version())


class DriverEnvironments:
    """Knows the environments that are ready, and makes others."""

    def __init__(self, home: Path, log_folder: Path) -> None:
        self._folder = home / "drivers"
        self._log = log_folder / "prepare.log"

    def interpreter(self, target: str) -> str:
        """The Python that a driver for `target` runs on."""
        given = os.environ.get(INTERPRETER_VARIABLE)
        if given:
            return given
        noted = self._targets().get(target)
        ready = self._ready(Versions(*noted)) if noted else None
        return str(ready) if ready else sys.executable

    def use(self, target: str, versions: Versions) -> bool:
        """Have drivers for `target` run on these versions from now on; says whether they can."""
        if os.environ.get(INTERPRETER_VARIABLE):
            return False
        if not versions.are_sound or (not versions.fits_us and self._ready(versions) is None):
            return False
        targets = self._targets()
        targets.pop(target, None)
        if not versions.fits_us:
            targets[target] = (versions.ray, versions.python)
        self._note(targets)
        return True

    def forget(self, target: str) -> bool:
        """Have drivers for `target` run on our own versions again; says whether they did not."""
        targets = self._targets()
        if targets.pop(target, None) is None:
            return False
        self._note(targets)
        return True

    def _note(self, targets: dict[str, tuple[str, str]]) -> None:
        latest = dict(list(targets.items())[-KEPT_TARGETS:])
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._folder / "targets.json", json.dumps(latest).encode())

    async def prepare(self, versions: Versions, step: Callable[[str], None]) -> None:
        """Make the environment for these versions. Cancelled, or where it fails, nothing of it is left.

        `step` hears "python", "environment", "ray" and "check", each when it begins. Raises CastRayError:
        PYTHON_MISSING or DRIVER_NOT_PREPARED.
        """
        values = {"ray": versions.ray, "python": versions.python, "log": str(self._log)}
        if os.environ.get(INTERPRETER_VARIABLE):
            reason = f"{INTERPRETER_VARIABLE} names the interpreter for all clusters"
            raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=reason)
        if not versions.are_sound:
            reason = "the cluster names versions that neither Ray nor Python has"
            raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=reason)
        folder = self._place(versions)
        try:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("wb") as output:
                await self._make(folder, versions, step, output)
            mark = {"ray": versions.ray, "python": versions.python}
            (folder / MARK).write_text(json.dumps(mark))
        except BaseException as error:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
            if isinstance(error, OSError):
                reason = error.strerror or str(error)
                raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=reason) from error
            if isinstance(error, _StepFailed):
                raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=str(error)) from error
            raise

    async def _make(
        self, folder: Path, versions: Versions, step: Callable[[str], None], output: BinaryIO
    ) -> None:
        step("python")
        interpreter, uv = await find_interpreter(versions.python), find_uv()
        python = folder / "bin" / "python"
        if interpreter is not None:
            make = [str(interpreter.path), "-I", "-m", "venv", str(folder)]
            install = [str(python), "-I", "-m", "pip", "install", "--no-input"]
        elif uv is not None:
            make = [str(uv), "venv", "--python", minor(versions.python), str(folder)]
            install = [str(uv), "pip", "install", "--python", str(python)]
        else:
            wanted = minor(versions.python)
            raise CastRayError(FailureKind.PYTHON_MISSING, python=wanted, ray=versions.ray)
        step("environment")
        await _run(make, output)
        step("ray")
        await _run([*install, *WHEELS_ALONE, *_ray_requirements(versions.ray, folder)], output)
        try:  # they make casts faster, and are shipped to the nodes
            fast = _required(known_hashes().for_fast_hashes(), folder / "fast-hashes.txt")
            await _run([*install, *WHEELS_ALONE, *fast], output)
        except _StepFailed as error:
            log.warning("hashes of that environment will be slow: %s", error)
        step("check")
        check = f"import ray; assert ray.__version__ == {versions.ray!r}, ray.__version__"
        await _run([str(python), "-I", "-c", check], output)

    def _ready(self, versions: Versions) -> Path | None:
        folder = self._place(versions)
        python = folder / "bin" / "python"
        return python if (folder / MARK).exists() and os.access(python, os.X_OK) else None

    def _place(self, versions: Versions) -> Path:
        """By the minor version of Python: what is the same up to there works together."""
        return self._folder / f"ray-{versions.ray}-py{minor(versions.python)}"

    def _targets(self) -> dict[str, tuple[str, str]]:
        noted = load_dict(self._folder / "targets.json", "the versions that clusters run", tuple[str, str])
        return {target: versions for target, versions in noted.items() if Versions(*versions).are_sound}


def _ray_requirements(version: str, folder: Path) -> list[str]:
    """What pip and uv take for this Ray, which can be spoken to from outside as well (`client`)."""
    known = known_hashes().for_ray(version)
    if known is None:
        log.warning("the hashes of Ray %s are not known: it is installed without comparing any", version)
        return [f"ray[client]=={version}"]
    return _required(known, folder / "requirements.txt")


def _required(requirements: str, file: Path) -> list[str]:
    """Requirements with hashes, by a file: pip takes hashes in no other way."""
    file.write_text(requirements)
    return ["--require-hashes", "-r", str(file)]


class _StepFailed(Exception):
    """A program ended with another status than 0."""


async def _run(command: Sequence[str], output: BinaryIO) -> None:
    """Run a program to its end, with nothing of our own Python in its way. Raises _StepFailed and OSError."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    output.write(f"$ {' '.join(command)}\n".encode())
    output.flush()
    start = output.tell()
    log.info("%s", " ".join(command))
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=environment,
    )
    try:
        async with asyncio.timeout(STEP_SECONDS):
            status = await process.wait()
    except TimeoutError as error:
        raise _StepFailed("it took too long") from error
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if status:
        raise _StepFailed(_why(Path(output.name), start))


def _why(path: Path, start: int) -> str:
    """The line of the output that says most."""
    with path.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("[notice]")]
    telling = [line for line in lines if line.lower().startswith("error")]
    return (telling or lines or ["it failed"])[-1]
