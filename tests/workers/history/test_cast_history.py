"""The history on a real SQLite file."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.casts.cast_statistics import CastTotals, NodeTotals
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import (
    CastResult,
    CastState,
    DeliveryState,
    HistoryQuery,
    SendRequest,
)
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.core.protocol.nodes.agent_orders import ForgetCast
from castray_desktop.workers.base.paths import Paths
from castray_desktop.workers.engine import process as engine_module
from castray_desktop.workers.history import cast_history as history_module
from castray_desktop.workers.history import history_store
from castray_desktop.workers.history.cast_history import (
    KEPT_SECONDS,
    MOST_GRACE_SECONDS,
    CastHistory,
)
from castray_desktop.workers.history.file_list_store import OutcomeRecord
from castray_desktop.workers.history.history_store import _PAGE, VERSION, HistoryStore, PastCast
from tests.helpers.engine_home import EngineHome
from tests.helpers.fake_driver import FakeDriver
from tests.helpers.patience import PATIENCE

REQUEST = SendRequest(("/data/model.bin",), ("all",), options=TransferOptions(exclude=("*.tmp",)))
END = 1_790_000_000.0
STATES = (CastState.QUEUED, CastState.SENDING, CastState.COMPLETED, CastState.PAUSED)


def past_cast(
    number: int,
    name: str = "model.bin",
    state: CastState = CastState.COMPLETED,
    nodes: tuple[str, ...] = ("node_1", "node_2"),
    source: str = "laptop",
    destination: str = "",
) -> PastCast:
    failed = m.DeliverySnapshot(nodes[-1], DeliveryState.FAILED, failure=Failure(FailureKind.NO_ROOM))
    ends = failed if state is CastState.PARTLY_FAILED else None
    deliveries = tuple(
        m.DeliverySnapshot(node, DeliveryState.COMPLETED, bytes=1000, seconds=2.0, paths=(f"/in/{name}",))
        for node in (nodes[:-1] if ends else nodes)
    )
    summary = m.CastSummary(
        cast=f"{number:012x}",
        name=name,
        state=state,
        source=source,
        recipients=nodes,
        mode=m.CastMode.MULTICAST,
        started=END + number % 1_000_000 - 2,
        finished=END + number % 1_000_000,
        options=TransferOptions(destination=destination),
        bytes=1000,
        source_copies=1.0,
        cluster=m.CastCluster.of("local"),
    )
    request = msgspec.structs.replace(REQUEST, paths=(f"/data/{name}",), recipients=nodes)
    return PastCast(request, "local", CastResult(summary, deliveries + ((ends,) if ends else ()), 2.0))


def add(store: HistoryStore, *casts: PastCast) -> None:
    for cast in casts:
        store.add_cast(cast, CastTotals(), {})


def found(store: HistoryStore, **query: object) -> list[str]:
    page = store.page(HistoryQuery(**query))  # type: ignore[arg-type]
    assert page.total >= len(page.casts)
    return [cast.name for cast in page.casts]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[HistoryStore]:
    store = HistoryStore(path)
    yield store
    store.close()


@pytest.fixture
async def history(path: Path) -> AsyncIterator[CastHistory]:
    told: list[m.Event] = []
    history = CastHistory(path, told.append, lambda: ())
    history.told = told  # type: ignore[attr-defined]
    await history.start()
    yield history
    await history.close()


# --- the store ---------------------------------------------------------------------------------------


def test_the_file_is_for_its_user_alone(store: HistoryStore, path: Path) -> None:
    add(store, past_cast(1))
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["history.sqlite", "history.sqlite-shm", "history.sqlite-wal"]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_cast_comes_back_as_it_ended(store: HistoryStore) -> None:
    cast = past_cast(7, state=CastState.PARTLY_FAILED)
    add(store, cast, past_cast(0xABCDEF000000))
    assert store.find_cast("000000000007") == cast
    assert store.find_cast("abc").result.summary.cast == "abcdef000000"


@pytest.mark.parametrize("name", ["", "0000", "f", "00000000000%", "😀"])
def test_a_cast_that_is_not_there_or_not_the_only_one_is_unknown(store: HistoryStore, name: str) -> None:
    add(store, past_cast(1), past_cast(2))
    with pytest.raises(CastRayError) as caught:
        store.find_cast(name)
    assert caught.value.failure.kind is FailureKind.CAST_UNKNOWN


def test_an_entry_of_an_earlier_version_names_its_cluster(store: HistoryStore) -> None:
    def earlier(cast: PastCast, target: str) -> PastCast:
        summary = msgspec.structs.replace(cast.result.summary, cluster=m.CastCluster())
        return PastCast(cast.request, target, msgspec.structs.replace(cast.result, summary=summary))

    cast = earlier(past_cast(7), "10.0.0.1:6379")
    add(store, cast, earlier(past_cast(8), "local"))
    (local, other) = store.page(HistoryQuery()).casts
    assert (local.cluster.local, local.cluster.address) == (True, "")
    assert (other.cluster.local, other.cluster.address) == (False, "10.0.0.1:6379")
    assert store.find_cast(cast.result.summary.cast).result.summary.cluster == other.cluster


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["权重 最终版.bin", "Ärger.txt", "100%_done.log", "model.bin"]),
        ("ODEL", ["model.bin"]),
        ("权重", ["权重 最终版.bin"]),
        ("终", ["权重 最终版.bin"]),
        ("最终 权", ["权重 最终版.bin"]),
        ("ärGER", ["Ärger.txt"]),
        ("%_d", ["100%_done.log"]),
        ("'; DROP TABLE casts; --", []),
        ("node_7", ["100%_done.log"]),
        ("/srv/mod", ["model.bin"]),
        ("laptop log", ["100%_done.log"]),
        ("nowhere", []),
    ],
)
def test_any_part_of_a_name_finds_it(store: HistoryStore, text: str, names: list[str]) -> None:
    add(
        store,
        past_cast(1, destination="/srv/models"),
        past_cast(2, "100%_done.log", nodes=("node_7", "node_8")),
        past_cast(3, "Ärger.txt", source="tower"),
        past_cast(4, "权重 最终版.bin", source="tower"),
    )
    assert found(store, text=text) == names


def test_every_part_of_a_query_narrows_it(store: HistoryStore) -> None:
    add(
        store,
        past_cast(1, "a", CastState.FAILED),
        past_cast(2, "b", nodes=("node_9",)),
        past_cast(3, "c", CastState.CANCELLED, source="node_9"),
        past_cast(4, "d"),
    )
    assert found(store, node="node_9") == ["c", "b"]
    assert found(store, node="node") == []
    assert found(store, states=(CastState.FAILED, CastState.CANCELLED)) == ["c", "a"]
    assert found(store, since=END + 2, until=END + 3) == ["c", "b"]
    assert found(store, limit=2, offset=1) == ["c", "b"]
    assert found(store, limit=-1) == []
    assert store.page(HistoryQuery(limit=1)).total == 4


def test_what_is_cleared_is_gone_from_the_file_and_stays_in_the_sums(store: HistoryStore, path: Path) -> None:
    store.add_cast(past_cast(1, "secret-name"), CastTotals(delivered=2), {"node_1": NodeTotals(delivered=1)})
    add(store, past_cast(2, "b"))
    store.hide((f"{1:012x}",))
    store.forget_hidden()
    assert found(store) == ["b"]
    for file in path.parent.iterdir():
        assert b"secret-name" not in file.read_bytes()
    store.hide()
    store.forget_hidden()
    assert found(store) == []
    store.close()
    again = HistoryStore(path)
    assert again.totals()[1] == {"node_1": NodeTotals(delivered=1)}
    again.close()


@pytest.mark.parametrize(("casts", "left"), [((), []), ((f"{1:012x}",), ["b"])])
def test_what_is_hidden_comes_back_or_is_gone(
    store: HistoryStore, path: Path, casts: tuple[str, ...], left: list[str]
) -> None:
    add(store, past_cast(1, "secret-name"), past_cast(2, "b"))
    store.hide(casts)
    assert found(store) == left
    with pytest.raises(CastRayError):
        store.find_cast(f"{1:012x}")
    store.show_hidden()
    assert found(store) == ["b", "secret-name"]
    store.hide(casts)
    add(store, past_cast(3, "later"))
    store.forget_hidden()
    assert found(store) == ["later", *left]
    for file in path.parent.iterdir():
        assert b"secret-name" not in file.read_bytes()


def test_old_casts_are_forgotten(store: HistoryStore) -> None:
    add(store, *(past_cast(number, str(number)) for number in range(5)))
    assert store.clear_before(END + 3) == 3
    assert found(store) == ["4", "3"]


def test_the_search_for_the_latest_sorts_nothing(store: HistoryStore) -> None:
    where, values = store._condition(HistoryQuery(text="model"))
    plan = store._run(f"EXPLAIN QUERY PLAN {_PAGE.format(where)}", *values).fetchall()
    told = " ".join(row[3] for row in plan)
    assert "SCAN details" not in told
    assert "casts_by_end" in told
    assert "TEMP B-TREE" not in told


@pytest.mark.parametrize("few", [0, 2, 5000])
def test_few_and_many_matches_have_the_same_pages(
    store: HistoryStore, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_store, "FEW_MATCHES", few)
    states = (CastState.COMPLETED, CastState.FAILED)
    add(
        store,
        *(
            past_cast((number * 7) % 20, f"{'odd' if number % 2 else 'even'} {number}", states[number % 2])
            for number in range(20)
        ),
    )
    odd = [f"odd {number}" for number in sorted(range(1, 20, 2), key=lambda number: -((number * 7) % 20))]
    assert found(store, text="odd") == odd
    assert found(store, text="odd", limit=3, offset=4) == odd[4:7]
    assert found(store, text="odd", offset=50) == []
    assert found(store, text="node_2 odd", states=(CastState.FAILED,)) == odd
    assert found(store, text="odd", states=(CastState.COMPLETED,)) == []
    assert len(found(store, node="node_1")) == 20
    for query, total in (({"text": "odd"}, 10), ({"text": "odd", "limit": 3}, 10), ({"node": "node_1"}, 20)):
        assert store.page(HistoryQuery(**query)).total == total  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["o", "odd", "node_1", ""])
def test_totals_follow_what_is_added_hidden_and_deleted(store: HistoryStore, text: str) -> None:
    """They are remembered between pages."""

    def total() -> int:
        return store.page(HistoryQuery(text=text)).total

    add(store, past_cast(1, "odd"), past_cast(3, "odd"))
    assert total() == total() == 2
    add(store, past_cast(5, "odd"))
    assert total() == 3
    store.hide((f"{1:012x}",))
    assert total() == 2
    store.show_hidden()
    assert total() == 3
    store.hide((f"{1:012x}",))
    store.forget_hidden()
    assert total() == 2
    assert store.clear_before(END + 4) == 1
    assert total() == 1


@pytest.mark.parametrize("word", ["*", "?", "[", "]", "[a-z]", "a*c", "\\", "%", "'"])
def test_special_characters_are_searched_as_they_are(store: HistoryStore, word: str) -> None:
    add(store, past_cast(1, f"x{word}y"), past_cast(2, "abc"))
    assert found(store, text=word.upper()) == [f"x{word}y"]


@pytest.mark.parametrize("word", ["abc\0", "x" * 60_000, "*" * 60_000])
def test_a_word_that_no_name_can_have_finds_nothing(store: HistoryStore, word: str) -> None:
    add(store, past_cast(1, "abc"), past_cast(2, "x" * 200))
    assert found(store, text=word) == []


def as_version_1(path: Path) -> None:
    """Make the file what the first version has left."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        for table in ("members", "crowds", "crowdless"):
            database.execute(f"DROP TABLE {table}")
        database.execute("ALTER TABLE casts DROP COLUMN crowd")
        database.execute("PRAGMA user_version=1")
        database.commit()


