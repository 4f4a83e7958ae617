"""Objects of a real S3 server are downloaded by the links that the engine signs, and passed on."""

from __future__ import annotations

import asyncio
import os

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources.address_resolver import AddressResolver
from tests.helpers.servers.s3_proxy import s3_proxy
from tests.helpers.servers.s3_server import S3Server
from tests.workers.agent.transfer.lab import Lab
from tests.workers.agent.transfer.source.test_downloads import send

pytestmark = pytest.mark.timeout(90)
PAYLOADS = {f"data/{number}.bin": os.urandom(number * 100_000) for number in range(6)}
MODEL = os.urandom(6 << 20)


def find(address: str) -> tuple[RemoteFile, ...]:
    async def resolve() -> tuple[RemoteFile, ...]:
        resolver = AddressResolver()
        return await resolver.with_links(await resolver.list_files(address, TransferOptions()))

    return asyncio.run(resolve())


@pytest.fixture
def folder(s3: S3Server) -> tuple[RemoteFile, ...]:
    s3.put("bucket")
    for key, payload in PAYLOADS.items():
        s3.put(f"bucket/{key}", payload)
    return find("s3://bucket/data")


@pytest.fixture
def model(s3: S3Server) -> tuple[RemoteFile, ...]:
    s3.put("bucket")
    s3.put("bucket/model.bin", MODEL)
    return find("s3://bucket/model.bin")


def test_objects_are_cast_and_compared(folder: tuple[RemoteFile, ...], lab: Lab) -> None:
    nodes = lab.chain(2)
    results = send(nodes, folder)
    assert {result.state for result in results} == {RecipientState.COMPLETED}, results
    for key, payload in PAYLOADS.items():
        assert (nodes[2].inbox / key).read_bytes() == payload
    assert next(iter(nodes[0].sources.values())).checksums == {"md5": 6}


def test_what_s3_keeps_of_objects_in_parts_is_compared(
    s3: S3Server, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object whose bytes are others than S3 says fails, and the others are complete."""
    half = len(MODEL) // 6 * 5
    kinds = {"x-amz-checksum-algorithm": "SHA256"}, {"x-amz-checksum-algorithm": "CRC32"}
    s3.put("bucket")
    s3.put("bucket/data/simple", b"simple")
    for name, headers in zip(("first", "second"), kinds, strict=True):
        s3.put_in_parts(f"bucket/data/{name}", (MODEL[:half], MODEL[half:]), headers)
    wrong = {"x-amz-sdk-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": "A" * 43 + "="}
    s3.put("bucket/data/wrong", MODEL, wrong)
    with s3_proxy(s3.url) as proxy:
        for name in ("first", "second"):
            proxy.part_sizes[f"/bucket/data/{name}"] = [half, len(MODEL) - half]
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        files = find("s3://bucket/data")
        nodes = lab.chain(2)
        results = send(nodes, files)
    assert {result.state for result in results} == {RecipientState.FAILED}
    report = next(iter(nodes[0].sources.values()))
    assert report.checksums == {"md5": 1, "sha256-composite": 1, "crc32-composite": 1}
    failure = Failure(FailureKind.CHECKSUM_DIFFERS, {"url": "s3://bucket/data/wrong", "checksum": "SHA-256"})
    assert [problem.failure for problem in report.problems] == [failure]
    for node in nodes[1:]:
        assert sorted(path.name for path in (node.inbox / "data").iterdir()) == ["first", "second", "simple"]
        assert (node.inbox / "data/second").read_bytes() == MODEL


def test_an_object_that_changes_is_never_mixed(model: tuple[RemoteFile, ...], s3: S3Server, lab: Lab) -> None:
    s3.put("bucket/model.bin", os.urandom(len(MODEL)))
    nodes = lab.chain(1)
    (result,) = send(nodes, model)
    assert result.state is RecipientState.FAILED
    problem = next(iter(nodes[0].sources.values())).problems[0]
    assert problem.failure.kind is FailureKind.URL_CHANGED
    assert problem.failure.values == {"url": "s3://bucket/model.bin"}


def test_a_second_cast_of_a_version_downloads_nothing(model: tuple[RemoteFile, ...], lab: Lab) -> None:
    nodes = lab.chain(2)
    send(nodes, model)
    nodes[0].plane.close()  # the hashes are saved
    again = [lab.node("again"), *nodes[1:]]
    results = send(again, model)
    assert {result.state for result in results} == {RecipientState.SKIPPED}, results
    assert next(iter(again[0].sources.values())).downloaded_bytes <= 2 << 20  # pieces with the lists
