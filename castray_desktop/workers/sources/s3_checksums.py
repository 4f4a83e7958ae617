"""Ask S3 for the checksums that it keeps of objects: listings and links of obstore have none.

One request for an object says its checksum, if S3 has one. For an object in parts that is often a checksum of
those of its parts: another request says how long these are. Requests are signed here, since obstore signs
links, but no further headers. Nodes can't ask: a link is good for one method and without further headers.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import hmac
import logging
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from xml.etree import ElementTree

import httpx

from castray_desktop.core.content.checksums import (
    LABELS,
    composite_checksum,
    has_opaque_etag,
    hexadecimal_digest,
)
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources.object_store_access import AwsKeys, ObjectPlace, S3Bucket

log = logging.getLogger("castray.sources")

ASK_SECONDS = 20.0
"""A file whose checksum is not known by then has that of its ETag, or none."""

REQUEST_SECONDS = 5.0
THREADS = 16
MAX_PAGES = 10  # of a thousand parts
MAX_KEPT = 200_000
"""Answers that are kept: an object with the same ETag is the same."""

_KINDS = ("sha256", "sha1", "crc64nvme", "crc32c", "crc32")
_REFUSALS = frozenset({400, 401, 403, 405, 501})
MAX_REFUSALS = 20
"""After this many refusals of a method, the server is not asked by it any more."""


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What S3 says of one object."""

    checksum: str = ""  # see `core.content.checksums`; empty if there is none that can be compared
    opaque_etag: bool = False  # the ETag is not an MD5, although it may look like one

    @property
    def is_better(self) -> bool:
        """Whether there is something better than to take the ETag for an MD5."""
        kind = self.checksum.partition(":")[0]
        return self.opaque_etag or (bool(kind) and _rank(kind) < _rank("md5"))


def _rank(kind: str) -> int:
    return tuple(LABELS).index(kind)


