"""Homes that earlier versions have left, unpacked for a test. `tools/sample_home.py` makes them."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
import time
from pathlib import Path

from castray_desktop.workers.clusters.node_inventory import local_node_name
from tools.sample_home import HOST, ROOT

DAY_SECONDS = 86400.0
HOMES = sorted((Path(__file__).resolve().parents[1] / "data" / "homes").glob("*.tar.xz"))


def unpack(archive: Path) -> Path:
    """Unpack the home and the files around it into a new folder, which the caller removes; returns that.

    All paths in it lead there, also those in databases, since the names have the same length. In files of
    JSON this computer has the place of the one on which it was made, and no schedule is due: each is by now.
    """
    root = Path(tempfile.mkdtemp(prefix=Path(ROOT).name, dir=Path(ROOT).parent))
    with tarfile.open(archive) as packed:
        made_in = packed.getnames()[0]
        members = packed.getmembers()
        for member in members:
            member.name = os.path.relpath(member.name, made_in)
        packed.extractall(root, [member for member in members if member.name != "."], filter="data")
    old, new = f"/tmp/{made_in}".encode(), str(root).encode()
    assert len(old) == len(new), "a database can't be changed"
    for path in root.rglob("*"):
        if path.is_file() and not path.is_relative_to(root / "files"):
            content = path.read_bytes()
            changed = content.replace(old, new).replace(old.hex().encode(), new.hex().encode())
            if path.suffix == ".json":
                changed = changed.replace(HOST.encode(), local_node_name().encode())
            if changed != content:
                path.write_bytes(changed)
    schedules = root / "castray" / "schedules.json"
    states = json.loads(schedules.read_text())
    for state in states:
        state["next_run"] = state["next_run"] and time.time() + DAY_SECONDS
    schedules.write_text(json.dumps(states))
    return root
