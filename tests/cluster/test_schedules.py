"""A watched folder in a real local cluster: one cast for many changes, none without changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState, OnConflict, Schedule, SendRequest
from castray_desktop.workers.client.engine_client import EngineClient

pytestmark = [pytest.mark.ray, pytest.mark.timeout(180)]

FILES = 1000
BYTES = 20_000
PATIENCE = 60.0


def write(folder: Path, numbers: range, content: str) -> None:
    """Files that are all moved into place at once, without quiet time between them."""
    written: dict[Path, Path] = {}
    for number in numbers:
        path = folder / f"folder {number % 10}" / f"file {number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        written[path] = folder.parent / f"written {number}"
        written[path].write_text(f"{content} {number} ".ljust(BYTES, "."))
    for path, new in written.items():
        new.replace(path)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_many_changes_are_one_cast_and_none_are_no_cast(client: EngineClient, tmp_path: Path) -> None:
    folder, events = tmp_path / "data", client.events()
    results: list[m.CastResult] = []

    async def rest(schedule: str, casts: int, unchanged: bool = False) -> None:
        """Wait until the schedule has had this number of casts, is idle, and optionally found no change.

        The kernel may notify late about changes that a cast has already sent; then the schedule always finds
        no change.
        """
        async with asyncio.timeout(PATIENCE):
            async for event in events:
                match event:
                    case m.CastResult(summary) if summary.schedule == schedule:
                        results.append(event)
                        assert len(results) <= casts
                    case m.SchedulesChanged(schedules):
                        info = {each.schedule.schedule: each for each in schedules}.get(schedule)
                        if info is None:  # the list before it was added
                            continue
                        at_rest = info.last_state is CastState.COMPLETED and not info.changes_seen
                        if len(results) == casts and at_rest and (info.unchanged or not unchanged):
                            return
        raise AssertionError("the connection was closed")

    write(folder, range(FILES), "first")
    request = SendRequest(
        (str(folder),),
        ("all",),
        options=TransferOptions(
            destination=str(tmp_path / "{node}"), on_conflict=OnConflict.OVERWRITE, remove_extra=True
        ),
    )
    added = await client.request(m.AddSchedule(Schedule("", "test", request, quiet=1.0)), m.ScheduleAdded)
    # When it watches again, it scans, and finds that no recipient lacks anything.
    await rest(added.schedule, 1, unchanged=True)

    write(folder, range(FILES), "second")
    (folder / "folder 3").rename(tmp_path / "gone")
    await rest(added.schedule, 2)
    assert [item.removed for item in results[1].deliveries] == [FILES // 10 + 1] * 3
    for node in ("node_1", "node_2", "node_3"):
        assert contents(tmp_path / node / "data") == contents(folder)

    write(folder, range(1), "third")
    await rest(added.schedule, 3)
    small = results[2].summary
    assert small.source_copies * small.bytes < 3 * (1 << 20)  # the differences, in whole pieces

    await client.request(m.EnableSchedule(added.schedule, False), m.Done)
    await client.request(m.EnableSchedule(added.schedule, True), m.Done)
    await rest(added.schedule, 3, unchanged=True)
    past = await client.request(m.GetHistory(m.HistoryQuery(text=str(folder))), m.HistoryPage)
    assert [cast.cast for cast in past.casts] == [result.summary.cast for result in reversed(results)]
