"""Checksums that S3 keeps of objects: which are asked for, and what they are; against an S3 server."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import zlib
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.checksums import checksum_hasher
from castray_desktop.core.content.folded_crc import FoldedCrc
from castray_desktop.workers.sources import s3_checksums
from castray_desktop.workers.sources.address_resolver import AddressResolver
from castray_desktop.workers.sources.object_store_access import AwsKeys
from castray_desktop.workers.sources.s3_checksums import signed_headers
from tests.helpers.servers.range_server import range_server
from tests.helpers.servers.s3_proxy import S3Proxy, s3_proxy
from tests.helpers.servers.s3_server import S3Server

pytestmark = pytest.mark.timeout(90)
OPTIONS = TransferOptions()
PARTS = [os.urandom(5 << 20), os.urandom(6 << 20), os.urandom(999)]
SIZES = [len(part) for part in PARTS]
WHOLE = b"".join(PARTS)
KMS = {"x-amz-server-side-encryption": "aws:kms"}


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    with s3_proxy(s3.url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        s3.put("bucket")
        yield proxy


def keeping(kind: str, digest: bytes) -> dict[str, str]:
    """Headers of an upload with this checksum."""
    value = b64encode(digest).decode()
    return {"x-amz-sdk-checksum-algorithm": kind.upper(), f"x-amz-checksum-{kind}": value}


def md5(payload: bytes) -> str:
    return "md5:" + hashlib.md5(payload, usedforsecurity=False).hexdigest()


async def checksum_of(address: str, payload: bytes) -> str:
    """What is stated of an object. Whatever it is, the object has it, and nothing else has."""
    (file,) = await AddressResolver().list_files(address, OPTIONS)
    for data, expected in ((payload, True), (payload[:-1] + bytes([payload[-1] ^ 1]), False)):
        if file.checksum:
            hasher = checksum_hasher(file.checksum, file.size)
            assert hasher is not None, file.checksum
            hasher.update(data)
            assert hasher.matches() is expected, file.checksum
    return file.checksum


def in_parts(kind: str) -> dict[str, str]:
    return {"x-amz-checksum-algorithm": kind.upper()}


async def test_a_better_checksum_than_the_etag_is_taken(proxy: S3Proxy, s3: S3Server) -> None:
    digest = hashlib.sha256(WHOLE).digest()
    s3.put("bucket/a b+é.bin", WHOLE, keeping("sha256", digest))
    assert await checksum_of("s3://bucket/a b+é.bin", WHOLE) == f"sha256:{digest.hex()}"
    s3.put("bucket/b", WHOLE, keeping("crc32", zlib.crc32(WHOLE).to_bytes(4, "big")))
    assert await checksum_of("s3://bucket/b", WHOLE) == md5(WHOLE)
    s3.put("bucket/c", WHOLE, keeping("sha1", hashlib.sha1(WHOLE).digest()))
    assert await checksum_of("s3://bucket/c", WHOLE) == md5(WHOLE)


@pytest.mark.parametrize("kind", ["sha1", "crc64nvme", "crc32c", "crc32"])
async def test_an_encrypted_object_has_the_checksum_that_s3_keeps(
    proxy: S3Proxy, s3: S3Server, kind: str
) -> None:
    if kind == "crc32":
        digest = zlib.crc32(WHOLE).to_bytes(4, "big")
    elif kind == "sha1":
        digest = hashlib.sha1(WHOLE).digest()
    else:
        crc = FoldedCrc(kind)
        crc.update(WHOLE)
        digest = crc.digest()
    s3.put("bucket/a", WHOLE, {**KMS, **keeping(kind, digest)})
    assert await checksum_of("s3://bucket/a", WHOLE) == f"{kind}:{digest.hex()}"


async def test_an_encrypted_object_without_checksum_is_not_compared(proxy: S3Proxy, s3: S3Server) -> None:
    s3.put("bucket/a", WHOLE, KMS)
    assert await checksum_of("s3://bucket/a", WHOLE) == ""


@pytest.mark.parametrize("kind", ["sha256", "sha1", "crc32"])
async def test_a_checksum_of_parts_is_found_with_their_sizes(proxy: S3Proxy, s3: S3Server, kind: str) -> None:
    s3.put_in_parts("bucket/a.bin", PARTS, in_parts(kind))
    proxy.part_sizes["/bucket/a.bin"] = SIZES
    found = await checksum_of("s3://bucket/a.bin", WHOLE)
    assert found.startswith(f"{kind}-composite:")
    assert found.endswith(f"@{5 << 20}+{6 << 20}+999")
    asked = [method for method, path in proxy.questions if path.startswith("/bucket/a.bin")]
    assert asked == ["HEAD", "HEAD", "GET", "GET"]  # what the address is, its checksum, and two parts each


async def test_parts_of_unknown_sizes_are_not_compared(proxy: S3Proxy, s3: S3Server) -> None:
    s3.put_in_parts("bucket/a.bin", PARTS, in_parts("sha256"))
    assert await checksum_of("s3://bucket/a.bin", WHOLE) == ""
    for sizes in ([len(WHOLE)], SIZES[:2], [*SIZES[:2], 998], [*SIZES, 1]):  # too few, or too much
        proxy.part_sizes["/bucket/a.bin"] = sizes
        assert await checksum_of("s3://bucket/a.bin", WHOLE) == "", sizes
    proxy.part_sizes["/bucket/a.bin"] = SIZES
    proxy.refused = frozenset({"GET"})  # attributes need a permission of their own
    assert await checksum_of("s3://bucket/a.bin", WHOLE) == ""


async def test_a_checksum_of_all_parts_together_needs_no_sizes(proxy: S3Proxy, s3: S3Server) -> None:
    s3.put_in_parts("bucket/a.bin", PARTS, {**in_parts("crc32"), "x-amz-checksum-type": "FULL_OBJECT"})
    assert await checksum_of("s3://bucket/a.bin", WHOLE) == f"crc32:{zlib.crc32(WHOLE):08x}"


async def test_a_server_that_refuses_is_not_asked_for_all(
    proxy: S3Proxy, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listings go on without."""
    monkeypatch.setattr(s3_checksums, "MAX_REFUSALS", 2)
    monkeypatch.setattr(s3_checksums, "THREADS", 1)
    for number in range(9):
        s3.put_in_parts(f"bucket/data/{number}", [b"x"], in_parts("sha256"))
    proxy.refused = frozenset({"HEAD"})
    files = await AddressResolver().list_files("s3://bucket/data/", OPTIONS)
    assert [file.checksum for file in files] == [""] * 9
    assert [method for method, _ in proxy.questions].count("HEAD") == 2