RACKS = (("a1", "a2"), ("b1",), ("a1", "b1", "c1"))


def found_by_node(store: HistoryStore) -> dict[str, list[str]]:
    store._forget_answers()
    found_ones = {text: found(store, text=text) for text in ("a", "b1", "c", "1", "d")}
    return found_ones | {node: found(store, node=node) for node in ("a2", "c1", "laptop")}


def crowds(store: HistoryStore) -> list[int | None]:
    return [crowd for (crowd,) in store._run("SELECT crowd FROM casts ORDER BY number")]


def test_casts_of_an_earlier_version_are_found_before_and_after_they_have_their_crowd(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_store, "CROWD_BATCH", 4)
    store = HistoryStore(path)
    add(store, *(past_cast(number, f"x{number}", nodes=RACKS[number % 3]) for number in range(10)))
    expected, all_crowds = found_by_node(store), crowds(store)
    assert expected["c"] == ["x8", "x5", "x2"]
    assert len(set(all_crowds)) == 3
    assert not store.assign_crowds()
    store.close()
    as_version_1(path)
    for done in (4, 8, 10):  # an engine for each batch
        store = HistoryStore(path)
        assert found_by_node(store) == expected
        assert store.assign_crowds() == (done < 10)
        assert found_by_node(store) == expected
        assert crowds(store) == all_crowds[:done] + [None] * (10 - done)
        store.close()
    store = HistoryStore(path)
    assert not store.assign_crowds()
    assert found_by_node(store) == expected
    store.close()


