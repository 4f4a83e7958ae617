"""Digests that are known before their pieces."""

from __future__ import annotations

import pytest

from castray_desktop.workers.ray_side.byte_plane.multicast.early import EarlyDigests


def digest(number: int) -> bytes:
    return bytes([number]) * 16


def test_what_has_come_is_known() -> None:
    early = EarlyDigests()
    assert early.of(0) is None
    early.note(1, digest(1) + digest(2), 4)
    assert [early.of(index) for index in range(4)] == [None, digest(1), digest(2), None]
    early.note(2, digest(9), 4)
    assert early.of(2) == digest(9)


def test_there_are_no_digests_beyond_the_last_piece() -> None:
    early = EarlyDigests()
    with pytest.raises(ValueError, match="up to 5"):
        early.note(3, digest(1) + digest(2), 4)
    assert early.of(3) is None
