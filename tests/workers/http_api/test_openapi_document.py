"""The API conforms to its OpenAPI document for any request."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("documented_requests.py")
OPERATIONS = 43


@pytest.mark.timeout(300)
def test_generated_requests_are_answered_as_documented(tmp_path: Path) -> None:
    """In a process of its own: schemathesis generates the requests when it collects its tests, for several
    seconds, and each of the processes that share the tests collects all of them.
    """
    words = [
        "-q",
        "-p",
        "schemathesis",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'tests'}",
        str(CASES),
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout.splitlines()[-1])
    assert passed is not None
    assert int(passed[1]) >= 3 * OPERATIONS  # with the token of the owner, of a reader and of a stranger
