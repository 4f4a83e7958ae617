"""What happened in a few words, for the row of the node or file that it happened to.

Figures come first, since the end of a row may be cut, and the name of the row is not repeated.
`core.failures.sentences` has the whole sentences, with what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES, template_values

K = FailureKind

NO_ROOM_FOR_FILES = "No room: {needed} needed, {free}"
"""Where the number of files is the limit: "12 files needed, room for 3 files"."""

SHORT_REASONS: Mapping[FailureKind, str] = {
    K.NO_ROOM: "No room: {free} free, {needed} needed",
    K.NO_ROOM_TOGETHER: "No room: {free} free, {needed} needed with {others} on the same disk",
    K.NOT_WRITABLE: "Can't write to {path}: {reason}",
    K.NOT_A_FOLDER: "{path} is not a folder",
    K.NAME_NOT_ALLOWED: "Can't store a file named {path}",
    K.NAMES_CLASH: "Can't store both {other} and {path}",
    K.WRITE_ERROR: "Could not write {path}: {reason}",
    K.READ_BACK_FAILED: "Could not read back {path}: {reason}",
    K.DAMAGED: "{path} arrived damaged, twice",
    K.COPY_CHANGED: "The copy of {path} on {upstream} was changed or damaged: {reason}",
    K.UPSTREAM_LOST: "Connection to {upstream} lost: {reason}",
    K.NO_WAY: "No connection to {upstream} in either direction: {reason}",
    K.NOT_TRUSTED: "Certificates of this node and {upstream} don't match: {reason}",
    K.NOT_ENCRYPTED: "Can't encrypt connections: {reason}",
    K.NODE_OFFLINE: "Went offline",
    K.NODE_SILENT: "No response for {seconds} s",
    K.INBOX_SILENT: "Its inbox does not respond: {path}",
    K.FOLDER_SILENT: "{path} does not respond",
    K.NODE_AWAY: "Offline at the moment",
    K.NODE_AWAITED: "Offline; receives the files when it is back online",
    K.NOBODY_HAS_IT: "No online node still has the files",
    K.PARCEL_CHANGED: "The files changed while this node was offline",
    K.NOT_REMOVED: "{count} entries not removed, among them {path}: {reason}",
    K.HASH_MISSING: "Hash not supported: {hashes}",
    K.WRITER_FAILED: "The copy of {writer}, which shares the folder, failed",
    K.AGENT_NOT_PLACED: "The agent could not be started: {reason}",
    K.PORTS_TAKEN: "No free port in {ports}",
    # of a file or folder on the send list
    K.NO_SUCH_FILE: "Missing",
    K.VANISHED: "Missing",
    K.NOT_READABLE: "Unreadable",
    K.READ_ERROR: "Unreadable: {reason}",
    K.DANGLING_LINK: "Broken link",
    K.NOT_SENDABLE: "Not a file or folder",
    K.SERVER_BUSY: "Server busy",
    K.SAME_NAME_TWICE: "Same name twice",
    K.ADDRESSES_SAME_NAME: "Same name twice",
}
"""The other kinds have sentences that are short, or that name no node."""


def short_reason(failure: Failure, translate: Callable[[str], str] = lambda text: text) -> str:
    """What happened, without the name of the row and without what to do."""
    template = SHORT_REASONS.get(failure.kind) or TEMPLATES[failure.kind].happened
    if failure.kind is K.NO_ROOM and failure.values.get("needed", "").endswith(" files"):
        template = NO_ROOM_FOR_FILES
    return translate(template).format_map(template_values(failure.values, translate)).rstrip(".。")
