"""Environments for drivers: each has exactly the Ray that a cluster runs, on a Python that fits it.

They are kept in `HOME/drivers`, one folder for each pair of versions. `HOME/drivers/targets.json` says
which of them a cluster needs.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.base.async_tasks import run_program
from castray_desktop.workers.base.state_files import load_dict, open_private, replace_file

PROBE_SECONDS = 10.0
_PROBE = "import ensurepip, sys, venv; print('%d.%d.%d' % sys.version_info[:3])"
_USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")

INTERPRETER_VARIABLE = "CASTRAY_DRIVER_PYTHON"
STEP_SECONDS = 900.0
MARKER_FILE = "castray-driver.json"
MAX_TARGETS = 200
WHEELS_ALONE = ("--only-binary", ":all:")
"""Building a source package would run its code here."""

# As PEP 440 has them: what a head says of itself becomes a part of a path, and of a command.
_RAY_VERSION = re.compile(
    r"\d{1,4}(\.\d{1,6}){1,3}((a|b|rc)\d{1,4})?(\.post\d{1,4})?(\.dev\d{1,8})?"
    r"(\+[a-z0-9]{1,40}(\.[a-z0-9]{1,40}){0,4})?",
    re.ASCII,
)
_PYTHON_VERSION = re.compile(r"\d\.\d{1,3}(\.\d{1,3})?((a|b|rc)\d{1,3})?\+?", re.ASCII)

HASHES_FILE = Path(__file__).with_name("driver_hashes.json")
"""The files of each known Ray, and of one version of each package that any of them needs.

`python -m tools.driver_hashes` makes it.
"""

FAST_HASHES = ("blake3", "xxhash")

log = logging.getLogger("castray.drivers")


def minor_version(version: str) -> str:
    """ "3.12" of "3.12.1"."""
    return ".".join(version.split(".")[:2])


async def find_interpreter(version: str) -> Path | None:
    """Find a Python of the same minor version, preferably the same version; None if there is none."""
    found: Path | None = None
    for path in interpreter_candidates(minor_version(version)):
        # It is run, since entries of PATH may be broken shims.
        status, output = await run_program([str(path), "-I", "-c", _PROBE], PROBE_SECONDS)
        its_version = output.strip().rpartition("\n")[2]  # warnings of the system may come before it
        if status == 0 and its_version == version:
            return path
        if status == 0 and found is None and minor_version(its_version) == minor_version(version):
            found = path
    return found


def interpreter_candidates(wanted: str) -> Iterator[Path]:
    """Candidate paths of a Python "3.12": the own one, pyenv's, PATH, common folders; without duplicates."""
    seen = set()
    for path in _interpreter_paths(wanted):
        real = path.resolve()
        if real not in seen and os.access(path, os.X_OK):
            seen.add(real)
            yield path


def _interpreter_paths(wanted: str) -> Iterator[Path]:
    name = f"python{wanted}"
    if wanted == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield Path(sys.base_prefix) / "bin" / name
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    fitting = versions.glob(f"{wanted}.*") if versions.is_dir() else iter(())
    yield from (folder / "bin" / name for folder in sorted(fitting, key=_newest_first))
    if on_path := shutil.which(name):
        yield Path(on_path)
    yield from (Path(folder) / name for folder in _USUAL_FOLDERS)


def _newest_first(folder: Path) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", folder.name)]


def find_uv() -> Path | None:
    """Find uv beside the own interpreter, on PATH, or where its installer puts it."""
    home = Path.home()
    folders = [
        str(Path(sys.executable).parent),
        os.environ.get("PATH", ""),
        *(str(home / part / "bin") for part in (".local", ".cargo")),
    ]
    found = shutil.which("uv", path=os.pathsep.join(folders))
    return Path(found) if found else None


