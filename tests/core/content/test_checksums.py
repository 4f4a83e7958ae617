"""Checksums that servers state of files."""

from __future__ import annotations

import base64
import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from castray_desktop.core.content.checksums import (
    LABELS,
    checksum_hasher,
    composite_checksum,
    has_opaque_etag,
    stated_checksum,
    stated_digest,
)
from castray_desktop.core.content.folded_crc import GENERATORS
from tests.core.content.test_folded_crc import slow_crc

DATA = b"weights" * 1000


WHOLE = [kind for kind in LABELS if not kind.endswith("-composite")]
COMPOSITE = [kind.removesuffix("-composite") for kind in LABELS if kind.endswith("-composite")]


def stated(kind: str, data: bytes) -> str:
    if kind in GENERATORS:
        return slow_crc(kind, data).hex()
    if kind == "crc32":
        return f"{zlib.crc32(data):08x}"
    if kind == "git-sha1":
        kind, data = "sha1", b"blob %d\0" % len(data) + data
    return hashlib.new(kind, data, usedforsecurity=False).hexdigest()


def check(checksum: str, data: bytes, cut: int) -> None:
    """It is that of the data, and of nothing else."""
    for wrong in (b"", b"x"):
        hasher = checksum_hasher(checksum, len(data))
        assert hasher is not None
        assert hasher.kind in LABELS
        hasher.update(data[:cut])
        hasher.update(memoryview(data)[cut:])
        hasher.update(wrong)
        assert hasher.matches() is not bool(wrong)


@pytest.mark.parametrize("kind", WHOLE)
@given(data=st.binary(max_size=100), cut=st.integers(0, 100))
def test_the_same_bytes_match_however_they_are_cut(kind: str, data: bytes, cut: int) -> None:
    check(f"{kind}:{stated(kind, data).upper()}", data, cut)


@pytest.mark.parametrize("kind", COMPOSITE)
@given(parts=st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6), cut=st.integers(0, 100))
def test_a_checksum_of_parts_is_compared(kind: str, parts: list[bytes], cut: int) -> None:
    digests = b"".join(bytes.fromhex(stated(kind, part)) for part in parts)
    text = composite_checksum(kind, stated(kind, digests), [len(part) for part in parts])
    check(text, b"".join(parts), cut)
    assert stated_digest(text, kind) == b""  # it is no hash of the file


def test_equal_parts_are_written_once() -> None:
    assert composite_checksum("sha1", "ab", [8, 8, 8, 5]) == "sha1-composite:ab@8*3+5"
    assert composite_checksum("sha1", "ab", [8]) == "sha1-composite:ab@8"
    assert composite_checksum("sha1", "ab", [5 << 20] * 10_000) == "sha1-composite:ab@5242880*10000"
    assert composite_checksum("sha1", "ab", list(range(1, 500))) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha512:00",
        "nonsense",
        "sha1-composite:00",
        "sha1-composite:00@2",
        "sha1-composite:00@0+1",
        "sha1-composite:00@1*1+0*5",
        "sha1-composite:00@2+-1",
        "md6-composite:00@1",
    ],
)
def test_what_can_t_be_computed_is_not_compared(text: str) -> None:
    assert checksum_hasher(text, 1) is None


def test_the_best_checksum_of_the_headers_is_found() -> None:
    sha256, md5, crc32c = (
        base64.b64encode(bytes.fromhex(stated(kind, DATA))).decode() for kind in ("sha256", "md5", "crc32c")
    )
    for headers, partial, kind in (
        ({"Repr-Digest": f"md5=:{md5}:, sha-256=:{sha256}:"}, True, "sha256"),
        ({"Digest": f"SHA-256={sha256}"}, True, "sha256"),
        ({"Content-MD5": md5}, False, "md5"),
        ({"Content-MD5": md5}, True, ""),  # it is that of the part
        ({"x-ms-blob-content-md5": md5}, True, "md5"),
        ({"x-goog-hash": f"crc32c=n03x6A==,md5={md5}"}, True, "md5"),
        ({"x-goog-hash": f"crc32c={crc32c}"}, True, "crc32c"),  # of a composed object
        ({"x-goog-hash": f"md5={md5}", "x-goog-stored-content-encoding": "gzip"}, True, ""),
        ({"x-goog-hash": f"md5={md5}", "x-goog-stored-content-encoding": "identity"}, True, "md5"),
        ({"Content-MD5": "not base64!"}, False, ""),
        ({"Content-MD5": sha256}, False, ""),  # it is no MD5
        ({}, False, ""),
    ):
        found = stated_checksum(headers.get, partial)
        assert found == (f"{kind}:{stated(kind, DATA)}" if kind else ""), headers


def test_an_encrypted_object_has_an_etag_that_says_nothing() -> None:
    assert has_opaque_etag({"x-amz-server-side-encryption": "aws:kms"}.get)
    assert has_opaque_etag({"x-amz-server-side-encryption-customer-algorithm": "AES256"}.get)
    assert not has_opaque_etag({"x-amz-server-side-encryption": "AES256"}.get)
    assert not has_opaque_etag({}.get)