async def test_a_server_that_is_slow_is_not_waited_for(
    proxy: S3Proxy, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_checksums, "ASK_SECONDS", -1.0)
    s3.put("bucket/a", b"x", KMS)
    (file,) = await AddressResolver().list_files("s3://bucket/a", OPTIONS)
    assert file.checksum == md5(b"x")


async def test_as_few_questions_as_possible(proxy: S3Proxy, s3: S3Server) -> None:
    """Simple ETags are MD5s: one question says so. What was answered, or is left out, is not asked for."""
    for number in range(4):
        s3.put(f"bucket/data/{number}", b"x" * (number + 1))
    s3.put_in_parts(
        "bucket/data/parts", [b"y" * 99], {**in_parts("crc32"), "x-amz-checksum-type": "COMPOSITE"}
    )
    s3.put("bucket/data/left-out", b"z" * 100, KMS)
    proxy.part_sizes["/bucket/data/parts"] = [99]
    resolver, options = AddressResolver(), TransferOptions(exclude=("left-out",))

    async def listed() -> dict[str, str]:
        return {file.path: file.checksum for file in await resolver.list_files("s3://bucket/data/", options)}

    found = await listed()
    assert {path: checksum.partition(":")[0] for path, checksum in found.items()} == {
        **{f"data/{number}": "md5" for number in range(4)},
        "data/parts": "crc32-composite",
    }
    asked = sorted(path for method, path in proxy.questions if method == "HEAD")
    assert asked == ["/bucket/data/3", "/bucket/data/parts"]
    assert await listed() == found
    assert [method for method, _ in proxy.questions].count("HEAD") == 2
    s3.put("bucket/data/3", b"new")
    assert (await listed())["data/3"] == md5(b"new")