def test_where_recipients_always_differ_casts_have_no_crowd_and_are_found(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_store, "MOST_MEMBERS", 4)
    store = HistoryStore(path)
    add(store, *(past_cast(number, f"x{number}", nodes=RACKS[number % 3]) for number in range(6)))
    expected = found_by_node(store)
    assert crowds(store) == [1, 2, None] * 2
    assert expected["c"] == ["x5", "x2"]
    store.close()
    as_version_1(path)
    store = HistoryStore(path)
    assert not store.assign_crowds()
    assert crowds(store) == [1, 2, None] * 2
    assert found_by_node(store) == expected
    store.close()


def test_a_node_with_the_number_of_a_forgotten_one_is_not_found_by_its_casts(store: HistoryStore) -> None:
    add(store, past_cast(1, "x1", nodes=("a1",)), past_cast(2, "x2", nodes=("a1", "b1")))
    store.hide((f"{2:012x}",))
    store.forget_hidden()
    add(store, past_cast(3, "x3", nodes=("c1",)), past_cast(4, "x4", nodes=("a1", "c1")))
    assert found(store, text="c1") == ["x4", "x3"]
    assert found(store, text="a1") == ["x4", "x1"]
    assert found(store, text="b1") == []
    store.hide()
    store.forget_hidden()
    assert store._run("SELECT count(*) FROM crowds").fetchone() == (0,)
    assert store._run("SELECT count(*) FROM members").fetchone() == (0,)


