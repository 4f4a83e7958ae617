"""Piece digests and file hashes: fast ones where this Python has them, else the standard library's.

The fast ones are compiled modules: this Python's own, else those that a driver has shipped. A driver packs
its own modules into a package `castray_compiled`, below a folder named after the interpreter and platform
they were built for. A node of another kind finds nothing there; where they can't be loaded, it works without
them.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.machinery
import importlib.util
import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Optional, Protocol

from castray_desktop.core.multicast.datagrams import Expand, expand_by_shake

COMPILED_PACKAGE = "castray_compiled"
COMPILED_NAMES = ("blake3", "xxhash")


def find_module(name: str) -> Optional[Any]:
    """The module, or None if none works here."""
    module = _import(name)
    if module is not None:
        return module
    package = _import(COMPILED_PACKAGE)
    for place in getattr(package, "__path__", ()):
        folder = str(Path(place) / interpreter_kind())
        if folder not in sys.path:
            sys.path.append(folder)
            importlib.invalidate_caches()
    return _import(name) if package is not None else None


def pack_modules(folder: Path, names: Iterable[str] = COMPILED_NAMES) -> Optional[Path]:
    """Copy this interpreter's modules into a package below `folder`, to be shipped; None if there are none.

    Raises OSError.
    """
    package = folder / COMPILED_PACKAGE
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


xxhash = find_module("xxhash")  # optional on the cluster's Python
blake3 = find_module("blake3")


class Hasher(Protocol):
    """The part of hashlib's interface that is used here."""

    def update(self, data: Any, /) -> Any: ...

    def digest(self) -> bytes: ...


def _blake2b_128() -> Hasher:
    return hashlib.blake2b(digest_size=16)


_PIECE: dict[str, Callable[[], Hasher]] = {}
if xxhash is not None:
    _PIECE["xxh3-128"] = xxhash.xxh3_128
_PIECE["blake2b-128"] = _blake2b_128

_FILE: dict[str, Callable[[], Hasher]] = {}
if blake3 is not None:
    _FILE["blake3"] = blake3.blake3
_FILE["sha256"] = hashlib.sha256

PIECE_DIGESTS = tuple(_PIECE)  # what this node can compute, best first
FILE_HASHES = tuple(_FILE)


def piece_hasher(name: str) -> Callable[[], Hasher]:
    """The constructor of a piece hasher (16 bytes). Raises ValueError for one that this node lacks."""
    return _known(_PIECE, name)


def file_hasher(name: str) -> Callable[[], Hasher]:
    """The constructor of a file hasher (32 bytes). Raises ValueError for one that this node lacks."""
    return _known(_FILE, name)


def expander(file_hash: str) -> Expand:
    """The function that expands multicast tags, fast if all nodes have BLAKE3."""
    return _expand_by_blake3 if file_hash == "blake3" else expand_by_shake


def _expand_by_blake3(key: bytes, text: bytes, count: int) -> bytes:
    """A fifth of SHAKE128's time when not in the processor's cache (measured)."""
    return bytes(blake3.blake3(text, key=key).digest(length=count))  # type: ignore[union-attr]


def _known(table: dict[str, Callable[[], Hasher]], name: str) -> Callable[[], Hasher]:
    try:
        return table[name]
    except KeyError as error:
        raise ValueError(f"{name} can't be computed on this node") from error