async def test_all_are_asked_for_where_one_shows_that_it_pays(proxy: S3Proxy, s3: S3Server) -> None:
    for number in range(3):
        payload = b"x" * (number + 1)
        s3.put(
            f"bucket/data/{number}", payload, {**KMS, **keeping("sha256", hashlib.sha256(payload).digest())}
        )
    s3.put("bucket/data/plain", b"x")
    files = await AddressResolver().list_files("s3://bucket/data/", OPTIONS)
    kinds = {file.path[5:]: file.checksum.partition(":")[0] for file in files}
    assert kinds == {"0": "sha256", "1": "sha256", "2": "sha256", "plain": "md5"}


def remove_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave none in the environment."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)


async def test_what_is_public_is_asked_without_a_signature(
    proxy: S3Proxy, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = keeping("sha256", hashlib.sha256(b"x").digest())
    s3.put("bucket/a", b"x", {"x-amz-acl": "public-read", **headers})
    remove_keys(monkeypatch)
    assert (await checksum_of("s3://bucket/a", b"x")).startswith("sha256:")


async def test_keys_of_a_file_sign(
    proxy: S3Proxy, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("bucket/a", b"x", keeping("sha256", hashlib.sha256(b"x").digest()))
    remove_keys(monkeypatch)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\naws_session_token = c/d\n"
    )
    assert (await checksum_of("s3://bucket/a", b"x")).startswith("sha256:")


async def test_keys_of_a_role_sign(
    proxy: S3Proxy, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container gets them from a server beside it. The library of Amazon knows how to ask that one too."""
    s3.put("bucket/a", b"x", keeping("sha256", hashlib.sha256(b"x").digest()))
    remove_keys(monkeypatch)
    keys = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c", "Expiration": "2100-01-01T00:00:00Z"}
    (tmp_path / "token").write_text("d")
    with range_server() as server:
        server.add("/keys", json.dumps(keys).encode())
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url("/keys"))
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(tmp_path / "token"))
        assert (await checksum_of("s3://bucket/a", b"x")).startswith("sha256:")
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "boto3" else find_spec(name)
        )
        assert await checksum_of("s3://bucket/a", b"x") == md5(b"x")  # obstore alone knows the keys


def test_a_signature_is_that_of_the_documentation() -> None:
    """The example of Amazon's documents for a request with a header of its own."""
    keys = AwsKeys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    when = datetime(2013, 5, 24, tzinfo=UTC)
    headers = signed_headers("GET", url, {"range": "bytes=0-9"}, keys, "us-east-1", when)
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )
    assert headers["host"] == "examplebucket.s3.amazonaws.com"
    assert "EXAMPLEKEY" not in repr(keys)


def test_a_signature_is_that_of_the_library_of_amazon() -> None:
    """With a session token, a query and a name that is quoted."""
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = "http://127.0.0.1:9000/bucket/a%20b/%C3%A9~.bin?attributes"
    asked = {"x-amz-object-attributes": "ETag,Checksum,ObjectParts", "x-amz-part-number-marker": "2"}
    theirs = AWSRequest("GET", url, headers=asked)
    theirs.context["payload_signing_enabled"] = True
    S3SigV4Auth(Credentials("key", "secret", "c/d+"), "s3", "eu-west-1").add_auth(theirs)
    when = datetime.strptime(theirs.context["timestamp"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ours = signed_headers("GET", url, asked, AwsKeys("key", "secret", "c/d+"), "eu-west-1", when)
    assert ours["authorization"].rpartition("=")[2] == theirs.headers["Authorization"].rpartition("=")[2]
