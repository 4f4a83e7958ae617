"""A home whose files are damaged in every way: the engine starts, and discards none of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import resource
import sqlite3
import stat
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.casts.cast_statistics import PERSISTED_STEPS, CastTotals, NodeTotals
from castray_desktop.core.content.manifest import HASH_BYTES
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastMode, DeliverySnapshot, DeliveryState, SendRequest
from castray_desktop.core.routing.node_speeds import SpeedMeasurement
from castray_desktop.workers.agent.hooks import read_rules
from castray_desktop.workers.agent.transfer.delivery.audit import ReceiptItem, Receipts
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.base.state_files import RecipientGroupFile, replace_file
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from castray_desktop.workers.casts.speed_stores import DownloadSpeedStore, NodeSpeedStore
from castray_desktop.workers.clusters.cluster_discovery import ClusterHistory, UsedCluster
from castray_desktop.workers.clusters.cluster_sharing import share_token
from castray_desktop.workers.clusters.driver_environments import DriverEnvironments, own_versions
from castray_desktop.workers.clusters.node_inventory import AddedNode, AddedNodeStore, NodeNameStore
from castray_desktop.workers.clusters.reaper import sweep, sweep_abandoned, write_run
from castray_desktop.workers.history.cast_history import CastHistory
from castray_desktop.workers.history.file_list_store import FileListStore, OutcomeRecord
from castray_desktop.workers.history.history_store import CHECKED_BYTES, HistoryStore
from castray_desktop.workers.http_api.idempotency_keys import IdempotencyKeys
from castray_desktop.workers.schedules.schedule_runner import ScheduleState, load_states
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import delivery_order
from tests.workers.history.test_cast_history import past_cast

RECORD = "0123456789ab"
RUN = "ba9876543210"
SCHEDULES = [
    ScheduleState(
        m.Schedule(f"{number:012x}", f"nightly {number}", SendRequest(("/data",), ("all",)), every=3600.0),
        next_run=2e9,
        last_state=m.CastState.COMPLETED,
        sent_to={"node_1": "d1"},
    )
    for number in range(3)
]


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "home", tmp_path / "run" / "s.sock")
    paths.prepare()
    return paths


def furnish(paths: Paths) -> None:
    """Write every file of a home, as its owner writes it."""
    SettingsFile(paths.settings).change(m.EngineSettings(limit=1000, casts_at_once=2, go_on=False))
    RecipientGroupFile(paths.groups).save_group("racks", ("node_1", "node_2"))
    RecipientGroupFile(paths.groups).save_group("others", ("node_3",))
    AddedNodeStore(paths.added_nodes).save_node(AddedNode("extra", "/in/extra"))
    AddedNodeStore(paths.added_nodes).save_node(AddedNode("other"))
    known = ClusterHistory(paths.clusters)
    known.record_status(m.ClusterStatus(m.ClusterPhase.READY, "10.0.0.1:6379", nodes_total=3), 1e9)
    known.record_status(m.ClusterStatus(m.ClusterPhase.READY, "10.0.0.2:6379", nodes_total=4), 1e9 + 1)
    names = NodeNameStore(paths.names)
    names.save("10.0.0.1:6379", {"node_1": ("host", "10.0.0.1")})
    names.save("10.0.0.2:6379", {"node_2": ("host", "10.0.0.2")})
    node = m.NodeInfo("n1", "node_1", "10.0.0.1", "host", m.NodeState.ONLINE)
    NodeSpeedStore(paths.speeds).record([node], {"node_1": SpeedMeasurement(1e8, True)})
    DownloadSpeedStore(paths.downloads).record("local", "example.org", [node], {"node_1": 1e8})
    replace_file(paths.schedules, msgspec.json.encode(SCHEDULES))
    deliveries = (DeliverySnapshot("node_1", DeliveryState.WAITING, "10.0.0.1"),)
    request = SendRequest(("/data",), ("node_1",), source="laptop")
    record = CastCheckpoint(RECORD, "10.9.9.9:6379", request, CastMode.UNICAST, 1.7e9, deliveries)
    (paths.casts / f"{RECORD}.json").write_bytes(msgspec.json.encode(record))
    DriverEnvironments(paths.home, paths.log)._note({"10.0.0.1:6379": ("2.40.0", "3.12")})
    share_token(paths)
    write_run(paths.runs, RUN, paths.home / "castray-run", 1)
    store = HistoryStore(paths.history)
    for number in range(3):
        store.add_cast(
            past_cast(number), CastTotals(casts={m.CastState.COMPLETED: number + 1}), {"n": NodeTotals(7)}
        )
    now = time.time()
    samples = [
        (min(PERSISTED_STEPS), m.RateSample(now - 60 + 10 * number, 1.0, 2.0, {"n": 3.0}))
        for number in range(3)
    ]
    store.save_totals(CastTotals(), {}, samples, now)
    store.close()
    keys = IdempotencyKeys(paths.api_keys)
    keys.claim("a-key", b"fingerprint")
    keys.close()
    files = FileListStore(paths.home / "files")
    files.append(f"{0:012x}", OutcomeRecord("node_1", "d", "abc"))


FILES: dict[str, Callable[[Paths], Path]] = {
    "settings": lambda paths: paths.settings,
    "groups": lambda paths: paths.groups,
    "added nodes": lambda paths: paths.added_nodes,
    "clusters": lambda paths: paths.clusters,
    "names": lambda paths: paths.names,
    "speeds": lambda paths: paths.speeds,
    "downloads": lambda paths: paths.downloads,
    "schedules": lambda paths: paths.schedules,
    "record": lambda paths: paths.casts / f"{RECORD}.json",
    "targets": lambda paths: paths.home / "drivers" / "targets.json",
    "share token": lambda paths: paths.home / "share-token",
    "run": lambda paths: paths.runs / f"{RUN}.json",
    "history": lambda paths: paths.history,
}
DISPOSABLE = ("run", "share token")
"""A run record without a run is useless, and an invalid token is replaced."""


def damages(content: bytes, seed: str) -> Iterator[bytes]:
    """The content, truncated, flipped, overwritten and deeply nested."""
    dice = random.Random(seed)
    for part in (0, 1, 2, 5, 9):
        yield content[: len(content) * part // 10]
    yield content[:-1]
    for _ in range(12):
        changed = bytearray(content)
        for _ in range(dice.choice((1, 1, 2, 8))):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        yield bytes(changed)
    yield dice.randbytes(len(content))
    yield b"\0" * len(content)
    yield b"[" * 100_000
    yield b'{"a":' * 100_000
    yield b"null"
    yield b"[null]"
    yield b'{"a": null}'
    yield b'{"speeds": {"a": [1e999, 1]}, "networks": {"a": 1}}'
    yield content + content


@contextlib.asynccontextmanager
async def engine(paths: Paths) -> AsyncIterator[EngineHome]:
    engine_home = EngineHome(paths)
    yield engine_home
    engine_home.engine.commands.stopping.set()
    await engine_home.ended()


async def ask_everything(engine_home: EngineHome) -> None:
    """The requests of the window at its start, and those of commands."""
    client = await engine_home.connect()
    async with asyncio.timeout(PATIENCE):
        try:
            page = await client.request(m.GetHistory(), m.HistoryPage)
            for cast in page.casts:
                with contextlib.suppress(CastRayError):
                    await client.request(m.GetPastCast(cast.cast), m.CastResult)
        except CastRayError as error:
            if error.failure.kind is not FailureKind.HISTORY_UNAVAILABLE:
                raise
        await client.request(m.GetStatistics(), m.StatisticsReport)
        await client.request(m.GetRates(3600.0), m.RateHistory)
        await client.request(m.ListSchedules(), m.SchedulesChanged)
        await client.request(m.ListClusters(), m.ClusterList)
        await client.request(m.GetSettings(), m.SettingsChanged)
        await client.request(m.GetStatus(), m.EngineStatus)
        RecipientGroupFile(engine_home.paths.groups).save_group("added", ("node_9",))
        share_token(engine_home.paths)
        DriverEnvironments(engine_home.paths.home, engine_home.paths.log).use("10.0.0.1:6379", own_versions())
        engine_home.engine.known_clusters.record_status(
            m.ClusterStatus(m.ClusterPhase.READY, "10.0.0.9:1", nodes_total=1), 1.0
        )
        NodeNameStore(engine_home.paths.names).save("10.0.0.9:1", {"node_9": ("host", "10.0.0.9")})
        AddedNodeStore(engine_home.paths.added_nodes).save_node(AddedNode("another"))
        node = m.NodeInfo("n9", "node_9", "10.0.0.9", "host", m.NodeState.ONLINE)
        engine_home.engine.speeds.record([node], {"node_9": SpeedMeasurement(1e8, True)})
        await client.request(m.AddDemonstration(), m.ScheduleAdded)
    await client.close()


def contents(path: Path) -> list[bytes]:
    """The contents of the file, and of the files with its name that were set aside."""
    asides = path.parent.glob(f"damaged-*-{path.name}")
    return [found.read_bytes() for found in (path, *asides) if found.exists()]


@pytest.mark.parametrize("number", range(len(list(damages(b"x" * 100, "")))))
async def test_an_engine_starts_over_every_damage_and_throws_nothing_away(
    paths: Paths, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(paths)
    damaged: dict[str, bytes] = {}
    for name, path_of in FILES.items():
        path = path_of(paths)
        damaged[name] = list(damages(path.read_bytes(), name))[number]
        path.write_bytes(damaged[name])
    sweep_abandoned(paths.runs)
    async with engine(paths) as engine_home:
        await ask_everything(engine_home)
    for name, content in damaged.items():
        kept = contents(FILES[name](paths))
        if name not in (*DISPOSABLE, "history") and content not in kept:
            assert _is_sound(name, content), f"{name} has been lost: {content[:200]!r}"
    async with engine(paths) as engine_home:  # and again over the contents that the previous one has left
        await ask_everything(engine_home)


def _is_sound(name: str, content: bytes) -> bool:
    """Whether all of it could be read, so that it may be written again."""
    if name in ("speeds", "multicast", "targets"):
        return isinstance(json.loads(content), dict)
    kinds: dict[str, type] = {
        "settings": m.EngineSettings,
        "groups": dict[str, tuple[str, ...]],
        "added nodes": tuple[AddedNode, ...],
        "clusters": tuple[UsedCluster, ...],
        "names": dict[str, dict[str, tuple[str, str]]],
        "schedules": list[ScheduleState],
        "record": CastCheckpoint,
    }
    msgspec.json.decode(content, type=kinds[name])
    return True


# --- the history, row by row -------------------------------------------------------------------------


def rewrite(path: Path, statement: str, *values: object) -> None:
    """Change a row directly in the database."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute(statement, values)
    database.close()


