"""The session of the user guide, run by a shell as it is printed there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

GUIDE = Path(__file__).resolve().parent.parent.parent / "docs" / "user-guide.md"
HEADING = "### A session at the command line\n"

_VARIABLE = {
    re.compile(r"(?:blake3|sha256):(?:[0-9a-f]{64}|…)"): "HASH",
    re.compile(r"in [\d.]+ s \([\d.]+ [KM]?B/s\)"): "in TIME",
    re.compile(r"[\d.]+ copies"): "COPIES copies",
}


def session() -> list[tuple[str, list[str]]]:
    """The commands of the guide, each with the lines that follow it."""
    text = GUIDE.read_text().partition(HEADING)[2]
    lines = [line[4:] for line in text.partition("\n#")[0].splitlines() if line.startswith("    ")]
    steps: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    return steps


def without_times(lines: list[str], home: Path) -> list[str]:
    """Lines in which everything that differs from run to run is the same."""
    found = [line.replace(str(home), "/home/me") for line in lines]
    for pattern, word in _VARIABLE.items():
        found = [pattern.sub(word, line) for line in found]
    return found


def test_the_session_of_the_user_guide(cluster: Castray, tmp_path: Path) -> None:
    steps = session()
    assert len(steps) > 10
    (tmp_path / "llama.safetensors").write_bytes(bytes(4_000_000))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "today.txt").write_text("hello\n")
    (tmp_path / "notes" / "scratch.tmp").write_text("no\n")
    (tmp_path / "notes" / ".castrayignore").write_text("# what nobody else needs\n*.tmp\n.castrayignore\n")
    script = "\n".join(f"echo '=== {number}'; {command}" for number, (command, _) in enumerate(steps))
    done = subprocess.run(
        ["bash", "-c", f'castray() {{ "{sys.executable}" -m castray_desktop "$@"; }}\nexec 2>&1\n{script}'],
        cwd=tmp_path,
        env=cluster.environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    parts = re.split(r"^=== \d+\n", done.stdout, flags=re.MULTILINE)[1:]
    told = [without_times(part.splitlines(), cluster.home) for part in parts]
    expected = [without_times(lines, cluster.home) for _, lines in steps]
    assert dict(zip((command for command, _ in steps), told, strict=True)) == {
        command: lines for (command, _), lines in zip(steps, expected, strict=True)
    }
    assert done.stderr == ""
