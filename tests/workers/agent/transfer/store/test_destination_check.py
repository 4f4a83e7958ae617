"""The file system of a folder, from the kernel's table of mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.store.destination_check import (
    locate_mount,
    parse_mountinfo,
    storage_of,
)

TABLE = rb"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:50 / /home rw,relatime shared:2 master:3 - nfs4 server:/export/home rw,vers=4.2
31 22 0:51 / /all rw - nfs server:/ rw
32 22 8:1 /srv/data /data rw,relatime - ext4 /dev/sda1 rw
33 22 0:60 / /with\040a\011space\134 rw - tmpfs none rw
34 33 0:61 / /with\040a\011space\134 rw - tmpfs other rw
35 22 0:62 /inner /mnt rw - fuse.sshfs me@host:/there rw
nonsense
36 22 0:63 / /cut off
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/", "k:8:1/"),
        (b"/homely", "k:8:1/homely"),
        (b"/srv/data/x", "k:8:1/srv/data/x"),
        (b"/data/x", "k:8:1/srv/data/x"),  # a part of the same file system
        (b"/home", "nfs:server:/export/home/"),
        (b"/home/ada/in", "nfs:server:/export/home/ada/in"),
        (b"/all/export/home/ada/in", "nfs:server:/export/home/ada/in"),  # mounted as another part
        (b"/with a\tspace\\/x", "k:0:61/x"),  # the last mount hides the one below
        (b"/mnt/x", "fuse.sshfs:me@host:/there/inner/x"),
    ],
)
def test_where_a_folder_lies(path: bytes, expected: str) -> None:
    assert storage_of(path, "k", TABLE)[1] == expected


def test_which_file_system_a_folder_lies_on() -> None:
    assert storage_of(b"/srv/x", "k", TABLE)[0] == storage_of(b"/data/y", "k", TABLE)[0] == "k:8:1"
    assert storage_of(b"/home/ada", "k", TABLE)[0] == "nfs:server:/export/home"
    assert storage_of(b"/x", "k", b"") == ("", "")


def test_a_file_system_of_one_kernel_is_no_other_kernels() -> None:
    assert storage_of(b"/data/x", "k", TABLE) != storage_of(b"/data/x", "l", TABLE)
    assert storage_of(b"/home/x", "k", TABLE) == storage_of(b"/home/x", "l", TABLE)


def test_no_table_is_no_answer() -> None:
    assert parse_mountinfo(b"") == []
    assert locate_mount([], b"/x") is None
    assert storage_of(b"/x", "k", b"rubbish") == ("", "")


def test_the_kernels_own_table(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    _, found = storage_of(os.fsencode(tmp_path), "k")
    assert found.startswith(f"k:{os.major(device)}:{os.minor(device)}/")
    assert found.endswith(tmp_path.name)
