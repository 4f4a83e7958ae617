"""Homes that earlier versions have left: everything in them opens, is shown, and keeps its options.

`tests/cluster/test_upgrade.py` goes on with their casts and schedules in a real cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings

from castray_desktop import app
from castray_desktop.core.casts.transfer_options import OnConflict
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastState
from castray_desktop.workers.agent.transfer.delivery.audit import Receipts
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.state_files import RecipientGroupFile
from castray_desktop.workers.clusters.node_inventory import AddedNodeStore, NodeNameStore
from tests.helpers.earlier_home import HOMES, unpack
from tests.helpers.engine_home import EngineHome
from tools.sample_home import BIG_BYTES

MOST_BYTES = 200 * 1024


@pytest.fixture(params=HOMES, ids=lambda path: path.name.partition(".tar")[0])
def root(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder with the home `castray` of an earlier version, and the files around it."""
    root = unpack(request.param)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def old(root: Path, tmp_path: Path) -> Paths:
    old = Paths(root / "castray", tmp_path / "run" / "s.sock")
    old.prepare()
    return old


def test_the_archives_are_small() -> None:
    assert len(HOMES) >= 2
    assert [path.name for path in HOMES if path.stat().st_size > MOST_BYTES] == []


async def test_an_engine_opens_all_of_it(root: Path, old: Paths) -> None:
    engine_home = EngineHome(old)
    async with asyncio.timeout(20):
        client = await engine_home.connect()
        settings = (await client.request(m.GetSettings(), m.SettingsChanged)).settings
        assert settings.casts_at_once == 7
        assert settings.history_days == 400
        assert settings.go_on
        assert not settings.stay_awake
        assert settings.limit == 50_000_000
        page = await client.request(m.GetHistory(), m.HistoryPage)
        assert page.unreadable == 0
        states = sorted(cast.state for cast in page.casts)
        assert states.count(CastState.COMPLETED) == 3, states
        assert CastState.FAILED in states
        for cast in page.casts:
            past = await client.request(m.GetPastCast(cast.cast), m.CastResult)
            assert past.summary.cast == cast.cast
            assert past.deliveries
        (project, *_) = (cast for cast in page.casts if cast.options.exclude)
        assert project.options.exclude == ("*.tmp",)
        assert project.options.on_conflict is OnConflict.OVERWRITE
        assert project.options.destination == f"{root}/in/{{node}}"
        report = await client.request(m.GetStatistics(), m.StatisticsReport)
        assert report.ever.casts == page.total == 4
        clusters = await client.request(m.ListClusters(), m.ClusterList)
        used = {cluster.target for cluster in clusters.clusters if cluster.last_used}
        assert "local" in used
        assert any(target.startswith("127.0.0.1:") for target in used)
        schedules = (await client.request(m.ListSchedules(), m.SchedulesChanged)).schedules
        nightly, hourly = sorted(
            (info.schedule for info in schedules), key=lambda schedule: schedule.name, reverse=True
        )
        assert (nightly.name, nightly.cron, nightly.enabled) == ("nightly", "0 3 * * *", True)
        assert nightly.request.options.destination == f"{root}/plan/{{node}}"
        assert nightly.request.options.remove_extra
        assert nightly.request.options.on_conflict is OnConflict.OVERWRITE
        assert (hourly.name, hourly.every, hourly.enabled) == ("hourly", 7200.0, False)
        unfinished = {cast.name: cast for cast in client.welcome.casts}
        assert set(unfinished) == {"big.bin", "other.bin"}
        assert all(cast.options.destination == f"{root}/big/{{node}}" for cast in unfinished.values())
        assert all(cast.options.limit == 2_000_000 for cast in unfinished.values())
        rows = client.welcome.deliveries[unfinished["big.bin"].cast]
        assert {row.node for row in rows} == {"node_1", "node_2"}
        assert all(row.bytes > BIG_BYTES // 4 for row in rows)
        await client.close()
    engine_home.engine.commands.stopping.set()
    await engine_home.ended()
    assert not list(old.home.rglob("damaged-*"))


def test_what_the_engine_reads_later_opens(old: Paths) -> None:
    assert RecipientGroupFile(old.groups).load() == {"racks": ("node_1", "node_2")}
    assert [(node.name, Path(node.inbox).name) for node in AddedNodeStore(old.added_nodes).load()] == [
        ("spare", "spare")
    ]
    (names,) = (
        NodeNameStore(old.names).load(target)
        for target in json.loads(old.names.read_text())
        if target.startswith("127.0.0.1:")
    )
    assert len(names) == 1
    assert not list(old.home.rglob("damaged-*"))


def test_receipts_and_hashes_open(root: Path, old: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(old.home))
    receipts = list((old.home / "receipts").iterdir())
    assert len(receipts) >= 6
    for path in receipts:
        cast, _, node = path.stem.partition("-")
        receipt = Receipts().find(cast, node)
        assert receipt is not None
        for item in receipt.items:
            assert Path(item.path.decode()).is_relative_to(root)
            assert Path(item.path.decode()).stat().st_size == item.size
    with contextlib.closing(sqlite3.connect(old.home / "hashes.sqlite")) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] <= 1


def test_the_window_keeps_its_settings(old: Paths) -> None:
    before = QSettings(str(old.home / "window.ini"), QSettings.Format.IniFormat)
    kept = {key: before.value(key) for key in before.allKeys()}
    assert len(kept) > 3
    settings = app.open_settings(old)
    assert {key: settings.value(key) for key in settings.allKeys()} == kept
