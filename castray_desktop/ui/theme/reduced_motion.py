"""Detects whether the desktop asks for reduced motion, which Qt does not report.

KDE and the GTK desktops keep the setting in files; GNOME's is read by `gsettings` beside the event loop.
"""

from __future__ import annotations

import configparser
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from PySide6.QtCore import QObject, QProcess

GSETTINGS_ARGUMENTS = ("get", "org.gnome.desktop.interface", "enable-animations")


def desktop_reduces_motion(environment: Mapping[str, str] = os.environ) -> bool:
    """The setting in the files of KDE and GTK; false without one."""
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
    """Ask GNOME, and call `told` with the answer. Does nothing on another desktop."""
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
    process.start(tool, list(GSETTINGS_ARGUMENTS))
    return process