async def test_an_engine_gives_casts_of_an_earlier_version_their_crowd(path: Path) -> None:
    store = HistoryStore(path)
    add(store, *(past_cast(number) for number in range(5)))
    store.close()
    as_version_1(path)
    history = CastHistory(path, lambda event: None, lambda: ())
    await history.start()
    async with asyncio.timeout(PATIENCE):
        await history._background.wait()
    await history.close()
    store = HistoryStore(path)
    assert crowds(store) == [1] * 5
    store.close()


def test_a_damaged_file_is_set_aside_and_never_deleted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.write_bytes(b"no database at all, " * 1000)
    with caplog.at_level(logging.WARNING):
        store = HistoryStore(path)
    add(store, past_cast(1))
    assert found(store) == ["model.bin"]
    store.close()
    (aside,) = path.parent.glob("damaged-*")
    assert aside.read_bytes().startswith(b"no database at all")
    assert "set aside as" in caplog.text


def test_a_file_with_a_hole_in_the_middle_is_damaged_as_well(path: Path) -> None:
    store = HistoryStore(path)
    add(store, *(past_cast(number) for number in range(200)))
    store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(20_000))
    store = HistoryStore(path)
    assert found(store) == []
    store.close()
    assert len(list(path.parent.glob("damaged-*"))) == 1


