"""Casts and schedules of an earlier version go on in a real cluster of this one."""

from __future__ import annotations

import asyncio
import filecmp
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.home_format import HOME_FORMAT
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import EngineClient
from tests.cluster.conftest import Castray, make_home
from tests.helpers.earlier_home import HOMES, unpack
from tests.helpers.extent import TEST_ALL
from tools.sample_home import MADE

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
SECONDS = 120.0


@pytest.fixture(params=HOMES if TEST_ALL else HOMES[:1], ids=lambda path: path.name.partition(".tar")[0])
def castray(request: pytest.FixtureRequest) -> Iterator[Castray]:
    """The home of an earlier version; without Ray, all of them are opened by `test_earlier_homes.py`. No
    process may remain afterwards.
    """
    root = unpack(request.param)
    castray = make_home(root)
    yield castray
    castray("engine", "stop", timeout=60)
    left = castray.wait_until_gone()
    shutil.rmtree(root)
    assert left == []


def test_a_paused_cast_resumes_and_a_schedule_runs(castray: Castray) -> None:
    root = castray.home
    started = castray("engine", "start", "--cluster", "local", timeout=SECONDS)
    assert started.returncode == 0, started.stderr
    casts = {cast["name"]: cast for cast in listed(castray)}
    assert set(casts) == {"big.bin", "other.bin"}
    paused = casts["big.bin"]["cast"]
    assert casts["big.bin"]["state"] == "paused"
    unlimited = castray("limit", "off", "--cast", paused)
    assert unlimited.returncode == 0, unlimited.stderr
    resumed = castray("resume", paused)
    assert resumed.returncode == 0, resumed.stderr
    asyncio.run(all_ended(castray))
    until(lambda: {"big.bin", "other.bin"} <= set(past(castray)))
    for name, nodes in (("big.bin", ("node_1", "node_2")), ("other.bin", ("node_3",))):
        result = past(castray)[name]
        assert result["state"] == "completed", result
        for node in nodes:
            assert filecmp.cmp(root / "files" / name, root / "big" / node / name, shallow=False)
    # What the earlier version has sent counts as well: more than one copy would be verified bytes once more.
    assert detail(castray, paused)["source_copies"] < 1.1
    main = root / "files" / "project" / "main.py"
    main.write_text("print(1)\n")
    os.utime(main, (MADE + 1, MADE + 1))
    ran = castray("schedule", "run", "nightly")
    assert ran.returncode == 0, ran.stderr
    copies = [root / "plan" / node / "project" / "main.py" for node in ("node_1", "node_2")]
    until(lambda: all(copy.read_text() == "print(1)\n" for copy in copies))
    assert not list((root / "castray").rglob("damaged-*"))
    assert json.loads((root / "castray" / "format.json").read_text())["format"] == HOME_FORMAT


async def all_ended(castray: Castray) -> None:
    """Wait until every cast of the engine has ended."""
    client = await EngineClient.connect(find_paths(castray.environment), "test", start=False)
    async with asyncio.timeout(SECONDS):
        for summary in client.welcome.casts:
            await client.request(messages.GetResult(summary.cast), messages.CastResult)
    await client.close()


def listed(castray: Castray) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(castray("casts", "--json").stdout)
    return found


def past(castray: Castray) -> dict[str, dict[str, Any]]:
    """The latest past cast of each name."""
    found = json.loads(castray("history", "--json").stdout)
    return {cast["name"]: cast for cast in reversed(found)}


def detail(castray: Castray, cast: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(castray("history", cast, "--json").stdout)
    return found


def until(done: Callable[[], object]) -> None:
    """Wait until `done` is true."""
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.3)