class S3Checksums:
    """The checksums of objects, by what S3 says. Answers are kept."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], _Answer] = {}  # by address and ETag

    async def find(self, bucket: S3Bucket, files: Sequence[RemoteFile]) -> dict[str, str]:
        """The checksums of these files of one bucket, by address: those that are to replace what the files
        have; empty where a file's ETag turns out to be no MD5, and nothing else is known.

        S3 is asked about all files whose ETag is no MD5, such as objects in parts, and about the largest of
        the others: if it has something better for that one, about all. What S3 does not say is no error.
        """
        ended = threading.Event()
        try:
            return await asyncio.to_thread(self._find, bucket, files, ended)
        finally:
            ended.set()

    def _find(self, bucket: S3Bucket, files: Sequence[RemoteFile], ended: threading.Event) -> dict[str, str]:
        by_size = sorted((file for file in files if file.size), key=lambda file: -file.size)
        simple = [file for file in by_size if file.checksum]
        first = [file for file in by_size if not file.checksum] + simple[:1]
        questions = None
        try:
            if any(self._key(file) not in self._kept for file in by_size):
                questions = _Questions(bucket, ended)
            answers = self._answers(questions, first)
            if any(answers[file.address].is_better for file in simple[:1] if file.address in answers):
                answers.update(self._answers(questions, simple[1:]))
        except Exception:  # a provider of keys may raise anything; the cast continues without these checksums
            log.exception("S3 can't be asked for checksums")
            return {}
        finally:
            if questions is not None:
                questions.close()
        return {
            file.address: answer.checksum
            for file in by_size
            if (answer := answers.get(file.address)) is not None and (not file.checksum or answer.is_better)
        }

    def _key(self, file: RemoteFile) -> tuple[str, str]:
        return file.address, file.etag

    def _answers(self, questions: _Questions | None, files: Sequence[RemoteFile]) -> dict[str, _Answer]:
        """What is known of these files, after asking."""
        unknown = [file for file in files if self._key(file) not in self._kept]
        if questions is not None and unknown:
            if len(self._kept) + len(unknown) > MAX_KEPT:
                self._kept.clear()
            self._kept.update((self._key(file), said) for file, said in questions.ask_all(unknown))
        return {
            file.address: answer for file in files if (answer := self._kept.get(self._key(file))) is not None
        }


class _Questions:
    """Requests about objects of one bucket, several at once."""

    def __init__(self, bucket: S3Bucket, ended: threading.Event) -> None:
        """`ended` is set when the answers are not needed any more. Raises what `bucket.keys` does."""
        self._bucket = bucket
        self._keys: AwsKeys | None = bucket.keys() if bucket.keys is not None else None
        self._ended = ended
        self._until = time.monotonic() + ASK_SECONDS
        self._refusals: Counter[str] = Counter()  # by method
        self._client = httpx.Client(timeout=REQUEST_SECONDS)

    def close(self) -> None:
        self._client.close()

    def ask_all(self, files: Sequence[RemoteFile]) -> list[tuple[RemoteFile, _Answer]]:
        """What S3 says of them, without those of which it says nothing in time."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="castray-s3") as threads:
            answers = list(threads.map(self._ask, files))
        return [(file, answer) for file, answer in zip(files, answers, strict=True) if answer is not None]

    def _ask(self, file: RemoteFile) -> _Answer | None:
        try:
            response = self._request("HEAD", file, "", {"x-amz-checksum-mode": "ENABLED"})
            if response is None or response.headers.get("ETag") != file.etag:
                return None
            return _Answer(self._stated(file, response.headers), has_opaque_etag(response.headers.get))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ElementTree.ParseError) as error:
            log.info("S3 does not say the checksum of an object: %s", type(error).__name__)
            return None

    def _stated(self, file: RemoteFile, headers: httpx.Headers) -> str:
        """The checksum in these headers."""
        form = headers.get("x-amz-checksum-type", "")
        for kind in _KINDS:
            value, _, count = headers.get(f"x-amz-checksum-{kind}", "").partition("-")
            digest = hexadecimal_digest(kind, value)
            if not digest:
                continue
            count = count or file.etag.strip('"').partition("-")[2]  # of parts; empty if it has none
            sizes: list[int] = []
            if form != "FULL_OBJECT" and count:  # older servers do not say its type
                form, sizes = self._parts(file, form)
            if form == "FULL_OBJECT" or not (form or count):
                return f"{kind}:{digest}"
            if sum(sizes) == file.size and str(len(sizes)) == count:
                return composite_checksum(kind, digest, sizes)
        return ""

    def _parts(self, file: RemoteFile, form: str) -> tuple[str, list[int]]:
        """The type of an object's checksum, and the sizes of its parts; none where S3 does not say them."""
        sizes: list[int] = []
        headers = {"x-amz-object-attributes": "ETag,Checksum,ObjectParts"}
        for _ in range(MAX_PAGES):
            response = self._request("GET", file, "?attributes", headers)
            if response is None:  # reading attributes needs a permission of its own
                return form, []
            found = ElementTree.fromstring(response.content)
            if found.findtext("{*}ETag", "").strip('"') != file.etag.strip('"'):
                return form, []
            form = found.findtext("{*}Checksum/{*}ChecksumType") or form
            sizes += [int(part.text or 0) for part in found.iterfind("{*}ObjectParts/{*}Part/{*}Size")]
            marker = found.findtext("{*}ObjectParts/{*}NextPartNumberMarker")
            if not marker or found.findtext("{*}ObjectParts/{*}IsTruncated") != "true":
                break
            headers["x-amz-part-number-marker"] = marker
        return form or "COMPOSITE", sizes

    def _request(
        self, method: str, file: RemoteFile, query: str, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        """The answer; None if the server refuses it. Raises httpx.HTTPError, also when it is late."""
        if self._refusals[method] >= MAX_REFUSALS:
            return None
        if self._ended.is_set() or time.monotonic() > self._until:
            raise httpx.TimeoutException("too late")
        key = urllib.parse.quote(ObjectPlace.of(file.address).key, safe="/~")
        url = f"{self._bucket.url}{key}{query}"
        if self._keys is not None:
            now = datetime.now(UTC)
            headers = signed_headers(method, url, headers, self._keys, self._bucket.region, now)
        response = self._client.request(method, url, headers=headers)
        if response.status_code in _REFUSALS:
            self._refusals[method] += 1
            return None
        if response.status_code != httpx.codes.OK:
            raise httpx.RemoteProtocolError(f"it answers {response.status_code}")
        return response


_NO_BODY = hashlib.sha256(b"").hexdigest()


def signed_headers(
    method: str, url: str, headers: Mapping[str, str], keys: AwsKeys, region: str, now: datetime
) -> dict[str, str]:
    """The headers of a request without a body: `headers`, whose names are in lower case, and what signs them
    (AWS Signature Version 4). `now` is UTC.
    """
    parts = urllib.parse.urlsplit(url)
    date = now.strftime("%Y%m%dT%H%M%SZ")
    signed = {"host": parts.netloc, "x-amz-content-sha256": _NO_BODY, "x-amz-date": date, **headers}
    if keys.session_token:
        signed["x-amz-security-token"] = keys.session_token
    names = ";".join(sorted(signed))
    query = sorted(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
    request = (
        method,
        parts.path or "/",
        urllib.parse.urlencode(query, quote_via=urllib.parse.quote),
        *(f"{name}:{signed[name].strip()}" for name in sorted(signed)),
        "",
        names,
        _NO_BODY,
    )
    scope = f"{date[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256("\n".join(request).encode()).hexdigest()
    key = f"AWS4{keys.secret_key}".encode()
    for text in scope.split("/"):
        key = _hmac(key, text)
    signature = _hmac(key, f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}"
    signed["authorization"] = f"{credential},SignedHeaders={names},Signature={signature}"
    return signed


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each request
