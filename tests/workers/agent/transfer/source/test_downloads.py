"""A node downloads files from a web server and passes them on; each fault of the server ends as it should."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import os
import secrets
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from castray_desktop.core.content.checksums import composite_checksum
from castray_desktop.core.content.folded_crc import GENERATORS, FoldedCrc
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import translate_value
from castray_desktop.core.protocol.nodes.agent_orders import (
    FileLink,
    GiveLinks,
    PrepareSource,
    ResolveUrls,
    ServeSource,
    SetCastLimit,
)
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, RemoteFile
from castray_desktop.core.protocol.nodes.packed_listing import pack_listing
from castray_desktop.workers.agent.transfer.source import range_client, remote_links, source_reader
from castray_desktop.workers.agent.transfer.source.download_window import PART_BYTES
from castray_desktop.workers.agent.transfer.source.range_client import RangeClient, RemoteLink
from castray_desktop.workers.agent.transfer.source.remote_listing import resolve_urls
from tests.helpers.authority import Authority
from tests.helpers.samples import without_link
from tests.helpers.servers.range_server import RangeServer, ServedFile, range_server
from tests.helpers.servers.ranged_answers import Answer
from tests.workers.agent.transfer.lab import BEST, Cast, Lab, Node

MIB = 1 << 20
SIZE = 20 * MIB + 12_345
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_client, "FIRST_DELAY_SECONDS", 0.01)


def resolve(*urls: str) -> tuple[RemoteFile, ...]:
    listing = resolve_urls(ResolveUrls(urls))
    assert listing.failure is None, listing
    return listing.files


def prepare(source: Node, cast: str, files: tuple[RemoteFile, ...], paths: tuple[str, ...] = ()) -> None:
    """As the engine does; the links of these files come at once."""
    listing = pack_listing([without_link(file) for file in files])
    source.plane.carry_out(PrepareSource(cast, paths, listing=listing))
    if any(file.address and (file.url or file.contents) for file in files):
        source.plane.carry_out(links_of(cast, files, 1))


def links_of(cast: str, files: tuple[RemoteFile, ...], number: int, first: int = 0) -> GiveLinks:
    """The links of these files."""
    given = [file for file in files if file.address]
    links = tuple(FileLink(file.url, file.authorization, file.contents) for file in given)
    return GiveLinks(cast, number, first, links)


def wants(number: int) -> Callable[[SourceReport], bool]:
    """Whether the source waits for the links of this number."""
    return lambda report: report.links_wanted is not None and report.links_wanted.number == number


def begin(
    source: Node,
    files: tuple[RemoteFile, ...],
    paths: tuple[str, ...] = (),
    algorithms: Algorithms = BEST,
) -> Cast:
    cast = secrets.token_hex(4)
    prepare(source, cast, files, paths)
    report = source.await_source(
        cast, lambda report: report.state in (SourceState.PREPARED, SourceState.FAILED)
    )
    assert report.totals is not None, report
    secret = secrets.token_hex(32)
    source.plane.carry_out(ServeSource(cast, secret, 1, algorithms))
    return Cast(source, cast, secret, report.totals, algorithms)


def send(
    nodes: list[Node], files: tuple[RemoteFile, ...], paths: tuple[str, ...] = ()
) -> list[DeliveryReport]:
    cast = begin(nodes[0], files, paths)
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    results = cast.results()
    cast.forget()
    return results


def served(server: RangeServer, path: str, size: int) -> ServedFile:
    return server.add(path, os.urandom(size))


@pytest.mark.parametrize("size", [0, 1, MIB, SIZE])
def test_a_file_arrives_and_is_downloaded_once(lab: Lab, server: RangeServer, size: int) -> None:
    file = served(server, "/models/weights%20v1.bin", size)
    nodes = lab.chain(3)
    results = send(nodes, resolve(server.url("/models/weights%20v1.bin?token=secret")))
    for node, result in zip(nodes[1:], results, strict=True):
        assert result.state is RecipientState.COMPLETED, result
        assert (node.inbox / "weights v1.bin").read_bytes() == file.payload
        assert (node.inbox / "weights v1.bin").stat().st_mtime == file.modified
    assert file.served == size + bool(size)  # and one byte, to see what is there


def test_the_node_that_downloads_is_a_recipient_itself(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    nodes = lab.chain(2, local=True)
    cast = begin(nodes[0], resolve(server.url("/model.bin")))
    for node in nodes:
        cast.deliver(node, nodes[0].upstream())
    for node, result in zip(nodes, cast.results(), strict=True):
        assert result.state is RecipientState.COMPLETED, result
        assert (node.inbox / "model.bin").read_bytes() == file.payload
    cast.forget()
    assert file.served == SIZE + 1
    sent = nodes[0].sources[cast.cast].sent_bytes
    assert sent == 2 * cast.totals.stream_bytes  # what it passes to itself does not count


def test_a_limit_does_not_hold_for_what_a_node_passes_to_itself(lab: Lab, server: RangeServer) -> None:
    served(server, "/model.bin", 4 * MIB)
    nodes = lab.chain(0, local=True)
    cast = begin(nodes[0], resolve(server.url("/model.bin")))
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 1))
    cast.deliver(nodes[0], nodes[0].upstream())
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED, result
    cast.forget()


def test_what_all_recipients_have_is_not_downloaded_again(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    nodes = lab.chain(2)
    send(nodes, resolve(server.url("/model.bin?token=1")))
    nodes[0].plane.close()  # the hashes are saved
    before = file.served
    again = [lab.node("again"), *nodes[1:]]
    results = send(again, resolve(server.url("/model.bin?token=2")))
    assert {result.state for result in results} == {RecipientState.SKIPPED}, results
    assert file.served <= before + 2 * MIB  # of the pieces that have the lists as well

    file.replace(os.urandom(SIZE))
    results = send(again, resolve(server.url("/model.bin?token=2")))
    assert {result.state for result in results} == {RecipientState.COMPLETED}, results
    assert (nodes[2].inbox / "model (2).bin").read_bytes() == file.payload


def test_a_cast_right_afterwards_downloads_nothing_again(lab: Lab, server: RangeServer) -> None:
    """The engine may not have told the nodes yet that the first one is over."""
    file = served(server, "/model.bin", SIZE)
    nodes = lab.chain(1)
    first = begin(nodes[0], resolve(server.url("/model.bin")))
    first.deliver(nodes[1], nodes[0].upstream())
    assert [result.state for result in first.results()] == [RecipientState.COMPLETED]
    before = file.served
    results = send(nodes, resolve(server.url("/model.bin")))
    assert [result.state for result in results] == [RecipientState.SKIPPED]
    assert file.served <= before + 2 * MIB + 1  # of the pieces that have the lists as well
    first.forget()


def test_files_of_this_machine_and_of_a_server(lab: Lab, server: RangeServer) -> None:
    files = [served(server, f"/{name}", size) for name, size in (("b.bin", 300), ("c.bin", 2 * MIB))]
    mine = lab.file("a.bin", MIB)
    nodes = lab.chain(1)
    (result,) = send(nodes, resolve(server.url("/b.bin"), server.url("/c.bin")), (str(mine),))
    assert result.state is RecipientState.COMPLETED, result
    inbox = nodes[1].inbox
    assert (inbox / "a.bin").read_bytes() == mine.read_bytes()
    assert [(inbox / name).read_bytes() for name in ("b.bin", "c.bin")] == [one.payload for one in files]


def test_eight_recipients_cost_the_server_one_download(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    file.faults = [Answer(cut_at=MIB), Answer(status=503)]
    nodes = lab.chain(8)
    results = send(nodes, (stored(server, file),))
    assert [result.state for result in results] == [RecipientState.COMPLETED] * 8, results
    for node in nodes[1:]:
        assert (node.inbox / "model.bin").read_bytes() == file.payload
    assert file.served <= SIZE * 1.02


@pytest.mark.parametrize(
    "faults",
    [
        [Answer(cut_at=100_000)],
        [Answer(cut_at=0)],
        [Answer(status=503)],
        [Answer(status=429, headers={"Retry-After": "0"})],
        [Answer(status=500), Answer(status=502), Answer(cut_at=5)],
    ],
    ids=["cut", "closed", "503", "429", "several"],
)
def test_what_passes_is_tried_again(lab: Lab, server: RangeServer, faults: list[Answer]) -> None:
    file = served(server, "/model.bin", SIZE)
    files = resolve(server.url("/model.bin"))
    file.faults = faults
    nodes = lab.chain(2)
    results = send(nodes, files)
    assert {result.state for result in results} == {RecipientState.COMPLETED}, results
    assert (nodes[2].inbox / "model.bin").read_bytes() == file.payload
    assert file.served <= SIZE * 1.02 + 1


def test_a_server_that_asks_for_no_time_is_not_asked_all_the_time(server: RangeServer) -> None:
    file = served(server, "/model.bin", 100)
    file.faults = [
        *(Answer(status=429, headers={"Retry-After": "0"}) for _ in range(2)),
        Answer(status=503, headers={"Retry-After": "Mon, 06 May 2024 07:08:09 GMT"}),
        Answer(status=503, headers={"Retry-After": "\u00b2"}),
    ]
    pauses: list[float] = []
    client = RangeClient(lambda seconds, _: pauses.append(seconds))
    assert client.state(RemoteLink(server.url("/model.bin"))).size == 100
    client.close()
    assert pauses == [range_client.FIRST_DELAY_SECONDS * factor for factor in (1, 2, 4, 8)]


def test_people_see_why_a_download_waits(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", MIB)
    files = resolve(server.url("/model.bin"))
    file.faults = [Answer(status=429, headers={"Retry-After": "600"})]
    nodes = lab.chain(1)
    cast = begin(nodes[0], files)
    cast.deliver(nodes[1], nodes[0].upstream())
    report = nodes[0].await_source(cast.cast, lambda report: report.waiting is not None)
    assert report.waiting is not None
    assert report.waiting.kind is FailureKind.SERVER_AWAITED
    assert "429" in report.waiting.values["reason"]
    assert 500 < report.wait_seconds <= 600
    cast.cancel(*nodes)
    assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
    cast.forget()


@pytest.mark.parametrize("tagged", [True, False], ids=["etag", "size"])
def test_a_file_that_changes_is_never_mixed(lab: Lab, server: RangeServer, tagged: bool) -> None:
    file = served(server, "/model.bin", SIZE)
    files = resolve(server.url("/model.bin"))
    if tagged:
        file.replace(os.urandom(SIZE))
    else:
        file.payload = os.urandom(SIZE + 1)
    nodes = lab.chain(1)
    (result,) = send(nodes, files)
    assert result.state is RecipientState.FAILED
    assert not (nodes[1].inbox / "model.bin").exists()
    problem = nodes[0].sources[next(iter(nodes[0].sources))].problems[0]
    assert problem.failure.kind is FailureKind.URL_CHANGED


@pytest.mark.parametrize("status", [403, 404])
def test_a_file_that_is_refused_fails_alone(lab: Lab, server: RangeServer, status: int) -> None:
    bad, good = served(server, "/bad.bin", SIZE), served(server, "/good.bin", SIZE)
    files = resolve(server.url("/bad.bin?key=secret"), server.url("/good.bin"))
    bad.faults = [Answer(status=status)] * 10
    nodes = lab.chain(1)
    (result,) = send(nodes, files)
    assert result.state is RecipientState.FAILED
    assert (nodes[1].inbox / "good.bin").read_bytes() == good.payload
    assert not (nodes[1].inbox / "bad.bin").exists()
    problem = nodes[0].sources[next(iter(nodes[0].sources))].problems[0]
    assert problem.failure.kind is FailureKind.URL_FAILED
    assert str(status) in problem.failure.values["reason"]
    assert "secret" not in repr(problem)


def test_a_server_without_ranges_is_read_once(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    file.ranges = False
    nodes = lab.chain(2)
    results = send(nodes, resolve(server.url("/model.bin")))
    assert {result.state for result in results} == {RecipientState.COMPLETED}, results
    assert (nodes[2].inbox / "model.bin").read_bytes() == file.payload


def test_a_file_without_a_size_is_refused(server: RangeServer) -> None:
    file = served(server, "/model.bin", 100)
    file.ranges = file.says_length = False
    listing = resolve_urls(ResolveUrls((server.url("/model.bin?key=secret"),)))
    assert listing.failure is not None
    assert listing.failure.kind is FailureKind.URL_FAILED
    assert "secret" not in repr(listing)


def test_how_long_a_server_lets_wait_is_said_of_a_file(server: RangeServer) -> None:
    """It is the engine that waits, and asks again."""
    file = served(server, "/model.bin", 100)
    file.faults = [Answer(status=429, headers={"Retry-After": "45"})]
    listing = resolve_urls(ResolveUrls((server.url("/model.bin?key=secret"),)))
    assert listing.failure is not None
    assert (listing.wait, listing.busy) == (45, True)
    assert listing.problem is not None
    assert listing.problem.kind is FailureKind.SERVER_BUSY
    assert listing.problem.values["seconds"] == "45"
    reason = listing.failure.values["reason"]
    assert reason == "the server answers 429 Too Many Requests and asks to wait 45 s"
    said = translate_value(reason, lambda text: text.replace("and asks to wait", "und bittet um"))
    assert said == "the server answers 429 Too Many Requests und bittet um 45 s"


def test_the_token_stays_with_its_host(lab: Lab, server: RangeServer) -> None:
    with range_server("127.0.0.2") as other:
        there = served(other, "/model.bin", MIB)
        link = served(server, "/link.bin", 1)
        link.redirect = other.url("/model.bin")
        file = RemoteFile(
            "model.bin", server.url("/link.bin"), MIB, there.etag, 0, authorization="Bearer secret"
        )
        nodes = lab.chain(1)
        (result,) = send(nodes, (file,))
        assert result.state is RecipientState.COMPLETED, result
        assert {request.get("authorization") for request in link.requests} == {"Bearer secret"}
        assert {request.get("authorization") for request in there.requests} == {None}
        assert "secret" not in repr(file)


@pytest.fixture
def encrypted(server: RangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """The server has a certificate for its address, whose authority is trusted."""
    authority = Authority(tmp_path / "authority")
    server.encrypt(*authority.issue("web", address="127.0.0.1"))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


def test_files_are_downloaded_by_https(lab: Lab, server: RangeServer, encrypted: Authority) -> None:
    file = served(server, "/model.bin", SIZE)
    nodes = lab.chain(1)
    (result,) = send(nodes, resolve(server.url("/model.bin")))
    assert result.state is RecipientState.COMPLETED, result
    assert (nodes[1].inbox / "model.bin").read_bytes() == file.payload


def test_a_certificate_that_is_not_trusted_is_refused_at_once(
    server: RangeServer, encrypted: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served(server, "/model.bin", 1)
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path / "another").file))
    listing = resolve_urls(ResolveUrls((server.url("/model.bin"),)))
    assert listing.failure is not None
    assert "certificate is not trusted" in listing.failure.values["reason"]


def test_a_redirect_to_a_plain_connection_is_refused(server: RangeServer, encrypted: Authority) -> None:
    with range_server("127.0.0.2") as other:
        served(other, "/model.bin", 1)
        served(server, "/link.bin", 1).redirect = other.url("/model.bin?key=secret")
        listing = resolve_urls(ResolveUrls((server.url("/link.bin"),)))
    assert listing.failure is not None
    assert listing.failure.values["reason"] == f"the server redirects to {other.url('/model.bin')}"


def test_a_proxy_of_the_environment_is_used(
    lab: Lab, server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = served(server, "/model.bin", MIB)
    monkeypatch.setenv("http_proxy", server.url(""))  # it serves what is asked for by its whole address
    monkeypatch.setenv("no_proxy", "")
    nodes = lab.chain(1)
    (result,) = send(nodes, resolve("http://example.invalid/model.bin"))
    assert result.state is RecipientState.COMPLETED, result
    assert {request["path"] for request in file.requests} == {"http://example.invalid/model.bin"}


def checksum(kind: str, payload: bytes) -> str:
    if kind == "crc32":
        return f"crc32:{zlib.crc32(payload):08x}"
    if kind in GENERATORS:
        crc = FoldedCrc(kind)
        crc.update(payload)
        return f"{kind}:{crc.digest().hex()}"
    return f"{kind}:{hashlib.new(kind, payload, usedforsecurity=False).hexdigest()}"


@pytest.mark.parametrize("size", [0, 300, SIZE])
@pytest.mark.parametrize("kind", ["sha256", "md5", "crc32", "sha1", "crc32c", "crc64nvme"])
def test_the_checksum_of_the_store_is_compared(lab: Lab, server: RangeServer, kind: str, size: int) -> None:
    file = served(server, "/model.bin", size)
    found = dataclasses.replace(stored(server, file), checksum=checksum(kind, file.payload))
    nodes = lab.chain(1)
    (result,) = send(nodes, (found,))
    assert result.state is RecipientState.COMPLETED, result
    assert next(iter(nodes[0].sources.values())).checksums == {kind: 1}


def test_a_checksum_of_parts_is_compared(lab: Lab, server: RangeServer) -> None:
    """Its parts are not those that are downloaded at once."""
    file = served(server, "/model.bin", SIZE)
    nodes = lab.chain(1)
    sizes = (5 * MIB + 7, 9 * MIB, SIZE - 14 * MIB - 7)
    parts, at = [], 0
    for size in sizes:
        parts.append(hashlib.sha256(file.payload[at : at + size]).digest())
        at += size
    for digests, compared in ((parts, {"sha256-composite": 1}), (parts[::-1], {})):
        text = composite_checksum("sha256", hashlib.sha256(b"".join(digests)).hexdigest(), sizes)
        (result,) = send(nodes, (dataclasses.replace(stored(server, file), checksum=text, etag=""),))
        assert (result.state is RecipientState.FAILED) is not bool(compared)
        assert list(nodes[0].sources.values())[-1].checksums == compared


@pytest.mark.parametrize(
    ("kind", "share", "compared"),
    [("crc64nvme", 0.0, 0), ("crc64nvme", float("inf"), 1), ("sha1", 0.0, 1)],
)
def test_a_checksum_that_is_slower_than_the_server_is_given_up(
    lab: Lab, server: RangeServer, kind: str, share: float, compared: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then nothing says that it was compared. Those of the standard library are fast."""
    monkeypatch.setattr(source_reader, "TRIAL_BYTES", 5 * MIB)
    monkeypatch.setattr(source_reader, "MAX_CHECKSUM_SHARE", share)
    file = served(server, "/model.bin", SIZE)
    nodes = lab.chain(1)
    found = dataclasses.replace(stored(server, file), checksum=checksum(kind, file.payload))
    (result,) = send(nodes, (found,))
    assert result.state is RecipientState.COMPLETED, result
    assert next(iter(nodes[0].sources.values())).checksums == ({kind: 1} if compared else {})


