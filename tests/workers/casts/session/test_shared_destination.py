"""The recipients that write to a shared folder: a model of storage with late, wrong or missing answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.laboratory.in_process import InProcess
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import CastState, DeliveryState, OnConflict, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_orders import DestinationReply, Probe, ProbeReply, ProbeVerb
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.session import shared_destination
from castray_desktop.workers.casts.session.shared_destination import find_shared_storage
from tests.helpers.cast_stage import REQUEST, session_context
from tests.helpers.patience import PATIENCE


@dataclass
class World:
    """Storage by number; each node writes to one, and reports its machine and mount."""

    truth: dict[str, int]
    replies: dict[str, DestinationReply]
    pauses: list[int]
    broken: set[str] = field(default_factory=set)
    files: dict[int, dict[str, str]] = field(default_factory=dict)
    placed: int = 0
    background: BackgroundTasks = field(default_factory=BackgroundTasks)

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = 0.0
    ) -> agent_orders.OrderReply | None:
        assert isinstance(order, Probe)
        for _ in range(self.pauses[len(self.files) % len(self.pauses)]):
            await asyncio.sleep(0)
        if node in self.broken:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        files = self.files.setdefault(self.truth[node], {})
        if order.verb is ProbeVerb.PLACE:
            assert order.name not in files
            files[order.name] = order.content
            self.placed += 1
            return ProbeReply(True, "x")
        if order.verb is ProbeVerb.REMOVE:
            return ProbeReply(files.pop(order.name, None) is not None)
        assert order.below == "x"
        return ProbeReply(files.get(order.name) == order.content)

    async def find(self) -> dict[str, str]:
        request = REQUEST.with_options(destination="/d")
        context = session_context(self, self.background, request)  # type: ignore[arg-type]
        found = await find_shared_storage(context, self.replies)
        await self.background.wait()
        return found


def world(nodes: list[tuple[int, int, bool, bool]], pauses: list[int]) -> World:
    """Each node: its storage, its machine, whether it reports a mount, whether it ignores probes."""
    truth, replies, broken = {}, {}, set()
    for number, (storage, machine, tells, silent) in enumerate(nodes):
        node = f"n{number}"
        truth[node] = storage
        mount = f"mount {storage // 2}" if tells else ""  # two storages have one name
        replies[node] = DestinationReply("/d", f"{machine}:{storage}", mount=mount)
        if silent:
            broken.add(node)
    return World(truth, replies, pauses, broken)


@settings(deadline=None)
@given(
    nodes=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=9
    ),
    pauses=st.lists(st.integers(0, 3), min_size=1, max_size=4),
)
def test_one_group_is_one_folder_and_no_probe_stays(
    nodes: list[tuple[int, int, bool, bool]], pauses: list[int]
) -> None:
    here = world(nodes, pauses)
    found = asyncio.run(here.find())
    assert found.keys() == here.replies.keys()
    for one in found:
        for other in found:
            same_machine = here.replies[one].storage == here.replies[other].storage
            if found[one] == found[other]:
                assert here.truth[one] == here.truth[other]
            elif here.truth[one] == here.truth[other]:
                assert not same_machine
                if not here.broken:  # a node of the two machines reported no mount
                    leaders = [next(n for n in found if found[n] == found[node]) for node in (one, other)]
                    assert any(not here.replies[node].mount for node in leaders)
    assert [files for files in here.files.values() if files] == []


async def test_nobody_is_asked_where_mounts_differ() -> None:
    here = world([(0, 0, True, False), (2, 1, True, False), (4, 2, True, False)], [0])
    assert len(set((await here.find()).values())) == 3
    assert here.placed == 0


async def test_agents_of_one_machine_need_no_probe() -> None:
    here = world([(0, 0, True, False), (0, 0, True, False)], [0])
    assert len(set((await here.find()).values())) == 1
    assert here.placed == 0


async def test_slow_storage_counts_as_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_destination, "SHARED_PROBE_SECONDS", 0.01)
    here = world([(0, 0, True, False), (0, 1, True, False)], [0])
    never = asyncio.Event()
    answer = here.call

    async def call(
        node: str, order: agent_orders.Order, seconds: float = 0.0
    ) -> agent_orders.OrderReply | None:
        if node == "n1":
            await never.wait()
        return await answer(node, order)

    here.call = call  # type: ignore[method-assign]
    assert len(set((await here.find()).values())) == 2
    assert here.files == {0: {}}


async def test_a_cancelled_cast_removes_its_probe() -> None:
    here = world([(0, 0, True, False), (0, 1, True, False)], [0])
    looking, never = asyncio.Event(), asyncio.Event()
    answer = here.call

    async def call(
        node: str, order: agent_orders.Order, seconds: float = 0.0
    ) -> agent_orders.OrderReply | None:
        if isinstance(order, Probe) and order.verb is ProbeVerb.LOOK:
            looking.set()
            await never.wait()
        return await answer(node, order)

    here.call = call  # type: ignore[method-assign]
    finding = asyncio.create_task(here.find())
    async with asyncio.timeout(PATIENCE):
        await looking.wait()
        assert len(here.files[0]) == 1
        finding.cancel()
        await asyncio.wait([finding])
        await here.background.wait()
    assert here.files == {0: {}}


# --- real agents, each a machine of its own -------------------------------------------------------


@pytest.fixture
async def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    async with InProcess(tmp_path, ("s", "a", "b", "c")) as machines:
        yield machines
    assert list(tmp_path.rglob(".castray-*")) == []


async def test_two_machines_write_to_one_folder_once(machines: InProcess, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(3_000_000))
    dest = tmp_path / "shared" / "dest"
    request = SendRequest(
        (str(tmp_path / "x.bin"),),
        ("all",),
        options=TransferOptions(destination=str(dest), on_conflict=OnConflict.RENAME),
    )
    result = await machines.cast_manager.result(machines.cast_manager.send(request))
    assert result.summary.state is CastState.COMPLETED
    states = [item.state for item in result.deliveries]
    assert states == [DeliveryState.COMPLETED, DeliveryState.SHARED, DeliveryState.SHARED]
    assert {item.paths for item in result.deliveries} == {(str(dest / "x.bin"),)}
    assert [path.name for path in dest.iterdir()] == ["x.bin"]


async def test_machines_with_equal_names_of_folders_on_other_storage(
    machines: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal mounts alone are not sufficient: the machines differ here in a link each."""
    (tmp_path / "x.bin").write_bytes(bytes(3_000_000))
    monkeypatch.setattr(
        "castray_desktop.workers.agent.transfer.store.destination_check.storage_of",
        lambda *_: ("", "/dev/sda1"),
    )
    request = SendRequest(
        (str(tmp_path / "x.bin"),),
        ("all",),
        options=TransferOptions(destination=str(tmp_path / "on-{node}" / "dest")),
    )
    result = await machines.cast_manager.result(machines.cast_manager.send(request))
    assert [item.state for item in result.deliveries] == [DeliveryState.COMPLETED] * 3
    for node in ("a", "b", "c"):
        assert (tmp_path / f"on-{node}" / "dest" / "x.bin").exists()


