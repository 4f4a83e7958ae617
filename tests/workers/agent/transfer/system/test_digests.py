"""Compiled modules: packed by a driver, found by an agent that has none, harmless on other platforms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from castray_desktop.workers.agent.transfer.system import digests

ROOT = Path(__file__).resolve().parents[5]
ASK = (
    "from castray_desktop.workers.agent.transfer.system.digests import FILE_HASHES, PIECE_DIGESTS;"
    "print(FILE_HASHES[0], PIECE_DIGESTS[0])"
)


def best_digests(*paths: Path) -> str:
    """The algorithms that an interpreter without site-packages prefers, with these folders on its path."""
    path = f"import sys; sys.path[:0] = {[str(place) for place in (ROOT, *paths)]!r}; "
    command = [sys.executable, "-S", "-E", "-c", path + ASK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_node_with_nothing_works_with_the_standard_library() -> None:
    assert best_digests() == "sha256 blake2b-128"


def test_what_is_shipped_for_its_kind_is_used(tmp_path: Path) -> None:
    assert digests.pack_modules(tmp_path) == tmp_path / digests.COMPILED_PACKAGE
    assert best_digests(tmp_path) == "blake3 xxh3-128"
    assert not list(tmp_path.rglob("*.pyi"))


def test_what_is_of_another_kind_or_damaged_is_no_failure(tmp_path: Path) -> None:
    for name in ("other", "damaged"):
        digests.pack_modules(tmp_path / name)
    kind = tmp_path / "other" / digests.COMPILED_PACKAGE / digests.interpreter_kind()
    kind.rename(kind.with_name("cpython-311-aarch64-linux-gnu"))
    assert best_digests(tmp_path / "other") == "sha256 blake2b-128"
    for library in (tmp_path / "damaged").rglob("*.so"):
        library.write_bytes(b"\x7fELF of another machine")
    assert best_digests(tmp_path / "damaged") == "sha256 blake2b-128"


def test_a_driver_without_them_ships_nothing(tmp_path: Path) -> None:
    assert digests.pack_modules(tmp_path, ("no_such_module_here", "json")) is None
    assert list(tmp_path.iterdir()) == []