@dataclass(frozen=True)
class RayVersions:
    """Ray and Python version of a cluster, such as "2.49.2" and "3.12.1"."""

    ray: str
    python: str

    @property
    def are_sound(self) -> bool:
        """Whether they look like versions of Ray and Python. Others have no environment."""
        ray, python = _RAY_VERSION.fullmatch(self.ray), _PYTHON_VERSION.fullmatch(self.python)
        return ray is not None and python is not None

    @property
    def fits_us(self) -> bool:
        """Whether the own interpreter can run the driver: same Ray, same Python minor version."""
        return self.ray == own_versions().ray and minor_version(self.python) == minor_version(
            platform.python_version()
        )


def own_versions() -> RayVersions:
    """The versions of this interpreter."""
    try:
        ray = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        ray = ""
    return RayVersions(ray, platform.python_version())


class KnownHashes(msgspec.Struct, frozen=True):
    """SHA-256 by Ray version and by requirement: "click==8.1.8 ; python_full_version < '3.10'"."""

    rays: dict[str, list[str]]
    packages: dict[str, list[str]]

    def for_ray(self, version: str) -> str | None:
        """Requirements of a Ray version and its dependencies, with hashes; None for an unknown version."""
        if version not in self.rays:
            return None
        ray = (f"ray[client]=={version}", self.rays[version])
        return _requirement_lines([ray, *self._packages(fast_hashes=False)])

    def for_fast_hashes(self) -> str:
        """The same for the packages with fast hashes."""
        return _requirement_lines(self._packages(fast_hashes=True))

    def _packages(self, *, fast_hashes: bool) -> Iterator[tuple[str, list[str]]]:
        for requirement, hashes in self.packages.items():
            if (requirement.partition("==")[0] in FAST_HASHES) is fast_hashes:
                yield requirement, hashes


@functools.cache
def known_hashes() -> KnownHashes:
    """Read the file."""
    return msgspec.json.decode(HASHES_FILE.read_bytes(), type=KnownHashes)


def _requirement_lines(requirements: Iterable[tuple[str, list[str]]]) -> str:
    return "".join(
        f"{requirement} {' '.join(f'--hash=sha256:{digest}' for digest in hashes)}\n"
        for requirement, hashes in requirements
    )


