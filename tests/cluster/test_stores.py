"""Objects of a store, from an S3 server to the disks of a real cluster; no secret stays anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster.conftest import Castray
from tests.helpers.servers.s3_server import S3Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

SECRET = "the-secret-key-of-this-test"
KEY = "THEACCESSKEYOFTHISTEST"


def found_in(folder: Path, *marks: str) -> list[tuple[str, str]]:
    """The files below a folder that have one of these texts in them, and which."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and ".aws" not in path.parts:
            content = path.read_bytes()
            found += [(str(path), mark) for mark in marks if mark.encode() in content]
    return found


def test_objects_of_a_store_reach_every_node(cluster: Castray, s3_process: S3Server, tmp_path: Path) -> None:
    payloads = {f"data/{number}.bin": os.urandom(number * 100_000) for number in range(6)}
    s3_process.reset()
    s3_process.put("bucket")
    for key, payload in payloads.items():
        s3_process.put(f"bucket/{key}", payload)
    settings = cluster.home / ".aws"  # read each time, unlike the environment of an engine that runs
    settings.mkdir(exist_ok=True)
    (settings / "config").write_text(f"[default]\nregion = us-east-1\nendpoint_url = {s3_process.url}\n")
    (settings / "credentials").write_text(
        f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    )
    status, result, errors = cluster.send(
        "s3://bucket/data", "--to", "all", "--exclude", "0.bin", "--dest", tmp_path / "{node}"
    )
    assert (status, result["state"]) == (0, "completed"), errors
    assert result["checksums"] == {"md5": 5}
    assert len(result["deliveries"]) > 1
    for delivery in result["deliveries"]:
        folder = tmp_path / delivery["node"] / "data"
        assert sorted(path.name for path in folder.iterdir()) == [f"{number}.bin" for number in range(1, 6)]
        for path in folder.iterdir():
            assert path.read_bytes() == payloads[f"data/{path.name}"]

    status, _, errors = cluster.send("s3://bucket/nothing", "--to", "all")
    assert status == 1
    assert "There is nothing at s3://bucket/nothing." in errors
    shown = [errors]
    for words in (("casts", "--json"), ("history", "--json"), ("engine", "status", "--json")):
        done = cluster(*words)
        assert done.returncode == 0, (words, done.stderr)
        shown.append(done.stdout + done.stderr)
    assert '"name": "data/"' in shown[2]
    marks = (SECRET, KEY, "X-Amz-Signature=")
    assert [mark for mark in marks for text in shown if mark in text] == []
    assert found_in(cluster.home, *marks) == []
