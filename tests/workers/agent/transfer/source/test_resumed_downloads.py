"""A retry of a download: what nodes have kept is not downloaded again, unless the file has changed."""

from __future__ import annotations

import dataclasses
import itertools
import os
import secrets
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import (
    ForgetCast,
    PrepareSource,
    ServeSource,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.core.protocol.nodes.packed_listing import pack_listing
from castray_desktop.workers.agent.transfer.delivery import piece_downloader
from castray_desktop.workers.agent.transfer.source import (
    cast_source,
    download_window,
    range_client,
    remote_files,
)
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from tests.helpers.servers.range_server import RangeServer, ServedFile
from tests.helpers.servers.ranged_answers import Answer
from tests.workers.agent.transfer.lab import BEST, Cast, Lab, Node, await_true
from tests.workers.agent.transfer.source.test_downloads import resolve

pytestmark = pytest.mark.timeout(60)
PART = 128 << 10
SIZE = 40 * PART + 17
WINDOW = 4 * PART
EVERY = 10_000  # more requests than there are
ALGORITHMS = dataclasses.replace(BEST, piece_bytes=PART)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small parts, a short patience, and a home of their own for the nodes."""
    monkeypatch.setattr(range_client, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(range_client, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(download_window, "WINDOW_BYTES", WINDOW)
    monkeypatch.setattr(remote_files, "PART_BYTES", PART)
    monkeypatch.setenv("CASTRAY_HOME", str(tmp_path / "node home"))


def begin(
    cast: str, nodes: list[Node], files: tuple[RemoteFile, ...], version: str, *, resumes: bool = False
) -> Cast:
    """An attempt: the first node downloads and is a recipient too, each other one is below the one before."""
    source = nodes[0]
    source.sources.pop(cast, None)
    for node in nodes:
        node.deliveries.pop(cast, None)
    source.plane.carry_out(PrepareSource(cast, (), listing=pack_listing(files)))
    report = source.await_source(cast, lambda report: report.state is SourceState.PREPARED)
    assert report.totals is not None
    secret = secrets.token_hex(32)
    source.plane.carry_out(ServeSource(cast, secret, 1, ALGORITHMS, resumes=resumes))
    attempt = Cast(source, cast, secret, report.totals, ALGORITHMS, recipients=list(nodes))
    for above, node in itertools.pairwise([source, *nodes]):
        order = StartDelivery(
            cast,
            secret,
            1,
            above.upstream(),
            report.totals,
            ALGORITHMS,
            keep_failed=True,
            version=version,
        )
        node.plane.carry_out(order)
    return attempt


def lose_server(nodes: list[Node], server: RangeServer, file: ServedFile) -> str:
    """The server stops to respond in the middle; returns the cast, of which every node keeps what it has."""
    files = resolve(server.url("/model.bin"))
    file.faults = [*(Answer() for _ in range(25)), *(Answer(status=503) for _ in range(EVERY))]
    cast = secrets.token_hex(4)
    begin(cast, nodes, files, "1")
    report = nodes[0].await_source(cast, lambda report: report.state is SourceState.FAILED)
    assert report.failure is not None
    assert report.failure.kind is FailureKind.SERVER_LOST
    assert "503" in report.failure.values["reason"]
    for node in nodes:  # as the engine does
        node.plane.carry_out(ForgetCast(cast, keep_parts=True))
    await_true(lambda: len(StagingRegistry().kept()) == len(nodes))
    file.faults = []
    return cast


def retry(cast: str, nodes: list[Node], server: RangeServer, version: str) -> list[DeliveryReport]:
    attempt = begin(cast, nodes, resolve(server.url("/model.bin")), version, resumes=True)
    results = attempt.results()
    attempt.forget()
    return results


def test_what_nodes_have_kept_is_not_downloaded_again(lab: Lab, server: RangeServer) -> None:
    file = server.add("/model.bin", os.urandom(SIZE))
    nodes = lab.chain(2, local=True)
    cast = lose_server(nodes, server, file)
    before = file.served
    assert before > 20 * PART
    results = retry(cast, nodes, server, "1")
    for node, result in zip(nodes, results, strict=True):
        assert result.state is RecipientState.COMPLETED, result
        assert (node.inbox / "model.bin").read_bytes() == file.payload
        assert result.received_bytes < SIZE - 15 * PART
    assert file.served <= SIZE + WINDOW + 2 * PART
    assert StagingRegistry().kept() == []


def test_parts_of_another_version_are_never_used(lab: Lab, server: RangeServer) -> None:
    """The list of files is the same: name, size and date."""
    file = server.add("/model.bin", os.urandom(SIZE))
    nodes = lab.chain(1, local=True)
    cast = lose_server(nodes, server, file)
    file.replace(os.urandom(SIZE))
    before = file.served
    results = retry(cast, nodes, server, "2")
    for node, result in zip(nodes, results, strict=True):
        assert result.state is RecipientState.COMPLETED, result
        assert (node.inbox / "model.bin").read_bytes() == file.payload
        assert result.received_bytes >= SIZE
    assert file.served - before >= SIZE


@pytest.mark.parametrize("same", [0, 20, 40], ids=["different", "half", "identical"])
def test_an_older_file_of_the_same_size_does_not_cost_a_second_download(
    lab: Lab, server: RangeServer, monkeypatch: pytest.MonkeyPatch, same: int
) -> None:
    """It is compared by digests, for which the source downloads the file."""
    monkeypatch.setattr(cast_source, "RECENT_DOWNLOADED_BYTES", 6 * PART)
    monkeypatch.setattr(piece_downloader, "DIGEST_BYTES", PART)
    file = server.add("/model.bin", os.urandom(SIZE))
    nodes = lab.chain(2)
    older = file.payload if same == 40 else file.payload[: same * PART] + os.urandom(SIZE - same * PART)
    for node in nodes[1:]:
        node.inbox.mkdir(parents=True)
        (node.inbox / "model.bin").write_bytes(older)
    cast = begin(secrets.token_hex(4), nodes, resolve(server.url("/model.bin")), "1")
    results = cast.results()
    cast.forget()
    name = "model.bin" if same == 40 else "model (2).bin"
    for node, result in zip(nodes[1:], results[1:], strict=True):
        assert result.state in (RecipientState.COMPLETED, RecipientState.SKIPPED), result
        assert (node.inbox / name).read_bytes() == file.payload
        assert result.received_bytes <= SIZE - (same - 3) * PART
    assert file.served <= SIZE * 1.02 + 8 * PART


def test_no_file_is_filled_up_when_the_server_is_lost(lab: Lab, server: RangeServer) -> None:
    """Nor is anything delivered: the file that the server does not give out any more is not the last."""
    file, other = server.add("/model.bin", os.urandom(SIZE)), server.add("/other.bin", os.urandom(PART))
    nodes = lab.chain(1, local=True)
    files = resolve(server.url("/model.bin"), server.url("/other.bin"))
    file.faults = [Answer(status=503) for _ in range(EVERY)]
    cast = secrets.token_hex(4)
    begin(cast, nodes, files, "1")
    report = nodes[0].await_source(cast, lambda report: report.state is SourceState.FAILED)
    assert report.problems == ()
    for node in nodes:
        node.plane.carry_out(ForgetCast(cast))
        assert not (node.inbox / "other.bin").exists()
    assert other.served <= PART + 1