def asleep(path: Path, column: str, where: str) -> bytes:
    """The row with a state that this version does not know."""
    database = sqlite3.connect(path)
    (content,) = database.execute(f"SELECT {column} FROM {where}").fetchone()
    database.close()
    fields = msgspec.msgpack.decode(content)
    if "casts" in fields:
        fields["casts"]["asleep"] = 1
    else:
        fields["state"] = "asleep"
    return msgspec.msgpack.encode(fields)


@pytest.mark.parametrize("blob", ["unknown state", b"\x93\x01\x02\x03", b"", "text", 7, None])
async def test_a_damaged_row_of_a_cast_is_left_out_and_counted(
    paths: Paths, blob: object, caplog: pytest.LogCaptureFixture
) -> None:
    furnish(paths)
    if blob == "unknown state":
        blob = asleep(paths.history, "summary", "details WHERE whose = 2")
    rewrite(paths.history, "DROP TABLE IF EXISTS old")
    rewrite(paths.history, "CREATE TABLE old AS SELECT * FROM details")
    rewrite(paths.history, "UPDATE old SET summary = ? WHERE whose = 2", blob)
    rewrite(paths.history, "DELETE FROM details")
    with contextlib.suppress(sqlite3.IntegrityError):  # NULL: then the row is missing
        rewrite(paths.history, "INSERT INTO details SELECT * FROM old WHERE whose = 2")
    rewrite(paths.history, "INSERT INTO details SELECT * FROM old WHERE whose != 2")
    async with engine(paths) as engine_home:
        client = await engine_home.connect()
        for limit in (100, 1):  # it is found by its owner
            page = await client.request(m.GetHistory(m.HistoryQuery(limit=limit)), m.HistoryPage)
            assert [cast.cast[-1] for cast in page.casts] == ["2", "0"][:limit]
            assert (page.total, page.unreadable) == (2, 1)
        with pytest.raises(CastRayError):
            await client.request(m.GetPastCast(f"{1:012x}"), m.CastResult)
        await client.close()
    assert "casts left out of the history because they are unreadable: 1 (" in caplog.text
    database = sqlite3.connect(paths.history)
    assert database.execute("SELECT count(*) FROM casts").fetchone() == (3,)  # a later version may read it
    database.close()


