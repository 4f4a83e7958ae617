"""Casts leave nothing behind in engine and agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import many_casts
from castray_desktop.workers.casts import cast_publisher


async def test_nothing_grows_with_the_number_of_casts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cast_publisher, "MAX_KEPT_CASTS", 5)
    samples = await many_casts.run(tmp_path, casts=60, recipients=2, step=20)
    _, middle, last = samples
    assert last.kept == middle.kept == 5
    assert last.threads <= middle.threads
    assert last.descriptors <= middle.descriptors
    assert last.objects - middle.objects < 20 * 20  # a remaining cast would have about eighty each
