"""The measurements of a node about itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from castray_desktop.workers.agent import node_inspection
from castray_desktop.workers.agent.network_addresses import device_of
from castray_desktop.workers.agent.node_inspection import MachineFactsMeter, host_identity
from tests.helpers.patience import PATIENCE


def test_the_facts_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_inspection, "DISK_SECONDS", PATIENCE)
    measured = MachineFactsMeter(tmp_path / "not" / "there" / "yet").measure()
    assert measured.cpus == os.cpu_count()
    assert 0 < measured.disk_free <= measured.disk_total
    assert 0 <= measured.load <= 1
    if Path("/proc/meminfo").exists():
        assert 0 < measured.memory_free <= measured.memory


@pytest.mark.parametrize(
    ("before", "after", "load"),
    [
        ((100, 200), (150, 300), 0.5),
        ((100, 200), (200, 300), 0.0),
        ((100, 200), (100, 300), 1.0),
        ((100, 200), (90, 300), 1.0),  # idle time that was taken back
        ((100, 200), (100, 200), 0.0),
        (None, (100, 200), 0.0),
        ((100, 200), None, 0.0),
    ],
)
def test_the_load_is_the_share_of_time_that_was_not_idle(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[int, int] | None,
    after: tuple[int, int] | None,
    load: float,
) -> None:
    monkeypatch.setattr(node_inspection, "_processor_times", lambda: before)
    meter = MachineFactsMeter(tmp_path)
    monkeypatch.setattr(node_inspection, "_processor_times", lambda: after)
    assert meter.measure().load == load


def test_one_machine_is_one_identity_for_each_address() -> None:
    assert host_identity("127.0.0.1") == host_identity("127.0.0.1")
    assert host_identity("127.0.0.1") != host_identity("10.0.0.1")


def test_the_speed_of_the_device_with_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "eth7").mkdir()
    (tmp_path / "eth7" / "speed").write_text("10000\n")
    monkeypatch.setattr(
        node_inspection, "device_of", lambda address: "eth7" if address == "10.0.0.1" else "lo"
    )
    assert node_inspection._link_speed("10.0.0.1", tmp_path) == 1_250_000_000
    assert node_inspection._link_speed("127.0.0.1", tmp_path) == 0
    (tmp_path / "eth7" / "speed").write_text("-1\n")  # the kernel's value for a link that is down
    assert node_inspection._link_speed("10.0.0.1", tmp_path) == 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the name of the loopback")
def test_the_device_of_an_address() -> None:
    assert device_of("127.0.0.1") == "lo"
    assert device_of("192.0.2.77") == ""
