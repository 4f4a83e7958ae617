"""Nothing is removed from the sent folder, whichever recipient writes to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from benchmarks.laboratory.in_process import InProcess
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import DeliveryState, OnConflict, SendRequest
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.workers.casts.session.shared_destination import folders_above


@pytest.fixture
async def machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[InProcess]:
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "castray"))
    async with InProcess(tmp_path / "inboxes", ("s", "a", "b")) as machines:
        yield machines
    assert list(tmp_path.rglob(".castray-*")) == []


@pytest.mark.parametrize("destination", ["{node}", "shared"])
async def test_what_is_added_to_the_sent_folder_meanwhile_stays(
    machines: InProcess, tmp_path: Path, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`a` receives into the source's own folder: by a link, or like every recipient."""
    sent = tmp_path / "shared" / "data"
    for folder in (sent, tmp_path / "b" / "data"):
        folder.mkdir(parents=True)
        (folder / "old").write_text("old")
    (tmp_path / "a").symlink_to(tmp_path / "shared")
    (tmp_path / "b" / "data" / "extra").write_text("nobody has it")
    call = machines.call

    async def work_on(node: str, order: agent_orders.Order) -> agent_orders.OrderReply | None:
        if isinstance(order, agent_orders.StartDelivery):
            (sent / "new").write_text("made after the scan")
        return await call(node, order)

    monkeypatch.setattr(machines, "call", work_on)
    request = SendRequest(
        (str(sent),),
        ("a", "b"),
        options=TransferOptions(
            destination=str(tmp_path / destination), on_conflict=OnConflict.OVERWRITE, remove_extra=True
        ),
    )
    result = await machines.cast_manager.result(machines.cast_manager.send(request))
    assert all(item.state.delivered for item in result.deliveries)
    assert (sent / "new").exists()
    if destination == "{node}":
        assert [item.removed for item in result.deliveries] == [0, 1]
        assert not (tmp_path / "b" / "data" / "extra").exists()
    else:
        assert result.deliveries[1].state is DeliveryState.SHARED


def test_where_the_source_would_be_written_to() -> None:
    assert folders_above(["/data/x", "/data/y"]) == ("/data",)
    assert folders_above(["/a/x/x"]) == ("/a/x", "/a")  # the folder that contains it has its name
    assert folders_above(["/x/b/x"]) == ("/x/b", "/")
