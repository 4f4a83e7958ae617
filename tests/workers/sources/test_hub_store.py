"""Repositories of the hub as a store: the files of a cast, and the layout of the library's cache."""

from __future__ import annotations

import pytest

from castray_desktop.core.casts.transfer_options import Layout, OnConflict, TransferOptions
from castray_desktop.core.content.hub_addresses import parse_hub_address
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, unpack_contents
from castray_desktop.workers.sources import hub_store
from castray_desktop.workers.sources.address_resolver import AddressResolver
from tests.helpers.samples import without_link
from tests.helpers.servers.hub_server import HubServer, git_hash
from tests.helpers.servers.ranged_answers import Answer

FILES = {
    "config.json": b"{}",
    "copy.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "onnx/deep/model.bin": b"other",
    "README.md": b"",
}
CACHE = TransferOptions(layout=Layout.HF_CACHE)


async def files_of(address: str, options: TransferOptions = CACHE) -> dict[str, RemoteFile]:
    return {file.path: file for file in await AddressResolver().list_files(address, options)}


async def test_the_files_land_in_a_folder_named_like_the_repository(hub: HubServer) -> None:
    repository = hub.add("org/name", FILES)
    commit = repository.branches["main"]
    files = await files_of("hf://org/name", TransferOptions(exclude=("onnx/", "README.md")))
    assert set(files) == {"name/config.json", "name/copy.json", "name/model.safetensors"}
    file = files["name/model.safetensors"]
    large = repository.commits[commit]["model.safetensors"]
    assert (file.size, file.checksum) == (7000, f"sha256:{large.sha256}")
    assert file.address == f"hf://org/name@{commit}/model.safetensors"
    assert files["name/config.json"].checksum == f"git-sha1:{git_hash(b'{}')}"
    assert not any(file.url or file.authorization for file in files.values())


async def test_a_path_within_the_repository(hub: HubServer) -> None:
    hub.add("org/name", FILES, kind="dataset")
    plain = TransferOptions()
    assert set(await files_of("hf://datasets/org/name/onnx", plain)) == {"name/onnx/deep/model.bin"}
    assert set(await files_of("hf://datasets/org/name/onnx/deep/model.bin", plain)) == {"model.bin"}


async def test_links_are_those_of_the_commit(hub: HubServer) -> None:
    repository = hub.add("org/name", FILES)
    resolver = AddressResolver()
    files = await resolver.list_files("hf://org/name", TransferOptions())
    commit = repository.branches["main"]
    repository.commit({"config.json": b"changed"})
    linked = await resolver.with_links(files)
    for file in linked:
        assert file.url.startswith(f"{hub.endpoint}/org/name/resolve/{commit}/")
        assert hub.endpoint not in repr(file)
    assert tuple(without_link(file) for file in linked) == files


