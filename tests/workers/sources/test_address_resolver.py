"""Which files the addresses of stores stand for, and what is refused."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Sequence

import pytest

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import explain
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources import address_resolver
from castray_desktop.workers.sources.address_resolver import AddressResolver, check_names
from castray_desktop.workers.sources.store_protocol import Waits
from tests.helpers.fake_store import ADDRESS, FakeStore

OPTIONS = TransferOptions()
pytestmark = pytest.mark.timeout(20)


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
    assert found[0].without_link() == file("a")
    assert web.without_link() == web  # its address is all that is known of it


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
    with pytest.raises(CastRayError, match="store_too_large"):
        await FakeStore(*map(file, "abc")).resolver.list_files(ADDRESS, OPTIONS)


async def test_nothing_found_is_said() -> None:
    store = FakeStore()
    store.files = ()
    with pytest.raises(CastRayError, match="store_not_found"):
        await store.resolver.list_files(ADDRESS, OPTIONS)


def test_two_addresses_with_one_name_are_refused() -> None:
    check_names(([file("data/a"), file("data/b")], [file("other/a")]))
    with pytest.raises(CastRayError, match="same_name_twice"):
        check_names(([file("data/a")], [file("data/b")]))
