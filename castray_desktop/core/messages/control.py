"""Steering casts that run, and what follows those that have ended."""

from __future__ import annotations

import enum

from castray_desktop.core.failure import Failure
from castray_desktop.core.messages.base import Message, Record


class Pause(Message, frozen=True):
    """Stop every byte of a cast until it is resumed; part files stay. Reply: `Done`, once nothing flows.

    With recipients only they are paused, and the others go on without them. A cast is paused when all of
    its deliveries are that have not ended.
    """

    cast: str = ""  # empty: every cast that runs
    recipients: tuple[str, ...] = ()  # of it; empty: all


class Resume(Message, frozen=True):
    """Go on where it was, with a cast and all of its paused recipients or some of them. Reply: `Done`."""

    cast: str = ""  # empty: every paused cast, with recipients every cast that has them
    recipients: tuple[str, ...] = ()  # of it; empty: all


class DropRecipients(Message, frozen=True):
    """Cancel the deliveries to these nodes; the others go on. Reply: `Done`."""

    cast: str
    recipients: tuple[str, ...]


class Retry(Message, frozen=True):
    """Send what an ended cast sent to those that did not get it, as a cast of its own. Reply: `Accepted`."""

    cast: str
    recipients: tuple[str, ...] = ()  # of those that failed; empty: all of them


class SendAgain(Message, frozen=True):
    """Send what an earlier cast sent to all of its recipients again. Reply: `Accepted`."""

    cast: str


class MoveInQueue(Message, frozen=True):
    """Give a queued cast another place among those that wait. Reply: `Done`."""

    cast: str
    place: int  # 0: the next to start


class VerifiedState(enum.StrEnum):
    """What a look at the files of one node has shown."""

    SAME = "same"
    DIFFERENT = "different"
    MISSING = "missing"
    FAILED = "failed"  # could not be read


class VerifiedNode(Record, frozen=True):
    """What one node has there."""

    node: str
    state: VerifiedState
    hash: str = ""  # "blake3:HEX" of a single file, or of all files' hashes
    files: int = 0
    bytes: int = 0
    differing: tuple[str, ...] = ()  # relative paths, the first hundred
    differing_count: int = 0
    failure: Failure | None = None


class Verify(Message, frozen=True):
    """Read files back on every node and compare their hashes. Reply: `VerifyReport`.

    Either what a cast delivered, against what its source sent, or one path, node against node.
    """

    job: str  # chosen by the client, for `VerifyProgress` and `CancelVerify`
    cast: str = ""
    path: str = ""  # absolute; may hold {node}
    nodes: tuple[str, ...] = ("all",)


class CancelVerify(Message, frozen=True):
    """Stop reading; the `Verify` of that job fails with CANCELLED. Reply: `Done`."""

    job: str


class VerifyReport(Message, frozen=True):
    """What stands on every node."""

    job: str
    nodes: tuple[VerifiedNode, ...]


class VerifyProgress(Message, frozen=True):
    """How far a verification is; at most four a second."""

    job: str
    read: int  # bytes, over all nodes
    total: int  # 0 while it is not known


ControlCommand = Pause | Resume | DropRecipients | Retry | SendAgain | MoveInQueue | Verify | CancelVerify
ControlReply = VerifyReport
ControlEvent = VerifyProgress