def test_a_file_of_a_later_version_is_left_alone(path: Path) -> None:
    HistoryStore(path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version={VERSION + 1}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(CastRayError) as caught:
        HistoryStore(path)
    assert caught.value.failure.kind is FailureKind.HISTORY_UNAVAILABLE
    assert path.read_bytes() == before
    assert not list(path.parent.glob("damaged-*"))


def test_what_was_added_survives_a_kill(path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.workers.history.test_cast_history import add, past_cast\n"
        "from castray_desktop.workers.history.history_store import HistoryStore\n"
        "store = HistoryStore(Path(sys.argv[1]))\n"
        "add(store, *(past_cast(number) for number in range(20)))\n"
        "store._run('BEGIN IMMEDIATE')\n"
        "store._run('DELETE FROM casts')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path)], check=False, timeout=30)
    assert ended.returncode == -signal.SIGKILL
    store = HistoryStore(path)
    assert store.page(HistoryQuery()).total == 20
    store.close()
    assert not list(path.parent.glob("damaged-*"))


# --- the engine's side -------------------------------------------------------------------------------


async def wait_until_kept(history: CastHistory) -> None:
    while history._background._running:
        await history._background.wait()


def ended(history: CastHistory, past: PastCast) -> None:
    history.cast_ended(past.request, past.target, past.result)


async def test_an_ended_cast_can_be_asked_for_with_its_deliveries(history: CastHistory) -> None:
    cast = past_cast(1)
    ended(history, cast)
    await wait_until_kept(history)
    assert await history.answer(m.GetHistory()) == m.HistoryPage((cast.result.summary,), 1)
    assert await history.answer(m.GetPastCast("000000000001")) == cast.result
    assert await history.find_cast("000000000001") == cast
    report = history.statistics()
    assert report.engine.delivered == report.ever.delivered == 2
    assert report.engine.mean_rate == 1000.0


async def test_a_cast_with_a_deferred_recipient_is_reported_twice_and_counted_once(
    history: CastHistory,
) -> None:
    first, later = past_cast(1, state=CastState.PARTLY_FAILED), past_cast(1)
    ended(history, first)
    history.cast_ended(later.request, later.target, later.result, again=True)
    await wait_until_kept(history)
    assert await history.find_cast("000000000001") == later
    page = await history.answer(m.GetHistory())
    assert isinstance(page, m.HistoryPage)
    assert page.total == 1
    assert (history.statistics().ever.casts, history.statistics().ever.partly_failed) == (1, 1)


async def test_sums_and_traffic_outlive_the_engine(path: Path) -> None:
    now = [END - 100]
    first = CastHistory(path, lambda event: None, lambda: STATES, lambda: now[0])
    await first.start()
    for _ in range(400):
        now[0] += 0.25
        first.throughput("local", m.Throughput(now[0], 300.0, 300.0, (m.NodeRate("node_1", 300.0),)))
    ended(first, past_cast(1))
    await first.close()
    second = CastHistory(path, lambda event: None, lambda: STATES, lambda: now[0] + 60)
    await second.start()
    report = second.statistics()
    rates = await second.answer(m.GetRates(3 * 3600.0))
    await second.close()
    assert report.engine.casts == 0
    assert (report.active, report.queued) == (2, 1)
    assert (report.ever.casts, report.ever.delivered) == (1, 2)
    assert {node.node: node.peak_rate for node in report.ever.nodes} == {"node_1": 500.0, "node_2": 500.0}
    assert report.ever.peak_rate == 1000.0
    assert isinstance(rates, m.RateHistory)
    assert rates.step == 30.0
    assert max(sample.total for sample in rates.samples) == pytest.approx(300.0)


async def total(history: CastHistory) -> int:
    page = await history.answer(m.GetHistory())
    assert isinstance(page, m.HistoryPage)
    return page.total


async def test_forgetting_can_be_taken_back_until_its_time_has_passed(
    history: CastHistory, path: Path
) -> None:
    for number in range(3):
        ended(history, past_cast(number))
    await wait_until_kept(history)
    await history.answer(m.ClearHistory(grace=30.0))
    assert await total(history) == 0
    await history.answer(m.KeepHistory())
    assert await total(history) == 3
    with pytest.raises(CastRayError) as caught:
        await history.answer(m.KeepHistory())
    assert caught.value.failure.kind is FailureKind.HISTORY_FORGOTTEN
    await history.answer(m.ClearHistory((f"{0:012x}",), grace=30.0))
    await history.answer(m.ClearHistory((f"{1:012x}",), grace=30.0))  # the one before is gone by now
    await history.answer(m.KeepHistory())
    assert await total(history) == 2
    await history.answer(m.ClearHistory((f"{1:012x}",), grace=30.0))
    assert history._delete_timer is not None
    history._delete_timer._run()  # its time has passed
    await wait_until_kept(history)
    with pytest.raises(CastRayError):
        await history.answer(m.KeepHistory())
    assert await total(history) == 1
    await history.answer(m.ClearHistory(grace=30.0))
    await history.close()  # the request is executed, although no caller waits for it
    left = HistoryStore(path)
    assert found(left) == []
    left.close()


async def test_clears_at_the_same_time_and_of_a_client_that_leaves_are_carried_out(
    history: CastHistory, path: Path
) -> None:
    for number in range(3):
        ended(history, past_cast(number))
    await wait_until_kept(history)
    clears = [asyncio.create_task(history.answer(m.ClearHistory((f"{number:012x}",)))) for number in range(3)]
    await asyncio.sleep(0)
    clears[0].cancel()
    await asyncio.wait(clears)
    assert [clear.cancelled() for clear in clears] == [True, False, False]
    await history.close()
    left = HistoryStore(path)
    assert found(left) == []
    left.close()


async def test_nodes_keep_nothing_for_casts_whose_undo_has_expired(path: Path) -> None:
    discarded: list[list[str]] = []
    history = CastHistory(
        path,
        lambda event: None,
        lambda: (),
        wall=lambda: END + 100,
        discard_kept=lambda casts: discarded.append(sorted(casts)),
    )
    await history.start()
    for number in range(4):
        ended(history, past_cast(number, state=CastState.PARTLY_FAILED))
    ended(history, past_cast(4))
    old = past_cast(5, state=CastState.FAILED)
    summary = msgspec.structs.replace(old.result.summary, finished=END - 2 * KEPT_SECONDS)
    ended(history, msgspec.structs.replace(old, result=msgspec.structs.replace(old.result, summary=summary)))
    ids = [f"{number:012x}" for number in range(6)]
    await wait_until_kept(history)
    await history.answer(m.ClearHistory((ids[0],)))
    assert discarded == [[ids[0]]]
    await history.answer(m.ClearHistory((ids[1],), grace=30.0))
    await history.answer(m.KeepHistory())
    await history.answer(m.ClearHistory((ids[2],), grace=30.0))
    assert discarded == [[ids[0]]]  # both can be undone
    assert history._delete_timer is not None
    history._delete_timer._run()  # its time has passed
    await wait_until_kept(history)
    assert discarded == [[ids[0]], [ids[2]]]
    await history.answer(m.ClearHistory(grace=30.0))
    await history.close()
    assert discarded == [[ids[0]], [ids[2]], [ids[1], ids[3]]]


async def test_the_engine_tells_nodes_that_a_retry_will_not_come(engine_home: EngineHome) -> None:
    client = await engine_home.connect()
    events = client.events()
    async with asyncio.timeout(PATIENCE):
        await client.request(m.UseCluster("local"), m.Done)
        async for event in events:
            if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
                break
        history, now = engine_home.engine.history, time.time()
        for number in (1, 2):
            past = past_cast(number, state=CastState.PARTLY_FAILED)
            summary = msgspec.structs.replace(past.result.summary, finished=now)
            ended(history, msgspec.structs.replace(past, result=m.CastResult(summary, (), 1.0)))
        await wait_until_kept(history)
        await client.request(m.ClearHistory((f"{1:012x}",), 30.0), m.Done)
        (driver,) = engine_home.drivers
        assert forgotten(driver) == set()
        await client.request(m.ClearHistory((f"{2:012x}",), 30.0), m.Done)  # the undo of the first ends
        while not forgotten(driver):
            await driver.wait_for(driver_protocol.AgentCall, len(driver.sent(driver_protocol.AgentCall)) + 1)
    assert forgotten(driver) == {f"{1:012x}"}
    await client.close()


def forgotten(driver: FakeDriver) -> set[str]:
    """The casts for which nodes were told to keep nothing."""
    orders = [call.order for call in driver.sent(driver_protocol.AgentCall)]
    return {order.cast for order in orders if isinstance(order, ForgetCast) and not order.keep_parts}


async def test_a_grace_that_is_no_number_is_the_longest(history: CastHistory) -> None:
    ended(history, past_cast(0))
    await wait_until_kept(history)
    await history.answer(m.ClearHistory(grace=math.nan))
    assert history._delete_timer is not None
    left = history._delete_timer.when() - asyncio.get_running_loop().time()
    assert 0 < left <= MOST_GRACE_SECONDS
    await history.answer(m.KeepHistory())
    assert await total(history) == 1


async def test_changes_are_told_once(history: CastHistory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "CHANGED_SECONDS", 0.0)
    for number in range(20):
        ended(history, past_cast(number))
    await wait_until_kept(history)
    await history.answer(m.ClearHistory())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    told = history.told  # type: ignore[attr-defined]
    assert told
    assert set(map(type, told)) == {m.HistoryChanged}
    page = await history.answer(m.GetHistory())
    assert isinstance(page, m.HistoryPage)
    assert page.total == 0


async def test_the_days_that_the_history_goes_back(history: CastHistory) -> None:
    ended(history, past_cast(1))
    await wait_until_kept(history)
    history.set_retention_days(10**6)
    await wait_until_kept(history)
    assert (await history.find_cast("000000000001")).target == "local"
    history.set_retention_days(-1)
    await wait_until_kept(history)
    with pytest.raises(CastRayError):
        await history.find_cast("000000000001")


async def test_without_a_usable_file_the_rest_works(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = CastHistory(tmp_path / "no" / "folder" / "history.sqlite", lambda event: None, lambda: ())
    await history.start()
    ended(history, past_cast(1))
    assert history.statistics().engine.casts == 1
    with pytest.raises(CastRayError) as caught:
        await history.answer(m.GetHistory())
    assert caught.value.failure.kind is FailureKind.HISTORY_UNAVAILABLE
    await history.close()
    assert "history is not available" in caplog.text


async def test_the_engine_remembers_a_cast_for_its_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHECK_SECONDS", 0.005)
    monkeypatch.setattr(history_module, "CHANGED_SECONDS", 0.0)
    paths = Paths(tmp_path, tmp_path / "run" / "s.sock")
    paths.prepare()
    engine_home = EngineHome(paths)
    client = await engine_home.connect()
    events = client.events()
    async with asyncio.timeout(PATIENCE):
        await client.request(m.UseCluster("local"), m.Done)
        async for event in events:
            if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
                break
        accepted = await client.request(m.Send(REQUEST), m.Accepted)
        await client.request(m.Cancel(accepted.cast), m.Done)
        async for event in events:
            if isinstance(event, m.HistoryChanged):
                break
    page = await client.request(m.GetHistory(HistoryQuery(text="model")), m.HistoryPage)
    assert [(cast.cast, cast.state) for cast in page.casts] == [(accepted.cast, CastState.CANCELLED)]
    report = await client.request(m.GetStatistics(), m.StatisticsReport)
    assert (report.engine.cancelled, report.ever.cancelled, report.active) == (1, 1, 0)
    assert (await client.request(m.GetRates(60.0), m.RateHistory)).samples == ()
    await client.close()
    engine_home.engine.commands.stopping.set()
    await engine_home.ended()
    assert (tmp_path / "history.sqlite").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "history.sqlite-wal").exists()


async def test_lists_of_files_go_with_their_casts(history: CastHistory, path: Path) -> None:
    record = OutcomeRecord("node_1", "d", "abc")
    for number in range(4):
        past = past_cast(number)
        history.cast_ended(past.request, "local", past.result)
        history.keep_file_record(past.result.summary.cast, record)
    running = "f" * 12
    history.keep_file_record(running, record)
    history._unfinished = lambda: (running,)
    assert await history.file_records(f"{0:012x}") == [record]
    await history.answer(m.GetHistory())
    await history.answer(m.ClearHistory((f"{0:012x}",)))
    await history.answer(m.ClearHistory((f"{1:012x}",), grace=30.0))
    kept = sorted(file.name for file in (path.parent / "files").iterdir())
    assert kept == [*(f"{number:012x}" for number in (1, 2, 3)), running]  # the second may come back
    await history.answer(m.KeepHistory())
    await history.answer(m.ClearHistory())
    assert [file.name for file in (path.parent / "files").iterdir()] == [running]
