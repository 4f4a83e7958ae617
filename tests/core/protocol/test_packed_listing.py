"""The packed list of remote files: all of it comes back, and it is short."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib

import pytest

from castray_desktop.core.protocol.nodes import packed_listing
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, pack_contents
from castray_desktop.core.protocol.nodes.packed_listing import pack_listing, unpack_listing

FILES = (
    RemoteFile("data/a.bin", "", 9, '"v1"', 10**18, False, address="s3://bucket/a.bin", checksum="md5:00"),
    RemoteFile("web \udcff.bin", "https://host/web.bin?key=1", 1 << 50, authorization="Bearer 1"),
    RemoteFile("refs/main", "", 2, contents=pack_contents(b"{}"), expires=1.5),
    RemoteFile("snapshots/a", "", 0, target="../blobs/0"),
)


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_all_fields_come_back(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(packed_listing, "BLOCK_FILES", block)
    assert unpack_listing(pack_listing(FILES)) == FILES
    assert unpack_listing(pack_listing(FILES[:0])) == ()


def test_a_list_of_objects_is_a_tenth_as_long_as_messages_were() -> None:
    files = []
    for number in range(2000):
        digest = hashlib.md5(b"%d" % number, usedforsecurity=False).hexdigest()
        path = f"train/n{number // 50:08d}/{digest[:8]}_{number}.JPEG"
        address = f"s3://data-sets/images/{path}"
        files.append(
            RemoteFile(f"images/{path}", "", number, f'"{digest}"', address=address, checksum=f"md5:{digest}")
        )
    assert len(pack_listing(files)) < 75 * len(files)


def packed(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "no base64",
        base64.b64encode(b"not compressed").decode(),
        packed(b"no json"),
        packed(b"7"),
        packed(b"[7]"),
        packed(json.dumps([["a", "", "9"]]).encode()),
        packed(json.dumps([["a"]]).encode()),
    ],
)
def test_what_is_no_list_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):
        unpack_listing(text)
