"""Files that an earlier version wrote: there the options of a request were beside its paths."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from castray_desktop.core.casts.cast_statistics import CastTotals
from castray_desktop.core.casts.json_views import message_to_json
from castray_desktop.core.protocol import messages as m
from castray_desktop.workers.casts.session.checkpoint import CheckpointStore
from castray_desktop.workers.history.history_store import HistoryStore
from castray_desktop.workers.schedules.schedule_runner import load_states
from tests.workers.history.test_cast_history import past_cast

CAST = "0123456789ab"
EARLIER_REQUEST: dict[str, Any] = {
    "paths": ["/data"],
    "recipients": ["node_1"],
    "source": "laptop",
    "destination": "/srv",
    "on_conflict": "overwrite",
    "links": "keep",
    "exclude": ["*.tmp"],
    "limit": 5000,
    "transport": "udp",
    "leave_out": True,
    "await_offline": True,
    "remove_extra": True,
    "hook": "systemctl reload x",
}
REQUEST = m.SendRequest(
    ("/data",),
    ("node_1",),
    "laptop",
    leave_out=True,
    options=m.TransferOptions(
        destination="/srv",
        on_conflict=m.OnConflict.OVERWRITE,
        links=m.Links.KEEP,
        exclude=("*.tmp",),
        limit=5000,
        transport=m.TransportOption.UDP,
        await_offline=True,
        remove_extra=True,
        hook="systemctl reload x",
    ),
)
SCHEDULE = m.Schedule(CAST, "nightly", REQUEST, cron="0 3 * * *")


def test_an_earlier_checkpoint_keeps_its_options(tmp_path: Path) -> None:
    record = {
        "cast": CAST,
        "target": "local",
        "request": EARLIER_REQUEST,
        "mode": "unicast",
        "started": 1.7e9,
        "deliveries": [{"node": "node_1"}],
        "algorithms": {"piece": "blake2b-128", "file": "sha256", "piece_bytes": 1048576},
    }
    (tmp_path / f"{CAST}.json").write_text(json.dumps(record))
    assert [found.request for found in CheckpointStore(tmp_path).load()] == [REQUEST]


def test_an_earlier_schedule_keeps_its_options(tmp_path: Path) -> None:
    schedule = {"schedule": CAST, "name": "nightly", "request": EARLIER_REQUEST, "cron": "0 3 * * *"}
    path = tmp_path / "schedules.json"
    path.write_text(json.dumps([{"schedule": schedule, "next_run": 2e9}]))
    assert [found.schedule for found in load_states(path, lambda schedule: None)] == [SCHEDULE]
    assert [item.name for item in tmp_path.iterdir()] == [path.name]  # nothing was set aside


def test_an_earlier_cast_of_the_history_keeps_its_options(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    store = HistoryStore(path)
    store.add_cast(past_cast(1), CastTotals(), {})
    store.close()
    summary = msgspec.to_builtins(past_cast(1).result.summary)
    del summary["options"]
    earlier = msgspec.msgpack.encode(summary | {"destination": "/srv", "limit": 5000})
    with closing(sqlite3.connect(path)) as database, database:
        request = msgspec.msgpack.encode(EARLIER_REQUEST)
        database.execute("UPDATE details SET request = ?, summary = ?", (request, earlier))
    store = HistoryStore(path)
    found = store.find_cast(f"{1:012x}")
    (listed,) = store.page(m.HistoryQuery()).casts
    store.close()
    assert found.request == REQUEST
    assert found.result.summary.options == listed.options == REQUEST.options


def test_json_shows_the_options_beside_the_paths() -> None:
    """As before, with those that were added since: programs read them there."""
    shown = message_to_json(m.SchedulesChanged((m.ScheduleInfo(SCHEDULE),)))
    request = json.loads(msgspec.json.encode(shown))["schedules"][0]["schedule"]["request"]
    assert request == {**EARLIER_REQUEST, "encrypt": "auto", "include": [], "layout": "plain"}
