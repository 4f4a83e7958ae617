"""Maps failures to exit statuses of commands and to HTTP status codes."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from castray_desktop.core.failures.kinds import FailureKind

K = FailureKind


class FailureStatus(enum.Enum):
    """A class of failures, with its exit status and its HTTP status."""

    BAD_REQUEST = (2, 400)
    NOT_FOUND = (2, 404)
    NOT_AS_IT_IS = (2, 409)
    NO_CLUSTER = (3, 503)
    FAILED = (1, 409)
    """The request is valid, but a node, a file or a timeout prevents it."""
    UNAVAILABLE = (1, 503)
    INTERNAL = (1, 500)

    @property
    def exit(self) -> int:
        """The exit status of a command that fails with it."""
        status: int = self.value[0]
        return status

    @property
    def http(self) -> int:
        """The status of an HTTP answer."""
        status: int = self.value[1]
        return status


STATUSES: Mapping[FailureKind, FailureStatus] = {
    # what the user asked for
    K.NO_SUCH_FILE: FailureStatus.BAD_REQUEST,
    K.NOT_READABLE: FailureStatus.BAD_REQUEST,
    K.NOT_SENDABLE: FailureStatus.BAD_REQUEST,
    K.DANGLING_LINK: FailureStatus.BAD_REQUEST,
    K.NOTHING_TO_SEND: FailureStatus.BAD_REQUEST,
    K.SAME_NAME_TWICE: FailureStatus.BAD_REQUEST,
    K.NODE_UNKNOWN: FailureStatus.NOT_FOUND,
    K.NODE_EXISTS: FailureStatus.NOT_AS_IT_IS,
    K.NODE_NOT_REMOVABLE: FailureStatus.NOT_AS_IT_IS,
    K.BAD_NODE_NAME: FailureStatus.BAD_REQUEST,
    K.NO_RECIPIENTS: FailureStatus.BAD_REQUEST,
    K.RECIPIENT_ALREADY: FailureStatus.NOT_AS_IT_IS,
    K.GROUP_UNKNOWN: FailureStatus.NOT_FOUND,
    K.GROUP_EMPTY: FailureStatus.BAD_REQUEST,
    K.BAD_GROUP_NAME: FailureStatus.BAD_REQUEST,
    K.FILE_NOT_WRITTEN: FailureStatus.FAILED,
    K.SOURCE_IS_RECIPIENT: FailureStatus.BAD_REQUEST,
    K.BAD_RATE: FailureStatus.BAD_REQUEST,
    K.BAD_SETTING: FailureStatus.BAD_REQUEST,
    K.BAD_DESTINATION: FailureStatus.BAD_REQUEST,
    K.CAST_UNKNOWN: FailureStatus.NOT_FOUND,
    K.CAST_FINISHED: FailureStatus.NOT_AS_IT_IS,
    K.BAD_SCHEDULE: FailureStatus.BAD_REQUEST,
    K.SCHEDULE_UNKNOWN: FailureStatus.NOT_FOUND,
    K.SCHEDULE_EXISTS: FailureStatus.NOT_AS_IT_IS,
    K.SCHEDULE_AMBIGUOUS: FailureStatus.BAD_REQUEST,
    K.SCHEDULE_RUNNING: FailureStatus.FAILED,
    K.SCHEDULE_WAITS: FailureStatus.FAILED,
    K.REMOVE_EXTRA_REFUSED: FailureStatus.BAD_REQUEST,
    K.CAST_GOES_ON: FailureStatus.NOT_AS_IT_IS,
    K.CAST_NOT_QUEUED: FailureStatus.NOT_AS_IT_IS,
    K.NOTHING_TO_RETRY: FailureStatus.NOT_AS_IT_IS,
    K.NOTHING_TO_VERIFY: FailureStatus.NOT_AS_IT_IS,
    K.JOB_UNKNOWN: FailureStatus.NOT_FOUND,
    # the source's files
    K.CHANGED: FailureStatus.FAILED,
    K.PARCEL_CHANGED: FailureStatus.FAILED,
    K.VANISHED: FailureStatus.FAILED,
    K.READ_ERROR: FailureStatus.FAILED,
    K.FILES_FAILED: FailureStatus.FAILED,
    K.NO_FILE_DELIVERED: FailureStatus.FAILED,
    # a recipient
    K.NO_ROOM: FailureStatus.FAILED,
    K.NO_ROOM_TOGETHER: FailureStatus.FAILED,
    K.NOT_WRITABLE: FailureStatus.FAILED,
    K.NOT_A_FOLDER: FailureStatus.FAILED,
    K.NAME_NOT_ALLOWED: FailureStatus.FAILED,
    K.NAMES_CLASH: FailureStatus.FAILED,
    K.WRITE_ERROR: FailureStatus.FAILED,
    K.DAMAGED: FailureStatus.FAILED,
    K.COPY_CHANGED: FailureStatus.FAILED,
    K.READ_BACK_FAILED: FailureStatus.FAILED,
    K.UPSTREAM_LOST: FailureStatus.FAILED,
    K.NO_WAY: FailureStatus.FAILED,
    K.NOT_TRUSTED: FailureStatus.FAILED,
    K.NODE_OFFLINE: FailureStatus.FAILED,
    K.NODE_SILENT: FailureStatus.FAILED,
    K.INBOX_SILENT: FailureStatus.FAILED,
    K.FOLDER_SILENT: FailureStatus.FAILED,
    K.NODE_AWAY: FailureStatus.FAILED,
    K.NODE_AWAITED: FailureStatus.FAILED,
    K.NOBODY_HAS_IT: FailureStatus.FAILED,
    K.WRITER_FAILED: FailureStatus.FAILED,
    K.HASH_MISSING: FailureStatus.FAILED,
    K.NOT_REMOVED: FailureStatus.FAILED,
    # the cluster
    K.NO_CLUSTER: FailureStatus.NO_CLUSTER,
    K.NO_AGENT: FailureStatus.NO_CLUSTER,
    K.CLUSTER_STOPPED: FailureStatus.NO_CLUSTER,
    K.CLUSTER_AWAITED: FailureStatus.NO_CLUSTER,
    K.CLUSTER_START_FAILED: FailureStatus.NO_CLUSTER,
    K.CLUSTER_TIMED_OUT: FailureStatus.NO_CLUSTER,
    K.CLUSTER_UNREACHABLE: FailureStatus.NO_CLUSTER,
    K.CLUSTER_SILENT: FailureStatus.NO_CLUSTER,
    K.CLUSTER_LOST: FailureStatus.NO_CLUSTER,
    K.CLUSTER_AMBIGUOUS: FailureStatus.NO_CLUSTER,
    K.CLUSTER_NOT_HERE: FailureStatus.NO_CLUSTER,
    K.CLUSTER_NOT_NAMED: FailureStatus.NO_CLUSTER,
    K.NOT_RAY: FailureStatus.NO_CLUSTER,
    K.TOKEN_NEEDED: FailureStatus.NO_CLUSTER,
    K.TOKEN_WRONG: FailureStatus.NO_CLUSTER,
    K.PORTS_TAKEN: FailureStatus.FAILED,
    K.AGENT_NOT_PLACED: FailureStatus.FAILED,
    K.NOT_A_NODE: FailureStatus.NO_CLUSTER,
    K.NODE_OF_ANOTHER: FailureStatus.NO_CLUSTER,
    K.NOT_SHARED: FailureStatus.NO_CLUSTER,
    K.TOKEN_EXPOSED: FailureStatus.NO_CLUSTER,
    K.CLUSTER_SLOW: FailureStatus.NO_CLUSTER,
    K.START_SLOW: FailureStatus.NO_CLUSTER,
    K.SHARED_MEMORY_SMALL: FailureStatus.FAILED,
    K.RAY_DIFFERS: FailureStatus.NO_CLUSTER,
    K.PYTHON_MISSING: FailureStatus.NO_CLUSTER,
    K.DRIVER_NOT_PREPARED: FailureStatus.NO_CLUSTER,
    K.JOIN_FAILED: FailureStatus.NO_CLUSTER,
    # the engine
    K.ENGINE_UNREACHABLE: FailureStatus.NO_CLUSTER,
    K.ENGINE_VERSION: FailureStatus.NO_CLUSTER,
    K.HISTORY_UNAVAILABLE: FailureStatus.UNAVAILABLE,
    K.HISTORY_FORGOTTEN: FailureStatus.FAILED,
    K.CANCELLED: FailureStatus.FAILED,
    K.INTERNAL: FailureStatus.INTERNAL,
}
"""The status of every failure kind."""
