"""Object stores: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage; through obstore.

An address names one object, or all below a prefix, which arrive as a folder. Links are signed here, and
expire; what is public has plain links.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
import time
import urllib.parse
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_names import ExcludePatterns, folders_above
from castray_desktop.core.content.urls import redacted_url, url_file_name
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile
from castray_desktop.workers.sources.object_store_access import ObjectPlace, StoreAccess, open_bucket
from castray_desktop.workers.sources.s3_checksums import S3Checksums
from castray_desktop.workers.sources.store_protocol import LINK_SECONDS, MAX_FILES, Waits

if TYPE_CHECKING:
    from obstore import ObjectMeta

PAGE = 1000
MAX_LISTED = 200_000
"""Objects that are looked at, also those that patterns leave out."""

ASKED_AT_ONCE = 16

_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_MD5 = re.compile(r'"[0-9a-f]{32}"')
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"})
_ABOUT_CREDENTIALS = ("token request", "http://169.254.169.254/", "Error signing blob", "user delegation key")
_EXPRESS = "--x-s3"
"""The end of a directory bucket's name, whose ETags are no MD5."""


class ObjectStores:
    """Implements `Store` for `s3`, `gs` and `az`."""

    def __init__(self) -> None:
        self._checksums = S3Checksums()

    async def list_files(
        self, address: str, options: TransferOptions, waits: Waits
    ) -> tuple[RemoteFile, ...]:
        from obstore.exceptions import BaseError

        place = ObjectPlace.of(address)
        access = await asyncio.to_thread(open_bucket, place)
        try:
            found = await _find(access, place)
        except (BaseError, OSError, ValueError) as error:
            raise _failure(error, address, access) from None
        if not access.is_public:
            _check_signable(place, [item["path"] for item in found])
        top = url_file_name(address).decode()
        folder = place.key.rstrip("/")
        below = f"{folder}/" if folder else ""
        files = tuple(
            _remote_file(
                place, item, top if item["path"] == folder else f"{top}/{item['path'][len(below) :]}"
            )
            for item in found
        )
        if access.s3 is None or place.bucket.endswith(_EXPRESS):  # that one takes other signatures
            return files
        exclusions = ExcludePatterns(options.patterns)
        kept = [file for file in files if not exclusions.leaves_out(file.path)]
        checksums = await self._checksums.find(access.s3, kept)
        return tuple(
            dataclasses.replace(file, checksum=checksums.get(file.address, file.checksum)) for file in files
        )

    async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
        linked: list[RemoteFile] = []
        places = {file.address: ObjectPlace.of(file.address) for file in files}
        for bucket in dict.fromkeys(place.bucket for place in places.values()):
            group = [file for file in files if places[file.address].bucket == bucket]
            place = places[group[0].address]
            access = await asyncio.to_thread(open_bucket, place)
            keys = [places[file.address].key for file in group]
            linked += await _link(access, place, group, keys)
        return tuple(linked)


async def _find(access: StoreAccess, place: ObjectPlace) -> list[ObjectMeta]:
    """The object of that name, or all below it."""
    import obstore
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    denied: BaseError | None = None
    key = place.key.rstrip("/")
    if place.key and not place.key.endswith("/"):
        try:
            return [await obstore.head_async(access.store, key)]
        except FileNotFoundError:
            pass
        except (PermissionDeniedError, UnauthenticatedError) as error:
            denied = error  # who may not list gets this for what is not there
    found: list[ObjectMeta] = []
    async for page in obstore.list(access.store, prefix=key or None, chunk_size=PAGE):
        found += page
        if len(found) > MAX_LISTED:
            raise CastRayError(
                FailureKind.STORE_TOO_LARGE,
                url=redacted_url(place.address(place.key)),
                count=f"more than {MAX_LISTED}",
                most=MAX_FILES,
            )
    if not found and denied is not None:
        raise denied
    return await _without_markers(access, found)


async def _without_markers(access: StoreAccess, found: list[ObjectMeta]) -> list[ObjectMeta]:
    """Without empty objects that stand for folders: their names end with a slash, which obstore omits."""
    import obstore

    empty = {item["path"] for item in found if not item["size"]}
    if not empty:
        return found
    folders = {above for item in found for above in folders_above(item["path"])}
    limit = asyncio.Semaphore(ASKED_AT_ONCE)

    async def is_marker(path: str) -> bool:
        if path in folders:
            return True
        async with limit:
            try:
                await obstore.head_async(access.store, path)
            except FileNotFoundError:
                return True
        return False

    asked = sorted(empty)
    marks = await asyncio.gather(*map(is_marker, asked))
    markers = {path for path, mark in zip(asked, marks, strict=True) if mark}
    return [item for item in found if item["size"] or item["path"] not in markers]


