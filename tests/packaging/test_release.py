"""What a release writes beside the files that it builds. The rest of it is `./castray release` itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools.release import LOCK, pins, write_sums


def test_the_constraints_are_the_versions_of_the_lock() -> None:
    requirements = [Requirement(line) for line in pins(LOCK).splitlines()]
    assert len(requirements) > 60
    assert all(str(requirement.specifier).startswith("==") for requirement in requirements)
    markers = {requirement.name: requirement.marker for requirement in requirements}
    assert markers["ray"] is None
    assert markers["shiboken6"] is not None  # its version depends on that of Python


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_the_checksums_are_those_of_the_files(tmp_path: Path) -> None:
    for name in ("a.whl", "b.tar.gz"):
        (tmp_path / name).write_bytes(name.encode())
    write_sums(tmp_path)
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=10)
    assert done.stdout == "a.whl: OK\nb.tar.gz: OK\n"
    (tmp_path / "a.whl").write_bytes(b"other")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=10).returncode == 1