@pytest.mark.parametrize("node", ["", "n"])
async def test_a_damaged_sum_is_set_aside_and_the_engine_starts(paths: Paths, node: str) -> None:
    furnish(paths)
    rewrite(paths.history, "UPDATE tallies SET tally = ? WHERE node = ?", b"\x93\x01", node)
    rewrite(paths.history, "UPDATE rates SET sample = 'no sample' WHERE at > 0")
    async with engine(paths) as engine_home:
        await ask_everything(engine_home)
    database = sqlite3.connect(paths.history)
    found = database.execute("SELECT origin, name, content FROM damaged ORDER BY origin DESC").fetchall()
    database.close()
    assert found[0] == ("tallies", node, b"\x93\x01")
    assert [row[0] for row in found[1:]] == ["rates"] * 3


async def test_of_a_sum_with_an_unknown_state_the_rest_is_kept(paths: Paths) -> None:
    furnish(paths)
    totals = CastTotals(casts={m.CastState.COMPLETED: 5, m.CastState.FAILED: 2}, delivered=9, bytes=77)
    rewrite(paths.history, "UPDATE tallies SET tally = ? WHERE node = ''", msgspec.msgpack.encode(totals))
    content = asleep(paths.history, "tally", "tallies WHERE node = ''")
    rewrite(paths.history, "UPDATE tallies SET tally = ? WHERE node = ''", content)
    async with engine(paths) as engine_home:
        client = await engine_home.connect()
        ever = (await client.request(m.GetStatistics(), m.StatisticsReport)).ever
        await client.close()
    assert (ever.completed, ever.failed, ever.delivered, ever.bytes) == (5, 2, 9, 77)


