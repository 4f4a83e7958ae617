"""Checksums that servers state of whole files: found in headers, computed while the bytes pass, compared.

As text, a checksum is its kind and the hexadecimal digest, such as `sha256:HEX`. `git-sha1` is that of the
file as a blob of git. A composite one is the checksum of the checksums of the file's parts, and has their
sizes: `sha256-composite:HEX@8388608*12+1234`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Callable, Optional, Protocol, Union

from castray_desktop.core.content.folded_crc import GENERATORS, FoldedCrc

LABELS = {
    "sha256": "SHA-256",
    "sha256-composite": "composite SHA-256",
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha1-composite": "composite SHA-1",
    "git-sha1": "git SHA-1",
    "crc64nvme": "CRC-64/NVME",
    "crc32c": "CRC-32C",
    "crc32c-composite": "composite CRC-32C",
    "crc32": "CRC-32",
    "crc32-composite": "composite CRC-32",
}
"""Kinds that are compared, best first, as people read them."""

DIGEST_BYTES = {"sha256": 32, "md5": 16, "sha1": 20, "git-sha1": 20, "crc64nvme": 8, "crc32c": 4, "crc32": 4}
"""Lengths of digests."""

_COMPOSITE = "-composite"
_MAX_SIZES = 500
"""Characters of a text with sizes of parts: orders have it for each file."""

_STRUCTURED = re.compile(r"([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]+):")
_PLAIN = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")
_NAMES = {"sha-256": "sha256", "sha256": "sha256", "md5": "md5", "crc32c": "crc32c"}


class _Hash(Protocol):
    def update(self, data: Union[bytes, memoryview], /) -> None: ...

    def digest(self) -> bytes: ...


class _Crc32:
    """The one of the standard library."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Union[bytes, memoryview]) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


class _CompositeHash:
    """The digest of the digests of parts."""

    def __init__(self, kind: str, sizes: Iterator[int]) -> None:
        self._kind = kind
        self._sizes = sizes
        self._all, self._part = _new_hash(kind), _new_hash(kind)
        self._left = next(sizes, 0)  # bytes of that part

    def update(self, data: Union[bytes, memoryview]) -> None:
        view = memoryview(data)
        while view:
            if not self._left:
                self._begin_next()
            taken = view[: self._left or len(view)]  # what comes after the last part makes a part of its own
            self._part.update(taken)
            self._left = max(self._left - len(taken), 0)
            view = view[len(taken) :]

    def _begin_next(self) -> None:
        self._all.update(self._part.digest())
        self._part, self._left = _new_hash(self._kind), next(self._sizes, 0)

    def digest(self) -> bytes:
        """After the last byte."""
        self._begin_next()
        return self._all.digest()


def _new_hash(kind: str) -> _Hash:
    """Raises ValueError for a kind that can't be computed here."""
    if kind == "crc32":
        return _Crc32()
    if kind in GENERATORS:
        return FoldedCrc(kind)
    if kind not in DIGEST_BYTES:
        raise ValueError(f"unknown checksum: {kind}")
    return hashlib.new(kind, usedforsecurity=False)


class ChecksumHasher:
    """Computes the checksum of one file, and compares it."""

    def __init__(self, checksum: str, size: int) -> None:
        """Raises ValueError for a kind that can't be computed here."""
        self.kind, _, stated = checksum.partition(":")
        self._wanted, _, sizes = stated.lower().partition("@")
        if self.kind == "git-sha1":
            self._hash = _new_hash("sha1")
            self._hash.update(b"blob %d\0" % size)
        elif self.kind.endswith(_COMPOSITE):
            self._hash = _CompositeHash(self.kind[: -len(_COMPOSITE)], _sizes_of_parts(sizes, size))
        else:
            self._hash = _new_hash(self.kind)

    @property
    def is_slow(self) -> bool:
        """Whether it takes far longer than a hash of the standard library."""
        return self.kind.partition("-")[0] in GENERATORS

    def update(self, data: Union[bytes, memoryview]) -> None:
        """Add the next bytes of the file."""
        self._hash.update(data)

    def matches(self) -> bool:
        """Whether the bytes, now that all were added, have the stated checksum."""
        return self._hash.digest().hex() == self._wanted


def composite_checksum(kind: str, digest: str, sizes: Sequence[int]) -> str:
    """The text for a checksum of checksums, by the sizes of the parts in order; empty if that is too long."""
    runs = ((size, len(tuple(run))) for size, run in itertools.groupby(sizes))
    text = "+".join(f"{size}*{count}" if count > 1 else str(size) for size, count in runs)
    return f"{kind}{_COMPOSITE}:{digest}@{text}" if len(text) <= _MAX_SIZES else ""


def _sizes_of_parts(text: str, total: int) -> Iterator[int]:
    """The sizes in such a text. Raises ValueError if they are not those of a file of `total` bytes."""
    runs = []
    for run in text.split("+"):
        size, _, count = run.partition("*")
        runs.append((int(size), int(count or 1)))
    if sum(size * count for size, count in runs) != total or any(min(run) < 1 for run in runs):
        raise ValueError("these are no parts of the file")
    return itertools.chain.from_iterable(itertools.repeat(*run) for run in runs)


def stated_digest(checksum: str, kind: str) -> bytes:
    """The digest in a checksum of this kind; empty if it is one of another kind, or none."""
    stated, _, digest = checksum.partition(":")
    if stated != kind:
        return b""
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        return b""
    return raw if len(raw) == DIGEST_BYTES.get(kind) else b""


def checksum_hasher(checksum: str, size: int) -> Optional[ChecksumHasher]:
    """A hasher that compares a file with this checksum; None without one, or if it can't be computed here."""
    if not checksum:
        return None
    try:
        return ChecksumHasher(checksum, size)
    except ValueError:  # MD5 is not there in some builds of OpenSSL
        return None


def stated_checksum(header: Callable[[str], Optional[str]], partial: bool) -> str:
    """The best checksum of the whole file in a response's headers; empty if there is none.

    `partial` if the response has a part of the file: then `Content-MD5` is that of the part.
    """
    stated: dict[str, str] = {}
    for name, pattern in (("Repr-Digest", _STRUCTURED), ("Digest", _PLAIN), ("x-goog-hash", _PLAIN)):
        for kind, value in pattern.findall(header(name) or ""):
            stated.setdefault(_NAMES.get(kind.lower(), ""), value)
    if header("x-goog-stored-content-encoding") not in (None, "identity"):
        stated.clear()  # it is unpacked on its way
    for name in ("x-ms-blob-content-md5",) if partial else ("x-ms-blob-content-md5", "Content-MD5"):
        if value := header(name):
            stated.setdefault("md5", value)
    for kind in LABELS:
        if found := hexadecimal_digest(kind, stated.get(kind, "")):
            return f"{kind}:{found}"
    return ""


def has_opaque_etag(header: Callable[[str], Optional[str]]) -> bool:
    """Whether an object store says that an ETag is not the MD5 of the file, although it may look like one."""
    encryption = header("x-amz-server-side-encryption") or ""
    customer = header("x-amz-server-side-encryption-customer-algorithm")
    return encryption.startswith("aws:kms") or customer is not None


def hexadecimal_digest(kind: str, value: str) -> str:
    """A digest in base64 as hexadecimal text; empty if it is not a digest of that kind."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return ""
    return digest.hex() if len(digest) == DIGEST_BYTES.get(kind) else ""
