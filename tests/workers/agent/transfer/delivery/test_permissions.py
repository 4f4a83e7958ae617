"""Missing permissions of a user other than root are reported by name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(60)

AS_NOBODY = """
import encodings.ascii, encodings.idna  # while the interpreter's files may be read
import getpass, json, os, pwd, shutil, sys
from pathlib import Path
from castray_desktop.core.protocol.nodes.agent_orders import CheckDestination
from castray_desktop.core.protocol.nodes.cast_parcel import TopEntry
from tests.workers.agent.transfer.lab import Lab, tree
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
lab = Lab(Path(sys.argv[1]) / "lab")
nodes = lab.chain(1)
_, report = lab.prepare(nodes[0], [Path(sys.argv[1]) / "files" / "secret"])
found = {"file": [report.failure.kind, report.failure.values]}
cast = lab.cast(nodes[0], [Path(sys.argv[1]) / "files"])
cast.deliver(nodes[1], nodes[0].upstream())
(result,) = cast.results()
report = cast.finish_source()
found["folder"] = [result.state, sorted(os.listdir(nodes[1].inbox / "files"))]
found["problems"] = sorted([problem.path, problem.failure.kind] for problem in report.problems)
reply = nodes[1].plane.preflight(CheckDestination("c", sys.argv[1] + "/closed/x", (TopEntry("a"),), 1, 1))
found["preflight"] = [reply.failure.kind, reply.failure.values]
(result,) = lab.send(nodes, [Path(sys.argv[1]) / "files" / "good"], sys.argv[1] + "/closed")
found["delivery"] = [result.failure.kind, result.failure.values]
read_only = lab.files / "read-only folder"
read_only.mkdir()
(read_only / "x").write_text("x")
read_only.chmod(0o555)
found["read-only"] = lab.send(nodes, [read_only])[0].state
def folders(top, mode):
    for path in (*top.rglob("*"), top):
        if path.is_dir() and not path.is_symlink():
            path.chmod(mode)
def facts(top):
    return {name: more[:3] for name, more in tree(top).items()}
folders(read_only, 0o755)
for name in ("y", "old", "sub/z", "kind/x", "kind/deep/x"):
    (read_only / name).parent.mkdir(exist_ok=True, parents=True)
    (read_only / name).write_text(name)
found["updates"] = []
there = nodes[1].inbox / "read-only folder"
for change in ("new", "all", "kinds"):
    if change == "all":
        (read_only / "x").write_text("changed")
        (read_only / "old").unlink()
        (read_only / "sub" / "new").write_text("new")
    if change == "kinds":
        shutil.rmtree(read_only / "kind")
        (read_only / "kind").write_text("a file now")
        (read_only / "y").unlink()
        (read_only / "y").mkdir()
    folders(read_only, 0o555)
    (result,) = lab.send(nodes, [read_only], on_conflict="overwrite", remove_extra=True)
    found["updates"].append([result.state, result.removed, facts(there) == facts(read_only)])
    folders(read_only, 0o755)
print(json.dumps(found))
folders(there, 0o755)
lab.close()
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody can enter, with contents that must not change."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    for name, mode in (("files", 0o755), ("lab", 0o777), ("closed", 0o555), ("home", 0o777)):
        (folder / name).mkdir()
        (folder / name).chmod(mode)
    (folder / "files" / "good").write_text("good")
    (folder / "files" / "secret").write_text("secret")
    (folder / "files" / "secret").chmod(0)
    (folder / "files" / "secrets").mkdir()
    (folder / "files" / "secrets").chmod(0)
    yield folder
    for name in ("closed", "files/secrets"):
        (folder / name).chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture
def found(world: Path) -> dict[str, Any]:
    environment = {**os.environ, "CASTRAY_HOME": str(world / "home")}
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(world)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_everything_that_may_not_be_touched(found: dict[str, Any], world: Path) -> None:
    assert found["file"][0] == "not_readable"
    assert found["file"][1]["path"] == str(world / "files" / "secret")
    assert found["file"][1]["user"]
    assert found["folder"] == ["completed", ["good"]]
    assert found["problems"] == [["files/secret", "not_readable"], ["files/secrets", "not_readable"]]
    assert found["preflight"][0] == "not_writable"
    assert found["preflight"][1]["reason"] == "permission denied"
    assert found["delivery"][0] == "not_writable"
    assert found["delivery"][1]["path"] == str(world / "closed")
    assert found["read-only"] == "completed"
    assert found["updates"] == [["completed", 0, True], ["completed", 1, True], ["completed", 4, True]]