async def test_a_large_damaged_history_is_set_aside_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    store = HistoryStore(path)
    for number in range(300):
        store.add_cast(past_cast(number), CastTotals(delivered=number), {"n": NodeTotals(number)})
    store.close()
    rewrite(path, "CREATE TABLE filling AS SELECT zeroblob(?) AS content", CHECKED_BYTES)
    with path.open("r+b") as file:  # the pages after the first ones, which describe the contents
        file.seek(16 * 4096)
        file.write(b"\xab" * (40 * 4096))
    history = CastHistory(path, lambda event: None, lambda: ())
    await history.start()
    page = await history.answer(m.GetHistory(m.HistoryQuery(limit=1000)))
    assert isinstance(page, m.HistoryPage)
    history.cast_ended(past_cast(999).request, "local", past_cast(999).result)
    while not page.casts:
        page = await history.answer(m.GetHistory())
        assert isinstance(page, m.HistoryPage)
    assert [cast.cast for cast in page.casts] == [f"{999:012x}"]
    await history.close()
    (aside,) = tmp_path.glob("damaged-*-history.sqlite")
    assert aside.stat().st_size > CHECKED_BYTES


# --- other files of the home -------------------------------------------------------------------------


def test_one_damaged_item_harms_no_other(paths: Paths) -> None:
    furnish(paths)
    raw = json.loads(paths.schedules.read_bytes())
    raw[1]["last_state"] = "asleep"
    raw[0]["a later version's"] = {"field": 1}
    paths.schedules.write_text(json.dumps(raw))
    read = load_states(paths.schedules, lambda schedule: None)
    assert [state.schedule.name for state in read] == ["nightly 0", "nightly 2"]
    (aside,) = paths.home.glob("damaged-*-schedules.json")
    assert json.loads(aside.read_bytes()) == raw
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    assert len(load_states(paths.schedules, lambda schedule: None)) == 2
    assert len(list(paths.home.glob("damaged-*"))) == 1
    paths.groups.write_text('{"racks": ["node_1"], "broken": [7]}')
    assert RecipientGroupFile(paths.groups).load() == {"racks": ("node_1",)}
    assert not list(paths.home.glob("damaged-*-groups.json"))
    RecipientGroupFile(paths.groups).save_group("more", ("node_2",))
    assert RecipientGroupFile(paths.groups).load() == {"racks": ("node_1",), "more": ("node_2",)}
    assert len(list(paths.home.glob("damaged-*-groups.json"))) == 1


