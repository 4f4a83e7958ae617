"""The agent that downloads is killed, and another one goes on: what was verified is not downloaded again.

The bytes are counted that the server gave out.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from pathlib import Path

import pytest

from castray_desktop.core.protocol.nodes.agent_orders import ServeSource, SetCastLimit
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.agent.transfer.delivery.audit import Receipts
from castray_desktop.workers.agent.transfer.source import (
    cast_source,
    download_window,
    remote_files,
    source_reader,
)
from castray_desktop.workers.agent.transfer.source.source_reader import SourceReader
from castray_desktop.workers.agent.transfer.store import hash_cache
from tests.helpers.servers.range_server import RangeServer
from tests.workers.agent.transfer.lab import BEST, Cast, Lab, Node, await_true
from tests.workers.agent.transfer.source.test_downloads import begin, prepare, resolve

pytestmark = pytest.mark.timeout(60)
PART = 128 << 10
SIZE = 40 * PART
WINDOW = 4 * PART
IN_MEMORY = 4 * PART
ALGORITHMS = dataclasses.replace(BEST, piece_bytes=PART)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small parts and little memory, and a home of their own for the nodes. Files are settled at once."""
    monkeypatch.setattr(download_window, "WINDOW_BYTES", WINDOW)
    monkeypatch.setattr(remote_files, "PART_BYTES", PART)
    monkeypatch.setattr(cast_source, "RECENT_DOWNLOADED_BYTES", IN_MEMORY)
    monkeypatch.setattr(source_reader, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 1_000_000)
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "node home"))


def replace_source(lab: Lab, cast: Cast, files: tuple[RemoteFile, ...]) -> Node:
    """The next agent of the same node serves the same cast."""
    before = cast.source
    before.plane.close()
    source = lab.node(before.name, local=True)
    prepare(source, cast.cast, files)
    source.await_source(cast.cast, lambda report: report.state is SourceState.PREPARED)
    source.plane.carry_out(ServeSource(cast.cast, cast.secret, 2, cast.algorithms))
    cast.source = source
    return source


@pytest.mark.parametrize("changed", [False, True], ids=["as delivered", "changed"])
def test_a_node_that_has_delivered_its_files_downloads_nothing_again(
    lab: Lab, server: RangeServer, changed: bool
) -> None:
    """Its own delivery was complete before that of others: it is not started again."""
    file = server.add("/model.bin", os.urandom(SIZE))
    files = resolve(server.url("/model.bin"))
    nodes = lab.chain(1, local=True)
    cast = begin(nodes[0], files, algorithms=ALGORITHMS)
    cast.deliver(nodes[0], nodes[0].upstream())
    (own,) = cast.results()
    assert own.state is RecipientState.COMPLETED, own
    await_true(lambda: Receipts().find(cast.cast, nodes[0].name) is not None)
    assert file.served == SIZE + 1
    cast.recipients.clear()
    copy = nodes[0].inbox / "model.bin"
    if changed:
        with copy.open("r+b") as writer:
            writer.seek(20 * PART)
            writer.write(b"another byte")
    source = replace_source(lab, cast, files)
    cast.deliver(nodes[1], source.upstream())
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED, result
    assert (nodes[1].inbox / "model.bin").read_bytes() == file.payload
    cast.forget()
    assert file.served == (2 * SIZE + 1 if changed else SIZE + 1)


def test_a_recipient_downloads_only_what_it_lacks(
    lab: Lab, server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although it requests what it lacks before it has read its own copy.

    On a busy machine, what was in memory may have to be downloaded again.
    """
    monkeypatch.setattr(cast_source, "NEAR_BYTES", PART)
    file = server.add("/model.bin", os.urandom(SIZE))
    files = resolve(server.url("/model.bin"))
    nodes = lab.chain(1, local=True)
    cast = begin(nodes[0], files, algorithms=ALGORITHMS)
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 4 << 20))
    heir = nodes[1]
    cast.deliver(heir, nodes[0].upstream())
    heir.await_delivery(cast.cast, lambda report: report.content_bytes >= 20 * PART)
    nodes[0].plane.close()
    heir.await_delivery(cast.cast, lambda report: report.upstream == "")
    await_true(lambda: not server.answering)  # it counts no more bytes for that agent
    before, had = file.served, heir.deliveries[cast.cast].content_bytes
    goes_on, read_piece = threading.Event(), SourceReader.read_piece

    def read_a_few(reader: SourceReader, index: int) -> None:
        assert index < 3 or goes_on.wait(20)
        read_piece(reader, index)

    monkeypatch.setattr(SourceReader, "read_piece", read_a_few)
    prepare(heir, cast.cast, files)
    heir.await_source(cast.cast, lambda report: report.state is SourceState.PREPARED)
    heir.plane.carry_out(ServeSource(cast.cast, cast.secret, 2, cast.algorithms))
    cast.source = heir
    await_true(lambda: file.served >= before + WINDOW)
    cast.set_upstream(heir, heir.upstream(), 2)
    heir.await_delivery(cast.cast, lambda report: report.content_bytes >= had + WINDOW + 2 * PART)
    goes_on.set()
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED, result
    assert (heir.inbox / "model.bin").read_bytes() == file.payload
    cast.forget()
    assert file.served - before <= SIZE - had + WINDOW + IN_MEMORY


def test_a_node_that_keeps_nothing_downloads_no_complete_file_again(lab: Lab, server: RangeServer) -> None:
    """It is no recipient: only the file that was not complete is downloaded from its beginning."""
    names = [f"/{number}.bin" for number in range(4)]
    served = [server.add(name, os.urandom(8 * PART)) for name in names]
    files = resolve(*map(server.url, names))
    gate = served[2].gate = threading.Event()
    nodes = lab.chain(1)
    cast = begin(nodes[0], files, algorithms=ALGORITHMS)
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= 16 * PART)
    threading.Timer(0.2, gate.set).start()  # for what the closing agent waits for
    source = replace_source(lab, cast, files)
    cast.set_upstream(nodes[1], source.upstream(), 2)
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED, result
    for name, file in zip(names, served, strict=True):
        assert (nodes[1].inbox / name[1:]).read_bytes() == file.payload
    cast.forget()
    assert [file.served for file in served[:2]] == [8 * PART + 1] * 2
    assert served[2].served <= 2 * (8 * PART) + 1
    assert served[3].served <= 8 * PART + WINDOW + 1