async def test_small_files_of_a_private_repository_come_with_their_contents(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("org/name", FILES, private=True)
    hub.tokens["hf_good"] = {"org/name"}
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    resolver = AddressResolver()
    files = await resolver.list_files("hf://org/name", TransferOptions())
    linked = {file.path: file for file in await resolver.with_links(files)}
    small = linked["name/config.json"]
    assert (small.url, unpack_contents(small.contents, small.size)) == ("", b"{}")
    large = linked["name/model.safetensors"]
    assert hub.store_host in large.url
    assert not large.contents
    assert not any(file.authorization or "hf_good" in str(file) for file in linked.values())
    assert tuple(without_link(file) for file in linked.values()) == files


async def test_layout_of_the_cache(hub: HubServer) -> None:
    repository = hub.add("org/name", FILES)
    commit = repository.branches["main"]
    files = await files_of("hf://org/name")
    top = "models--org--name"
    blobs = {path.rpartition("/")[2] for path in files if path.startswith(f"{top}/blobs/")}
    assert blobs == {file.etag for file in repository.commits[commit].values()}
    assert unpack_contents(files[f"{top}/refs/main"].contents, 40) == commit.encode()
    links = {path: file.target for path, file in files.items() if file.target}
    large = repository.commits[commit]["onnx/deep/model.bin"]
    assert set(links) == {f"{top}/snapshots/{commit}/{path}" for path in FILES}
    assert links[f"{top}/snapshots/{commit}/onnx/deep/model.bin"] == f"../../../../blobs/{large.sha256}"
    assert len(files) == len(FILES) - 1 + 1 + len(FILES)  # two files are one blob


@pytest.mark.parametrize(
    ("revision", "reference"),
    [("@v1.0", "refs/v1.0"), ("@refs%2Fpr%2F1", "refs/refs/pr/1"), ("@COMMIT", "")],
)
async def test_references_of_the_cache(hub: HubServer, revision: str, reference: str) -> None:
    repository = hub.add("org/name", FILES)
    commit = repository.branches["main"]
    repository.tags |= {"v1.0": commit, "refs/pr/1": commit}
    files = await files_of(f"hf://org/name{revision.replace('COMMIT', commit)}")
    found = [path for path, file in files.items() if file.contents]
    assert found == ([f"models--org--name/{reference}"] if reference else [])


async def test_patterns_are_those_of_the_repository(hub: HubServer) -> None:
    hub.add("org/name", FILES)
    files = await files_of(
        "hf://org/name", TransferOptions(layout=Layout.HF_CACHE, exclude=("onnx/", "blobs"))
    )
    assert not any("onnx" in path for path in files)
    assert any("/blobs/" in path for path in files)


async def test_what_is_no_address_of_the_hub(hub: HubServer) -> None:
    with pytest.raises(CastRayError) as caught:
        await files_of("hf://name")
    assert caught.value.failure.kind is FailureKind.BAD_HUB_ADDRESS


def test_a_cache_is_merged_and_for_the_hub_alone() -> None:
    CACHE.check(["hf://org/name", "hf://datasets/org/name"])
    assert CACHE.settled().on_conflict is OnConflict.OVERWRITE
    assert TransferOptions().settled() == TransferOptions()
    for options, path, kind in (
        (CACHE, "/data/file", FailureKind.CACHE_LAYOUT_REFUSED),
        (CACHE, "s3://bucket/key", FailureKind.CACHE_LAYOUT_REFUSED),
        (
            TransferOptions(layout=Layout.HF_CACHE, on_conflict=OnConflict.RENAME),
            "hf://org/name",
            FailureKind.CACHE_LAYOUT_RENAMED,
        ),
    ):
        with pytest.raises(CastRayError) as caught:
            options.check([path])
        assert caught.value.failure.kind is kind
    assert parse_hub_address(str(parse_hub_address("hf://datasets/a/b@x%2Fy/c"))).revision == "x/y"


async def test_why_it_waits_is_told(hub: HubServer) -> None:
    hub.add("org/name", FILES)
    hub.faults = [Answer(429, {"Retry-After": "0"})]
    told: list[tuple[float, str]] = []
    await AddressResolver().list_files(
        "hf://org/name", TransferOptions(), lambda seconds, reason: told.append((seconds, reason))
    )
    assert told == [(hub_store.FIRST_DELAY_SECONDS, "the hub answers 429 Too Many Requests"), (0.0, "")]


async def test_a_preflight_does_not_wait_for_long(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_store, "FIRST_DELAY_SECONDS", 0.01)
    hub.add("org/name", FILES)
    hub.faults = [Answer(429, {"Retry-After": "600"})]
    with pytest.raises(CastRayError) as caught:
        await AddressResolver().list_files("hf://org/name", TransferOptions(), patience=10.0)
    assert caught.value.failure == Failure(
        FailureKind.SERVER_BUSY,
        {
            "url": "hf://org/name",
            "reason": "the hub answers 429 Too Many Requests and asks to wait 600 s",
            "seconds": "600",
        },
    )
    hub.faults = [Answer(429, {"Retry-After": "0"})] * 3
    assert await AddressResolver().list_files("hf://org/name", TransferOptions(), patience=10.0)
