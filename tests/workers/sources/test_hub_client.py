"""What repositories hold and where their files are, as asked of a small hub."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import huggingface_hub
import pytest

from castray_desktop.core.content.hub_addresses import parse_hub_address
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, unpack_contents
from castray_desktop.workers.sources import hub_store
from castray_desktop.workers.sources.hub_store import HubClient
from tests.helpers.servers.hub_server import LARGE_SUFFIXES, MODIFIED, HubServer, git_hash, hub_server
from tests.helpers.servers.ranged_answers import Answer

FILES = {
    "README.md": b"# name\n",
    "config.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "onnx/model.bin": b"other",
    "onnx/a b/c#1.json": b"[]",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        yield hub
    huggingface_hub.close_session()


def no_pause(seconds: float, reason: str) -> None:
    raise AssertionError(f"waits {seconds} s: {reason}")


def listing_of(address: str) -> tuple[RemoteFile, ...]:
    return HubClient(no_pause).list_files(parse_hub_address(address))


def refusal(address: str) -> CastRayError:
    try:
        links_of(listing_of(address))
    except CastRayError as error:
        return error
    pytest.fail("it was not refused")


def links_of(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    commit = replace(parse_hub_address(files[0].address), path="")
    return HubClient(no_pause).with_links(commit, files)


def path_of(file: RemoteFile) -> str:
    """Its path in the repository."""
    return parse_hub_address(file.address).path


def content(file: RemoteFile) -> bytes:
    if not file.url:
        return unpack_contents(file.contents, file.size)
    assert not file.contents
    with urllib.request.urlopen(file.url, timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("page_size", [1000, 2])
def test_all_files_of_a_commit_are_listed(hub: HubServer, page_size: int) -> None:
    repository = hub.add("org/name", FILES)
    first = repository.branches["main"]
    repository.tags["v1"] = first
    second = repository.commit({"config.json": b"{1}"})
    hub.page_size = page_size

    files = {path_of(file): file for file in listing_of("hf://org/name@v1")}

    assert {path: file.size for path, file in files.items()} == {path: len(FILES[path]) for path in FILES}
    modified_ns = 1714979289 * 10**9
    assert MODIFIED == "2024-05-06T07:08:09.000Z"
    assert files["config.json"] == RemoteFile(
        "name/config.json",
        "",
        2,
        modified_ns=modified_ns,
        address=f"hf://org/name@{first}/config.json",
        checksum=f"git-sha1:{git_hash(b'{}')}",
    )
    large = repository.commits[first]["model.safetensors"]
    assert files["model.safetensors"].checksum == f"sha256:{large.sha256}"
    for address in ("hf://org/name", f"hf://org/name@{second}"):
        assert {parse_hub_address(file.address).revision for file in listing_of(address)} == {second}


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_part_of_a_repository(hub: HubServer, kind: str) -> None:
    hub.add("org/name", FILES, kind=kind)
    prefix = "" if kind == "model" else f"{kind}s/"

    folder = listing_of(f"hf://{prefix}org/name@main/onnx")
    assert sorted(file.path for file in folder) == ["name/onnx/a b/c#1.json", "name/onnx/model.bin"]
    single = listing_of(f"hf://{prefix}org/name/onnx/a b/c#1.json")
    assert [(file.path, path_of(file)) for file in single] == [("c#1.json", "onnx/a b/c#1.json")]
    (linked,) = links_of(single)
    assert content(linked) == b"[]"


def test_a_public_repository_gets_no_token(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/name", FILES)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")

    linked = links_of(listing_of("hf://org/name"))

    assert {path_of(file): content(file) for file in linked} == FILES
    assert not any(file.expires for file in linked)
    assert not hub.tokens_seen(hub.host)
    assert not hub.tokens_seen(hub.store_host)


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_no_link_to_others_needs_the_token(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hub.add("org/name", FILES, private=kind == "private", gated=kind == "gated")
    hub.tokens["hf_good"] = {"org/name"}
    monkeypatch.setenv("HF_TOKEN", "hf_good")

    linked = links_of(listing_of("hf://org/name"))

    assert {path_of(file): content(file) for file in linked} == FILES
    for file in linked:
        large = path_of(file).endswith(LARGE_SUFFIXES)
        assert urlsplit(file.url).netloc == (hub.store_host if large else "")
        assert bool(file.expires) == large
        assert "Signature" not in repr(file)
    assert hub.tokens_seen(hub.host) == {"hf_good"}
    assert not hub.tokens_seen(hub.store_host)


@pytest.mark.parametrize(
    ("limit", "value", "count"),
    [("MAX_CONTENTS_BYTES", 10, 2), ("MAX_CONTENTS_BYTES", 1, 1), ("MAX_PRIVATE_FILES", 2, 2)],
)
def test_only_the_first_files_of_a_private_repository_get_links(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, count: int
) -> None:
    monkeypatch.setattr(hub_store, limit, value)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.tokens["hf_good"] = {"org/name"}
    hub.add("org/name", {f"{name}.json": b"12345" for name in "abc"}, private=True)
    assert [content(file) for file in links_of(listing_of("hf://org/name"))] == [b"12345"] * count


def test_what_does_not_exist(hub: HubServer) -> None:
    hub.add("org/name", FILES)
    for address, kind, words in (
        ("hf://org/none", FailureKind.HUB_NO_REPOSITORY, "no repository org/none"),
        ("hf://datasets/org/name", FailureKind.HUB_NO_REPOSITORY, "no repository datasets/org/name"),
        ("hf://org/name@v9", FailureKind.HUB_NO_REVISION, "no branch, tag or commit v9"),
        ("hf://org/name/onnx/x.bin", FailureKind.HUB_NO_PATH, "nothing at onnx/x.bin"),
        ("hf://org/name/Onnx", FailureKind.HUB_NO_PATH, "nothing at Onnx"),
    ):
        error = refusal(address)
        assert error.failure.kind is kind
        assert words in sentence(error.failure)


def test_what_may_not_be_read(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("org/private", FILES, private=True)
    hub.add("org/gated", {"config.json": b"{}"}, gated=True)
    hub.tokens["hf_other"] = set()
    for token, address, kind, words in (
        ("", "hf://org/private", FailureKind.HUB_NO_REPOSITORY, "hf auth login"),
        ("", "hf://org/gated", FailureKind.HUB_REFUSED, "it is gated, and this computer is not logged in"),
        ("hf_other", "hf://org/private", FailureKind.HUB_NO_REPOSITORY, "that this computer can read"),
        ("hf_other", "hf://org/gated", FailureKind.HUB_REFUSED, "this account has no access"),
        ("hf_wrong", "hf://org/private", FailureKind.HUB_REFUSED, "token of this computer is not valid"),
    ):
        monkeypatch.setenv("HF_TOKEN", token)
        error = refusal(address)
        assert error.failure.kind is kind
        assert words in sentence(error.failure)
        assert not token or token not in sentence(error.failure)


@pytest.mark.parametrize("path", ["../config.json", "a//b", "a/./b"])
def test_a_listing_does_not_lead_out_of_the_folder(hub: HubServer, path: str) -> None:
    hub.add("org/name", {path: b"{}"})
    assert "answer can't be understood" in sentence(refusal("hf://org/name").failure)


def test_it_waits_as_long_as_the_hub_says(hub: HubServer) -> None:
    hub.add("org/name", FILES)
    hub.faults = [
        Answer(429, {"Retry-After": "7"}),
        Answer(429, {"RateLimit": '"api";r=0;t=55'}),
        Answer(503),
    ]
    waits: list[tuple[float, str]] = []

    client = HubClient(lambda seconds, reason: waits.append((seconds, reason)))
    assert len(client.list_files(parse_hub_address("hf://org/name"))) == len(FILES)
    assert waits == [
        (7.0, "the hub answers 429 Too Many Requests and asks to wait 7 s"),
        (55.0, "the hub answers 429 Too Many Requests and asks to wait 55 s"),
        (0.5, "the hub answers 503 Service Unavailable"),
    ]


def test_it_pauses_where_the_hub_asks_for_no_time(hub: HubServer) -> None:
    hub.add("org/name", FILES)
    hub.faults = [Answer(429, {"Retry-After": "0"}) for _ in range(3)]
    waits: list[float] = []
    HubClient(lambda seconds, _: waits.append(seconds)).list_files(parse_hub_address("hf://org/name"))
    assert waits == [0.5, 1.0, 2.0]


def test_it_does_not_wait_for_ever(hub: HubServer) -> None:
    hub.add("org/name", FILES)
    hub.faults = [Answer(429, {"Retry-After": "800"}) for _ in range(3)]
    waits: list[float] = []
    with pytest.raises(CastRayError) as caught:
        HubClient(lambda seconds, _: waits.append(seconds)).list_files(parse_hub_address("hf://org/name"))
    assert caught.value.failure.kind is FailureKind.STORE_UNREACHABLE
    assert waits == [800.0]


def test_a_hub_that_can_not_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub_server() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    waits: list[float] = []
    with pytest.raises(CastRayError) as caught:
        HubClient(lambda seconds, _: waits.append(seconds)).list_files(parse_hub_address("hf://org/name"))
    failure = caught.value.failure
    assert failure.kind is FailureKind.STORE_UNREACHABLE
    assert len(waits) > 2
    assert "Connection refused" in sentence(failure)


def test_offline_mode(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in sentence(refusal("hf://org/name").failure)
