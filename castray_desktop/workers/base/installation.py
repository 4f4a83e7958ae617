"""What has to be installed: extras of this package, and shared libraries of the system."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

EXTRAS = {
    "window": ("PySide6", "qasync", "pyqtgraph", "numpy"),
    "serve": ("fastapi", "uvicorn", "httptools", "websockets", "prometheus_client"),
    "remote": ("obstore", "huggingface_hub"),
}
"""The modules that each extra of pyproject.toml installs."""


@dataclass(frozen=True)
class SystemPackage:
    """What has to be there, and the package that has it: for apt, dnf and pacman."""

    content: str
    apt: str
    dnf: str
    pacman: str


LIBRARIES = tuple(
    SystemPackage(*row.split())
    for row in (
        "libGL.so.1             libgl1                libglvnd-glx         libglvnd",
        "libEGL.so.1            libegl1               libglvnd-egl         libglvnd",
        "libxkbcommon.so.0      libxkbcommon0         libxkbcommon         libxkbcommon",
        "libxkbcommon-x11.so.0  libxkbcommon-x11-0    libxkbcommon-x11     libxkbcommon-x11",
        "libxcb-cursor.so.0     libxcb-cursor0        xcb-util-cursor      xcb-util-cursor",
        "libxcb-icccm.so.4      libxcb-icccm4         xcb-util-wm          xcb-util-wm",
        "libxcb-image.so.0      libxcb-image0         xcb-util-image       xcb-util-image",
        "libxcb-keysyms.so.1    libxcb-keysyms1       xcb-util-keysyms     xcb-util-keysyms",
        "libxcb-render-util.so.0 libxcb-render-util0  xcb-util-renderutil  xcb-util-renderutil",
        "libxcb-randr.so.0      libxcb-randr0         libxcb               libxcb",
        "libxcb-shape.so.0      libxcb-shape0         libxcb               libxcb",
        "libxcb-shm.so.0        libxcb-shm0           libxcb               libxcb",
        "libxcb-sync.so.1       libxcb-sync1          libxcb               libxcb",
        "libxcb-xfixes.so.0     libxcb-xfixes0        libxcb               libxcb",
        "libxcb-xkb.so.1        libxcb-xkb1           libxcb               libxcb",
        "libdbus-1.so.3         libdbus-1-3           dbus-libs            dbus",
        "libfontconfig.so.1     libfontconfig1        fontconfig           fontconfig",
        "libglib-2.0.so.0       libglib2.0-0          glib2                glib2",
    )
)
"""The libraries that Qt loads. The launcher has the same table."""

CHINESE_FONT = SystemPackage(
    "a Chinese font", "fonts-noto-cjk", "google-noto-sans-cjk-fonts", "noto-fonts-cjk"
)


def resources_folder() -> Path:
    """The resources: in the package where it is installed, beside it in a clone."""
    package = Path(__file__).resolve().parent.parent.parent
    installed = package / "resources"
    return installed if installed.is_dir() else package.parent / "resources"


def lacks_extra(extra: str) -> bool:
    """Whether a module of this extra is not installed."""
    return any(importlib.util.find_spec(module) is None for module in EXTRAS[extra])


def extra_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install 'castray-desktop[{extra}]'"


def missing_libraries() -> tuple[SystemPackage, ...]:
    """What of `LIBRARIES` can't be loaded; loads the others into this process."""
    missing = []
    if sys.platform == "linux":
        for library in LIBRARIES:
            try:
                ctypes.CDLL(library.content)
            except OSError:
                missing.append(library)
    return tuple(missing)


def install_command(packages: Iterable[SystemPackage]) -> str:
    """The command that installs these packages here; without a known package manager, what they contain."""
    packages = tuple(packages)
    for program, prefix in (
        ("apt-get", "apt-get install -y"),
        ("dnf", "dnf install -y"),
        ("pacman", "pacman -S --noconfirm"),
    ):
        if shutil.which(program):
            attribute = program.partition("-")[0]
            names = dict.fromkeys(getattr(package, attribute) for package in packages)
            return f"sudo {prefix} {' '.join(names)}"
    return f"the packages that contain {', '.join(package.content for package in packages)}"
