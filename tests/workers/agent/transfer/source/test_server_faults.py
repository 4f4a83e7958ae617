"""Each fault of each kind of server ends as described: a web server, an S3 server, a hub.

The S3 server is a real one (moto) behind a proxy that makes the faults.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import obstore
import obstore.exceptions
import obstore.store
import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import MeasureDownload
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState, SourceReport
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.agent.transfer.source import download_window, range_client, remote_files
from castray_desktop.workers.agent.transfer.source.remote_listing import measure_download
from castray_desktop.workers.sources import object_stores
from castray_desktop.workers.sources.address_resolver import AddressResolver
from tests.helpers.servers.hub_server import HubServer
from tests.helpers.servers.range_server import RangeServer, ServedFile, range_server
from tests.helpers.servers.ranged_answers import Answer
from tests.helpers.servers.s3_proxy import S3Proxy, s3_proxy
from tests.helpers.servers.s3_server import S3Server
from tests.workers.agent.transfer.lab import BEST, Cast, Lab, Node
from tests.workers.agent.transfer.source.test_downloads import begin, links_of, resolve, wants

pytestmark = pytest.mark.timeout(60)
PART = 128 << 10
SIZE = 2_000_017  # sixteen parts, of which four are requested at once
NAME = "model.safetensors"
EVERY = 1000  # more requests than there are


class Stand(Protocol):
    """A server with one file, and its faults."""

    name: str
    payload: bytes

    @property
    def faults(self) -> list[Answer]:
        """For the next requests for ranges of the file, one each."""
        ...

    @property
    def sent(self) -> int:
        """Bytes of the file that were given out."""
        ...

    def find(self) -> RemoteFile:
        """The file, with a link that is good now."""
        ...

    def hold(self, gate: threading.Event) -> None:
        """Let bodies wait for it."""
        ...

    def change(self) -> None:
        """Replace the file by another version of the same size."""
        ...

    def expire(self) -> None:
        """Refuse the links that were used."""
        ...


def find_in_store(address: str) -> RemoteFile:
    async def ask() -> RemoteFile:
        resolver = AddressResolver()
        (file,) = await resolver.with_links(await resolver.list_files(address, TransferOptions()))
        return file

    return asyncio.run(ask())


@dataclass
class WebStand:
    """A web server, which the node asks itself."""

    server: RangeServer
    file: ServedFile
    payload: bytes
    name: str = NAME

    @property
    def faults(self) -> list[Answer]:
        return self.file.faults

    @property
    def sent(self) -> int:
        return self.file.served

    def find(self) -> RemoteFile:
        (file,) = resolve(self.server.url(f"/{self.name}"))
        return file

    def hold(self, gate: threading.Event) -> None:
        self.file.gate = gate

    def change(self) -> None:
        self.file.replace(os.urandom(SIZE))

    def expire(self) -> None:
        self.file.query = "expired"


@dataclass
class S3Stand:
    """An object, by a signed link."""

    server: S3Server
    proxy: S3Proxy
    payload: bytes
    monkeypatch: pytest.MonkeyPatch
    lives: Iterator[float] = field(default_factory=lambda: itertools.count(3600.0))
    name: str = NAME

    @property
    def faults(self) -> list[Answer]:
        return self.proxy.faults

    @property
    def sent(self) -> int:
        return self.proxy.sent_bytes

    def find(self) -> RemoteFile:
        # two links that are signed within a second are the same, unless they live differently
        self.monkeypatch.setattr(object_stores, "LINK_SECONDS", next(self.lives))
        return find_in_store(f"s3://bucket/{self.name}")

    def hold(self, gate: threading.Event) -> None:
        self.proxy.gate = gate

    def change(self) -> None:
        self.server.put(f"bucket/{self.name}", os.urandom(SIZE))

    def expire(self) -> None:
        self.proxy.expire_links()


@dataclass
class HubStand:
    """A large file of a repository, which is on another host than the hub.

    Of a public one the node has the hub's own address, and the hub redirects it to a signed link. Of a
    private one the node has the signed link.
    """

    hub: HubServer
    payload: bytes
    name: str = NAME

    @property
    def faults(self) -> list[Answer]:
        return self.hub.store_faults

    @property
    def sent(self) -> int:
        return self.hub.sent_bytes

    def find(self) -> RemoteFile:
        return find_in_store(f"hf://org/name/{self.name}")

    def hold(self, gate: threading.Event) -> None:
        self.hub.gate = gate

    def change(self) -> None:
        self.hub.large[hashlib.sha256(self.payload).hexdigest()] = os.urandom(SIZE)

    def expire(self) -> None:
        self.hub.expire_links()


@pytest.fixture(scope="module")
def obstore_runs(s3_process: S3Server) -> None:
    """Its first request opens what stays open, as does that server. No cast leaves it behind."""
    store = obstore.store.S3Store(
        "bucket",
        endpoint=s3_process.url,
        retry_config={"max_retries": 0},
        client_options={"allow_http": True},
        skip_signature=True,
    )

    async def ask() -> None:
        await obstore.head_async(store, "nothing")

    with contextlib.suppress(obstore.exceptions.BaseError, OSError):
        asyncio.run(ask())


@pytest.fixture(params=["web", "s3", "hub", "private hub"])
def stand(
    request: pytest.FixtureRequest, obstore_runs: None, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    """A server of each kind."""
    payload = os.urandom(SIZE)
    if request.param == "web":
        with range_server() as server:
            yield WebStand(server, server.add(f"/{NAME}", payload), payload)
    elif request.param == "s3":
        moto: S3Server = request.getfixturevalue("s3")
        moto.put("bucket")
        moto.put(f"bucket/{NAME}", payload)
        with s3_proxy(moto.url) as proxy:
            monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
            yield S3Stand(moto, proxy, payload, monkeypatch)
    else:
        hub: HubServer = request.getfixturevalue("hub")
        private = request.param == "private hub"
        hub.tokens["secret"] = {"org/name"}
        hub.add("org/name", {NAME: payload}, private=private)
        if private:
            hub.tokens["hf_good"] = {"org/name"}
            monkeypatch.setenv("HF_TOKEN", "hf_good")
        yield HubStand(hub, payload)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts, and short pauses."""
    monkeypatch.setattr(range_client, "FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(download_window, "WINDOW_BYTES", 4 * PART)
    monkeypatch.setattr(remote_files, "PART_BYTES", PART)


def start(stand: Stand, lab: Lab, file: RemoteFile) -> tuple[Cast, list[Node]]:
    nodes = lab.chain(2)
    algorithms = replace(BEST, file="sha256", piece_bytes=PART)
    cast = begin(nodes[0], (file,), algorithms=algorithms)
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    return cast, nodes


def send(stand: Stand, lab: Lab, file: RemoteFile) -> tuple[list[Node], list[DeliveryReport]]:
    cast, nodes = start(stand, lab, file)
    results = cast.results()
    cast.forget()
    return nodes, results


def check_complete(stand: Stand, nodes: list[Node], results: list[DeliveryReport]) -> None:
    assert {result.state for result in results} == {RecipientState.COMPLETED}, results
    for node in nodes[1:]:
        assert (node.inbox / stand.name).read_bytes() == stand.payload


def check_failed(stand: Stand, nodes: list[Node], results: list[DeliveryReport]) -> Failure:
    """Returns why the file failed."""
    assert {result.state for result in results} == {RecipientState.FAILED}, results
    assert not any((node.inbox / stand.name).exists() for node in nodes)
    (source,) = nodes[0].sources.values()
    (problem,) = source.problems
    return problem.failure


PASSING = {
    "cut at half": [Answer(cut_at=PART // 2)],
    "cut again and again": [Answer(cut_at=PART // 2), Answer(cut_at=1), Answer(cut_at=PART - 1)],
    "closed without a byte": [Answer(cut_at=0)],
    "503": [Answer(status=503)],
    "less than was requested": [Answer(at_most=1000), Answer(at_most=PART - 1)],
    "slow": [Answer(seconds=0.02) for _ in range(EVERY)],
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_completed(stand: Stand, lab: Lab, fault: str) -> None:
    """And no byte is downloaded twice."""
    file, before = stand.find(), stand.sent
    stand.faults.extend([replace(answer) for answer in PASSING[fault]])
    nodes, results = send(stand, lab, file)
    check_complete(stand, nodes, results)
    assert SIZE <= stand.sent - before <= SIZE + 1  # one to see what is there


def test_a_server_that_asks_to_wait_is_obeyed(stand: Stand, lab: Lab) -> None:
    file = stand.find()
    stand.faults.append(Answer(status=429, headers={"Retry-After": "1"}))
    nodes, results = send(stand, lab, file)
    check_complete(stand, nodes, results)
    reports = [report for report in nodes[0].history if isinstance(report, SourceReport)]
    reasons = {report.waiting.values["reason"] for report in reports if report.waiting is not None}
    assert reasons == {"the server answers 429 Too Many Requests and asks to wait 1 s"}
    assert reports[-1].waiting is None


def test_a_server_that_falls_silent_is_asked_again(
    stand: Stand, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stand.find()
    monkeypatch.setattr(range_client, "SILENCE_SECONDS", 0.3)
    silent = Answer(silent_at=1000)
    stand.faults.append(silent)
    nodes, results = send(stand, lab, file)
    silent.released.set()
    check_complete(stand, nodes, results)


def test_a_server_without_ranges_is_read_as_a_whole(stand: Stand, lab: Lab) -> None:
    stand.faults.extend(Answer(whole=True) for _ in range(EVERY))
    file = stand.find()
    before = len(stand.faults)
    nodes, results = send(stand, lab, file)
    check_complete(stand, nodes, results)
    assert before - len(stand.faults) <= 5  # those at once before it was clear, and one
    rate = measure_download(MeasureDownload(file, PART))
    assert rate.failure is None


def test_another_version_is_never_mixed_in(stand: Stand, lab: Lab) -> None:
    file, gate = stand.find(), threading.Event()
    stand.hold(gate)
    cast, nodes = start(stand, lab, file)
    nodes[1].await_delivery(cast.cast, lambda report: report.state is RecipientState.RECEIVING)
    stand.change()
    gate.set()
    results = cast.results()
    cast.forget()
    failure = check_failed(stand, nodes, results)
    if isinstance(stand, HubStand):  # its addresses are those of the contents, so it has no other version
        assert failure.kind is FailureKind.CHECKSUM_DIFFERS
    else:
        assert failure.kind is FailureKind.URL_CHANGED


@pytest.mark.parametrize("difference", [1, -1, SIZE])
def test_another_size_is_another_version(stand: Stand, lab: Lab, difference: int) -> None:
    file = stand.find()
    stand.faults.extend([Answer(), *(Answer(other_size=difference) for _ in range(EVERY))])
    nodes, results = send(stand, lab, file)
    assert check_failed(stand, nodes, results).kind is FailureKind.URL_CHANGED


def test_another_range_than_was_requested_is_refused(stand: Stand, lab: Lab) -> None:
    file = stand.find()
    stand.faults.extend(Answer(moved=1) for _ in range(EVERY))
    nodes, results = send(stand, lab, file)
    failure = check_failed(stand, nodes, results)
    assert failure.kind is FailureKind.URL_FAILED
    assert failure.values["reason"] == "the server sends another part of the file than was requested"


def test_a_link_that_expires_in_the_middle(stand: Stand, lab: Lab) -> None:
    """It is renewed where it is one: an address of a web server has nobody who could."""
    file, gate, before = stand.find(), threading.Event(), stand.sent
    stand.hold(gate)
    cast, nodes = start(stand, lab, file)
    nodes[1].await_delivery(cast.cast, lambda report: report.state is RecipientState.RECEIVING)
    stand.expire()
    gate.set()
    if file.expires:  # as the engine does
        nodes[0].await_source(cast.cast, wants(2))
        fresh = stand.find()
        assert fresh.url != file.url
        nodes[0].plane.carry_out(links_of(cast.cast, (fresh,), 2))
    results = cast.results()
    cast.forget()
    if isinstance(stand, WebStand):
        failure = check_failed(stand, nodes, results)
        assert failure.kind is FailureKind.URL_FAILED
        assert failure.values["reason"] == "the server answers 403 Forbidden"
    else:
        check_complete(stand, nodes, results)
        assert SIZE <= stand.sent - before <= SIZE + 1


def test_a_redirect_to_another_host_is_followed(stand: Stand, lab: Lab) -> None:
    file, before = stand.find(), stand.sent
    with range_server("127.0.0.3") as other:
        there = other.add("/there", stand.payload)
        there.etag = file.etag or there.etag
        redirect = {"Location": other.url("/there")}
        stand.faults.extend(Answer(status=307, headers=redirect) for _ in range(EVERY))
        nodes, results = send(stand, lab, replace(file, authorization="Bearer secret"))
        check_complete(stand, nodes, results)
        assert there.served == SIZE
        assert {request.get("authorization") for request in there.requests} == {None}
    assert stand.sent <= before + 1