async def first_bytes(machines: InProcess, cast: str) -> None:
    while not any(item.bytes for item in machines.cast_manager.deliveries()[cast]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def test_another_machine_takes_over_when_the_writer_goes(machines: InProcess, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(8_000_000))
    dest = tmp_path / "shared"
    request = SendRequest(
        (str(tmp_path / "x.bin"),),
        ("a", "b"),
        options=TransferOptions(destination=str(dest), limit=1_000_000),
    )
    cast = machines.cast_manager.send(request)
    async with asyncio.timeout(20):
        await first_bytes(machines, cast)
        await machines.lose("a")
        await machines.cast_manager.set_limit(cast, 0)
        result = await machines.cast_manager.result(cast)
    assert [item.state for item in result.deliveries] == [DeliveryState.SHARED, DeliveryState.COMPLETED]
    assert (dest / "x.bin").stat().st_size == 8_000_000


async def test_a_late_joiner_shares_what_others_write(machines: InProcess, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bytes(8_000_000))
    request = SendRequest(
        (str(tmp_path / "x.bin"),),
        ("a",),
        options=TransferOptions(destination=str(tmp_path / "shared"), limit=1_000_000),
    )
    cast = machines.cast_manager.send(request)
    async with asyncio.timeout(20):
        await first_bytes(machines, cast)
        await machines.cast_manager.add_recipients(cast, ("b",))
        await machines.cast_manager.set_limit(cast, 0)
        result = await machines.cast_manager.result(cast)
    assert [item.state for item in result.deliveries] == [DeliveryState.COMPLETED, DeliveryState.SHARED]
