"""Ray nodes on this machine: in a fake /proc, and fake Ray processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes.driver_protocol import RAY_FOLDER
from castray_desktop.workers.clusters import reaper
from castray_desktop.workers.clusters.cluster_discovery import find_running_clusters, is_ray_node

RUN = "0123456789ab"
NOBODY = 65534

LOOK = """
import os
from castray_desktop.workers.clusters.cluster_discovery import find_running_clusters
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(*find_running_clusters())
"""


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with only this process."""
    proc = tmp_path / "proc"
    (proc / "self" / "net").mkdir(parents=True)
    (proc / "self" / "net" / "tcp").touch()
    return proc


def add_raylet(proc: Path, temp_dir: str, *, elsewhere: bool = False, address: str = "10.0.0.1:6379") -> None:
    """A raylet in the network namespace of this process, or `elsewhere`."""
    process = proc / str(len(list(proc.iterdir())))
    (process / "net").mkdir(parents=True)
    if elsewhere:
        (process / "net" / "tcp").touch()
    else:
        (process / "net" / "tcp").hardlink_to(proc / "self" / "net" / "tcp")
    words = ["/ray/raylet", f"--gcs-address={address}", f"--temp_dir={temp_dir}"]
    words += [f"--session_dir={temp_dir}/session_1", ""]
    (process / "cmdline").write_bytes("\0".join(words).encode())


def test_a_node_of_ours_is_one_as_well(proc: Path, tmp_path: Path) -> None:
    assert not is_ray_node(proc)
    ours = tmp_path / f"{reaper.TEMP_PREFIX}{RUN}"
    reaper.make_temp_dir(ours)
    add_raylet(proc, str(ours / RAY_FOLDER))
    assert is_ray_node(proc)
    assert find_running_clusters(proc) == ()  # not attachable for other users


@pytest.mark.parametrize(
    "name",
    ["castray-data/ray", "castray-", "castray-0123456789ab-x/r", "castray-test", "castray-0123456789ab"],
)
def test_a_folder_that_only_has_a_name_like_ours_hides_nothing(proc: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(parents=True)
    add_raylet(proc, str(tmp_path / name))
    assert find_running_clusters(proc) == ("10.0.0.1:6379",)


def test_a_folder_below_ours_is_somebody_else_s(proc: Path, tmp_path: Path) -> None:
    ours = tmp_path / f"{reaper.TEMP_PREFIX}{RUN}"
    reaper.make_temp_dir(ours)
    add_raylet(proc, str(ours / "ray"))
    assert find_running_clusters(proc) == ("10.0.0.1:6379",)


def test_another_network_namespace_and_one_that_can_not_be_read_are_not_ours(
    proc: Path, tmp_path: Path
) -> None:
    add_raylet(proc, "/tmp/ray", elsewhere=True)
    assert (is_ray_node(proc), find_running_clusters(proc)) == (False, ())
    unreadable = proc / "77"
    unreadable.mkdir()
    (unreadable / "cmdline").write_bytes(b"/ray/raylet\0--gcs-address=10.0.0.2:6379\0")
    assert (is_ray_node(proc), find_running_clusters(proc)) == (False, ())
    add_raylet(proc, "/tmp/ray", address="10.0.0.3:6379")
    assert find_running_clusters(proc) == ("10.0.0.3:6379",)


@pytest.fixture
def raylets() -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Two root processes that look like raylets, one of them in its own network namespace."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs root and unshare")
    started: dict[str, subprocess.Popen[str]] = {}
    with ExitStack() as stack:
        for address, prefix in (("192.0.2.251:6379", []), ("192.0.2.252:6379", ["unshare", "--net"])):
            shown = f"exec -a /ray/raylet sh -c 'echo ready; read line' --gcs-address={address}"
            process = stack.enter_context(
                subprocess.Popen(
                    [*prefix, "bash", "-c", shown], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            stack.callback(process.communicate, "\n")
            started[address] = process
        for process in started.values():
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started


@pytest.mark.parametrize("user", ["root", "nobody"])
def test_a_real_network_namespace_is_told_by_every_user(
    raylets: dict[str, subprocess.Popen[str]], user: str
) -> None:
    """Users other than root can't read the namespaces of root's processes."""
    if user == "root":
        found = set(find_running_clusters())
    else:
        done = subprocess.run(
            [sys.executable, "-P", "-c", LOOK], capture_output=True, text=True, check=True, timeout=30
        )
        found = set(done.stdout.split())
    assert found & raylets.keys() == {"192.0.2.251:6379"}
