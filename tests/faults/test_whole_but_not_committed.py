"""A delivery that has every byte, and can't commit them: a retry has nothing to request from the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.agent_stage import LAST, agent_stage, make_parcel
from tests.faults.fault_checks import COMPLETED
from tests.faults.rows.disk_rows import LIST_BYTES, PART_FILES, WORKS, missing_bytes, retry, staging_left
from tests.helpers.fault_fs import fault_fs


@pytest.mark.timeout(240)
async def test_a_retry_completes_a_delivery_whose_disk_became_read_only_at_its_commit(tmp_path: Path) -> None:
    parcel = make_parcel(tmp_path / "parcel")
    async with (
        fault_fs(tmp_path / "disk") as disk,
        agent_stage(tmp_path, inboxes={LAST: tmp_path / "disk"}) as stage,
    ):
        await disk.hold("fsync", PART_FILES)
        cast = stage.send([parcel.folder])
        await disk.held()
        await disk.set_state(read_only=True)
        await disk.go_on()
        endings = await stage.endings(cast)
        assert (endings[LAST].state, endings[LAST].kind) == ("failed", "not_writable")
        assert {ending.state for node, ending in endings.items() if node != LAST} == {COMPLETED}
        await disk.set_state(**WORKS)
        repeated = await retry(stage, disk, parcel, cast, LAST)
        assert repeated.state == COMPLETED
        assert repeated.received <= LIST_BYTES
        assert await missing_bytes(disk, parcel) == 0
        stage.clear_casts()
        assert [*await stage.left(LAST), *await staging_left(disk, LAST)] == []
