"""Paused casts, and casts of a killed engine, in a real local cluster."""

from __future__ import annotations

import asyncio
import filecmp
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, DeliverySnapshot, DeliveryState, SendRequest
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.client.engine_client import EngineClient
from tests.cluster.conftest import GONE_SECONDS, Castray
from tests.cluster.test_recovery import process_of
from tests.helpers.trees import make_file

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

MIB = 1 << 20
STOP_SECONDS = 0.5
REPORT_SECONDS = 1.5  # the last report of an agent may be this old
LIMIT = 10_000_000
TRIES = 5


class Watcher:
    """A client that keeps the latest deliveries of all casts."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.deliveries: dict[str, dict[str, DeliverySnapshot]] = {}
        self.states: dict[str, CastState] = {}
        self._told = asyncio.Condition()
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        async for event in self.client.events():
            async with self._told:
                match event:
                    case messages.DeliveriesChanged(cast, changed):
                        rows = self.deliveries.setdefault(cast, {})
                        rows.update({item.node: item for item in changed})
                    case messages.CastChanged(summary):
                        self.states[summary.cast] = summary.state
                self._told.notify_all()

    async def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds), self._told:
            await self._told.wait_for(condition)

    def bytes(self, cast: str) -> list[int]:
        return [item.bytes for item in self.deliveries[cast].values()]

    async def bytes_at_rest(self, cast: str) -> list[int]:
        """The bytes of the recipients, once no report changes them any more."""
        async with asyncio.timeout(60):
            while True:
                before = self.bytes(cast)
                await asyncio.sleep(REPORT_SECONDS)
                if self.bytes(cast) == before:
                    return before

    async def close(self) -> None:
        await self.client.close()
        await self._watching


@pytest.fixture
async def watcher(cluster: Castray) -> AsyncIterator[Watcher]:
    watcher = Watcher(await EngineClient.connect(find_paths(cluster.environment), "test", start=False))
    yield watcher
    await watcher.close()


async def test_a_pause_stops_every_hop_and_the_cast_goes_on_at_the_same_offset(
    watcher: Watcher, tmp_path: Path
) -> None:
    file = make_file(tmp_path / "slow.bin", 100 * MIB)
    request = SendRequest(
        (str(file),), ("all",), options=TransferOptions(destination=str(tmp_path / "{node}"), limit=LIMIT)
    )
    cast = (await watcher.client.request(messages.Send(request), messages.Accepted)).cast
    await watcher.until(lambda: cast in watcher.deliveries and all(watcher.bytes(cast)))
    for _ in range(TRIES):  # a busy machine may hold up an agent, or the answer
        asked, at_first = time.monotonic(), watcher.bytes(cast)
        await watcher.client.request(messages.Pause(cast), messages.Done)
        took, before = time.monotonic() - asked, await watcher.bytes_at_rest(cast)
        assert max(before) < 100 * MIB  # they are at rest because of the pause
        await watcher.until(lambda: watcher.states[cast] is CastState.PAUSED)
        since = max(after - first for first, after in zip(at_first, before, strict=True))
        most = LIMIT * (STOP_SECONDS + 0.25)  # the first state was as old as that
        if took < STOP_SECONDS and since <= most:
            break
        await watcher.client.request(messages.Resume(cast), messages.Done)
        await watcher.until(lambda: watcher.bytes(cast) > before)  # noqa: B023
    assert took < STOP_SECONDS
    assert since <= most
    await asyncio.sleep(1.0)
    assert watcher.bytes(cast) == before
    assert watcher.states[cast] is CastState.PAUSED
    assert {item.state for item in watcher.deliveries[cast].values()} == {DeliveryState.PAUSED}
    await goes_on_without_the_last(watcher, cast)
    await watcher.client.request(messages.SetLimit(0, cast), messages.Done)
    await watcher.client.request(messages.Resume(cast), messages.Done)
    result = await watcher.client.request(messages.GetResult(cast), messages.CastResult)
    assert result.summary.state is CastState.COMPLETED, result
    assert result.summary.source_copies <= 1.01
    for item in result.deliveries:
        assert filecmp.cmp(file, tmp_path / item.node / file.name, shallow=False)


async def goes_on_without_the_last(watcher: Watcher, cast: str) -> None:
    """All are paused, then all but the last of the chain are resumed: nothing arrives there."""
    feeders = {item.upstream for item in watcher.deliveries[cast].values()}
    *others, last = sorted(watcher.deliveries[cast], key=feeders.__contains__, reverse=True)
    assert last not in feeders
    before = {node: item.bytes for node, item in watcher.deliveries[cast].items()}
    await watcher.client.request(messages.Resume(cast, tuple(others)), messages.Done)
    await watcher.until(lambda: all(watcher.deliveries[cast][node].bytes > before[node] for node in others))
    item = watcher.deliveries[cast][last]
    assert (item.state, item.bytes) == (DeliveryState.PAUSED, before[last])
    assert watcher.states[cast] is CastState.SENDING


def test_three_casts_to_four_nodes_outlive_a_killed_engine(
    own_castray: Castray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The local transport is off: every byte crosses a socket. The limit keeps all three running so long."""
    monkeypatch.setenv("CASTRAY_LOCAL_COPY", "0")
    folder, names = tmp_path / "got", ("one", "two", "three")
    assert own_castray("engine", "start", "--cluster", "local", timeout=120).returncode == 0
    added = own_castray("node", "add", "node_4", "--inbox", tmp_path / "in")
    assert added.returncode == 0, added.stderr
    sends = []
    for name in names:
        file = make_file(tmp_path / name, 60 * MIB)
        where = ("--to", "node_1,node_2,node_3,node_4", "--dest", folder / "{node}", "--transport", "direct")
        sends.append(own_castray.start("send", file, *where, "--limit", "2MB/s", "--json"))
    for command in sends:
        assert command.stdout is not None
        for line in command.stdout:
            if all(item["bytes"] for item in json.loads(line)["deliveries"]):
                break
    os.kill(process_of(own_castray, b"castray_desktop.workers.engine.process"), signal.SIGKILL)
    for command in sends:
        command.communicate(timeout=30)
    assert own_castray.wait_until_gone() == []
    runs = own_castray.home / "castray" / "runs"
    deadline = time.monotonic() + GONE_SECONDS
    while list(runs.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert json.loads(own_castray("casts", "--json").stdout) == []  # no engine
    assert own_castray("engine", "start", "--cluster", "local", timeout=120).returncode == 0
    casts = asyncio.run(results(own_castray))
    assert len(casts) == 3
    for result in casts:
        assert result.summary.state is CastState.COMPLETED, result
        assert [item.node for item in result.deliveries] == ["node_1", "node_2", "node_3", "node_4"]
        assert {item.transport for item in result.deliveries} <= {"direct", "reverse"}
        assert result.summary.source_copies <= 1.05
    for name in names:
        for node in ("node_1", "node_2", "node_3", "node_4"):
            assert filecmp.cmp(tmp_path / name, folder / node / name, shallow=False)
    assert not list(folder.rglob(".castray*"))
    assert not list((own_castray.home / "castray" / "casts").iterdir())


async def results(castray: Castray) -> list[messages.CastResult]:
    """Those of the casts that continue, without their limits."""
    client = await EngineClient.connect(find_paths(castray.environment), "test", start=False)
    casts = [summary.cast for summary in client.welcome.casts]
    for cast in casts:
        await client.request(messages.SetLimit(0, cast), messages.Done)
    found = [await client.request(messages.GetResult(cast), messages.CastResult) for cast in casts]
    await client.close()
    return found
