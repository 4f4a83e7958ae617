"""Checks of this computer."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.core.protocol.messages import CheckState
from castray_desktop.workers.diagnostics import local_checks


@pytest.mark.parametrize("ports", ["", "0", "7000", "7000-7010", " 7000 - 7010 "])
def test_ports_that_can_be_used(ports: str) -> None:
    assert local_checks.data_ports_check({"CASTRAY_DATA_PORTS": ports}).state is CheckState.GOOD


@pytest.mark.parametrize("ports", ["x", "7010-7000", "0-5", "7000-70000", "1-2-3", "7000-²"])
def test_ports_that_can_not(ports: str) -> None:
    check = local_checks.data_ports_check({"CASTRAY_DATA_PORTS": ports})
    assert (check.state, check.values["value"]) == (CheckState.BAD, ports)
    assert check.values["variable"] == "CASTRAY_DATA_PORTS"


def test_networks() -> None:
    def of(network: str) -> CheckState:
        return local_checks.data_ports_check({"CASTRAY_DATA_NETWORK": network}).state

    assert of("127.0.0.0/8") is CheckState.GOOD
    assert of("203.0.113.0/24") is CheckState.NOTICE
    assert of("nonsense") is CheckState.BAD


def test_a_display() -> None:
    assert local_checks.display_check({"DISPLAY": ":1"}).values == {"display": ":1"}
    assert local_checks.display_check({}).state is CheckState.NOTICE


async def test_qt_is_really_loaded() -> None:
    good = await local_checks.qt_check({"QT_QPA_PLATFORM": "offscreen"})
    assert good.state is CheckState.GOOD
    assert good.values["version"].startswith("6.")
    bad = await local_checks.qt_check({"QT_QPA_PLATFORM": "no such platform"})
    assert bad.state is CheckState.BAD
    assert "no such platform" in bad.values["reason"]


def test_watched_folders(tmp_path: Path) -> None:
    assert local_checks.inotify_check(tmp_path) is None
    (tmp_path / "max_user_watches").write_text("100\n")
    few = local_checks.inotify_check(tmp_path)
    assert few is not None
    assert (few.state, few.values["watches"]) == (CheckState.NOTICE, "100")


async def test_fonts_and_versions() -> None:
    assert (await local_checks.fonts_check()).kind == "fonts"
    assert local_checks.castray_check().values["ray"]
