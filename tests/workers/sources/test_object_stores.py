"""Object stores: what an address stands for, links to it, and each reason why not; against an S3 server."""

from __future__ import annotations

import hashlib
import json
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import explain
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources import object_store_access, object_stores
from castray_desktop.workers.sources.address_resolver import AddressResolver
from castray_desktop.workers.sources.object_store_access import ObjectPlace, open_bucket
from castray_desktop.workers.sources.store_protocol import LINK_SECONDS
from tests.helpers.servers.range_server import range_server
from tests.helpers.servers.s3_server import S3Server

pytestmark = pytest.mark.timeout(90)
OPTIONS = TransferOptions()
PUBLIC = {"x-amz-acl": "public-read"}


async def find(address: str, options: TransferOptions = OPTIONS) -> tuple[RemoteFile, ...]:
    resolver = AddressResolver()
    return await resolver.with_links(await resolver.list_files(address, options))


async def refusal(address: str) -> CastRayError:
    with pytest.raises(CastRayError) as caught:
        await find(address)
    text = str(explain(caught.value.failure))
    assert "a-secret-key" not in text
    assert "Signature" not in text
    return caught.value


def read(file: RemoteFile) -> bytes:
    with urllib.request.urlopen(file.url, timeout=20) as response:
        payload: bytes = response.read()
    return payload


async def test_one_object(s3: S3Server) -> None:
    s3.put("bucket")
    s3.put("bucket/models/a b%20#1?.bin", b"weights")
    (file,) = await find("s3://bucket/models/a b%20#1?.bin")
    assert (file.path, file.size) == ("a b%20#1?.bin", 7)
    assert file.checksum == f"md5:{hashlib.md5(b'weights', usedforsecurity=False).hexdigest()}"
    assert file.etag == f'"{file.checksum[4:]}"'
    assert file.modified_ns == pytest.approx(time.time_ns(), abs=60e9)
    assert read(file) == b"weights"
    assert LINK_SECONDS - 60 < file.expires - time.time() <= LINK_SECONDS


async def test_everything_below_a_prefix_is_a_folder(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_stores, "PAGE", 4)
    s3.put("bucket")
    names = [f"{number}.bin" for number in range(9)] + ["sub/é.bin", "sub/empty"]
    for name in names:
        s3.put(f"bucket/data/v1/{name}", b"" if name == "sub/empty" else name.encode())
    s3.put("bucket/data/v1/")  # what consoles make for a folder
    s3.put("bucket/data/v1/sub/")
    s3.put("bucket/data/v1/nothing/")
    s3.put("bucket/data/v10/other.bin", b"x")
    for address in ("s3://bucket/data/v1", "s3://bucket/data/v1/"):
        files = await find(address)
        assert sorted(file.path for file in files) == sorted(f"v1/{name}" for name in names)
        assert all(read(file).decode() in ("", file.path[3:]) for file in files)
    whole = await find("s3://bucket", TransferOptions(exclude=("v1/",)))
    assert [file.path for file in whole] == ["bucket/data/v10/other.bin"]


async def test_an_object_is_preferred_to_what_is_below_its_name(s3: S3Server) -> None:
    s3.put("bucket")
    s3.put("bucket/a", b"object")
    s3.put("bucket/a/b", b"below")
    assert [file.path for file in await find("s3://bucket/a")] == ["a"]
    assert [file.path for file in await find("s3://bucket/a/")] == ["a/b"]
    error = await refusal("s3://bucket")  # no disk has both
    assert error.failure.kind is FailureKind.STORE_NAME
    assert error.failure.values["url"] == "s3://bucket/a"


@pytest.mark.parametrize("key", ["data/../evil", "data//evil", "data/./evil"])
async def test_names_that_leave_the_folder_are_refused(s3: S3Server, key: str) -> None:
    s3.put("bucket")
    s3.put(f"bucket/{key}", b"x")
    s3.put("bucket/data/good", b"x")
    assert (await refusal("s3://bucket/data")).failure.kind is FailureKind.STORE_NAME


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("s3://bucket/nothing", FailureKind.STORE_NOT_FOUND),
        ("s3://bucket/nothing/", FailureKind.STORE_NOT_FOUND),
        ("s3://nowhere/a", FailureKind.STORE_BUCKET_MISSING),
        ("s3://nowhere", FailureKind.STORE_BUCKET_MISSING),
        ("s3://bucket/../a", FailureKind.STORE_NAME),
    ],
)
async def test_what_is_not_there_is_said(s3: S3Server, address: str, kind: FailureKind) -> None:
    s3.put("bucket")
    assert (await refusal(address)).failure.kind is kind


