"""The files for a desktop: an entry for its menu, and "send" entries for its file managers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

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
