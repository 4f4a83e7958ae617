"""`castray desktop`: add CastRay to the desktop's menu and its file managers, or remove it from them.

`HOME/desktop.json` records each written file with its digest. A file that somebody else has written, or
that was changed since, is never overwritten or removed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    EXIT_NOT_DELIVERED,
    Commands,
    add_command,
    add_command_group,
)
from castray_desktop.cli.output.terminal import print_error, print_json
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.workers.base.home_format import check_home
from castray_desktop.workers.base.installation import resources_folder
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.base.state_files import load_dict

SEND, SEND_ZH = "Send with CastRay", "用 CastRay 发送"


@dataclass(frozen=True)
class DesktopFile:
    """A file to write below one of the user's folders."""

    below: str  # "data" or "config": the folders of the XDG base directories
    path: PurePosixPath
    content: bytes
    mode: int = 0o644


def desktop_files(command: tuple[str, ...], resources: Path) -> tuple[DesktopFile, ...]:
    """All files, for a command that takes paths as arguments. Raises OSError."""
    entry = (resources / "share/applications/castray.desktop").read_text(encoding="utf-8")
    icon_svg, icon_png = ((resources / name).read_bytes() for name in ("castray.svg", "castray-256.png"))
    return (
        _data("applications/castray.desktop", _application(entry, command)),
        DesktopFile("data", PurePosixPath("icons/hicolor/scalable/apps/castray.svg"), icon_svg),
        DesktopFile("data", PurePosixPath("icons/hicolor/256x256/apps/castray.png"), icon_png),
        _data(f"nautilus/scripts/{SEND}", _script(command), 0o755),
        _data("nemo/actions/castray.nemo_action", _nemo(command)),
        DesktopFile("config", PurePosixPath(f"caja/scripts/{SEND}"), _script(command).encode(), 0o755),
        _data("kio/servicemenus/castray.desktop", _service_menu(command), 0o755),  # KDE wants it executable
        _data("Thunar/sendto/castray.desktop", _send_to(command)),
    )


def _data(path: str, text: str, mode: int = 0o644) -> DesktopFile:
    return DesktopFile("data", PurePosixPath(path), text.encode(), mode)


def _application(entry: str, command: tuple[str, ...]) -> str:
    """The desktop entry of the resources, which starts `castray` from PATH, with this command instead."""
    return re.sub(r"^Exec=castray ", lambda _: f"Exec={exec_line(command)} ", entry, flags=re.MULTILINE)


def _send_to(command: tuple[str, ...]) -> str:
    """An entry of Thunar's menu *Send To*. Without MimeType it is there for all files and folders."""
    return f"""[Desktop Entry]
Type=Application
Version=1.0
Name=CastRay
Comment={SEND}
Comment[zh_CN]={SEND_ZH}
Exec={exec_line(command)} %F
Icon=castray
NoDisplay=true
"""


def _service_menu(command: tuple[str, ...]) -> str:
    """An entry for Dolphin and other programs that show KDE's service menus."""
    return f"""[Desktop Entry]
Type=Service
MimeType=all/all;
Actions=castray;
X-KDE-Priority=TopLevel
X-KDE-StartupNotify=true

[Desktop Action castray]
Name={SEND}
Name[zh_CN]={SEND_ZH}
Icon=castray
Exec={exec_line(command)} %F
"""


def _nemo(command: tuple[str, ...]) -> str:
    return f"""[Nemo Action]
Name={SEND}
Name[zh_CN]={SEND_ZH}
Comment={SEND}
Exec={exec_line(command)} %F
Icon-Name=castray
Selection=notnone
Extensions=any;
Quote=double
"""


def _script(command: tuple[str, ...]) -> str:
    """A script that Nautilus and Caja start in the shown folder with the names of the selected files."""
    words = " ".join(shell_word(word) for word in command)
    return f"""#!/bin/sh
# Opens CastRay with the chosen files in its send list.
[ $# -gt 0 ] || exit 0
exec {words} "$@"
"""


def shell_word(word: str) -> str:
    """A word quoted for a shell."""
    return "'" + word.replace("'", "'\\''") + "'"


def exec_line(command: tuple[str, ...]) -> str:
    """The command for `Exec` of a desktop entry, quoted twice: as an argument and as text."""
    words = []
    for word in command:
        quoted = "".join(f"\\{letter}" if letter in '"`$\\' else letter for letter in word)
        words.append('"' + quoted.replace("\\", "\\\\").replace("%", "%%") + '"')
    return " ".join(words)


PACKAGE = Path(__file__).resolve().parent.parent.parent


def add_parsers(commands: Commands) -> None:
    """Add `desktop`."""
    actions = add_command_group(
        commands,
        "desktop",
        "add CastRay to the desktop menu and the file managers",
        """
        castray desktop install       add it to the menu, and to Files, Nemo, Caja, Dolphin and Thunar
        castray desktop remove        remove these entries again
        """,
    )
    for name, summary, handler in (
        ("install", "install the entries for your user", install),
        ("remove", "remove the installed entries", remove),
    ):
        add_command(actions, name, summary, f"castray desktop {name}", handler=handler)


@dataclass(frozen=True)
class Outcome:
    """Whether one file was written or removed."""

    path: Path
    done: bool
    why_not: str = ""