async def test_a_key_that_is_refused_is_said(s3: S3Server) -> None:
    s3.put("bucket")
    s3.put("bucket/a", b"x")
    s3.check_keys(0)
    error = await refusal("s3://bucket/a")
    assert error.failure.kind is FailureKind.STORE_DENIED
    error = await refusal("s3://bucket")
    assert error.failure.values["reason"] == "InvalidAccessKeyId"


async def test_a_server_that_is_not_there_is_said(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert (await refusal("s3://bucket/a")).failure.kind is FailureKind.STORE_UNREACHABLE


async def test_what_is_public_needs_no_credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("bucket")
    s3.put("bucket/data/a b#.bin", b"public", PUBLIC)
    s3.put("bucket/private", b"x")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for address in ("s3://bucket/data/a b#.bin", "s3://bucket/data"):
        (file,) = await find(address)
        assert file.url == f"{s3.url}/bucket/data/a%20b%23.bin"
        assert file.expires == 0
        assert read(file) == b"public"
    error = await refusal("s3://bucket/private")
    assert error.failure.kind is FailureKind.STORE_NO_CREDENTIALS
    assert "AWS_ACCESS_KEY_ID" in str(explain(error.failure))


async def test_half_a_key_is_said(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = await refusal("s3://bucket/a")
    assert error.failure.kind is FailureKind.STORE_UNSIGNED


async def test_keys_of_the_usual_files_are_used(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put("bucket")
    s3.put("bucket/a", b"x")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "work")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "config").write_text(f"[profile work]\nregion = eu-west-1\nendpoint_url = {s3.url}\n")
    (tmp_path / "credentials").write_text(
        "[default]\naws_access_key_id = other\naws_secret_access_key = other\n"
        "[work]\naws_access_key_id = of-a-file\naws_secret_access_key = b\naws_session_token = c/d\n"
    )
    (file,) = await find("s3://bucket/a")
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(file.url).query)
    assert query["X-Amz-Credential"][0].startswith("of-a-file/")
    assert "/eu-west-1/" in query["X-Amz-Credential"][0]
    assert query["X-Amz-Security-Token"] == ["c/d"]
    assert read(file) == b"x"


async def test_a_profile_that_needs_a_library_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[default]\nsso_session = work\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(object_store_access.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CastRayError) as caught:
        open_bucket(ObjectPlace.of("s3://bucket/a"))
    assert caught.value.failure.kind is FailureKind.STORE_UNSIGNED
    assert "boto3" in caught.value.failure.values["reason"]


# --- the other stores: what can be tried without them ------------------------------------------------


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("s3://bucket", ("s3", "bucket", "")),
        ("GS://bucket/a/b", ("gs", "bucket", "a/b")),
        ("az://container/a/b", ("az", "container", "a/b")),
        ("az://me.blob.core.windows.net/box/a/b", ("az", "me.blob.core.windows.net/box", "a/b")),
    ],
)
def test_an_address_is_taken_apart(address: str, place: tuple[str, str, str]) -> None:
    found = ObjectPlace.of(address)
    assert (found.scheme, found.bucket, found.key) == place
    assert found.address("x/y").endswith("/x/y")
    assert ObjectPlace.of(found.address("x/y")) == ObjectPlace(found.scheme, found.bucket, "x/y")


def remote(address: str) -> RemoteFile:
    return RemoteFile(address.rpartition("/")[2], "", 1, address=address)


async def test_links_to_google_are_signed_by_a_service_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "private_key": key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "private_key_id": "1",
        "client_email": "me@project.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": "http://127.0.0.1:1/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    (file,) = await AddressResolver().with_links((remote("gs://bucket/a b/é.bin"),))
    parts = urllib.parse.urlsplit(file.url)
    assert (parts.hostname, parts.path) == ("storage.googleapis.com", "/bucket/a%20b/%C3%A9.bin")
    query = urllib.parse.parse_qs(parts.query)
    assert query["X-Goog-Expires"] == [str(int(LINK_SECONDS))]
    assert query["X-Goog-Credential"][0].startswith("me@project")
    assert len(query["X-Goog-Signature"][0]) == 512
    with pytest.raises(CastRayError, match="store_name"):  # obstore would sign another name
        await AddressResolver().with_links((remote("gs://bucket/a#b"),))


