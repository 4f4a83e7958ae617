"""The speeds of downloads on disk: what is kept, for how long, and how much of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.core.protocol.messages import NodeInfo, NodeState, StoreSpeed
from castray_desktop.workers.casts import download_speed_store
from castray_desktop.workers.casts.download_speed_store import FRESH_SECONDS, DownloadSpeedStore

NOW = 1e9


def node(name: str, address: str = "10.0.0.1") -> NodeInfo:
    return NodeInfo(name, NodeState.ONLINE, address=address)


def test_the_next_engine_knows_it(tmp_path: Path) -> None:
    path = tmp_path / "downloads.json"
    DownloadSpeedStore(path, lambda: NOW).record(
        "local", "example.org", [node("a"), node("b")], {"a": 1e8, "b": 0.0}
    )
    again = DownloadSpeedStore(path, lambda: NOW + FRESH_SECONDS)
    nodes = [node("a"), node("b"), node("a", "10.0.0.2")]
    assert again.speeds("local", "example.org", nodes) == (StoreSpeed("a", 1e8, NOW),)
    assert again.speeds("other", "example.org", nodes) == ()
    assert again.speeds("local", "example.com", nodes) == ()
    later = DownloadSpeedStore(path, lambda: NOW + FRESH_SECONDS + 1)
    assert later.speeds("local", "example.org", nodes) == ()


def test_a_new_measurement_replaces_the_one_before(tmp_path: Path) -> None:
    store = DownloadSpeedStore(tmp_path / "downloads.json", lambda: NOW)
    nodes = [node("a"), node("b")]
    store.record("local", "example.org", nodes, {"a": 1e8, "b": 2e8})
    store.record("local", "example.org", nodes, {"a": 3e8})
    assert store.speeds("local", "example.org", nodes) == (StoreSpeed("a", 3e8, NOW),)


def test_the_oldest_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_speed_store, "MAX_SPEEDS", 3)
    times = iter(range(100))
    store = DownloadSpeedStore(tmp_path / "downloads.json", lambda: NOW + next(times))
    for number in range(5):
        store.record("local", f"{number}.example.org", [node("a")], {"a": 1e8})
    found = [bool(store.speeds("local", f"{number}.example.org", [node("a")])) for number in range(5)]
    assert found == [False, False, True, True, True]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"downloads": [{}]}', b'{"downloads": [{"cluster": 1}]}'])
def test_a_damaged_file_is_no_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "downloads.json"
    path.write_bytes(content)
    store = DownloadSpeedStore(path, lambda: NOW)
    store.record("local", "example.org", [node("a")], {"a": 1e8})
    assert len(DownloadSpeedStore(path, lambda: NOW).speeds("local", "example.org", [node("a")])) == 1
