"""A failure as a value that crosses processes.

Standard library only: this module is shipped to the nodes. `core.failures.sentences` has the text for
each kind.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class FailureKind(str, enum.Enum):
    """What went wrong. `core.failures.sentences` has the sentences and statuses of each."""

    # what the user asked for
    NO_SUCH_FILE = "no_such_file"
    NOT_READABLE = "not_readable"
    NOT_SENDABLE = "not_sendable"
    DANGLING_LINK = "dangling_link"
    NOTHING_TO_SEND = "nothing_to_send"
    SAME_NAME_TWICE = "same_name_twice"
    ADDRESSES_SAME_NAME = "addresses_same_name"
    NODE_UNKNOWN = "node_unknown"
    NODE_EXISTS = "node_exists"
    NODE_NOT_REMOVABLE = "node_not_removable"
    BAD_NODE_NAME = "bad_node_name"
    NO_RECIPIENTS = "no_recipients"
    RECIPIENT_ALREADY = "recipient_already"
    GROUP_UNKNOWN = "group_unknown"
    GROUP_EMPTY = "group_empty"
    BAD_GROUP_NAME = "bad_group_name"
    FILE_NOT_WRITTEN = "file_not_written"
    SOURCE_IS_RECIPIENT = "source_is_recipient"
    BAD_RATE = "bad_rate"
    BAD_PATTERN = "bad_pattern"
    RELATIVE_PATH = "relative_path"
    LIST_NOT_READ = "list_not_read"
    BAD_SETTING = "bad_setting"
    BAD_DESTINATION = "bad_destination"
    CAST_UNKNOWN = "cast_unknown"
    CAST_FINISHED = "cast_finished"
    BAD_SCHEDULE = "bad_schedule"
    SCHEDULE_UNKNOWN = "schedule_unknown"
    SCHEDULE_EXISTS = "schedule_exists"
    SCHEDULE_AMBIGUOUS = "schedule_ambiguous"
    SCHEDULE_RUNNING = "schedule_running"
    SCHEDULE_WAITS = "schedule_waits"  # not final: the reason for waiting
    REMOVE_EXTRA_REFUSED = "remove_extra_refused"
    ENCRYPTED_MULTICAST = "encrypted_multicast"
    CACHE_LAYOUT_REFUSED = "cache_layout_refused"
    CACHE_LAYOUT_RENAMED = "cache_layout_renamed"
    BAD_HUB_ADDRESS = "bad_hub_address"
    HUB_NO_REPOSITORY = "hub_no_repository"
    HUB_NO_REVISION = "hub_no_revision"
    HUB_NO_PATH = "hub_no_path"
    HUB_REFUSED = "hub_refused"
    CAST_GOES_ON = "cast_goes_on"
    CAST_NOT_QUEUED = "cast_not_queued"
    NOTHING_TO_RETRY = "nothing_to_retry"
    NOTHING_TO_VERIFY = "nothing_to_verify"
    RECEIPT_NEWER = "receipt_newer"
    FILES_NOT_LISTED = "files_not_listed"
    FILES_NOT_KEPT = "files_not_kept"
    JOB_UNKNOWN = "job_unknown"
    # the source's files
    CHANGED = "changed"
    PARCEL_CHANGED = "parcel_changed"
    URL_FAILED = "url_failed"
    SERVER_BUSY = "server_busy"  # of a preflight: a cast waits for the server
    SERVER_LOST = "server_lost"
    URL_NOT_REACHED = "url_not_reached"
    URL_NOT_ENCRYPTED = "url_not_encrypted"
    URL_CHANGED = "url_changed"
    CHECKSUM_DIFFERS = "checksum_differs"
    STORE_UNKNOWN = "store_unknown"
    STORE_NOT_INSTALLED = "store_not_installed"
    STORE_NOT_FOUND = "store_not_found"
    STORE_BUCKET_MISSING = "store_bucket_missing"
    STORE_NAME = "store_name"
    STORE_NO_CREDENTIALS = "store_no_credentials"
    STORE_DENIED = "store_denied"
    STORE_UNSIGNED = "store_unsigned"  # the credentials can't make links
    STORE_UNREACHABLE = "store_unreachable"
    STORE_TOO_LARGE = "store_too_large"
    SERVER_AWAITED = "server_awaited"  # not an end: why something waits
    VANISHED = "vanished"
    READ_ERROR = "read_error"
    FILES_FAILED = "files_failed"
    NO_FILE_DELIVERED = "no_file_delivered"
    # a recipient
    NO_ROOM = "no_room"
    NO_ROOM_TOGETHER = "no_room_together"  # it shares the disk with other recipients
    NOT_WRITABLE = "not_writable"
    NOT_A_FOLDER = "not_a_folder"
    NAME_NOT_ALLOWED = "name_not_allowed"
    NAMES_CLASH = "names_clash"
    WRITE_ERROR = "write_error"
    READ_BACK_FAILED = "read_back_failed"
    DAMAGED = "damaged"
    COPY_CHANGED = "copy_changed"
    UPSTREAM_LOST = "upstream_lost"
    NO_WAY = "no_way"
    NOT_TRUSTED = "not_trusted"
    NOT_ENCRYPTED = "not_encrypted"
    NODE_OFFLINE = "node_offline"
    NODE_SILENT = "node_silent"
    INBOX_SILENT = "inbox_silent"  # not an end: what is the matter with a node
    FOLDER_SILENT = "folder_silent"
    NODE_AWAY = "node_away"  # not an end: why something waits
    NODE_AWAITED = "node_awaited"  # it is served by another cast later
    NOBODY_HAS_IT = "nobody_has_it"
    WRITER_FAILED = "writer_failed"
    HASH_MISSING = "hash_missing"
    NOT_REMOVED = "not_removed"
    # the cluster
    NO_CLUSTER = "no_cluster"
    NO_AGENT = "no_agent"
    CLUSTER_STOPPED = "cluster_stopped"
    CLUSTER_AWAITED = "cluster_awaited"  # not an end: why something waits
    CLUSTER_START_FAILED = "cluster_start_failed"
    CLUSTER_TIMED_OUT = "cluster_timed_out"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    CLUSTER_SILENT = "cluster_silent"
    CLUSTER_LOST = "cluster_lost"
    CLUSTER_AMBIGUOUS = "cluster_ambiguous"
    CLUSTER_NOT_HERE = "cluster_not_here"
    CLUSTER_NOT_NAMED = "cluster_not_named"
    NOT_RAY = "not_ray"
    TOKEN_NEEDED = "token_needed"
    TOKEN_WRONG = "token_wrong"
    PORTS_TAKEN = "ports_taken"
    AGENT_NOT_PLACED = "agent_not_placed"
    NOT_A_NODE = "not_a_node"
    NODE_OF_ANOTHER = "node_of_another"
    NOT_SHARED = "not_shared"
    TOKEN_EXPOSED = "token_exposed"
    CLUSTER_SLOW = "cluster_slow"  # not final: what takes so long
    START_SLOW = "start_slow"  # likewise
    SHARED_MEMORY_SMALL = "shared_memory_small"  # likewise: what will be slow
    RAY_DIFFERS = "ray_differs"
    PYTHON_MISSING = "python_missing"
    DRIVER_NOT_PREPARED = "driver_not_prepared"
    JOIN_FAILED = "join_failed"
    # the engine
    ENGINE_UNREACHABLE = "engine_unreachable"
    ENGINE_VERSION = "engine_version"
    HOME_NEWER = "home_newer"
    HISTORY_UNAVAILABLE = "history_unavailable"
    HISTORY_FORGOTTEN = "history_forgotten"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


FILES_NOT_SENT = frozenset(
    {
        FailureKind.FILES_FAILED,
        FailureKind.NO_FILE_DELIVERED,
        FailureKind.CHANGED,
        FailureKind.VANISHED,
        FailureKind.READ_ERROR,
        FailureKind.NOT_READABLE,
    }
)
"""A delivery fails for one of these because the source could not send all files. The recipient has the
others, and keeps serving them.
"""


@dataclass(frozen=True)
class Failure:
    """A failure as data: its kind, and the names and numbers for its sentence, as text."""

    kind: FailureKind
    values: dict[str, str] = field(default_factory=dict)


class CastRayError(Exception):
    """An expected failure, raised inside one process; at a process boundary it becomes its `failure`."""

    def __init__(self, kind: FailureKind, **values: object) -> None:
        super().__init__(kind.value, values)
        self.failure = Failure(kind, {key: str(value) for key, value in values.items()})

    @classmethod
    def of(cls, failure: Failure) -> CastRayError:
        """The exception for a failure that came from another process."""
        return cls(failure.kind, **failure.values)