async def test_what_is_public_at_google_has_a_plain_link() -> None:
    (file,) = await AddressResolver().with_links((remote("gs://bucket/a b#.bin"),))
    assert file.url == "https://storage.googleapis.com/bucket/a%20b%23.bin"


@pytest.mark.parametrize("given", ["variables", "connection string"])
async def test_links_to_azure_are_signed_by_the_account_key(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = b64encode(b"k" * 32).decode()
    if given == "variables":
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "me")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", key)
    else:
        text = (
            f"DefaultEndpointsProtocol=https;AccountName=me;AccountKey={key};EndpointSuffix=core.windows.net"
        )
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
    for address in ("az://box/a b/c#.bin", "az://me.blob.core.windows.net/box/a b/c#.bin"):
        (file,) = await AddressResolver().with_links((remote(address),))
        parts = urllib.parse.urlsplit(file.url)
        assert (parts.hostname, parts.path) == ("me.blob.core.windows.net", "/box/a%20b/c%23.bin")
        assert urllib.parse.parse_qs(parts.query)["sp"] == ["r"]  # to read, and nothing else
    (file,) = await AddressResolver().with_links((remote("az://other.blob.core.windows.net/box/a"),))
    assert file.url == "https://other.blob.core.windows.net/box/a"  # the key is not that account's


BLOBS = """<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs><Blob><Name>data/a b.bin</Name>
<Properties><Last-Modified>Tue, 01 Dec 2026 10:00:00 GMT</Last-Modified><Etag>0x8D</Etag>
<Content-Length>7</Content-Length><Content-Type>application/octet-stream</Content-Type><BlobType>BlockBlob</BlobType></Properties></Blob></Blobs><NextMarker/>
</EnumerationResults>"""


async def test_blobs_of_azure_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a server that answers one listing, and gives the blob."""
    with range_server() as server:
        server.add("/box", BLOBS.encode())
        server.add("/box/data/a%20b.bin", b"weights")
        key = b64encode(b"k" * 32).decode()
        text = f"AccountName=me;AccountKey={key};BlobEndpoint={server.url('')}"
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text)
        (file,) = await find("az://box/data/")
        assert (file.path, file.size, file.etag, file.checksum) == ("data/a b.bin", 7, '"0x8D"', "")
        assert file.address == "az://box/data/a b.bin"
        assert read(file) == b"weights"


async def test_objects_of_google_are_listed(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the same listing."""
    s3.put("bucket")
    s3.put("bucket/data/a.bin", b"weights")
    account = {
        "private_key": "",
        "private_key_id": "",
        "client_email": "",
        "gcs_base_url": s3.url,
        "disable_oauth": True,
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(tmp_path / "key.json"))
    monkeypatch.setitem(object_store_access._CLIENT, "allow_http", True)
    (file,) = await AddressResolver().list_files("gs://bucket/data", OPTIONS)
    assert (file.path, file.size, file.address) == ("data/a.bin", 7, "gs://bucket/data/a.bin")


async def test_an_address_without_an_account_says_how_to_name_one() -> None:
    error = await refusal("az://box/a")
    assert error.failure.kind is FailureKind.STORE_UNSIGNED
    assert "AZURE_STORAGE_ACCOUNT_NAME" in error.failure.values["reason"]


def test_an_etag_of_a_listing_is_that_of_the_response() -> None:
    """Azure lists them without quotes; a directory bucket's and Azure's are no MD5."""
    md5 = "0" * 32
    for place, given, etag, checksum in (
        ("az://box", "0x8D", '"0x8D"', ""),
        ("az://box", md5, f'"{md5}"', ""),
        ("s3://bucket", f'"{md5}"', f'"{md5}"', f"md5:{md5}"),
        ("s3://bucket", f'"{md5}-3"', f'"{md5}-3"', ""),
        ("s3://bucket--usw2-az1--x-s3", f'"{md5}"', f'"{md5}"', ""),
    ):
        item = {"path": "a", "size": 1, "e_tag": given, "version": None, "last_modified": datetime.now(UTC)}
        found = object_stores._remote_file(ObjectPlace.of(place), item, "a")  # type: ignore[arg-type]
        assert (found.etag, found.checksum) == (etag, checksum)
