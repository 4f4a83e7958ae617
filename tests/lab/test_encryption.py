"""What somebody records who taps the network between machines; for a real cluster, see `test_bare_ray.py`."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_nodes import lab_nodes
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions
from castray_desktop.core.protocol.messages import CastState, SendRequest
from tests.lab.traffic_recorder import recorded

MakeLab = Callable[..., Lab]
pytestmark = pytest.mark.timeout(240)

MIB = 1 << 20
SECONDS = 60


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="castray-lab-", dir="/dev/shm") as name:
        yield Path(name)


def marked_file(path: Path, size: int) -> bytes:
    """A file with a mark in each kibibyte, so that it is in each packet of its bytes."""
    mark = secrets.token_bytes(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(size // 1024):
            file.write(mark + os.urandom(992))
    return mark


async def test_the_traffic_of_agents_contains_neither_content_nor_names(
    make_lab: MakeLab, folder: Path
) -> None:
    """And is the same file in clear with `never`, so that the recorder is known to see it."""
    lab = make_lab(3, "400mbit")
    async with lab_nodes(lab) as nodes:
        path = nodes.folder / "source" / "payroll.bin"
        mark = marked_file(path, 6 * MIB)
        for choice, tapped in (
            (Encryption.ALWAYS, False),
            (Encryption.AUTO, False),
            (Encryption.NEVER, True),
        ):
            options = TransferOptions(
                destination=str(nodes.folder / f"{{node}}/{choice.value}"), encrypt=choice
            )
            request = SendRequest((str(path),), ("all",), source="h0", options=options)
            with recorded(lab, lab.hosts[1], folder) as traffic:
                cast = nodes.cast_manager.send(request)
                await nodes.until(lambda: not nodes.cast_manager.unfinished, SECONDS)
                result = await nodes.cast_manager.result(cast)
            assert result.summary.state is CastState.COMPLETED
            assert result.summary.encrypted is not tapped
            assert {item.encrypted for item in result.deliveries} == {not tapped}
            found = traffic.read_bytes()
            assert len(found) > 6 * MIB
            assert (mark in found) is tapped
            assert (path.name.encode() in found) is tapped
            assert (cast.encode() in found) is tapped
            for delivery in result.deliveries:
                assert Path(delivery.paths[0]).read_bytes() == path.read_bytes()
