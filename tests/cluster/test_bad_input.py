"""Bad input is reported: a sentence that names the file or node, the exit status, and nothing left behind."""

from __future__ import annotations

import filecmp
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from castray_desktop.workers.clusters.node_inventory import local_node_name
from tests.cluster.conftest import Castray
from tests.helpers.trees import make_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(120)]

MIB = 1 << 20
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 and not os.environ.get("CI"), reason="needs root: mounts, and drops root's rights"
)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["/nowhere/at/all", "--to", "all"], 2, "/nowhere/at/all does not exist"),
        (["{file}", "--to", "nobody"], 2, "There is no node named nobody. Available nodes:"),
        (["{file}", "--to", ","], 2, "No recipients were chosen"),
        (["{file}", "--to", "{own}"], 2, "is the source, so it can't be a recipient"),
        (["{file}", "--to", "all", "--limit", "fast"], 2, "fast is not a speed"),
        (["{file}", "--to", "all", "--dest", "here"], 2, "here is not a valid destination"),
        (["{file}", "{file}", "--to", "all"], 2, "Two of the items to send are named"),
        (["{file}", "--to", "all", "--from", "nobody"], 2, "There is no node named nobody"),
        (["{fifo}", "--to", "all"], 2, "is a named pipe and can't be sent"),
        (["/dev/null", "--to", "all"], 2, "/dev/null is a device and can't be sent"),
        (
            ["{file}", "--to", "all", "--cluster", "nowhere"],
            3,
            "The cluster nowhere can't be reached: the format is HOST:PORT",
        ),
    ],
)
def test_refused_before_anything_is_sent(
    cluster: Castray, tmp_path: Path, arguments: list[str], status: int, words: str
) -> None:
    file, fifo = make_file(tmp_path / "file.bin", 10), tmp_path / "fifo"
    os.mkfifo(fifo)
    names = {"file": str(file), "fifo": str(fifo), "own": local_node_name()}
    done = cluster("send", *(argument.format_map(names) for argument in arguments), "--json")
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert '"completed"' not in done.stdout


def test_bad_usage_is_2(own_castray: Castray) -> None:
    for arguments in (
        ["send"],
        ["send", "x"],
        ["engine"],
        ["node", "add"],
        ["send", "x", "--to", "all", "--on-conflict", "x"],
    ):
        done = own_castray(*arguments)
        assert done.returncode == 2
        assert "usage:" in done.stderr


