"""Browsing files of nodes: the requests to agents, and the results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    THIS_COMPUTER,
    FolderEntry,
    MeasurePaths,
    NodeInfo,
    NodeState,
    PathSummary,
)
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS, answer_within
from castray_desktop.workers.clusters import file_browser
from castray_desktop.workers.clusters.file_browser import browse, measure
from tests.helpers.servers.fake_store import ADDRESS, FakeStore


class Nodes:
    """One node besides this computer, with the answers that a test gives."""

    target = "local"
    settled = True

    def __init__(self, answer: agent_orders.OrderReply | None = None) -> None:
        self.answer = answer
        self.asked: list[tuple[str, agent_orders.Order]] = []
        self.nodes: Mapping[str, NodeInfo] = {
            "here": NodeInfo("here", NodeState.ONLINE, this_computer=True),
            "there": NodeInfo("there", NodeState.ONLINE, address="10.0.0.2"),
        }

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        return None

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        self.asked.append((node, order))
        if self.answer is None:
            async with answer_within(node, seconds):
                await asyncio.Event().wait()
        return self.answer


async def sizes(
    nodes: Nodes, node: str, *paths: str, exclude: tuple[str, ...] = (), include: tuple[str, ...] = ()
) -> tuple[PathSummary, ...]:
    return await measure(nodes, FakeStore().resolver, MeasurePaths(paths, exclude, include, node))


async def test_the_engine_measures_what_is_in_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    nodes = Nodes()
    nodes.nodes = {"here": NodeInfo("here", NodeState.OFFLINE, this_computer=True)}
    found = await sizes(nodes, "here", ADDRESS, str(tmp_path / "file"), "gs://bucket/a")
    assert [(size.name, size.bytes) for size in found] == [("model.bin", 1 << 30), ("file", 3), ("a", 0)]
    assert found[2].failure is not None
    assert found[2].failure.kind is FailureKind.STORE_UNKNOWN


async def test_this_computer_is_looked_at_without_a_cluster(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    nodes = Nodes()
    nodes.nodes = {"here": NodeInfo("here", NodeState.OFFLINE, this_computer=True)}
    for name in (THIS_COMPUTER, "here"):
        listing = await browse(nodes, name, str(tmp_path))
        assert [(entry.name, entry.bytes) for entry in listing.entries] == [("file", 3)]
        (size,) = await sizes(nodes, name, str(tmp_path / "file"))
        assert size.bytes == 3
    assert nodes.asked == []


async def test_the_agent_of_this_computer_measures_since_it_keeps_the_scan(tmp_path: Path) -> None:
    nodes = Nodes(agent_orders.MeasureReply((agent_orders.PathSize("/a", "a", False, 1, 9),)))
    for name in (THIS_COMPUTER, "here"):
        (size,) = await sizes(nodes, name, "/a")
        assert size.bytes == 9
    assert nodes.asked == [("here", agent_orders.MeasureSizes(("/a",)))] * 2


async def test_a_lost_agent_of_this_computer_does_not_keep_files_from_being_measured(tmp_path: Path) -> None:
    class Lost(Nodes):
        async def call(
            self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
        ) -> agent_orders.OrderReply | None:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)

    (tmp_path / "file").write_bytes(b"123")
    (size,) = await sizes(Lost(), THIS_COMPUTER, str(tmp_path / "file"))
    assert size.bytes == 3


async def test_another_node_is_asked_by_whatever_it_is_called() -> None:
    nodes = Nodes(agent_orders.FolderReply("/data", (agent_orders.FolderItem("models", True),), 3))
    listing = await browse(nodes, "10.0.0.2", "/data")
    assert nodes.asked == [("there", agent_orders.ListFolder("/data"))]
    assert (listing.path, listing.entries, listing.left_out) == ("/data", (FolderEntry("models", True),), 3)


async def test_what_it_can_not_list_is_the_failure() -> None:
    nodes = Nodes(agent_orders.FolderReply("/x", failure=Failure(FailureKind.NOT_A_FOLDER, {"path": "/x"})))
    with pytest.raises(CastRayError) as raised:
        await browse(nodes, "there", "/x")
    assert raised.value.failure == Failure(FailureKind.NOT_A_FOLDER, {"node": "there", "path": "/x"})


async def test_sizes_of_another_node() -> None:
    nodes = Nodes(agent_orders.MeasureReply((agent_orders.PathSize("/a", "a", False, 1, 9),)))
    (size,) = await sizes(nodes, "there", "/a", exclude=("*.tmp",), include=("*.bin",))
    assert (size.path, size.files, size.bytes) == ("/a", 1, 9)
    assert nodes.asked == [("there", agent_orders.MeasureSizes(("/a",), ("*.tmp",), ("*.bin",)))]


async def test_unknown_and_silent_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes()
    with pytest.raises(CastRayError) as raised:
        await browse(nodes, "nobody", "/")
    assert raised.value.failure.kind is FailureKind.NODE_UNKNOWN
    monkeypatch.setattr(file_browser, "LIST_SECONDS", 0.01)
    with pytest.raises(CastRayError) as raised:
        await browse(nodes, "there", "/")
    assert raised.value.failure.kind is FailureKind.NODE_SILENT


URL = "https://example.org/model.bin?key=secret"


async def test_nodes_that_can_download_measure_addresses() -> None:
    file = cast_parcel.RemoteFile("model.bin", URL, 9)
    nodes = Nodes(agent_orders.RemoteListing((file,)))
    (found,) = await measure(nodes, FakeStore().resolver, MeasurePaths((URL,), node=""))
    assert (found.path, found.name, found.bytes, found.failure) == (URL, "model.bin", 9, None)
    assert [node for node, _ in nodes.asked] == ["there"]


async def test_an_address_that_no_node_reaches_says_why() -> None:
    failure = Failure(FailureKind.URL_FAILED, {"url": "https://example.org/model.bin", "reason": "404"})
    nodes = Nodes(agent_orders.RemoteListing(failure=failure))
    (found,) = await measure(nodes, FakeStore().resolver, MeasurePaths((URL,), node=""))
    assert found.failure == failure
    assert [node for node, _ in nodes.asked] == ["there", "here"]