def _remote_file(place: ObjectPlace, item: ObjectMeta, path: str) -> RemoteFile:
    etag = item["e_tag"] or ""
    if etag and not etag.startswith(('"', "W/")):  # a listing of Azure has no quotes
        etag = f'"{etag}"'
    plain_md5 = place.scheme != "az" and not place.bucket.endswith(_EXPRESS) and _MD5.fullmatch(etag)
    return RemoteFile(
        path,
        "",
        item["size"],
        etag,
        int(item["last_modified"].timestamp()) * 10**9,
        address=place.address(item["path"]),
        checksum=f"md5:{etag[1:-1]}" if plain_md5 else "",
    )


async def _link(
    access: StoreAccess, place: ObjectPlace, files: Sequence[RemoteFile], keys: Sequence[str]
) -> list[RemoteFile]:
    """The files of one bucket with links. Raises CastRayError."""
    import obstore
    from obstore.exceptions import BaseError

    if access.is_public:
        urls: Sequence[str] = [access.public_url + urllib.parse.quote(key, safe="/~") for key in keys]
        expires = 0.0
    else:
        _check_signable(place, keys)
        expires = time.time() + LINK_SECONDS
        try:
            urls = await obstore.sign_async(access.store, "GET", list(keys), timedelta(seconds=LINK_SECONDS))
        except (BaseError, OSError) as error:
            raise _failure(error, files[0].address, access, signing=True) from None
    return [
        dataclasses.replace(file, url=url, authorization="", expires=expires)
        for file, url in zip(files, urls, strict=True)
    ]


def _check_signable(place: ObjectPlace, keys: Sequence[str]) -> None:
    """Refuse names that obstore puts into a link of Google's as they are. Raises CastRayError."""
    wrong = next((key for key in keys if place.scheme == "gs" and ("#" in key or "?" in key)), None)
    if wrong is not None:
        raise CastRayError(FailureKind.STORE_NAME, url=place.address(wrong), reason="it contains # or ?")


def _failure(error: Exception, address: str, access: StoreAccess, signing: bool = False) -> CastRayError:
    """The failure for an error of obstore, whose text is not shown: it may have parts of requests."""
    from obstore.exceptions import (
        InvalidPathError,
        NotFoundError,
        PermissionDeniedError,
        UnauthenticatedError,
    )

    text, url = str(error), redacted_url(address)
    code = match[1] if (match := _CODE.search(text)) else ""
    status = match[1] if (match := _STATUS.search(text)) else ""
    if isinstance(error, InvalidPathError | ValueError):
        return CastRayError(FailureKind.STORE_NAME, url=url, reason="a part of its name is empty, . or ..")
    if code in _NO_BUCKET:
        return CastRayError(FailureKind.STORE_BUCKET_MISSING, url=url)
    if any(words in text for words in _ABOUT_CREDENTIALS):
        return CastRayError(
            FailureKind.STORE_UNSIGNED, url=url, reason="the service that issues them refuses"
        )
    if status in ("401", "403") or isinstance(error, PermissionDeniedError | UnauthenticatedError):
        if access.is_public:
            return CastRayError(FailureKind.STORE_NO_CREDENTIALS, url=url, how=access.how)
        return CastRayError(FailureKind.STORE_DENIED, url=url, reason=code or f"it answers {status or '403'}")
    if isinstance(error, FileNotFoundError | NotFoundError) or status == "404":
        return CastRayError(FailureKind.STORE_BUCKET_MISSING, url=url)
    if signing:
        return CastRayError(FailureKind.STORE_UNSIGNED, url=url, reason="they can't sign links")
    if code or status.startswith(("3", "4")):
        return CastRayError(FailureKind.STORE_DENIED, url=url, reason=code or f"it answers {status}")
    reason = f"it answers {status}" if status else "there is no connection"
    return CastRayError(FailureKind.STORE_UNREACHABLE, url=url, reason=reason)