class DriverEnvironments:
    """Finds existing environments and creates new ones."""

    def __init__(self, home: Path, log_folder: Path) -> None:
        self._folder = home / "drivers"
        self._log = log_folder / "prepare.log"

    def interpreter(self, target: str) -> str:
        """The Python interpreter for a driver of `target`."""
        given = os.environ.get(INTERPRETER_VARIABLE)
        if given:
            return given
        noted = self._targets().get(target)
        ready = self._ready(RayVersions(*noted)) if noted else None
        return str(ready) if ready else sys.executable

    def use(self, target: str, versions: RayVersions) -> bool:
        """Use these versions for drivers of `target` from now on; returns whether they are available."""
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
        """Use the own versions for drivers of `target` again; returns whether that is a change."""
        targets = self._targets()
        if targets.pop(target, None) is None:
            return False
        self._note(targets)
        return True

    def _note(self, targets: dict[str, tuple[str, str]]) -> None:
        latest = dict(list(targets.items())[-MAX_TARGETS:])
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._folder / "targets.json", json.dumps(latest).encode())

    async def prepare(self, versions: RayVersions, step: Callable[[str], None]) -> None:
        """Create the environment for these versions. Nothing is left if it is cancelled or fails.

        `step` is called with "python", "environment", "ray" and "check" when each of them begins. Raises
        CastRayError: PYTHON_MISSING or DRIVER_NOT_PREPARED.
        """
        values = {"ray": versions.ray, "python": versions.python, "log": str(self._log)}
        if os.environ.get(INTERPRETER_VARIABLE):
            reason = f"{INTERPRETER_VARIABLE} names the interpreter for all clusters"
            raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=reason)
        if not versions.are_sound:
            reason = "the cluster reports versions of Ray or Python that do not exist"
            raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=reason)
        folder = self._place(versions)
        try:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open_private(self._log, "wb") as output:
                await self._make(folder, versions, step, output)
            mark = {"ray": versions.ray, "python": versions.python}
            (folder / MARKER_FILE).write_text(json.dumps(mark))
        except BaseException as error:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
            if not isinstance(error, OSError | _StepFailed):
                raise
            reason = getattr(error, "strerror", "") or str(error)
            raise CastRayError(FailureKind.DRIVER_NOT_PREPARED, **values, reason=reason) from error

    async def _make(
        self, folder: Path, versions: RayVersions, step: Callable[[str], None], output: BinaryIO
    ) -> None:
        step("python")
        interpreter, uv = await find_interpreter(versions.python), find_uv()
        python = folder / "bin" / "python"
        if interpreter is not None:
            make = [str(interpreter), "-I", "-m", "venv", str(folder)]
            # A driver imports a tenth of Ray's modules: they are compiled then, in the check first of all.
            install = [str(python), "-I", "-m", "pip", "install", "--no-input", "--no-compile"]
        elif uv is not None:
            make = [str(uv), "venv", "--python", minor_version(versions.python), str(folder)]
            install = [str(uv), "pip", "install", "--python", str(python)]
        else:
            wanted = minor_version(versions.python)
            raise CastRayError(FailureKind.PYTHON_MISSING, python=wanted, ray=versions.ray)
        step("environment")
        await _run(make, output)
        step("ray")
        await _run([*install, *WHEELS_ALONE, *_ray_requirements(versions.ray, folder)], output)
        try:  # faster hashes, also shipped to the nodes
            fast = _required(known_hashes().for_fast_hashes(), folder / "fast-hashes.txt")
            await _run([*install, *WHEELS_ALONE, *fast], output)
        except _StepFailed as error:
            log.warning("fast hashes are not available in that environment: %s", error)
        step("check")
        check = f"import ray; assert ray.__version__ == {versions.ray!r}, ray.__version__"
        await _run([str(python), "-I", "-c", check], output)

    def _ready(self, versions: RayVersions) -> Path | None:
        folder = self._place(versions)
        python = folder / "bin" / "python"
        return python if (folder / MARKER_FILE).exists() and os.access(python, os.X_OK) else None

    def _place(self, versions: RayVersions) -> Path:
        """The folder by Ray version and Python minor version, which determine compatibility."""
        return self._folder / f"ray-{versions.ray}-py{minor_version(versions.python)}"

    def _targets(self) -> dict[str, tuple[str, str]]:
        noted = load_dict(self._folder / "targets.json", "the versions that clusters run", tuple[str, str])
        return {target: versions for target, versions in noted.items() if RayVersions(*versions).are_sound}


def _ray_requirements(version: str, folder: Path) -> list[str]:
    """Arguments of pip and uv for this Ray, with its client server (`client`)."""
    known = known_hashes().for_ray(version)
    if known is None:
        log.warning("no hashes are known for Ray %s: installing it without checking hashes", version)
        return [f"ray[client]=={version}"]
    return _required(known, folder / "requirements.txt")


def _required(requirements: str, file: Path) -> list[str]:
    """Requirements with hashes, by a file: pip takes hashes in no other way."""
    file.write_text(requirements)
    return ["--require-hashes", "-r", str(file)]


class _StepFailed(Exception):
    """A program failed."""


async def _run(command: Sequence[str], output: BinaryIO) -> None:
    """Run a program without the own Python's environment variables. Raises _StepFailed and OSError."""
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
        raise _StepFailed(_last_error_line(Path(output.name), start))


def _last_error_line(path: Path, start: int) -> str:
    """The most informative line of the output."""
    with path.open("rb") as file:
        file.seek(start)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("[notice]")]
    telling = [line for line in lines if line.lower().startswith("error")]
    return (telling or lines or ["it failed"])[-1]
