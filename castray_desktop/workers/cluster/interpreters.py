"""Pythons of this computer, for drivers that need another one than CastRay's own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

LOOK_SECONDS = 10.0
_PROBE = "import ensurepip, sys, venv; print('%d.%d.%d' % sys.version_info[:3])"
_USUAL_FOLDERS = ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin")


@dataclass(frozen=True)
class Interpreter:
    """A Python that can make environments."""

    path: Path
    version: str  # "3.12.1"


def minor(version: str) -> str:
    """ "3.12" of "3.12.1"."""
    return ".".join(version.split(".")[:2])


async def find_interpreter(version: str, environment: Mapping[str, str] = os.environ) -> Interpreter | None:
    """A Python of the same minor version, of the very same one if it is here; None if there is none."""
    found: Interpreter | None = None
    for path in candidates(minor(version), environment):
        interpreter = await _probe(path, version)
        if interpreter is None:
            continue
        if interpreter.version == version:
            return interpreter
        found = found or interpreter
    return found


def candidates(wanted: str, environment: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Where a Python "3.12" may lie: our own, pyenv's, on the path, in the usual folders; each once."""
    seen = set()
    for path in _places(wanted, environment):
        real = path.resolve()
        if real not in seen and os.access(path, os.X_OK):
            seen.add(real)
            yield path


def _places(wanted: str, environment: Mapping[str, str]) -> Iterator[Path]:
    name = f"python{wanted}"
    if wanted == f"{sys.version_info[0]}.{sys.version_info[1]}":
        yield Path(sys.base_prefix) / "bin" / name
    home = Path(environment.get("HOME") or Path.home())
    versions = Path(environment.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    fitting = versions.glob(f"{wanted}.*") if versions.is_dir() else iter(())
    yield from (folder / "bin" / name for folder in sorted(fitting, key=_newest_first))
    if on_path := shutil.which(name, path=environment.get("PATH")):
        yield Path(on_path)
    yield from (Path(folder) / name for folder in _USUAL_FOLDERS)


def _newest_first(folder: Path) -> list[int]:
    return [-int(number) for number in re.findall(r"\d+", folder.name)]


async def _probe(path: Path, version: str) -> Interpreter | None:
    """Ask the interpreter itself: what is on the path may be a shim that leads nowhere."""
    try:
        process = await asyncio.create_subprocess_exec(
            str(path),
            *("-I", "-c", _PROBE),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(LOOK_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    found = output.decode(errors="replace").strip()
    if process.returncode or minor(found) != minor(version):
        return None
    return Interpreter(path, found)


def find_uv(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The program uv, beside our own interpreter, on the path, or where its installer puts it."""
    home = Path(environment.get("HOME") or Path.home())
    folders = [
        str(Path(sys.executable).parent),
        environment.get("PATH", ""),
        *(str(home / part / "bin") for part in (".local", ".cargo")),
    ]
    found = shutil.which("uv", path=os.pathsep.join(folders))
    return Path(found) if found else None
