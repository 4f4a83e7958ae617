"""A small hub for tests: what `huggingface_hub` asks for, and a store of large files on another host.

Like the real one, it answers small files itself, after a redirect to its own cache, and redirects large ones
(Git LFS) to signed links that expire.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import itertools
import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.helpers.servers.ranged_answers import Answer, send_range

LARGE_SUFFIXES = (".safetensors", ".bin", ".gguf", ".parquet")
"""Files that the hub keeps in Git LFS, as `.gitattributes` of a new repository says."""

MODIFIED = "2024-05-06T07:08:09.000Z"
_API = re.compile(
    r"/api/(model|dataset|space)s/([^/]+/[^/]+)(?:/(revision|tree|paths-info|refs)(?:/(.*))?)?$"
)
_RESOLVE = re.compile(r"/(?:(dataset|space)s/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")
_CACHED = re.compile(r"/api/resolve-cache/(model|dataset|space)s/([^/]+/[^/]+)/([^/]+)/(.+)$")


def git_hash(payload: bytes) -> str:
    """The name of a blob in Git."""
    return hashlib.sha1(b"blob %d\0" % len(payload) + payload).hexdigest()


@dataclass
class HubFile:
    """A file at one commit."""

    payload: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What Git has of a large file."""
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {len(self.payload)}\n".encode()

    @property
    def git_hash(self) -> str:
        return git_hash(self.pointer if self.large else self.payload)

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.git_hash


