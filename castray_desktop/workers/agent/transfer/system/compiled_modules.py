"""Compiled modules that make hashing fast: this Python's own, else those that a driver has shipped.

A driver packs its own modules into a package `castray_compiled`, below a folder named after the
interpreter and platform they were built for. A node of another kind finds nothing there; where they can't
be loaded, it works without them.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Optional

PACKAGE = "castray_compiled"
NAMES = ("blake3", "xxhash")


def find_module(name: str) -> Optional[Any]:
    """The module, or None if none works here."""
    module = _import(name)
    if module is not None:
        return module
    package = _import(PACKAGE)
    for place in getattr(package, "__path__", ()):
        folder = str(Path(place) / interpreter_kind())
        if folder not in sys.path:
            sys.path.append(folder)
            importlib.invalidate_caches()
    return _import(name) if package is not None else None


def pack_modules(folder: Path, names: Iterable[str] = NAMES) -> Optional[Path]:
    """Copy this interpreter's modules into a package below `folder`, to be shipped; None if there are none.

    Raises OSError.
    """
    package = folder / PACKAGE
    packed = [name for name in names if _pack_one(name, package / interpreter_kind())]
    if not packed:
        return None
    (package / "__init__.py").touch()
    return package


def interpreter_kind() -> str:
    """For example "cpython-311-x86_64-linux-gnu": equal values can load the same modules."""
    return str(sysconfig.get_config_var("SOABI") or importlib.machinery.EXTENSION_SUFFIXES[0].strip("."))


def _pack_one(name: str, folder: Path) -> bool:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return False
    place = Path(spec.submodule_search_locations[0])
    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    if not any(path.name.endswith(suffixes) for path in place.iterdir()):
        return False
    shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyi"))
    return True


def _import(name: str) -> Optional[Any]:
    try:
        return importlib.import_module(name)
    except ImportError:  # also what was built for another system
        return None
