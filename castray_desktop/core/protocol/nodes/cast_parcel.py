"""What a cast sends and by which route, as agents learn it: frozen dataclasses of `json_codec`.

Sizes are bytes, secrets and digests hexadecimal text. Standard library only and valid on Python 3.9:
driver and agents run on the cluster's interpreter.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

from castray_desktop.core.content.urls import redacted_url
from castray_desktop.core.failures.kinds import Failure


@dataclass(frozen=True)
class TopEntry:
    """One of the chosen files or folders, with its name at the recipients."""

    name: str
    folder: bool = False
    bytes: int = 0
    files: int = 0


@dataclass(frozen=True)
class ParcelTotals:
    """What control messages say about a parcel; its manifest is part of the stream.

    The stream consists of the manifest, the files' contents, and the trailer with state and hash of each
    file.
    """

    manifest_bytes: int
    manifest_digest: str  # SHA-256 of the manifest
    content_bytes: int
    trailer_bytes: int
    files: int  # regular files
    entries: int  # everything in the manifest
    top: tuple[TopEntry, ...] = ()
    followed_links: int = 0  # what they point to is sent instead
    kept_links: int = 0  # that are sent as links
    broken_links: int = 0  # of these, the ones that would point to nothing of the parcel at a recipient
    broken_names: tuple[str, ...] = ()  # the first of them
    left_out: int = 0  # entries that can't be sent or read

    @property
    def stream_bytes(self) -> int:
        return self.manifest_bytes + self.content_bytes + self.trailer_bytes


@dataclass(frozen=True)
class Algorithms:
    """Hash algorithms and piece size of one cast."""

    piece: str = "blake2b-128"  # or "xxh3-128"
    file: str = "sha256"  # or "blake3"
    piece_bytes: int = 1 << 20


@dataclass(frozen=True)
class Upstream:
    """Where a recipient fetches from."""

    node: str
    address: str
    port: int
    host: str = ""  # identity of the machine; agents with equal ones may connect locally
    local_path: str = ""  # of the Unix socket for agents of the same machine
    encrypted: bool = False  # connections to another host use the engine's certificates


@dataclass(frozen=True)
class FileProblem:
    """A file of the parcel that was not sent, with the reason."""

    path: str
    failure: Failure


@dataclass(frozen=True)
class MulticastGroup:
    """The multicast group of a cast."""

    address: str  # IPv4 or IPv6
    port: int
    source: str  # source address of the datagrams
    hops: int = 1  # TTL: number of routers, plus one
    report_seconds: float = 0.025  # report interval of receivers


@dataclass(frozen=True)
class RemoteFile:
    """A file that a node downloads. Its link, `url`, may be a secret."""

    path: str  # at the recipients, `/` between its components
    url: str = field(repr=False)
    size: int
    etag: str = ""  # of the version that is sent; empty if the server does not say
    modified_ns: int = 0
    ranges: bool = True  # whether parts of it can be requested
    authorization: str = field(default="", repr=False)  # value of the header, for the host of `url` alone
    address: str = ""  # in its store: the engine makes links from it, and people see it; empty: a web server
    checksum: str = ""  # as its server knows it, such as "sha256:HEX": see `core.content.checksums`
    expires: float = 0.0  # of the link, POSIX seconds; 0: never
    contents: str = field(default="", repr=False)  # packed, see `pack_contents`; instead of a link
    target: str = ""  # this is a symbolic link with this text, without contents

    @property
    def shown_address(self) -> str:
        """Where it comes from, as people may see it."""
        return redacted_url(self.address or self.url)


def pack_contents(raw: bytes) -> str:
    """Contents of a small file for `RemoteFile.contents`."""
    return base64.b64encode(raw).decode()


def unpack_contents(text: str, size: int) -> bytes:
    """Contents of a file of this size. Raises ValueError."""
    raw = base64.b64decode(text)
    if len(raw) != size:
        raise ValueError("contents that are not as long as the file")
    return raw
