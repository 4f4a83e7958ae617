"""What is kept of multicast: group addresses without clashes, and what networks have shown."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from castray_desktop.core.multicast import GROUP_PORTS
from castray_desktop.core.multicast_choice import FRESH_SECONDS, Known
from castray_desktop.core.speeds import Speed
from castray_desktop.workers.casts import multicast_memory
from castray_desktop.workers.casts.group_addresses import GroupAddresses, hops_of, ports_of
from castray_desktop.workers.casts.multicast_memory import MulticastLesson, MulticastMemory, network_of
from castray_desktop.workers.ray_side.protocol import AgentHello

NOW = 1e9


def hello(node: str, address: str) -> AgentHello:
    return AgentHello(node, 1, address, 7000, "host", "", "/inbox")


def test_what_was_learned_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "multicast.json"
    memory = MulticastMemory(path, lambda: NOW)
    memory.learn(MulticastLesson("n", relay=5.0))
    memory.learn(MulticastLesson("n", multicast=0.0))
    memory.learn(MulticastLesson("n", relay=7.0))
    assert path.stat().st_mode & 0o777 == 0o600
    again = MulticastMemory(path, lambda: NOW + 1)
    assert again.known("n") == Known(Speed(7.0, NOW), Speed(0.0, NOW))
    assert again.known("other") == Known()
    assert MulticastMemory(path, lambda: NOW + FRESH_SECONDS + 1).known("n") == Known()


def test_those_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast_memory, "MOST_NETWORKS", 2)
    memory = MulticastMemory(tmp_path / "multicast.json", lambda: NOW)
    for network in ("a", "b", "a", "c"):
        memory.learn(MulticastLesson(network, relay=1.0))
    kept = json.loads((tmp_path / "multicast.json").read_text())["networks"]
    assert list(kept) == ["a", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"networks": []}',
        '{"networks": {"n": {}}}',
        '{"networks": {"n": {"relay": 3, "multicast": null}}}',
        '{"networks": {"n": {"relay": {"rate": NaN, "when": 1}, "multicast": null}}}',
        '{"networks": {"n": {"relay": {"rate": -1, "when": 1}, "multicast": null}}}',
    ],
)
def test_a_damaged_file_is_no_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "multicast.json"
    path.write_text(text)
    memory = MulticastMemory(path, lambda: NOW)
    assert memory.known("n") == Known()
    memory.learn(MulticastLesson("n", relay=5.0))
    assert MulticastMemory(path, lambda: NOW).known("n").relay == Speed(5.0, NOW)


def test_a_file_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    memory = MulticastMemory(tmp_path / "missing" / "multicast.json", lambda: NOW)
    memory.learn(MulticastLesson("n", relay=5.0))
    assert memory.known("n").relay == Speed(5.0, NOW)


def test_another_address_or_network_is_another_way() -> None:
    source = hello("s", "10.0.0.1")
    here = [hello("a", "10.0.0.2"), hello("b", "10.0.0.3")]
    assert network_of(source, here) == network_of(source, here[:1])
    assert network_of(source, here) != network_of(hello("s", "10.0.0.9"), here)
    assert network_of(source, here) != network_of(source, [*here, hello("c", "10.0.1.2")])
    assert network_of(source, [hello("a", "fd00::1")]).endswith("fd00::/64")
    assert network_of(source, [hello("a", "a.name")]).endswith(" a.name")


def test_every_cast_has_an_address_and_a_port_of_its_own() -> None:
    groups = GroupAddresses(2)
    taken = [groups.take(f"cast {number}", "10.0.0.1", 3) for number in range(200)]
    assert len({group.address for group in taken}) == 200
    assert len({group.port for group in taken}) == 200
    assert groups.take("cast 7", "10.0.0.1", 3) == taken[7]
    assert {group.hops for group in taken} == {2}
    groups.free("cast 7")
    assert groups.take("cast 7", "fd00::1", 3).address.startswith("ff12::")


@pytest.mark.parametrize(("listeners", "seconds"), [(1, 0.025), (10, 0.025), (50, 0.1), (10_000, 0.5)])
def test_many_listeners_report_less_often(listeners: int, seconds: float) -> None:
    assert GroupAddresses(1).take("cast", "10.0.0.1", listeners).report_seconds == seconds


@pytest.mark.parametrize(
    ("said", "ports"),
    [
        ("", GROUP_PORTS),
        ("7000-7099", (7000, 7099)),
        (" 7000 ", (7000, 7000)),
        ("7000-", (7000, 7000)),
        ("9-7", GROUP_PORTS),
        ("many", GROUP_PORTS),
        ("7-many", GROUP_PORTS),
    ],
)
def test_groups_keep_to_the_ports_that_pass(said: str, ports: tuple[int, int]) -> None:
    assert ports_of({"CASTRAY_DATA_PORTS": said}) == ports
    groups = GroupAddresses(1, ports)
    taken = [groups.take(f"cast {number}", "10.0.0.1", 3) for number in range(3)]
    assert all(ports[0] <= group.port <= ports[1] for group in taken)
    assert len({group.address for group in taken}) == 3


@pytest.mark.parametrize(("said", "hops"), [("", 1), ("1", 1), (" 3 ", 3), ("255", 255)])
def test_the_hop_limit_is_what_the_user_says(said: str, hops: int) -> None:
    assert hops_of({"CASTRAY_MULTICAST_HOPS": said}) == hops


@pytest.mark.parametrize("said", ["0", "256", "-1", "many", "٣"])
def test_a_hop_limit_that_is_none_is_named(said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert hops_of({"CASTRAY_MULTICAST_HOPS": said}) == 1
    assert "CASTRAY_MULTICAST_HOPS" in caplog.text
