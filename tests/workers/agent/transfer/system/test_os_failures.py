"""A full disk is told with the figures of the file system that it lies on; other limits in its own words."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.workers.agent.transfer.system.os_failures import free_bytes, write_failure


def test_the_free_space_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    free = free_bytes(os.fsencode(tmp_path / "not" / "yet" / "a.bin"))
    assert abs(free - found.f_bavail * found.f_frsize) < 1 << 30  # others write there as well


def test_a_file_system_that_is_full_has_less_than_is_needed(tmp_path: Path) -> None:
    """It may count blocks as free that are kept for others."""
    full = OSError(errno.ENOSPC, "No space left on device")
    error = write_failure(full, "node_1", str(tmp_path / "a.bin"), needed=1000)
    assert error.failure.kind is FailureKind.NO_ROOM
    assert error.failure.values["free"] == format_bytes(0)
    assert error.failure.values["needed"] == format_bytes(1000)


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EFBIG])
def test_a_quota_and_the_largest_file_are_no_full_disk(tmp_path: Path, number: int) -> None:
    error = write_failure(OSError(number, os.strerror(number)), "node_1", str(tmp_path / "a"), needed=1000)
    assert error.failure.kind is FailureKind.WRITE_ERROR
    assert error.failure.values["reason"] == os.strerror(number)
