"""`castray desktop`: puts CastRay into the desktop's menu and its file managers, and takes it out again.

What was written is noted in `HOME/desktop.json` with its digest. A file that somebody else has written, or
that was changed since, is never overwritten or removed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from castray_desktop.cli import arguments
from castray_desktop.cli.desktop_files import DesktopFile, desktop_files
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.home_files import load_dict
from castray_desktop.workers.places import find_places

PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    path: Path
    done: bool
    why_not: str = ""


class Desktop:
    """The user's folders, and the note of what was written into them."""

    def __init__(self, data: Path, config: Path, note: Path) -> None:
        self._folders = {"data": data, "config": config}
        self._note = note

    def install(self, files: tuple[DesktopFile, ...]) -> list[Outcome]:
        """Write all of them, and take away what an earlier version wrote. Raises CastRayError."""
        known = self._known()
        places = {self._folders[file.below] / file.path: file for file in files}
        outcomes = []
        for path, file in places.items():
            if path.is_symlink() or (path.exists() and not self._is_ours(path, known, file.content)):
                outcomes.append(Outcome(path, False, "it is there already, and CastRay did not write it"))
                continue
            known |= dict.fromkeys(self._write(path, file), "folder")
            known[str(path)] = _digest(file.content)
            self._keep(known)  # at once: whatever happens next, it is known to be ours
            outcomes.append(Outcome(path, True))
        self._take_away(
            [name for name in known if Path(name) not in places and known[name] != "folder"], known
        )
        self._show(list(places))
        return outcomes

    def remove(self) -> list[Outcome]:
        """Take away what `install` has written, and the folders that it has made. Raises CastRayError."""
        known = self._known()
        outcomes = self._take_away([name for name in known if known[name] != "folder"], known)
        for name in sorted((name for name in known if known[name] == "folder"), key=len, reverse=True):
            with contextlib.suppress(OSError):  # not empty: somebody else uses it too
                Path(name).rmdir()
            if not Path(name).is_dir():
                del known[name]
        self._keep(known)
        self._show([outcome.path for outcome in outcomes])
        return outcomes

    def _take_away(self, names: list[str], known: dict[str, str]) -> list[Outcome]:
        outcomes = []
        for name in names:
            path = Path(name)
            if not path.is_file() and not path.is_symlink():
                del known[name]
            elif self._is_ours(path, known):
                _try(path.unlink, path)
                del known[name]
                outcomes.append(Outcome(path, True))
            else:
                outcomes.append(Outcome(path, False, "it was changed since CastRay wrote it"))
        self._keep(known)
        return outcomes

    @staticmethod
    def _is_ours(path: Path, known: dict[str, str], wanted: bytes | None = None) -> bool:
        if path.is_symlink() or not path.is_file():
            return False
        digest = _digest(path.read_bytes())
        return digest == known.get(str(path)) or (wanted is not None and digest == _digest(wanted))

    def _write(self, path: Path, file: DesktopFile) -> list[str]:
        """Write it in one go; the folders that had to be made for it."""
        made = [str(folder) for folder in path.parents if not folder.exists()]
        _try(lambda: path.parent.mkdir(parents=True, exist_ok=True), path)
        _try(lambda: _replace(path, file.content, file.mode), path)
        return made

    def _known(self) -> dict[str, str]:
        return load_dict(self._note, "the files in the desktop's menus", str)

    def _keep(self, known: dict[str, str]) -> None:
        if not known:
            self._note.unlink(missing_ok=True)
            return
        text = json.dumps(known, indent=1, ensure_ascii=False)
        _try(lambda: self._note.parent.mkdir(parents=True, exist_ok=True, mode=0o700), self._note)
        _try(lambda: _replace(self._note, text.encode(), 0o600), self._note)

    def _show(self, paths: list[Path]) -> None:
        """Desktops look for new icons when the theme's folder has a new time."""
        for path in paths:
            if "hicolor" in path.parts:
                root = Path(*path.parts[: path.parts.index("hicolor") + 1])
                with contextlib.suppress(OSError):
                    os.utime(root)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes, mode: int) -> None:
    handle, name = tempfile.mkstemp(prefix=".castray-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink()
        raise


def _try(act: object, path: Path) -> None:
    assert callable(act)
    try:
        act()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CastRayError(FailureKind.FILE_NOT_WRITTEN, path=str(path), reason=reason) from error


def this_desktop() -> Desktop:
    """By the XDG base directories; a relative path counts as none, as they demand."""
    home = Path.home()

    def folder(variable: str, default: Path) -> Path:
        given = Path(os.environ.get(variable, ""))
        return given if given.is_absolute() else default

    data = folder("XDG_DATA_HOME", home / ".local" / "share")
    return Desktop(data, folder("XDG_CONFIG_HOME", home / ".config"), find_places().home / "desktop.json")


def this_command() -> tuple[str, ...]:
    """What opens the window from anywhere: the launcher of this folder, the installed script, or Python."""
    launcher = PACKAGE.parent / "castray"
    if os.access(launcher, os.X_OK) and launcher.is_file():
        return (str(launcher),)
    script = Path(sys.prefix) / "bin" / "castray"
    if script.is_file():
        return (str(script),)
    found = shutil.which("castray")
    return (os.path.abspath(found),) if found else (sys.executable, "-m", "castray_desktop")


def _icons() -> tuple[bytes, bytes]:
    for root in (PACKAGE / "resources", PACKAGE.parent / "resources"):
        if (root / "castray.svg").is_file():
            return (root / "castray.svg").read_bytes(), (root / "castray-256.png").read_bytes()
    raise CastRayError(FailureKind.NO_SUCH_FILE, path=str(PACKAGE / "resources" / "castray.svg"))


async def install(options: argparse.Namespace) -> int:
    """Carry out `castray desktop install`. Status 1 where a file was left, since it is another's."""
    if sys.platform == "darwin" or os.name == "nt":
        print("castray: there are such entries on Linux desktops only.", file=sys.stderr)
        return arguments.EXIT_NOT_DELIVERED
    outcomes = this_desktop().install(desktop_files(this_command(), *_icons()))
    return _tell(outcomes, "installed", options.json)


async def remove(options: argparse.Namespace) -> int:
    """Carry out `castray desktop remove`. Status 1 where a file was left, since it was changed."""
    outcomes = this_desktop().remove()
    if not outcomes and not options.json:
        print("There was nothing to remove.")
        return arguments.EXIT_DELIVERED
    return _tell(outcomes, "removed", options.json)


def _tell(outcomes: list[Outcome], word: str, as_json: bool) -> int:
    if as_json:
        done = [str(outcome.path) for outcome in outcomes if outcome.done]
        left = {str(outcome.path): outcome.why_not for outcome in outcomes if not outcome.done}
        print(json.dumps({word: done, "left": left}, ensure_ascii=False))
    else:
        for outcome in outcomes:
            if outcome.done:
                print(f"{word} {outcome.path}")
        for outcome in outcomes:
            if not outcome.done:
                print(f"castray: {outcome.path} was left as it is: {outcome.why_not}.", file=sys.stderr)
    all_done = all(outcome.done for outcome in outcomes)
    return arguments.EXIT_DELIVERED if all_done else arguments.EXIT_NOT_DELIVERED