def test_one_damaged_setting_resets_no_other(paths: Paths) -> None:
    paths.settings.write_text('{"limit": 500, "casts_at_once": "two", "history_days": -1}')
    assert SettingsFile(paths.settings).current == m.EngineSettings(limit=500)
    assert len(list(paths.home.glob("damaged-*-engine.json"))) == 1


def test_two_files_that_are_set_aside_at_once_keep_both(paths: Paths) -> None:
    for content in ("{", "[", "("):
        paths.settings.write_text(content)
        SettingsFile(paths.settings)
    asides = paths.home.glob("damaged-*-engine.json")
    assert sorted(aside.read_text() for aside in asides) == ["(", "[", "{"]


def test_too_many_open_files_cost_no_cast(paths: Paths) -> None:
    furnish(paths)
    records = CheckpointStore(paths.casts)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        assert records.load() == ()
        sweep(paths.runs / f"{RUN}.json", grace=0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (paths.runs / f"{RUN}.json").exists()
    assert records.unread
    assert [record.cast for record in records.load()] == [RECORD]
    assert not records.unread
    assert records.load() == ()  # it is resumed only once


@pytest.mark.parametrize("field", ["cast", "mode", "started", "deliveries"])
def test_a_record_with_an_unknown_value_is_set_aside(paths: Paths, field: str) -> None:
    furnish(paths)
    path = paths.casts / f"{RECORD}.json"
    raw = json.loads(path.read_bytes())
    values = {"cast": "../../evil", "mode": "asleep", "started": 1e300, "deliveries": []}
    path.write_text(json.dumps(raw | {field: values[field]}))
    content = path.read_bytes()
    for _ in range(2):
        assert CheckpointStore(paths.casts).load() == ()
        (aside,) = paths.casts.iterdir()
        assert aside.name.startswith("damaged-")
        assert aside.read_bytes() == content


@pytest.mark.parametrize("number", range(len(list(damages(b"x" * 100, "")))))
def test_a_nodes_own_files_may_be_damaged_in_every_way(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path))
    Receipts().save(delivery_order("c0ffee"), "node_1", [ReceiptItem(b"a", b"/in/a", 3, b"h" * HASH_BYTES)])
    registry = StagingRegistry("engine")
    record = registry.path("c0ffee", "node_1")
    registry.write(record, "c0ffee", b"/in/.castray-c0ffee-node_1")
    key = FileKey(1, 2, 3, 4, 5)
    cache = HashCache(tmp_path)
    cache.save("md5", {key: b"h" * HASH_BYTES})
    rules = tmp_path / "node.json"
    rules.write_text('{"hooks": true, "hook_seconds": 60}')
    for path in (tmp_path / "receipts" / "c0ffee-node_1.jsonl", record, tmp_path / "hashes.sqlite", rules):
        path.write_bytes(list(damages(path.read_bytes(), path.name))[number])
    Receipts().find("c0ffee", "node_1")
    registry.remove_abandoned()
    registry.abandoned_delivery("c0ffee", "node_1")
    read_rules(rules)
    cache.find("md5", [key])
    cache.save("md5", {key: b"h" * HASH_BYTES})
    cache.save("md5", {key: b"h" * HASH_BYTES})  # at the latest after its restart
    assert cache.find("md5", [key]) == {key: b"h" * HASH_BYTES}