def test_a_file_with_another_checksum_fails_alone(lab: Lab, server: RangeServer) -> None:
    file, good = served(server, "/model.bin", SIZE), served(server, "/good.bin", 300)
    found = dataclasses.replace(stored(server, file), checksum=checksum("sha256", b"something else"))
    nodes = lab.chain(1)
    (result,) = send(nodes, (found, *resolve(server.url("/good.bin"))))
    assert result.state is RecipientState.FAILED
    assert not (nodes[1].inbox / "model.bin").exists()
    assert (nodes[1].inbox / "good.bin").read_bytes() == good.payload
    report = next(iter(nodes[0].sources.values()))
    assert report.checksums == {}
    assert [problem.failure for problem in report.problems] == [
        Failure(FailureKind.CHECKSUM_DIFFERS, {"url": "s3://bucket/model.bin", "checksum": "SHA-256"})
    ]


@pytest.mark.parametrize("encrypted", [True, False])
def test_an_etag_that_is_no_md5_is_not_compared(lab: Lab, server: RangeServer, encrypted: bool) -> None:
    """It looks like one, and the store says that it is none."""
    file = served(server, "/model.bin", MIB)
    file.etag = f'"{os.urandom(16).hex()}"'
    file.headers = {"x-amz-server-side-encryption": "aws:kms"} if encrypted else {}
    found = dataclasses.replace(stored(server, file), checksum="md5:" + file.etag.strip('"'))
    nodes = lab.chain(1)
    (result,) = send(nodes, (found,))
    assert (result.state is RecipientState.COMPLETED) is encrypted
    assert next(iter(nodes[0].sources.values())).checksums == {}


