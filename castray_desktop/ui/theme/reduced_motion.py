"""Whether the desktop asks that nothing moves by itself. Qt does not say so, so its own places are looked at.

KDE and the GTK desktops keep it in files; GNOME's is asked for by its own tool, beside the window's loop.
"""

from __future__ import annotations

import configparser
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import QObject, QProcess

GNOME_QUESTION = ("get", "org.gnome.desktop.interface", "enable-animations")


def desktop_is_still(environment: Mapping[str, str] = os.environ) -> bool:
    """What the files of KDE and GTK say; false where they don't."""
    given = Path(environment.get("XDG_CONFIG_HOME", ""))
    config = given if given.is_absolute() else Path(environment.get("HOME", "/")) / ".config"
    if _value(config / "kdeglobals", "KDE", "AnimationDurationFactor") in ("0", "0.0"):
        return True
    gtk = (
        _value(config / f"gtk-{version}.0" / "settings.ini", "Settings", "gtk-enable-animations")
        for version in (4, 3)
    )
    return any(value in ("0", "false") for value in gtk)


def _value(file: Path, section: str, key: str) -> str:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(file.read_text("utf-8"))
    except (OSError, ValueError, configparser.Error):
        return ""
    return (parser.get(section, key, fallback="") or "").strip().casefold()


def ask_gnome(
    told: Callable[[bool], None], parent: QObject, environment: Mapping[str, str] = os.environ
) -> QProcess | None:
    """Ask GNOME; `told` hears whether nothing shall move. Nothing happens on another desktop."""
    if "GNOME" not in environment.get("XDG_CURRENT_DESKTOP", "").upper().split(":"):
        return None
    tool = shutil.which("gsettings", path=environment.get("PATH"))
    if tool is None:
        return None
    process = QProcess(parent)

    def answered() -> None:
        told(bytes(process.readAllStandardOutput().data()).strip() == b"false")
        process.deleteLater()

    process.finished.connect(answered)
    process.start(tool, list(GNOME_QUESTION))
    return process
