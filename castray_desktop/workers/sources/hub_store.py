"""Repositories of a Hugging Face hub as a store: `hf://OWNER/NAME[@REVISION][/PATH]`, by `huggingface_hub`.

The files of a cast are those of one commit, which is part of each file's address. A public repository is
downloaded without a token. Of others, large files (Git LFS) have signed links that expire, and small files go
with the order to the node that downloads.

The endpoint is that of HF_ENDPOINT, the token that of HF_TOKEN or of the stored login. The token is used for
repositories that can't be read without it alone. It goes to the hub, and not to any node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx
import huggingface_hub
from huggingface_hub import errors
from huggingface_hub.hf_api import DatasetInfo, ModelInfo, RepoFile, RepoFolder, SpaceInfo
from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # documented

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_names import safe_component
from castray_desktop.core.content.hub_addresses import HubAddress, parse_hub_address
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.cast_parcel import RemoteFile, pack_contents
from castray_desktop.workers.sources.store_protocol import Waits

PATIENCE_SECONDS = 15.0
"""How long requests are repeated to a hub that does not answer."""

MAX_ASKED_SECONDS = 900.0
"""If a hub asks to wait longer than this in total, the request fails."""

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 30.0
FIRST_DELAY_SECONDS = 0.5
MAX_DELAY_SECONDS = 8.0
REQUESTS_AT_ONCE = 8

MAX_PRIVATE_FILES = 100
"""Files of a repository that is not public that get links at once: each takes a request."""

MAX_CONTENTS_BYTES = 4 << 20
"""Contents of small files of such a repository in one order, unless one file alone is larger."""

LIBRARY = "castray"

_DEFAULT_ENDPOINT = "https://huggingface.co"
_TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
_DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_RESET = re.compile(r"\bt=(\d+)")

T = TypeVar("T")
_RepositoryInfo = ModelInfo | DatasetInfo | SpaceInfo
Pause = Callable[[float, str], None]
"""Waits for this many seconds, with the reason to show. Raises what ends the request."""


class HubStore:
    """See `Store`."""

    async def list_files(
        self, address: str, options: TransferOptions, waits: Waits
    ) -> tuple[RemoteFile, ...]:
        """The files of the commit that the address names now. Raises CastRayError."""
        return await _in_thread(partial(HubClient.list_files, address=_parse(address)), waits)

    async def with_links(self, files: Sequence[RemoteFile], waits: Waits) -> tuple[RemoteFile, ...]:
        """The first files of each repository, with links that can be used now, or with their contents. Raises
        CastRayError.
        """
        by_repository: dict[HubAddress, list[RemoteFile]] = {}
        for file in files:
            by_repository.setdefault(replace(_parse(file.address), path=""), []).append(file)
        linked: list[RemoteFile] = []
        for repository, wanted in by_repository.items():
            linked += await _in_thread(
                partial(HubClient.with_links, repository=repository, files=wanted), waits
            )
        return tuple(linked)


def _parse(address: str) -> HubAddress:
    try:
        return parse_hub_address(address)
    except ValueError as error:
        raise CastRayError(FailureKind.BAD_HUB_ADDRESS, address=address, reason=str(error)) from error


async def _in_thread(work: Callable[[HubClient], T], waits: Waits) -> T:
    """Run blocking requests; when this is cancelled, they end with the one that is under way."""
    ended, loop = threading.Event(), asyncio.get_running_loop()

    def pause(seconds: float, reason: str) -> None:
        loop.call_soon_threadsafe(waits, seconds, reason)
        if ended.wait(seconds):
            raise ConnectionAbortedError("cancelled")

    try:
        return await asyncio.to_thread(lambda: work(HubClient(pause)))
    finally:
        ended.set()


class HubClient:
    """Blocking requests to the hub, from any thread. All methods raise CastRayError."""

    def __init__(self, pause: Pause) -> None:
        self._pause = pause
        self.endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or _DEFAULT_ENDPOINT
        self._api = huggingface_hub.HfApi(endpoint=self.endpoint, library_name=LIBRARY, token=False)

    def list_files(self, address: HubAddress) -> tuple[RemoteFile, ...]:
        """The files at this address, at the commit that its revision names now."""
        info, token = self._repository_info(address)
        commit, kind = info.sha or "", address.kind
        entries: list[RepoFile | RepoFolder] = []
        if address.path:
            entries = self._ask(
                address,
                lambda: self._api.get_paths_info(
                    address.repository, [address.path], revision=commit, repo_type=kind, token=token
                ),
            )
            if not entries:
                raise CastRayError(FailureKind.HUB_NO_PATH, repository=address.title, path=address.path)
        single = bool(entries) and isinstance(entries[0], RepoFile)
        if not single:
            entries = self._ask(
                address,
                lambda: list(
                    self._api.list_repo_tree(
                        address.repository,
                        address.path or None,
                        recursive=True,
                        revision=commit,
                        repo_type=kind,
                        token=token,
                    )
                ),
            )
        modified = info.last_modified.timestamp() if info.last_modified is not None else 0.0
        pinned = replace(address, revision=commit)
        try:
            _check_digest(commit)
            return tuple(
                _remote_file(entry, pinned, int(modified) * 10**9, single)
                for entry in entries
                if isinstance(entry, RepoFile)
            )
        except ValueError as error:
            raise self._failed(address, NOT_UNDERSTOOD) from error

    def with_links(self, repository: HubAddress, files: Sequence[RemoteFile]) -> list[RemoteFile]:
        """The first of these files of one commit, with their links or contents.

        A public repository needs no token, and its links last: all files get one. Of others, large files have
        signed links that expire, and small files are downloaded here: so that the token stays on this
        computer.
        """
        token = self._repository_info(repository)[1]
        if not token:
            return [replace(file, url=self._url(file), expires=0.0, contents="") for file in files]
        with ThreadPoolExecutor(REQUESTS_AT_ONCE, "castray-hub") as pool:
            first = _first_private(files)
            return list(pool.map(lambda file: self._private_file(repository, file, token), first))

    # --- requests

    def _repository_info(self, address: HubAddress) -> tuple[_RepositoryInfo, str | Literal[False]]:
        """Information about it, and the token that is needed for its files, or False."""

        def ask(token: str | Literal[False]) -> _RepositoryInfo:
            revision = address.revision or None
            found = self._api.repo_info(
                address.repository, repo_type=address.kind, revision=revision, token=token
            )
            assert isinstance(found, _RepositoryInfo)
            return found

        token = huggingface_hub.get_token() or ""
        try:
            info = self._ask(address, lambda: ask(False))
        except CastRayError as error:
            if error.failure.kind is not FailureKind.HUB_NO_REPOSITORY or not token:
                raise
            return self._ask(address, lambda: ask(token)), token
        if not info.gated:
            return info, False
        if not token:
            raise _refused(address, NOT_LOGGED_IN)
        return info, token

    def _private_file(self, repository: HubAddress, file: RemoteFile, token: str) -> RemoteFile:
        url = self._url(file)
        if not _is_large(file):
            contents = self._ask(repository, lambda: self._download(url, token))
            return replace(file, url="", expires=0.0, contents=pack_contents(contents))
        found = self._ask(
            repository,
            lambda: huggingface_hub.get_hf_file_metadata(url, token=token, endpoint=self.endpoint),
        )
        return replace(file, url=found.location, expires=_expiry(found.location, time.time()), contents="")

    def _download(self, url: str, token: str) -> bytes:
        headers = {"Authorization": f"Bearer {token}", "User-Agent": LIBRARY}
        response = huggingface_hub.get_session().get(url, headers=headers)
        hf_raise_for_status(response)
        return response.content

    def _url(self, file: RemoteFile) -> str:
        address = parse_hub_address(file.address)
        return huggingface_hub.hf_hub_url(
            address.repository,
            address.path,
            repo_type=address.kind,
            revision=address.revision,
            endpoint=self.endpoint,
        )

    def _ask(self, address: HubAddress, work: Callable[[], T]) -> T:
        """Repeat the request while the hub asks for patience."""
        delay, waited, asked = FIRST_DELAY_SECONDS, 0.0, 0.0
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise self._failed(address, "HF_HUB_OFFLINE is set")
        while True:
            began, wait = time.monotonic(), None
            try:
                return work()
            except errors.HfHubHTTPError as error:
                if error.response.status_code not in _TEMPORARY:
                    raise _failure(address, error) from error
                reason = (
                    f"the hub answers {error.response.status_code} {error.response.reason_phrase}".rstrip()
                )
                wait = _seconds_to_wait(error.response)
            except (httpx.TransportError, OSError) as error:
                reason = _transport_reason(error)
            except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
                raise self._failed(address, NOT_UNDERSTOOD) from error
            if wait is None:
                waited += time.monotonic() - began + delay
                wait, delay = delay, min(delay * 2, MAX_DELAY_SECONDS)
            else:
                asked += wait
                if wait >= 1:
                    reason = f"{reason} and asks to wait {wait:.0f} s"
            if waited > PATIENCE_SECONDS or asked > MAX_ASKED_SECONDS:
                raise self._failed(address, reason)
            self._pause(wait, reason)

    def _failed(self, address: HubAddress, reason: str) -> CastRayError:
        return CastRayError(FailureKind.STORE_UNREACHABLE, url=f"hf://{address.title}", reason=reason)


def _first_private(files: Sequence[RemoteFile]) -> Sequence[RemoteFile]:
    """The first files, as many as fit into one order, but at least one."""
    contents = 0
    for count, file in enumerate(files[:MAX_PRIVATE_FILES]):
        contents += 0 if _is_large(file) else file.size
        if count and contents > MAX_CONTENTS_BYTES:
            return files[:count]
    return files[:MAX_PRIVATE_FILES]


def _is_large(file: RemoteFile) -> bool:
    """Whether its contents are not in the repository's Git, but in Git LFS."""
    return file.checksum.startswith("sha256:")