def test_the_checksum_that_a_web_server_states_is_compared(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", MIB)
    digest = base64.b64encode(hashlib.sha256(file.payload).digest()).decode()
    file.headers = {"Repr-Digest": f"sha-256=:{digest}:"}
    nodes = lab.chain(1)
    send(nodes, resolve(server.url("/model.bin")))
    assert next(iter(nodes[0].sources.values())).checksums == {"sha256": 1}


def test_a_checksum_that_a_store_states_with_the_bytes_is_compared(lab: Lab, server: RangeServer) -> None:
    """Azure has it in no listing."""
    file = served(server, "/model.bin", SIZE)
    digest = hashlib.md5(file.payload, usedforsecurity=False).digest()
    nodes = lab.chain(1)
    for stated, compared in ((digest, {"md5": 1}), (bytes(16), {})):
        file.headers = {"x-ms-blob-content-md5": base64.b64encode(stated).decode()}
        (result,) = send(nodes, (dataclasses.replace(stored(server, file), etag=""),))
        assert (result.state is RecipientState.COMPLETED) is bool(compared)
        assert list(nodes[0].sources.values())[-1].checksums == compared


def stored(server: RangeServer, file: ServedFile, number: int = 1) -> RemoteFile:
    """The file as that of a store, with the link of that number."""
    return RemoteFile(
        "model.bin",
        server.url(f"/model.bin?signature={number}"),
        len(file.payload),
        file.etag,
        ranges=file.ranges,
        address="s3://bucket/model.bin",
    )


def renew(cast: Cast, server: RangeServer, file: ServedFile, number: int) -> None:
    cast.source.plane.carry_out(links_of(cast.cast, (stored(server, file, number),), number))


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "whole"])
def test_a_link_that_has_expired_is_renewed(lab: Lab, server: RangeServer, ranges: bool) -> None:
    file = served(server, "/model.bin", SIZE)
    file.ranges, file.query = ranges, "signature=2"
    nodes = lab.chain(2)
    cast = begin(nodes[0], (stored(server, file),))
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    report = nodes[0].await_source(cast.cast, wants(2))
    assert "secret" not in repr(report)
    renew(cast, server, file, 2)
    assert {result.state for result in cast.results()} == {RecipientState.COMPLETED}
    assert nodes[0].sources[cast.cast].links_wanted is None
    cast.forget()
    assert (nodes[2].inbox / "model.bin").read_bytes() == file.payload
    assert file.served <= SIZE * 1.02