class Desktop:
    """The user's folders, and the record of what was written into them."""

    def __init__(self, data: Path, config: Path, record: Path) -> None:
        self._folders = {"data": data, "config": config}
        self._record = record

    def install(self, files: tuple[DesktopFile, ...]) -> list[Outcome]:
        """Write all files, and remove those of an earlier version. Raises CastRayError."""
        known = self._load()
        places = {self._folders[file.below] / file.path: file for file in files}
        outcomes = []
        for path, file in places.items():
            if path.is_symlink() or (path.exists() and not self._is_ours(path, known, file.content)):
                outcomes.append(Outcome(path, False, "it already exists and was not written by CastRay"))
                continue
            known |= dict.fromkeys(self._write(path, file), "folder")
            known[str(path)] = _digest(file.content)
            self._save(known)  # at once, so that an interrupt leaves no unrecorded file
            outcomes.append(Outcome(path, True))
        self._delete([name for name in known if Path(name) not in places and known[name] != "folder"], known)
        self._touch_icon_theme(list(places))
        return outcomes

    def remove(self) -> list[Outcome]:
        """Remove what `install` has written, and the folders that it has made. Raises CastRayError."""
        known = self._load()
        outcomes = self._delete([name for name in known if known[name] != "folder"], known)
        for name in sorted((name for name in known if known[name] == "folder"), key=len, reverse=True):
            with contextlib.suppress(OSError):  # not empty: other programs use it too
                Path(name).rmdir()
            if not Path(name).is_dir():
                del known[name]
        self._save(known)
        self._touch_icon_theme([outcome.path for outcome in outcomes])
        return outcomes

    def _delete(self, names: list[str], known: dict[str, str]) -> list[Outcome]:
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
                outcomes.append(Outcome(path, False, "it was changed after CastRay wrote it"))
        self._save(known)
        return outcomes

    @staticmethod
    def _is_ours(path: Path, known: dict[str, str], wanted: bytes | None = None) -> bool:
        if path.is_symlink() or not path.is_file():
            return False
        digest = _digest(path.read_bytes())
        return digest == known.get(str(path)) or (wanted is not None and digest == _digest(wanted))

    def _write(self, path: Path, file: DesktopFile) -> list[str]:
        """Write a file atomically; returns the folders that were made for it."""
        made = [str(folder) for folder in path.parents if not folder.exists()]
        _try(lambda: path.parent.mkdir(parents=True, exist_ok=True), path)
        _try(lambda: _replace(path, file.content, file.mode), path)
        return made

    def _load(self) -> dict[str, str]:
        return load_dict(self._record, "the files in the desktop's menus", str)

    def _save(self, known: dict[str, str]) -> None:
        if not known:
            self._record.unlink(missing_ok=True)
            return
        text = json.dumps(known, indent=1, ensure_ascii=False)
        _try(lambda: self._record.parent.mkdir(parents=True, exist_ok=True, mode=0o700), self._record)
        _try(lambda: _replace(self._record, text.encode(), 0o600), self._record)

    def _touch_icon_theme(self, paths: list[Path]) -> None:
        """Desktops search for new icons when the time of the theme's folder has changed."""
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


def _try(write: Callable[[], object], path: Path) -> None:
    """Call `write`; its OSError becomes a CastRayError that names the file."""
    try:
        write()
    except OSError as error:
        reason = error.strerror or str(error)
        raise CastRayError(FailureKind.FILE_NOT_WRITTEN, path=str(path), reason=reason) from error


def this_desktop() -> Desktop:
    """The desktop in the XDG base directories; their specification ignores relative paths.

    Raises CastRayError(HOME_NEWER) for a home of a later version.
    """
    home = Path.home()

    def folder(variable: str, default: Path) -> Path:
        given = Path(os.environ.get(variable, ""))
        return given if given.is_absolute() else default

    data = folder("XDG_DATA_HOME", home / ".local" / "share")
    castray_home = find_paths().home
    check_home(castray_home)
    return Desktop(data, folder("XDG_CONFIG_HOME", home / ".config"), castray_home / "desktop.json")


def this_command() -> tuple[str, ...]:
    """The command that opens the window: the launcher beside the package, the installed script, or Python."""
    launcher = PACKAGE.parent / "castray"
    if os.access(launcher, os.X_OK) and launcher.is_file():
        return (str(launcher),)
    script = Path(sys.prefix) / "bin" / "castray"
    if script.is_file():
        return (str(script),)
    found = shutil.which("castray")
    return (os.path.abspath(found),) if found else (sys.executable, "-m", "castray_desktop")


async def install(options: argparse.Namespace) -> int:
    """Write the entries; status 1 if a file of another program was left."""
    if sys.platform == "darwin" or os.name == "nt":
        print_error("not_linux", "Desktop entries are supported only on Linux.", as_json=options.json)
        return EXIT_NOT_DELIVERED
    try:
        files = desktop_files(this_command(), resources_folder())
    except OSError as error:
        raise CastRayError(FailureKind.NO_SUCH_FILE, path=error.filename) from error
    outcomes = this_desktop().install(files)
    return _report(outcomes, "installed", options.json)


async def remove(options: argparse.Namespace) -> int:
    """Remove the entries; status 1 if a changed file was left."""
    outcomes = this_desktop().remove()
    if not outcomes and not options.json:
        print("Nothing to remove.")
        return EXIT_DELIVERED
    return _report(outcomes, "removed", options.json)


def _report(outcomes: list[Outcome], word: str, as_json: bool) -> int:
    if as_json:
        done = [str(outcome.path) for outcome in outcomes if outcome.done]
        left = {str(outcome.path): outcome.why_not for outcome in outcomes if not outcome.done}
        print_json({word: done, "left": left})
    else:
        for outcome in outcomes:
            if outcome.done:
                print(f"{word} {outcome.path}")
        for outcome in outcomes:
            if not outcome.done:
                print(f"castray: {outcome.path} was left as it is: {outcome.why_not}.", file=sys.stderr)
    all_done = all(outcome.done for outcome in outcomes)
    return EXIT_DELIVERED if all_done else EXIT_NOT_DELIVERED
