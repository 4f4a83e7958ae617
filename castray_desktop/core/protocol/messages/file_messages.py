"""The files of a cast: what became of each at each recipient, page by page."""

from __future__ import annotations

import enum

from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.protocol.messages.message_base import Message, Record


class FileState(enum.StrEnum):
    """What became of a file at a recipient, or is so far."""

    PENDING = "pending"  # not all of its bytes are there
    RECEIVED = "received"  # all bytes are verified; it gets its name when all files are there
    SENT = "sent"  # written under its own name
    IDENTICAL = "identical"  # the same file existed
    RENAMED = "renamed"  # written under another name, since its own was taken
    OVERWRITTEN = "overwritten"  # written in the place of another one
    FAILED = "failed"
    UNKNOWN = "unknown"  # the recipient has not said


class FileOrder(enum.StrEnum):
    """Orders of the files of a cast."""

    PATH = "path"
    SIZE = "size"
    STATE = "state"  # failed ones first


class FileQuery(Record, frozen=True):
    """Which files of a cast, and in which order."""

    text: str = ""  # words in the path, in its name at a recipient, or in the hash; all must match
    states: tuple[FileState, ...] = ()  # at any of the recipients; none: all
    nodes: tuple[str, ...] = ()  # recipients that count; none: all
    order: FileOrder = FileOrder.PATH
    descending: bool = False
    offset: int = 0
    limit: int = 100


class FileAtRecipients(Record, frozen=True):
    """Recipients at which the same became of a file."""

    state: FileState
    nodes: tuple[str, ...]
    place: str = ""  # its path below the destination, if it has another one than at the source
    failure: Failure | None = None


class CastFile(Record, frozen=True):
    """A file, or a link, of a cast."""

    path: str  # as it was sent
    bytes: int = 0
    hash: str = ""  # "blake3:HEX" or "sha256:HEX"; empty for links, and before it was read
    link: bool = False
    recipients: tuple[FileAtRecipients, ...] = ()


class GetFiles(Message, frozen=True):
    """The files of a cast, while it runs and afterwards. Reply: `FilesPage`."""

    cast: str
    query: FileQuery = FileQuery()


class FilesPage(Message, frozen=True):
    """A page of the files that match."""

    cast: str
    files: tuple[CastFile, ...]
    total: int  # that match
    all: int
    states: dict[FileState, int] = {}  # number of files that have this state at a recipient
    live: bool = False  # some of it may still change