def test_links_that_expire_in_the_middle_are_renewed(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", 2 * SIZE)  # more than is requested at once
    file.query, file.gate = "signature=1", threading.Event()
    nodes = lab.chain(1)
    cast = begin(nodes[0], (stored(server, file),))
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.state is RecipientState.RECEIVING)
    file.query = "signature=2"
    file.gate.set()
    nodes[0].await_source(cast.cast, wants(2))
    renew(cast, server, file, 2)
    (result,) = cast.results()
    cast.forget()
    assert result.state is RecipientState.COMPLETED, result
    assert (nodes[1].inbox / "model.bin").read_bytes() == file.payload
    assert file.served <= 2 * SIZE * 1.02


def test_a_file_whose_new_link_is_refused_as_well_fails(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    file.query = "never"
    nodes = lab.chain(1)
    cast = begin(nodes[0], (stored(server, file),))
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[0].await_source(cast.cast, wants(2))
    renew(cast, server, file, 2)
    (result,) = cast.results()
    assert result.state is RecipientState.FAILED
    failure = nodes[0].sources[cast.cast].problems[0].failure
    assert failure.kind is FailureKind.URL_FAILED
    assert failure.values == {"url": "s3://bucket/model.bin", "reason": "the server answers 403 Forbidden"}
    cast.forget()


def test_a_link_that_nobody_renews_is_not_waited_for_without_end(
    lab: Lab, server: RangeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_links, "RENEWAL_SECONDS", 0.0)
    file = served(server, "/model.bin", MIB)
    file.query = "never"
    nodes = lab.chain(1)
    (result,) = send(nodes, (stored(server, file),))
    assert result.state is RecipientState.FAILED


def test_a_cast_that_waits_for_a_link_can_be_cancelled(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    file.query = "never"
    nodes = lab.chain(1)
    cast = begin(nodes[0], (stored(server, file),))
    cast.deliver(nodes[1], nodes[0].upstream())
    report = nodes[0].await_source(cast.cast, wants(2))
    assert report.waiting is not None
    assert report.waiting.values["reason"] == "the server answers 403 Forbidden"
    cast.cancel(*nodes)
    assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
    cast.forget()


def test_a_cast_that_waits_for_its_first_links_can_be_cancelled(lab: Lab, server: RangeServer) -> None:
    file = dataclasses.replace(stored(server, served(server, "/model.bin", SIZE)), url="")
    nodes = lab.chain(1)
    cast = begin(nodes[0], (file,))
    cast.deliver(nodes[1], nodes[0].upstream())
    report = nodes[0].await_source(cast.cast, lambda report: report.links_wanted is not None)
    assert report.waiting is None
    cast.cancel(*nodes)
    assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
    cast.forget()


def test_cancelling_ends_a_download_that_hangs(lab: Lab, server: RangeServer) -> None:
    file = served(server, "/model.bin", SIZE)
    files = resolve(server.url("/model.bin"))
    file.gate = threading.Event()
    nodes = lab.chain(1)
    cast = begin(nodes[0], files)
    cast.deliver(nodes[1], nodes[0].upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.state is RecipientState.RECEIVING)
    cast.cancel(*nodes)
    assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
    cast.forget()
    file.gate.set()


def test_a_recipient_goes_on_for_a_node_that_was_none(lab: Lab, server: RangeServer) -> None:
    """It reads what it has from its own delivery. Twice comes only what was in the lost node's memory."""
    size = 96 * MIB
    file = served(server, "/model.bin", size)
    files = resolve(server.url("/model.bin"))
    nodes = lab.chain(2, local=True)
    cast = begin(nodes[0], files)
    nodes[0].plane.carry_out(SetCastLimit(cast.cast, 48 * MIB))
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.content_bytes >= 48 * MIB)
    nodes[0].plane.close()
    had = nodes[1].deliveries[cast.cast].content_bytes
    ahead = file.served - had
    heir = nodes[1]
    prepare(heir, cast.cast, files)
    heir.await_source(cast.cast, lambda report: report.state is SourceState.PREPARED)
    heir.plane.carry_out(ServeSource(cast.cast, cast.secret, 2, cast.algorithms))
    cast.source = heir
    for node in nodes[1:]:
        cast.set_upstream(node, heir.upstream(), 2)
    for node, result in zip(nodes[1:], cast.results(), strict=True):
        assert result.state is RecipientState.COMPLETED, result
        assert (node.inbox / "model.bin").read_bytes() == file.payload
    cast.forget()
    assert ahead <= 64 * MIB
    assert file.served <= size + ahead + 2 * PART_BYTES


@pytest.mark.parametrize("local", [False, True], ids=["apart", "recipient"])
def test_links_of_many_files_come_as_they_are_needed(lab: Lab, server: RangeServer, local: bool) -> None:
    """No link is given more than twice as far ahead as a batch is long, and one batch expires."""
    batch, names = 10, [f"data/{number:03d}" for number in range(95)]
    payloads = {name: os.urandom(20_000 + number) for number, name in enumerate(names)}
    files = []
    for name, payload in payloads.items():
        there = server.add(f"/{name}", payload)
        files.append(RemoteFile(name, "", len(payload), there.etag, address=f"s3://bucket/{name}"))

    def linked(first: int, number: int) -> tuple[RemoteFile, ...]:
        found = []
        for file in files[first : first + batch]:
            server.files[f"/{file.path}"].query = f"signature={number}"
            url = server.url(f"/{file.path}?signature={number if number != 3 else 'expired'}")
            found.append(dataclasses.replace(file, url=url))
        return tuple(found)

    nodes = lab.chain(2, local=local)
    cast = secrets.token_hex(4)
    nodes[0].plane.carry_out(PrepareSource(cast, (), listing=pack_listing(files)))
    report = nodes[0].await_source(cast, lambda report: report.state is SourceState.PREPARED)
    assert report.totals is not None
    secret = secrets.token_hex(32)
    nodes[0].plane.carry_out(ServeSource(cast, secret, 1, BEST))
    running = Cast(nodes[0], cast, secret, report.totals, BEST)
    recipients = nodes if local else nodes[1:]
    for above, node in itertools.pairwise((nodes[0], *recipients)):
        running.deliver(node, above.upstream())
    number, firsts = 0, []

    def is_next(report: SourceReport) -> bool:
        wanted = report.links_wanted
        return report.state is SourceState.HASHED or (wanted is not None and wanted.number > number)

    while (report := nodes[0].await_source(cast, is_next)).state is not SourceState.HASHED:
        assert report.links_wanted is not None
        number, first = report.links_wanted.number, report.links_wanted.first
        firsts.append(first)
        nodes[0].plane.carry_out(links_of(cast, linked(first, number), number, first))
    assert {result.state for result in running.results()} == {RecipientState.COMPLETED}
    running.forget()
    for node in recipients:
        for name, payload in payloads.items():
            assert (node.inbox / name).read_bytes() == payload
    assert firsts[0] == 0
    assert len(firsts) > len(set(firsts))  # one batch had expired
    assert max(firsts) >= 80
    assert sum(server.files[f"/{name}"].served for name in names) == sum(map(len, payloads.values()))
