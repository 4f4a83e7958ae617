"""The stores of speeds: they survive engines, are bounded, and never fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from castray_desktop.core.protocol.messages import NodeInfo, NodeState, StoreSpeed
from castray_desktop.core.routing.node_speeds import OLD_SECONDS, SpeedMeasurement
from castray_desktop.workers.casts import speed_stores
from castray_desktop.workers.casts.speed_stores import FRESH_SECONDS, DownloadSpeedStore, NodeSpeedStore

NOW = 1e9
FAST, SLOW = SpeedMeasurement(2.0**27, exact=True), SpeedMeasurement(2.0**24, exact=True)


def node(name: str, address: str = "10.0.0.1", node_id: str = "") -> NodeInfo:
    return NodeInfo(name, NodeState.ONLINE, address=address, node_id=node_id)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def test_what_was_learned_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "speeds.json"
    NodeSpeedStore(path, Clock()).record([node("a"), node("b")], {"a": FAST, "b": SLOW, "x": SLOW})
    assert path.stat().st_mode & 0o777 == 0o600
    again = NodeSpeedStore(path, Clock())
    assert again.speeds([node("a", node_id="new"), node("b"), node("c")]) == {"a": 2.0**27, "b": 2.0**24}
    assert [file.name for file in tmp_path.iterdir()] == ["speeds.json"]


def test_a_node_is_known_by_name_and_address(tmp_path: Path) -> None:
    memory = NodeSpeedStore(tmp_path / "speeds.json", Clock())
    memory.record([node("a", "10.0.0.1")], {"a": FAST})
    assert memory.speeds([node("a", "10.0.0.2")]) == {}


def test_old_speeds_fade(tmp_path: Path) -> None:
    clock = Clock()
    memory = NodeSpeedStore(tmp_path / "speeds.json", clock)
    memory.record([node("a")], {"a": FAST})
    clock.now += OLD_SECONDS + 1
    assert memory.speeds([node("a")]) == {}
    memory.record([node("b")], {"b": FAST})
    assert list(json.loads((tmp_path / "speeds.json").read_text())["speeds"]) == ["b 10.0.0.1"]


def test_the_latest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_stores, "MAX_NODES", 3)
    clock = Clock()
    memory = NodeSpeedStore(tmp_path / "speeds.json", clock)
    for name in "abcde":
        clock.now += 1
        memory.record([node(name)], {name: FAST})
    assert sorted(memory.speeds([node(name) for name in "abcde"])) == ["c", "d", "e"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"speeds": []}',
        '{"speeds": {"a": 3}}',
        '{"speeds": {"a": ["x", 1]}}',
        '{"speeds": {"a 10.0.0.1": [NaN, 1]}}',
        "\x00",
    ],
)
def test_a_damaged_file_is_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "speeds.json"
    path.write_text(text)
    memory = NodeSpeedStore(path, Clock())
    assert memory.speeds([node("a")]) == {}
    memory.record([node("a")], {"a": FAST})
    assert NodeSpeedStore(path, Clock()).speeds([node("a")]) == {"a": 2.0**27}


def test_a_file_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    memory = NodeSpeedStore(tmp_path / "missing" / "speeds.json", Clock())
    memory.record([node("a")], {"a": FAST})
    assert memory.speeds([node("a")]) == {"a": 2.0**27}


# --- of downloads -------------------------------------------------------------------------------


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
    monkeypatch.setattr(speed_stores, "MAX_SPEEDS", 3)
    times = iter(range(100))
    store = DownloadSpeedStore(tmp_path / "downloads.json", lambda: NOW + next(times))
    for number in range(5):
        store.record("local", f"{number}.example.org", [node("a")], {"a": 1e8})
    found = [bool(store.speeds("local", f"{number}.example.org", [node("a")])) for number in range(5)]
    assert found == [False, False, True, True, True]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"downloads": [{}]}', b'{"downloads": [{"cluster": 1}]}'])
def test_a_damaged_file_of_downloads_is_no_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "downloads.json"
    path.write_bytes(content)
    store = DownloadSpeedStore(path, lambda: NOW)
    store.record("local", "example.org", [node("a")], {"a": 1e8})
    assert len(DownloadSpeedStore(path, lambda: NOW).speeds("local", "example.org", [node("a")])) == 1