def test_the_version_needs_no_engine(own_castray: Castray) -> None:
    done = own_castray("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "castray")
    assert own_castray.processes() == []


def test_a_missing_file_starts_no_cluster(own_castray: Castray) -> None:
    assert own_castray("send", "/nowhere", "--to", "all").returncode == 2
    assert own_castray.processes() == []


def test_no_engine_is_no_error_for_questions(own_castray: Castray) -> None:
    assert own_castray("casts", "--json").stdout.strip() == "[]"
    status = json.loads(own_castray("engine", "status", "--json").stdout)
    assert status["state"] == "stopped"
    assert own_castray("engine", "stop").returncode == 0
    assert own_castray("cancel", "abc").returncode == 3


@needs_root
def test_no_room_on_one_recipient(cluster: Castray, tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "node_2").symlink_to(small_disk)
    file = make_file(tmp_path / "big.bin", 5 * MIB)
    status, result, errors = cluster.send(file, "--to", "all", "--dest", tmp_path / "{node}")
    assert (status, result["state"]) == (1, "partly_failed"), errors
    assert [item["state"] for item in result["deliveries"]] == ["completed", "failed", "completed"]
    assert "node_2 has no room" in result["deliveries"][1]["reason"]
    assert list(small_disk.iterdir()) == []
    assert filecmp.cmp(file, tmp_path / "node_3" / "big.bin", shallow=False)


def test_a_destination_below_a_file(cluster: Castray, tmp_path: Path) -> None:
    (tmp_path / "node_1").write_text("not a folder")
    file = make_file(tmp_path / "x.bin", 100)
    status, result, _ = cluster.send(file, "--to", "all", "--dest", tmp_path / "{node}" / "deep")
    assert status == 1
    assert [item["state"] for item in result["deliveries"]] == ["failed", "completed", "completed"]
    assert "node_1 is not a folder" in result["deliveries"][0]["reason"]
    assert (tmp_path / "node_1").read_text() == "not a folder"


@needs_root
def test_a_destination_that_may_not_be_written(cluster: Castray, tmp_path: Path) -> None:
    locked = tmp_path / "node_3"
    locked.mkdir()
    subprocess.run(["mount", "--bind", "-o", "ro", str(locked), str(locked)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(locked)], check=True)
    try:
        file = make_file(tmp_path / "x.bin", 100)
        status, result, _ = cluster.send(file, "--to", "all", "--dest", tmp_path / "{node}")
        assert status == 1
        assert "node_3 can't write to" in result["deliveries"][2]["reason"]
        assert result["deliveries"][0]["state"] == "completed"
    finally:
        subprocess.run(["umount", str(locked)], check=True)


@needs_root
def test_what_may_not_be_read(own_castray: Castray, tmp_path: Path) -> None:
    """Root without the capability to read everything behaves like any other user."""
    own_castray.demo_nodes(1)
    secret = make_file(tmp_path / "secret.bin", 100)
    folder = tmp_path / "folder"
    folder.mkdir()
    make_file(folder / "open.bin", 100)
    inner = make_file(folder / "closed.bin", 100)
    for path in (secret, inner):
        path.chmod(0o600)
        os.chown(path, 65534, 65534)
    drop = [
        "setpriv",
        "--bounding-set",
        "-dac_override,-dac_read_search",
        "--inh-caps",
        "-dac_override,-dac_read_search",
    ]

    def send(path: Path) -> subprocess.CompletedProcess[str]:
        arguments = own_castray.command("send", path, "--to", "node_1", "--dest", tmp_path / "out", "--json")
        return subprocess.run(
            [*drop, *arguments],
            env=own_castray.environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    refused = send(secret)
    assert refused.returncode == 2
    assert f"does not have permission to read {secret}" in refused.stderr
    in_part = send(folder)
    assert in_part.returncode == 1, in_part.stderr
    result = json.loads(in_part.stdout.splitlines()[-1])
    assert result["state"] == "partly_failed"
    assert "closed.bin" in result["deliveries"][0]["reason"]
    assert [path.name for path in (tmp_path / "out" / "folder").iterdir()] == ["open.bin"]


def test_a_pipe_or_socket_in_a_folder_is_left_out_by_name(cluster: Castray, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    make_file(folder / "fine.bin", 10)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "sock"))
        status, result, _ = cluster.send(folder, "--to", "node_1", "--dest", tmp_path / "out")
    assert (status, result["state"]) == (1, "partly_failed")
    assert "mixed/sock" in result["deliveries"][0]["reason"]
    assert [path.name for path in (tmp_path / "out" / "mixed").iterdir()] == ["fine.bin"]


@pytest.mark.parametrize("change", ["shrinks", "grows"])
def test_a_file_that_changes_while_it_is_sent_fails_by_name(
    cluster: Castray, tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    make_file(folder / "a-first.bin", 60 * MIB)
    changing = make_file(folder / "b-changing.bin", 100 * MIB)
    make_file(folder / "c-last.bin", 10)
    command = cluster.start(
        "send", folder, "--to", "node_1,node_2", "--dest", tmp_path / "{node}", "--limit", "5MB/s", "--json"
    )
    assert command.stdout is not None
    for line in command.stdout:
        progress = json.loads(line)
        if any(item["bytes"] for item in progress["deliveries"]):
            break
    if change == "shrinks":
        os.truncate(changing, 10 * MIB)
    else:
        with changing.open("ab") as file:
            file.write(b"more")
    assert cluster("limit", "off", "--cast", progress["cast"]).returncode == 0
    output, errors = command.communicate(timeout=60)
    result = json.loads(output.splitlines()[-1])
    assert command.returncode == 1, errors
    assert result["state"] == "partly_failed"
    for item in result["deliveries"]:
        assert "b-changing.bin changed while it was being sent" in item["reason"]
        delivered = tmp_path / item["node"] / "data"
        assert sorted(path.name for path in delivered.iterdir()) == ["a-first.bin", "c-last.bin"]
        assert filecmp.cmp(folder / "a-first.bin", delivered / "a-first.bin", shallow=False)
    assert not list(tmp_path.rglob(".castray*"))