NOT_LOGGED_IN = "it is gated, and this computer is not logged in"
NO_ACCESS = "it is gated, and this account has no access to it"
BAD_TOKEN = "the token of this computer is not valid"
DISABLED = "it is disabled"
NOT_UNDERSTOOD = "the hub's answer can't be understood"


def _failure(address: HubAddress, error: errors.HfHubHTTPError) -> CastRayError:
    """What a refusal means."""
    title = address.title
    if isinstance(error, errors.RevisionNotFoundError):
        return CastRayError(
            FailureKind.HUB_NO_REVISION, repository=title, revision=address.revision or "main"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return CastRayError(FailureKind.HUB_NO_PATH, repository=title, path=address.path or "/")
    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return _refused(address, NOT_LOGGED_IN if status == httpx.codes.UNAUTHORIZED else NO_ACCESS)
    if isinstance(error, errors.DisabledRepoError):
        return _refused(address, DISABLED)
    if isinstance(error, errors.RepositoryNotFoundError) or status == httpx.codes.NOT_FOUND:
        return CastRayError(FailureKind.HUB_NO_REPOSITORY, repository=title)
    if status == httpx.codes.UNAUTHORIZED:
        return _refused(address, BAD_TOKEN)
    return _refused(address, f"the hub answers {status} {error.response.reason_phrase}".rstrip())


def _refused(address: HubAddress, reason: str) -> CastRayError:
    return CastRayError(FailureKind.HUB_REFUSED, repository=address.title, reason=reason)


def _remote_file(entry: RepoFile, pinned: HubAddress, modified_ns: int, single: bool) -> RemoteFile:
    """Raises ValueError for what would lead out of a folder: names and hashes become paths."""
    for part in entry.path.split("/"):
        safe_component(os.fsencode(part))
    sha256 = entry.lfs.sha256 if entry.lfs is not None else ""
    _check_digest(sha256 or entry.blob_id)
    return RemoteFile(
        path=entry.path.rpartition("/")[2] if single else f"{pinned.name}/{entry.path}",
        url="",
        size=entry.size,
        modified_ns=modified_ns,
        address=str(replace(pinned, path=entry.path)),
        checksum=f"sha256:{sha256}" if sha256 else f"git-sha1:{entry.blob_id}",
    )


def _check_digest(text: str) -> None:
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"no hash: {text}")


def _new_client() -> httpx.Client:
    """Like the client of the library, with timeouts, which that does not set for listings."""
    timeout = httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
    return httpx.Client(follow_redirects=True, timeout=timeout)


def _seconds_to_wait(response: httpx.Response) -> float | None:
    """What `Retry-After` says, or the time to the next window of the rate limit; None if that is now."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value) or None
    reset = _RESET.search(response.headers.get("RateLimit", ""))
    return float(reset[1]) or None if reset is not None and response.status_code == 429 else None


def _expiry(url: str, now: float) -> float:
    """When a signed link expires, POSIX seconds; 0 where it does not say."""
    query = parse_qs(urlsplit(url).query)
    for name, start in (("Expires", 0.0), ("X-Amz-Expires", now)):
        text = query.get(name, [""])[0]
        if text.isdigit():
            return start + float(text)
    return 0.0


def _transport_reason(error: Exception) -> str:
    """In words, without an address."""
    if isinstance(error, httpx.TimeoutException):
        return "the server does not answer"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return "the connection was closed"


logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings have addresses
huggingface_hub.set_client_factory(_new_client)