@dataclass
class HubRepository:
    """A repository, with its commits and what branches and tags name."""

    kind: str  # model, dataset or space
    name: str  # with its owner
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, HubFile]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)  # commit by name
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Replace all files of the branch; returns the commit."""
        made = {path: HubFile(payload, path.endswith(LARGE_SUFFIXES)) for path, payload in files.items()}
        above = self.branches.get(branch, "")
        listing = [f"{path} {file.etag}" for path, file in sorted(made.items())]
        commit = hashlib.sha1("\n".join([self.name, above, *listing]).encode()).hexdigest()
        self.commits[commit] = made
        self.branches[branch] = commit
        return commit

    def find_commit(self, revision: str) -> str | None:
        """The commit of a branch, tag, or (shortened) hash."""
        named = self.branches.get(revision) or self.tags.get(revision)
        if named is not None:
            return named
        found = [commit for commit in self.commits if len(revision) >= 7 and commit.startswith(revision)]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class HubRequest:
    """What one request was."""

    host: str  # with its port, as the client named it
    method: str
    path: str  # without the query
    token: str  # empty: none was sent


class HubServer:
    """The hub and its store of large files, as two servers on two addresses of this machine."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], HubRepository] = {}
        self.tokens: dict[str, set[str]] = {}  # valid ones, and the repositories that each may read
        self.requests: list[HubRequest] = []
        self.faults: list[Answer] = []  # for the next requests to the hub, one each
        self.store_faults: list[Answer] = []  # for the next requests to the store
        self.page_size = 1000  # entries of a tree listing
        self.link_requests = 0  # a link is good for so many requests; 0: until `expire_links`
        self.sent_bytes = 0  # of bodies of files, by both
        self.gate: threading.Event | None = None  # the store sends no body before it is set
        self.lock = threading.Lock()
        self._links: dict[str, int] = {}  # how often each signature was used
        self._numbers = itertools.count(1)
        self._hub = _Server("127.0.0.1", _HubHandler, self)
        self._store = _Server("127.0.0.2", _StoreHandler, self)
        self.large: dict[str, bytes] = {}  # payload by SHA-256

    @property
    def endpoint(self) -> str:
        return self._hub.url

    @property
    def host(self) -> str:
        return urlsplit(self._hub.url).netloc

    @property
    def store_host(self) -> str:
        return urlsplit(self._store.url).netloc

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        kind: str = "model",
        private: bool = False,
        gated: bool = False,
    ) -> HubRepository:
        """Add a repository, with these files on its branch `main`."""
        found = self.repositories[kind, name] = HubRepository(kind, name, private, gated)
        found.commit(files)
        return found

    def new_link(self, payload: bytes) -> str:
        """A signed link to a large file."""
        signature = hashlib.sha256(b"%d" % next(self._numbers)).hexdigest()
        digest = hashlib.sha256(payload).hexdigest()
        with self.lock:
            self._links[signature] = 0
            self.large.setdefault(digest, payload)
        return f"{self._store.url}/xet-bridge/{digest}?X-Amz-Expires=3600&X-Amz-Signature={signature}"

    def expire_links(self) -> None:
        """All links that were given out are refused from now on."""
        with self.lock:
            self._links.clear()

    def use_link(self, signature: str) -> bool:
        """Count a request; returns whether the link is still good."""
        with self.lock:
            if signature not in self._links:
                return False
            self._links[signature] += 1
            return not self.link_requests or self._links[signature] <= self.link_requests

    def may_read(self, repository: HubRepository, token: str) -> bool:
        return repository.name in self.tokens.get(token, ())

    def tokens_seen(self, host: str) -> set[str]:
        """The tokens that were sent to this host."""
        return {request.token for request in self.requests if request.host == host} - {""}

    def start(self) -> None:
        self._hub.start()
        self._store.start()

    def close(self) -> None:
        self._hub.stop()
        self._store.stop()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: str, handler: type[_Handler], hub: HubServer) -> None:
        super().__init__((address, 0), handler)
        self.hub = hub
        self.url = f"http://{address}:{self.server_address[1]}"
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """Peers that close early are part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    timeout = 20

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    @property
    def hub(self) -> HubServer:
        return self.server.hub

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _serve(self) -> None:
        raise NotImplementedError

    def _note(self, faults: list[Answer]) -> Answer:
        """Record the request; returns the fault that is due."""
        request = HubRequest(self.headers.get("Host", ""), self.command, urlsplit(self.path).path, self.token)
        with self.hub.lock:
            self.hub.requests.append(request)
            return faults.pop(0) if faults else Answer()

    def _answer(self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer_json(self, value: object, headers: Mapping[str, str] | None = None) -> None:
        content = {"Content-Type": "application/json; charset=utf-8"}
        self._answer(200, {**content, **(headers or {})}, json.dumps(value).encode())

    def _send_file(
        self,
        payload: bytes,
        headers: Mapping[str, str],
        fault: Answer,
        gate: threading.Event | None = None,
    ) -> None:
        def count(length: int) -> None:
            with self.hub.lock:
                self.hub.sent_bytes += length

        send_range(self, payload, {**headers, "Accept-Ranges": "bytes"}, fault, count, gate=gate)

    def log_message(self, *args: object) -> None:
        """Nothing."""


class _StoreHandler(_Handler):
    """The store of large files: signed links, ranges, no tokens."""

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        fault = self._note(self.hub.store_faults)
        payload = self.hub.large.get(parts.path.rpartition("/")[2])
        signature = parse_qs(parts.query).get("X-Amz-Signature", [""])[0]
        if fault.status:
            self._answer(fault.status, fault.headers)
        elif payload is None:
            self._answer(404)
        elif not self.hub.use_link(signature):
            self._answer(
                403, body=b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
            )
        else:
            gate = None if self._asks_first_byte() else self.hub.gate
            etag = hashlib.md5(payload).hexdigest()  # not the one that the hub names
            self._send_file(payload, {"ETag": f'"{etag}"'}, fault, gate)

    def _asks_first_byte(self) -> bool:
        return self.headers.get("Range") == "bytes=0-0"


class _HubHandler(_Handler):
    """The hub: information about repositories, small files, redirects to the store."""

    def _serve(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        fault = self._note(self.hub.faults)
        if fault.status:
            self._answer(fault.status, fault.headers)
        elif match := _CACHED.match(parts.path):
            self._resolve(match[1], match[2], unquote(match[3]), unquote(match[4]), True, fault)
        elif match := _API.match(parts.path):
            self._api(match[1], match[2], match[3] or "", match[4] or "", parse_qs(parts.query), content)
        elif match := _RESOLVE.match(parts.path):
            self._resolve(match[1] or "model", match[2], unquote(match[3]), unquote(match[4]), False, fault)
        else:
            self._refuse(404, "", "Sorry, we can't find the page you are looking for.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message} if code else {"X-Error-Message": message}
        self._answer(status, headers, json.dumps({"error": message}).encode())

    def _find(self, kind: str, name: str) -> HubRepository | None:
        """The repository, if it may be known to this client."""
        if self.token and self.token not in self.hub.tokens:
            self._refuse(401, "", "Invalid credentials in Authorization header")
            return None
        found = self.hub.repositories.get((kind, name))
        if found is None or (found.private and not self.hub.may_read(found, self.token)):
            if self.token:
                self._refuse(404, "RepoNotFound", "Repository not found")
            else:
                self._refuse(401, "RepoNotFound", "Invalid username or password.")
            return None
        return found

    def _find_files(self, repository: HubRepository, revision: str) -> tuple[str, dict[str, HubFile]] | None:
        commit = repository.find_commit(revision)
        if commit is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return None
        return commit, repository.commits[commit]

    # --- information

    def _api(
        self, kind: str, name: str, verb: str, rest: str, query: dict[str, list[str]], content: bytes
    ) -> None:
        repository = self._find(kind, name)
        if repository is None:
            return
        if verb == "refs":
            self._answer_json(
                {
                    "branches": _named("refs/heads/", repository.branches),
                    "converts": [],
                    "tags": _named("refs/tags/", repository.tags),
                }
            )
            return
        revision, _, below = rest.partition("/")
        found = self._find_files(repository, unquote(revision) or "main")
        if found is None:
            return
        commit, files = found
        if verb == "tree":
            self._tree(files, unquote(below), query)
        elif verb == "paths-info":
            wanted = parse_qs(content.decode()).get("paths", [])
            self._answer_json([info for path in wanted if (info := _path_info(path, files)) is not None])
        else:
            self._answer_json(_repository_info(repository, commit, files, "blobs" in query))

    def _tree(self, files: dict[str, HubFile], below: str, query: dict[str, list[str]]) -> None:
        recursive = query.get("recursive", [""])[0].lower() == "true"
        prefix = f"{below}/" if below else ""
        entries: dict[str, dict[str, object]] = {}
        for path in sorted(files):
            if not path.startswith(prefix):
                continue
            names = path[len(prefix) :].split("/")
            for count in range(1, len(names)):
                folder = prefix + "/".join(names[:count])
                if recursive or count == 1:
                    entries[folder] = _folder_info(folder)
            if recursive or len(names) == 1:
                entries[path] = _info(path, files[path])
        if below and not entries:
            self._refuse(404, "EntryNotFound", f"{below} does not exist on this revision")
            return
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.hub.page_size
        headers = {}
        if end < len(entries):
            address = f"{self.hub.endpoint}{urlsplit(self.path).path}?recursive={recursive}&cursor={end}"
            headers["Link"] = f'<{address}>; rel="next"'
        self._answer_json(list(entries.values())[start:end], headers)

    # --- files

    def _resolve(self, kind: str, name: str, revision: str, path: str, cached: bool, fault: Answer) -> None:
        repository = self._find(kind, name)
        if repository is None:
            return
        if repository.gated and not self.hub.may_read(repository, self.token):
            what = f"Access to {kind} {name} is restricted"
            if self.token:
                self._refuse(403, "GatedRepo", f"{what} and you are not in the authorized list.")
            else:
                self._refuse(401, "GatedRepo", f"{what}. You must have access to it and be authenticated.")
            return
        found = self._find_files(repository, revision)
        if found is None:
            return
        commit, files = found
        file = files.get(path)
        if file is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {"X-Repo-Commit": commit}
        if file.large:
            headers |= {"X-Linked-Size": str(len(file.payload)), "X-Linked-Etag": f'"{file.etag}"'}
            self._answer(302, {**headers, "Location": self.hub.new_link(file.payload)})
        elif cached:
            self._send_file(file.payload, {**headers, "ETag": f'"{file.etag}"'}, fault)
        else:
            headers |= {"X-Linked-Size": str(len(file.payload)), "X-Linked-Etag": f'"{file.etag}"'}
            place = f"/api/resolve-cache/{kind}s/{name}/{commit}/{quote(path)}"
            self._answer(307, {**headers, "ETag": f'"{file.etag}"', "Location": place})


def _named(prefix: str, commits: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": prefix + name, "targetCommit": commit} for name, commit in commits.items()]


def _info(path: str, file: HubFile) -> dict[str, object]:
    found: dict[str, object] = {
        "type": "file",
        "oid": file.git_hash,
        "size": len(file.payload),
        "path": path,
    }
    if file.large:
        pointer = {"oid": file.sha256, "size": len(file.payload), "pointerSize": len(file.pointer)}
        found["lfs"] = pointer
    return found


def _path_info(path: str, files: Mapping[str, HubFile]) -> dict[str, object] | None:
    """A file or folder; None if there is neither."""
    if path in files:
        return _info(path, files[path])
    if any(name.startswith(f"{path}/") for name in files):
        return _folder_info(path)
    return None


def _folder_info(path: str) -> dict[str, object]:
    return {"type": "directory", "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0, "path": path}


def _repository_info(
    repository: HubRepository, commit: str, files: Mapping[str, HubFile], blobs: bool
) -> dict[str, object]:
    siblings: list[dict[str, object]] = []
    for path in sorted(files):
        sibling: dict[str, object] = {"rfilename": path}
        if blobs:
            file = files[path]
            sibling |= {"blobId": file.git_hash, "size": len(file.payload)}
            if file.large:
                sibling["lfs"] = {
                    "sha256": file.sha256,
                    "size": len(file.payload),
                    "pointerSize": len(file.pointer),
                }
        siblings.append(sibling)
    return {
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.name.partition("/")[0],
        "sha": commit,
        "lastModified": MODIFIED,
        "createdAt": MODIFIED,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "siblings": siblings,
    }


@contextlib.contextmanager
def hub_server() -> Iterator[HubServer]:
    """A running hub."""
    hub = HubServer()
    hub.start()
    try:
        yield hub
    finally:
        hub.close()
