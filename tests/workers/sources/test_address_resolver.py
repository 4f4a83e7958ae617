"""Which files the addresses of stores stand for, and what is refused."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Sequence

import pytest

from castray_desktop.core.casts.transfer_options import Layout, TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import explain
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources import address_resolver
from castray_desktop.workers.sources.address_resolver import AddressResolver, merge_listings
from castray_desktop.workers.sources.store_protocol import Waits
from tests.helpers.samples import without_link
from tests.helpers.servers.fake_store import ADDRESS, FakeStore

OPTIONS = TransferOptions()


def file(path: str) -> RemoteFile:
    return RemoteFile(path, "", 1, address=f"s3://bucket/{path}")


async def test_patterns_hold_for_files_and_for_the_folders_above_them() -> None:
    store = FakeStore(*map(file, ("data/a.bin", "data/a.tmp", "data/logs/b.bin", "data/c/d.bin")))
    found = await store.resolver.list_files(ADDRESS, TransferOptions(exclude=("*.tmp", "logs/")))
    assert [item.path for item in found] == ["data/a.bin", "data/c/d.bin"]
    with pytest.raises(CastRayError, match="nothing_to_send"):
        await store.resolver.list_files(ADDRESS, TransferOptions(exclude=("*",)))


async def test_links_are_made_by_the_store_of_each_file() -> None:
    store = FakeStore()
    web = RemoteFile("web.bin", "https://host/web.bin?key=1", 1)
    found = await store.resolver.with_links((file("a"), web, RemoteFile("b", "", 1, address="hf://org/b")))
    assert [item.path for item in found] == ["a", "web.bin", "b"]
    assert found[1] == web
    assert [bool(item.url) for item in found] == [True, True, True]
    assert "secret" not in repr(found)
    assert without_link(found[0]) == file("a")


async def test_an_unknown_store_is_refused() -> None:
    with pytest.raises(CastRayError, match="store_unknown"):
        await AddressResolver({}).list_files("gs://bucket/a?key=secret", OPTIONS)


async def test_a_missing_extra_is_a_sentence_with_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "obstore", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "obstore" else find(name))
    with pytest.raises(CastRayError) as caught:
        await FakeStore().resolver.list_files(ADDRESS, OPTIONS)
    text = explain(caught.value.failure)
    assert "pip install 'castray-desktop[remote]'" in str(text)


async def test_a_store_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(FakeStore):
        async def list_files(
            self, address: str, options: TransferOptions, waits: Waits
        ) -> tuple[RemoteFile, ...]:
            await asyncio.Event().wait()
            return ()

        async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
            await asyncio.Event().wait()
            return ()

    monkeypatch.setattr(address_resolver, "LIST_SECONDS", 0.01)
    monkeypatch.setattr(address_resolver, "LINKS_SECONDS", 0.01)
    with pytest.raises(CastRayError, match="store_unreachable"):
        await Silent().resolver.list_files(ADDRESS, OPTIONS)
    with pytest.raises(CastRayError, match="store_unreachable"):
        await Silent().resolver.with_links((file("a"),))


async def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address_resolver, "MAX_FILES", 2)
    with pytest.raises(CastRayError) as caught:
        await FakeStore(*map(file, "abc")).resolver.list_files(ADDRESS, OPTIONS)
    text = explain(caught.value.failure).text
    assert text.startswith("s3://bucket/model.bin: 3 files. One cast can send at most 2 files from stores.")
    assert "--include" in text
    assert merged(one=[file("a")], two=[file("b")]) == ["a", "b"]
    with pytest.raises(CastRayError) as caught:
        merged(one=[file("a")], two=[file("b"), file("c")])
    assert caught.value.failure.values["count"] == "3"


async def test_nothing_found_is_said() -> None:
    store = FakeStore()
    store.files = ()
    with pytest.raises(CastRayError, match="store_not_found"):
        await store.resolver.list_files(ADDRESS, OPTIONS)


def merged(**listings: Sequence[RemoteFile]) -> list[str]:
    found = {f"s3://bucket/{name}?key=secret": files for name, files in listings.items()}
    return [item.path for item in merge_listings(found, Layout.PLAIN)]


def test_addresses_of_one_folder_are_merged() -> None:
    one, two = [file("data/a"), file("data/b/c")], [file("data/b/c"), file("data/b/d")]
    other = [file("other/a")]
    assert merged(one=one, other=other, two=two) == ["data/a", "data/b/c", "data/b/d", "other/a"]
    assert merged(one=one, again=one) == ["data/a", "data/b/c"]
    assert merged(single=[file("a")], again=[file("a")]) == ["a"]


@pytest.mark.parametrize("path", ["data/a", "data/z", "data"])
def test_two_different_addresses_with_one_name_are_refused(path: str) -> None:
    different = RemoteFile(path, "", 1, address=f"s3://bucket/old/{path}")
    with pytest.raises(CastRayError) as caught:
        merged(one=[file("data/a")], two=[different])
    text = explain(caught.value.failure).text
    assert "s3://bucket/one?key=secret and s3://bucket/two?key=secret are different" in text
    assert "both would arrive as data. Send one of them separately, to another folder." in text


def test_an_address_of_a_web_server_is_merged_with_itself_alone() -> None:
    web = [RemoteFile("a", f"https://host/{folder}/a", 1) for folder in "xy"]
    assert merged(one=web[:1], two=web[:1]) == ["a"]
    with pytest.raises(CastRayError, match="addresses_same_name"):
        merged(one=web[:1], two=web[1:])
