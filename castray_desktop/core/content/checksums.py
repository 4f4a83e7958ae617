"""Checksums that servers state of whole files: found in headers, computed while the bytes pass, compared.

As text, a checksum is its kind and the hexadecimal digest: `sha256:HEX`, `md5:HEX`, `crc32:HEX`, or
`git-sha1:HEX`, which is that of the file as a blob of git.

Standard library only: this module is shipped to the nodes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import Any, Callable, Optional, Union

LABELS = {"sha256": "SHA-256", "md5": "MD5", "crc32": "CRC-32", "git-sha1": "git SHA-1"}
"""Kinds that are compared, best first, as people read them."""

_BYTES = {"sha256": 32, "md5": 16, "crc32": 4, "git-sha1": 20}
_STRUCTURED = re.compile(r"([a-z0-9-]+)\s*=\s*:([A-Za-z0-9+/=]+):")
_PLAIN = re.compile(r"([A-Za-z0-9-]+)=([A-Za-z0-9+/=]+)")
_NAMES = {"sha-256": "sha256", "sha256": "sha256", "md5": "md5"}


class ChecksumHasher:
    """Computes the checksum of one file, and compares it."""

    def __init__(self, checksum: str, size: int) -> None:
        """Raises ValueError for a kind that can't be computed here."""
        self.kind, _, self._wanted = checksum.partition(":")
        self._crc = 0
        self._hasher: Any = None
        if self.kind == "git-sha1":
            self._hasher = hashlib.new("sha1", b"blob %d\0" % size, usedforsecurity=False)
        elif self.kind in ("sha256", "md5"):
            self._hasher = hashlib.new(self.kind, usedforsecurity=False)
        elif self.kind != "crc32":
            raise ValueError(f"unknown checksum: {self.kind}")

    def update(self, data: Union[bytes, memoryview]) -> None:
        """Add the next bytes of the file."""
        if self._hasher is not None:
            self._hasher.update(data)
        else:
            self._crc = zlib.crc32(data, self._crc)

    def matches(self) -> bool:
        """Whether the bytes have the stated checksum."""
        digest = self._hasher.hexdigest() if self._hasher is not None else f"{self._crc:08x}"
        return bool(digest == self._wanted.lower())


def stated_digest(checksum: str, kind: str) -> bytes:
    """The digest in a checksum of this kind; empty if it is one of another kind, or none."""
    stated, _, digest = checksum.partition(":")
    if stated != kind:
        return b""
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        return b""
    return raw if len(raw) == _BYTES.get(kind) else b""


def checksum_hasher(checksum: str, size: int) -> Optional[ChecksumHasher]:
    """What compares a file with this checksum; None if there is none, or it can't be computed here."""
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
        if found := _hexadecimal(kind, stated.get(kind, "")):
            return f"{kind}:{found}"
    return ""


def has_opaque_etag(header: Callable[[str], Optional[str]]) -> bool:
    """Whether an object store says that an ETag that looks like the MD5 of the file is none."""
    encryption = header("x-amz-server-side-encryption") or ""
    customer = header("x-amz-server-side-encryption-customer-algorithm")
    return encryption.startswith("aws:kms") or customer is not None


def _hexadecimal(kind: str, value: str) -> str:
    """A digest in base64 as hexadecimal text; empty if it is none of that kind."""
    try:
        digest = base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return ""
    return digest.hex() if len(digest) == _BYTES[kind] else ""
