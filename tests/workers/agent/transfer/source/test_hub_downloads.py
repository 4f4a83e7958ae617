"""Nodes get repositories of a hub: once from its servers, as folders and as caches that the library opens."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest

from castray_desktop.core.casts.transfer_options import Layout, TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol.nodes.agent_reports import DeliveryReport, RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources.address_resolver import AddressResolver, merge_listings
from tests.helpers.servers.hub_server import HubServer
from tests.workers.agent.transfer.lab import BEST, Lab, Node
from tests.workers.agent.transfer.source.test_downloads import begin

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)

PLAIN, CACHE = TransferOptions(), TransferOptions(layout=Layout.HF_CACHE).settled()


def model(seed: int = 1) -> dict[str, bytes]:
    return {
        ".gitattributes": b"*.safetensors filter=lfs\n",
        "config.json": b'{"seed": %d}' % seed,
        "empty": b"",
        "model-00001-of-00002.safetensors": os.urandom(5 * MIB + 17),
        "model-00002-of-00002.safetensors": os.urandom(MIB // 3),
        "onnx/deep/model.bin": os.urandom(1000),
        "onnx/config.json": b'{"seed": %d}' % seed,
    }


def resolve(*addresses: str, options: TransferOptions = PLAIN) -> tuple[RemoteFile, ...]:
    async def ask() -> tuple[RemoteFile, ...]:
        resolver = AddressResolver()
        found = {address: await resolver.list_files(address, options) for address in addresses}
        return await resolver.with_links(merge_listings(found, options.layout))

    return asyncio.run(ask())


def send(
    nodes: list[Node], files: tuple[RemoteFile, ...], options: TransferOptions = PLAIN
) -> list[DeliveryReport]:
    """Cast to all nodes but the first, which downloads; returns once its hashes are saved."""
    algorithms = replace(BEST, file="sha256")  # as the engine chooses, where the hub states SHA-256
    cast = begin(nodes[0], files, algorithms=algorithms)
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream(), on_conflict=options.on_conflict.value)
    results = cast.results()
    cast.forget()
    nodes[0].plane.close()
    return results


def states(results: list[DeliveryReport]) -> set[RecipientState]:
    return {result.state for result in results}


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_eight_recipients_get_what_is_downloaded_once(lab: Lab, hub: HubServer) -> None:
    files = model()
    hub.add("org/name", files)
    nodes = lab.chain(8)
    results = send(nodes, resolve("hf://org/name"))
    assert states(results) == {RecipientState.COMPLETED}, results
    for node in nodes[1:]:
        assert tree(node.inbox / "name") == files
    assert hub.sent_bytes <= 1.02 * sum(map(len, files.values()))


def test_a_second_cast_of_a_revision_downloads_nothing(lab: Lab, hub: HubServer) -> None:
    hub.add("org/name", model())
    nodes = lab.chain(2)
    send(nodes, resolve("hf://org/name@main"))
    before = hub.sent_bytes
    results = send([lab.node("again"), *nodes[1:]], resolve("hf://org/name@main"))
    assert states(results) == {RecipientState.SKIPPED}, results
    assert hub.sent_bytes == before


def open_offline(node: Node, repository: str, revision: str = "main") -> dict[str, bytes]:
    place = huggingface_hub.snapshot_download(
        repository, revision=revision, cache_dir=node.inbox, local_files_only=True
    )
    return tree(Path(place))


def test_the_library_opens_a_delivered_cache(lab: Lab, hub: HubServer) -> None:
    files = model()
    repository = hub.add("org/name", files)
    nodes = lab.chain(2)
    results = send(nodes, resolve("hf://org/name", options=CACHE), CACHE)
    assert states(results) == {RecipientState.COMPLETED}, results
    for node in nodes[1:]:
        assert open_offline(node, "org/name") == files
        assert open_offline(node, "org/name", repository.branches["main"]) == files
        one = huggingface_hub.hf_hub_download(
            "org/name", "onnx/config.json", cache_dir=node.inbox, local_files_only=True
        )
        assert str(Path(one).readlink()).startswith("../../../blobs/")
        (report,) = huggingface_hub.scan_cache_dir(node.inbox).repos
        assert report.repo_id == "org/name"
        assert not huggingface_hub.scan_cache_dir(node.inbox).warnings
    assert hub.sent_bytes <= 1.02 * sum(map(len, files.values()))


def test_another_revision_is_added_to_a_cache(lab: Lab, hub: HubServer) -> None:
    first = model()
    repository = hub.add("org/name", first)
    old = repository.branches["main"]
    nodes = lab.chain(1)
    send(nodes, resolve("hf://org/name", options=CACHE), CACHE)
    second = {**first, "config.json": b'{"new": 1}', "added.safetensors": os.urandom(MIB)}
    repository.commit(second)
    before = hub.sent_bytes
    results = send([lab.node("again"), *nodes[1:]], resolve("hf://org/name", options=CACHE), CACHE)
    assert states(results) == {RecipientState.COMPLETED}, results
    assert open_offline(nodes[1], "org/name") == second
    assert open_offline(nodes[1], "org/name", old) == first
    blobs = list((nodes[1].inbox / "models--org--name" / "blobs").iterdir())
    assert len(blobs) == len({*first.values(), *second.values()})
    assert hub.sent_bytes <= before + 3 * MIB  # what is new, and what shares pieces with it


def test_a_cache_that_the_library_made_is_not_sent_again(lab: Lab, hub: HubServer, tmp_path: Path) -> None:
    files = model()
    hub.add("org/name", files)
    nodes = lab.chain(1)
    huggingface_hub.snapshot_download("org/name", cache_dir=nodes[1].inbox, endpoint=hub.endpoint)
    before = hub.sent_bytes
    results = send(nodes, resolve("hf://org/name", options=CACHE), CACHE)
    assert states(results) == {RecipientState.SKIPPED}, results
    assert open_offline(nodes[1], "org/name") == files
    assert results[0].received_bytes < MIB // 2
    assert hub.sent_bytes <= before + 2 * MIB  # of the pieces that have small files and lists as well


def test_a_private_repository_needs_no_token_on_nodes(
    lab: Lab, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = model()
    hub.add("org/name", files, private=True)
    hub.tokens["hf_good"] = {"org/name"}
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    entries = resolve("hf://org/name")
    monkeypatch.delenv("HF_TOKEN")
    before = len(hub.requests)
    nodes = lab.chain(2)
    results = send(nodes, entries)
    assert states(results) == {RecipientState.COMPLETED}, results
    assert tree(nodes[2].inbox / "name") == files
    assert {(request.host, request.token) for request in hub.requests[before:]} == {(hub.store_host, "")}
    assert hub.sent_bytes <= 1.02 * sum(map(len, files.values()))


def test_what_several_recipients_request_at_once_is_downloaded_once(lab: Lab, hub: HubServer) -> None:
    """Where hashes are known, the source reads what is requested; its own delivery requests as well."""
    files = {"a.bin": os.urandom(5 * MIB), "b.bin": os.urandom(3 * MIB)}
    repository = hub.add("org/name", files)
    nodes = lab.chain(2, local=True)

    def send_to_all() -> int:
        before = hub.sent_bytes
        cast = begin(nodes[0], resolve("hf://org/name"), algorithms=replace(BEST, file="sha256"))
        for node in nodes:
            cast.deliver(node, nodes[0].upstream(), on_conflict="overwrite")
        assert states(cast.results()) == {RecipientState.COMPLETED}
        cast.forget()
        return hub.sent_bytes - before

    send_to_all()
    files["a.bin"] = os.urandom(5 * MIB)
    repository.commit(files)
    assert send_to_all() <= 6 * MIB  # whole pieces
    for node in nodes:
        assert tree(node.inbox / "name") == files


def test_parts_of_a_repository_are_one_folder(lab: Lab, hub: HubServer) -> None:
    files = model()
    hub.add("org/name", files)
    nodes = lab.chain(1)
    results = send(
        nodes, resolve("hf://org/name/onnx", "hf://org/name/onnx/deep", "hf://org/name/config.json")
    )
    assert states(results) == {RecipientState.COMPLETED}, results
    inbox = tree(nodes[1].inbox)
    wanted = {f"name/{path}": payload for path, payload in files.items() if path.startswith("onnx/")}
    assert inbox == wanted | {"config.json": files["config.json"]}
    assert hub.sent_bytes == sum(map(len, inbox.values()))


def test_two_revisions_do_not_share_a_folder_but_a_cache(lab: Lab, hub: HubServer) -> None:
    first = model()
    repository = hub.add("org/name", first)
    repository.tags["v1"] = repository.branches["main"]
    second = {**first, "config.json": b'{"new": 1}'}
    repository.commit(second)
    addresses = ("hf://org/name@v1", "hf://org/name@main")
    with pytest.raises(CastRayError) as caught:
        resolve(*addresses)
    assert caught.value.failure.values == {"first": addresses[0], "second": addresses[1], "name": "name"}
    nodes = lab.chain(1)
    results = send(nodes, resolve(*addresses, options=CACHE), CACHE)
    assert states(results) == {RecipientState.COMPLETED}, results
    assert open_offline(nodes[1], "org/name", "v1") == first
    assert open_offline(nodes[1], "org/name", "main") == second
    distinct = {*first.values(), *second.values()}
    assert hub.sent_bytes == sum(map(len, distinct))
