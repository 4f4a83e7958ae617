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
    has_opaque_etag,
    stated_checksum,
)

DATA = b"weights" * 1000


def stated(data: bytes) -> dict[str, str]:
    return {
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "crc32": f"{zlib.crc32(data):08x}",
        "git-sha1": hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest(),
    }


@pytest.mark.parametrize("kind", list(LABELS))
@given(data=st.binary(max_size=100), cut=st.integers(0, 100))
def test_the_same_bytes_match_however_they_are_cut(kind: str, data: bytes, cut: int) -> None:
    for wrong in (False, True):
        hasher = checksum_hasher(f"{kind}:{stated(data)[kind].upper()}", len(data))
        assert hasher is not None
        hasher.update(data[:cut])
        hasher.update(memoryview(data)[cut:])
        if wrong:
            hasher.update(b"x")
        assert hasher.matches() is not wrong


@pytest.mark.parametrize("text", ["", "sha512:00", "crc32c:00", "nonsense"])
def test_what_can_t_be_computed_is_not_compared(text: str) -> None:
    assert checksum_hasher(text, 1) is None


def test_the_best_checksum_of_the_headers_is_found() -> None:
    sha256, md5 = (base64.b64encode(bytes.fromhex(stated(DATA)[kind])).decode() for kind in ("sha256", "md5"))
    for headers, partial, kind in (
        ({"Repr-Digest": f"md5=:{md5}:, sha-256=:{sha256}:"}, True, "sha256"),
        ({"Digest": f"SHA-256={sha256}"}, True, "sha256"),
        ({"Content-MD5": md5}, False, "md5"),
        ({"Content-MD5": md5}, True, ""),  # it is that of the part
        ({"x-ms-blob-content-md5": md5}, True, "md5"),
        ({"x-goog-hash": f"crc32c=n03x6A==,md5={md5}"}, True, "md5"),
        ({"x-goog-hash": f"md5={md5}", "x-goog-stored-content-encoding": "gzip"}, True, ""),
        ({"x-goog-hash": f"md5={md5}", "x-goog-stored-content-encoding": "identity"}, True, "md5"),
        ({"Content-MD5": "not base64!"}, False, ""),
        ({"Content-MD5": sha256}, False, ""),  # it is no MD5
        ({}, False, ""),
    ):
        found = stated_checksum(headers.get, partial)
        assert found == (f"{kind}:{stated(DATA)[kind]}" if kind else ""), headers


def test_an_encrypted_object_has_an_etag_that_says_nothing() -> None:
    assert has_opaque_etag({"x-amz-server-side-encryption": "aws:kms"}.get)
    assert has_opaque_etag({"x-amz-server-side-encryption-customer-algorithm": "AES256"}.get)
    assert not has_opaque_etag({"x-amz-server-side-encryption": "AES256"}.get)
    assert not has_opaque_etag({}.get)
