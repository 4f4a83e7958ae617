"""An inbox on a mount that hangs: the node reports it, and keeps working otherwise."""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import (
    agent_orders,
    agent_reports,
    cast_parcel,
    driver_protocol,
    json_codec,
)
from castray_desktop.workers.agent import node_agent as agent_module
from castray_desktop.workers.agent.node_agent import NodeAgent
from castray_desktop.workers.agent.node_inspection import MachineFactsMeter
from castray_desktop.workers.agent.transfer import transfer_service
from castray_desktop.workers.agent.transfer.system.file_io import OpenFiles
from castray_desktop.workers.clusters.node_inventory import INBOX_SECONDS, with_facts
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import await_true

pytestmark = pytest.mark.timeout(90)
DETACH = 2


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Path]:
    """A mount whose file system never answers, like a lost NFS server."""
    folder = tmp_path / "mount"
    folder.mkdir()
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs /dev/fuse")
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"castray-test", os.fsencode(folder), b"fuse", 0, options):
        os.close(fd)
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can mount")
    yield folder
    os.close(fd)  # now all waiting calls get an error
    libc.umount2(os.fsencode(folder), DETACH)
    deadline = time.monotonic() + PATIENCE
    waiting = ("castray-side", "castray-sweep")
    while any(thread.name.startswith(waiting) for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_measuring_a_node_does_not_wait_for_its_inbox(hung: Path) -> None:
    meter = MachineFactsMeter(hung / "inbox")
    began = time.monotonic()
    assert meter.measure().inbox_silent > 0
    later = meter.measure()
    assert later.cpus == os.cpu_count()
    assert later.inbox_silent > 0
    assert time.monotonic() - began < PATIENCE
    others = MachineFactsMeter(hung.parent)
    await_true(lambda: others.measure().inbox_silent == 0)


def test_a_node_reports_while_its_inbox_does_not_answer() -> None:
    node = NodeInfo("a", NodeState.ONLINE, inbox="/mnt/in")
    silent = with_facts(node, agent_reports.MachineFacts(inbox_silent=INBOX_SECONDS), 1.0)
    assert silent.failure is not None
    assert silent.failure.kind is FailureKind.INBOX_SILENT
    assert silent.failure.values == {"node": "a", "path": "/mnt/in"}
    assert with_facts(silent, agent_reports.MachineFacts(), 2.0) == msgspec.structs.replace(
        node, last_seen=2.0
    )


async def test_an_agent_continues_reports_and_cancels(
    hung: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(agent_module, "PREFLIGHT_SECONDS", 0.3)
    monkeypatch.setattr(transfer_service, "JOIN_SECONDS", 0.2)
    agent = NodeAgent(driver_protocol.PlaceAgent("a", str(hung / "inbox"), "127.0.0.1"))
    await agent.start()
    report = json_codec.from_json(await agent.report(), agent_reports.AgentHello | agent_reports.AgentReport)
    assert report.facts is not None
    assert report.facts.inbox_silent > 0
    order = agent_orders.CheckDestination("c", "", (cast_parcel.TopEntry("x"),), 1, 1)
    reply = json_codec.from_json(await agent.order(json_codec.to_json(order)), agent_orders.OrderReply)
    assert reply.failure is not None
    assert reply.failure.kind is FailureKind.FOLDER_SILENT
    delivery = agent_orders.StartDelivery(
        cast="c",
        secret="00" * 32,
        epoch=1,
        upstream=cast_parcel.Upstream("s", "127.0.0.1", 1),
        totals=cast_parcel.ParcelTotals(1, "m", 1, 1, 1, 1),
        algorithms=cast_parcel.Algorithms(),
    )
    async with asyncio.timeout(PATIENCE):
        await agent.order(json_codec.to_json(delivery))
        await agent.order(json_codec.to_json(agent_orders.CancelCast("c")))
        await agent.report()
    stopping = asyncio.create_task(agent.stop())
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await stopping


def test_closing_open_files_does_not_wait_for_one_that_is_being_opened() -> None:
    opening, go_on = threading.Event(), threading.Event()

    def opener(file: int) -> int:
        opening.set()
        assert go_on.wait(20)
        return os.open("/dev/null", os.O_RDONLY)

    files, raised = OpenFiles(opener), []

    def use() -> None:
        try:
            with files.borrow(1):
                raised.append("nothing")
        except OSError as error:
            raised.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    assert opening.wait(20)
    files.close()
    go_on.set()
    thread.join(20)
    assert raised == ["these files have been closed"]
