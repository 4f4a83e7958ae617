"""What a failure means to programs: the exit status of a command, and the status of an HTTP answer."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from castray_desktop.core.failure import FailureKind

K = FailureKind


class Status(enum.Enum):
    """A class of failures, with its exit status and its HTTP status."""

    BAD_REQUEST = (2, 400)
    NOT_FOUND = (2, 404)
    NOT_AS_IT_IS = (2, 409)
    NO_CLUSTER = (3, 503)
    FAILED = (1, 409)
    """What was asked for makes sense, but a node, a file or the time is in its way."""
    UNAVAILABLE = (1, 503)
    INTERNAL = (1, 500)

    @property
    def exit(self) -> int:
        """The exit status of a command that ends with it."""
        status: int = self.value[0]
        return status

    @property
    def http(self) -> int:
        """The status of an HTTP answer."""
        status: int = self.value[1]
        return status


STATUSES: Mapping[FailureKind, Status] = {
    # what the user asked for
    K.NO_SUCH_FILE: Status.BAD_REQUEST,
    K.NOT_READABLE: Status.BAD_REQUEST,
    K.NOT_SENDABLE: Status.BAD_REQUEST,
    K.DANGLING_LINK: Status.BAD_REQUEST,
    K.NOTHING_TO_SEND: Status.BAD_REQUEST,
    K.SAME_NAME_TWICE: Status.BAD_REQUEST,
    K.NODE_UNKNOWN: Status.NOT_FOUND,
    K.NODE_EXISTS: Status.NOT_AS_IT_IS,
    K.NODE_NOT_REMOVABLE: Status.NOT_AS_IT_IS,
    K.BAD_NODE_NAME: Status.BAD_REQUEST,
    K.NO_RECIPIENTS: Status.BAD_REQUEST,
    K.RECIPIENT_ALREADY: Status.NOT_AS_IT_IS,
    K.GROUP_UNKNOWN: Status.NOT_FOUND,
    K.GROUP_EMPTY: Status.BAD_REQUEST,
    K.BAD_GROUP_NAME: Status.BAD_REQUEST,
    K.FILE_NOT_WRITTEN: Status.FAILED,
    K.SOURCE_IS_RECIPIENT: Status.BAD_REQUEST,
    K.BAD_RATE: Status.BAD_REQUEST,
    K.BAD_SETTING: Status.BAD_REQUEST,
    K.BAD_DESTINATION: Status.BAD_REQUEST,
    K.CAST_UNKNOWN: Status.NOT_FOUND,
    K.CAST_FINISHED: Status.NOT_AS_IT_IS,
    K.BAD_SCHEDULE: Status.BAD_REQUEST,
    K.SCHEDULE_UNKNOWN: Status.NOT_FOUND,
    K.SCHEDULE_EXISTS: Status.NOT_AS_IT_IS,
    K.SCHEDULE_AMBIGUOUS: Status.BAD_REQUEST,
    K.SCHEDULE_RUNNING: Status.FAILED,
    K.SCHEDULE_WAITS: Status.FAILED,
    K.REMOVE_EXTRA_REFUSED: Status.BAD_REQUEST,
    K.CAST_GOES_ON: Status.NOT_AS_IT_IS,
    K.CAST_NOT_QUEUED: Status.NOT_AS_IT_IS,
    K.NOTHING_TO_RETRY: Status.NOT_AS_IT_IS,
    K.NOTHING_TO_VERIFY: Status.NOT_AS_IT_IS,
    K.JOB_UNKNOWN: Status.NOT_FOUND,
    # the source's files
    K.CHANGED: Status.FAILED,
    K.PARCEL_CHANGED: Status.FAILED,
    K.VANISHED: Status.FAILED,
    K.READ_ERROR: Status.FAILED,
    K.FILES_FAILED: Status.FAILED,
    K.NO_FILE_DELIVERED: Status.FAILED,
    # a recipient
    K.NO_ROOM: Status.FAILED,
    K.NO_ROOM_TOGETHER: Status.FAILED,
    K.NOT_WRITABLE: Status.FAILED,
    K.NOT_A_FOLDER: Status.FAILED,
    K.NAME_NOT_ALLOWED: Status.FAILED,
    K.NAMES_CLASH: Status.FAILED,
    K.WRITE_ERROR: Status.FAILED,
    K.DAMAGED: Status.FAILED,
    K.COPY_CHANGED: Status.FAILED,
    K.READ_BACK_FAILED: Status.FAILED,
    K.UPSTREAM_LOST: Status.FAILED,
    K.NO_WAY: Status.FAILED,
    K.NOT_TRUSTED: Status.FAILED,
    K.NODE_OFFLINE: Status.FAILED,
    K.NODE_SILENT: Status.FAILED,
    K.INBOX_SILENT: Status.FAILED,
    K.FOLDER_SILENT: Status.FAILED,
    K.NODE_AWAY: Status.FAILED,
    K.NODE_AWAITED: Status.FAILED,
    K.NOBODY_HAS_IT: Status.FAILED,
    K.WRITER_FAILED: Status.FAILED,
    K.HASH_MISSING: Status.FAILED,
    K.NOT_REMOVED: Status.FAILED,
    # the cluster
    K.NO_CLUSTER: Status.NO_CLUSTER,
    K.NO_AGENT: Status.NO_CLUSTER,
    K.CLUSTER_STOPPED: Status.NO_CLUSTER,
    K.CLUSTER_AWAITED: Status.NO_CLUSTER,
    K.CLUSTER_START_FAILED: Status.NO_CLUSTER,
    K.CLUSTER_TIMED_OUT: Status.NO_CLUSTER,
    K.CLUSTER_UNREACHABLE: Status.NO_CLUSTER,
    K.CLUSTER_SILENT: Status.NO_CLUSTER,
    K.CLUSTER_LOST: Status.NO_CLUSTER,
    K.CLUSTER_AMBIGUOUS: Status.NO_CLUSTER,
    K.CLUSTER_NOT_HERE: Status.NO_CLUSTER,
    K.CLUSTER_NOT_NAMED: Status.NO_CLUSTER,
    K.NOT_RAY: Status.NO_CLUSTER,
    K.TOKEN_NEEDED: Status.NO_CLUSTER,
    K.TOKEN_WRONG: Status.NO_CLUSTER,
    K.PORTS_TAKEN: Status.FAILED,
    K.AGENT_NOT_PLACED: Status.FAILED,
    K.NOT_A_NODE: Status.NO_CLUSTER,
    K.NODE_OF_ANOTHER: Status.NO_CLUSTER,
    K.NOT_SHARED: Status.NO_CLUSTER,
    K.TOKEN_EXPOSED: Status.NO_CLUSTER,
    K.CLUSTER_SLOW: Status.NO_CLUSTER,
    K.START_SLOW: Status.NO_CLUSTER,
    K.SHARED_MEMORY_SMALL: Status.FAILED,
    K.RAY_DIFFERS: Status.NO_CLUSTER,
    K.PYTHON_MISSING: Status.NO_CLUSTER,
    K.DRIVER_NOT_PREPARED: Status.NO_CLUSTER,
    K.JOIN_FAILED: Status.NO_CLUSTER,
    # the engine
    K.ENGINE_UNREACHABLE: Status.NO_CLUSTER,
    K.ENGINE_VERSION: Status.NO_CLUSTER,
    K.HISTORY_UNAVAILABLE: Status.UNAVAILABLE,
    K.HISTORY_FORGOTTEN: Status.FAILED,
    K.CANCELLED: Status.FAILED,
    K.INTERNAL: Status.INTERNAL,
}
"""Of every kind."""
