"""One table of failures: for each kind its exit status and HTTP status, what happened, and what to do.

`explain` returns the English sentences. A window in another language passes `translate`, which maps an
English template to the template in that language. Placeholders are `{name}`.

The values of a failure are names and numbers, and sometimes words: the kind of a path, or a message of the
operating system. Known words are translated like the sentences around them; others are shown as they are.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from castray_desktop.core.failures.kinds import Failure, FailureKind

_CHINESE = re.compile("[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Explanation:
    """A failure as two sentences."""

    happened: str
    remedy: str

    @property
    def text(self) -> str:
        """Both sentences in one line."""
        happened = self.happened
        if self.remedy and not happened.endswith(
            (".", "!", "?", "…", "。")
        ):  # others' words end as they please
            happened += "。" if _CHINESE.search(happened) else "."
        # A Chinese full stop brings its own space.
        return f"{happened}{'' if happened.endswith('。') else ' '}{self.remedy}".strip()


class FailureStatus(enum.Enum):
    """A class of failures, with the exit status of a command and the status of an HTTP answer."""

    BAD_REQUEST = (2, 400)
    NOT_FOUND = (2, 404)
    CONFLICT = (2, 409)
    NO_CLUSTER = (3, 503)
    FAILED = (1, 409)
    """The request is valid, but a node, a file or a timeout prevents it."""
    UNAVAILABLE = (1, 503)
    INTERNAL = (1, 500)

    def __init__(self, exit_status: int, http: int) -> None:
        self.exit = exit_status
        self.http = http


K = FailureKind

_TABLE: Mapping[FailureStatus, Mapping[FailureKind, tuple[str, str]]] = {
    FailureStatus.BAD_REQUEST: {
        K.NO_SUCH_FILE: ("{path} does not exist.", "Check the name and send it again."),
        K.NOT_READABLE: (
            "{user} does not have permission to read {path}.",
            "Change its permissions, or send it as a user who can read it.",
        ),
        K.NOT_SENDABLE: (
            "{path} is {what} and can't be sent.",
            "Send only files, folders and symbolic links, or exclude it with --exclude.",
        ),
        K.DANGLING_LINK: (
            "{path} is a symbolic link to {target}, which does not exist.",
            "Fix the link, exclude it with --exclude, or send it as a link with --links keep.",
        ),
        K.NOTHING_TO_SEND: ("There is nothing to send.", "Specify at least one file or folder."),
        K.SAME_NAME_TWICE: (
            "Two of the items to send are named {name}.",
            "Send them separately, or rename one of them.",
        ),
        K.ADDRESSES_SAME_NAME: (
            "{first} and {second} are different, and both would arrive as {name}.",
            "Send one of them separately, to another folder.",
        ),
        K.BAD_HUB_ADDRESS: (
            "{address} is not a Hugging Face Hub address: {reason}.",
            "Write hf://OWNER/NAME, hf://OWNER/NAME@REVISION/PATH or hf://datasets/OWNER/NAME.",
        ),
        K.GROUP_EMPTY: (
            "None of the nodes in {group} are in this cluster.",
            "Attach to the cluster that the group was created for, or save the group again with nodes"
            " of this cluster.",
        ),
        K.BAD_GROUP_NAME: (
            "{group} is not a valid group name.",
            "Use up to 60 letters, digits and spaces, but no commas, slashes or @.",
        ),
        K.BAD_NODE_NAME: (
            "{node} is not a valid node name.",
            "Use up to 60 letters, digits, dots, hyphens and underscores.",
        ),
        K.NO_RECIPIENTS: ("No recipients were chosen.", "Choose at least one node other than the source."),
        K.SOURCE_IS_RECIPIENT: (
            "{node} is the source, so it can't be a recipient.",
            "Choose other recipients or another source.",
        ),
        K.BAD_RATE: ("{rate} is not a speed.", "Write it like 10M, 10MB/s, 10MiB/s or 100Mbit/s."),
        K.BAD_PATTERN: (
            "{path}, line {line}: {pattern} can't be used.",
            "Patterns can't include excluded files again. Remove the line, or write \\! for a name that"
            " begins with !.",
        ),
        K.RELATIVE_PATH: (
            "{path} is a relative path, but paths on {node} must be absolute.",
            "Write the absolute path on {node}.",
        ),
        K.LIST_NOT_READ: ("{path} can't be read: {reason}.", "Check the file and send again."),
        K.BAD_SETTING: (
            "{number} is out of range.",
            "Enter a number from 0 to {most}.",
        ),
        K.BAD_DESTINATION: (
            "{destination} is not a valid destination.",
            "Enter an absolute path on the recipients; it may contain {{node}}.",
        ),
        K.BAD_SCHEDULE: ("{name} is not a valid schedule: {reason}.", "Change it and save it again."),
        K.SCHEDULE_AMBIGUOUS: (
            "{schedule} matches several schedules: {schedules}.",
            "Specify one by its id.",
        ),
        K.REMOVE_EXTRA_REFUSED: (
            "Removing files that the source no longer has works only for folders, and only if"
            " existing files are overwritten.",
            "Send folders with --on-conflict overwrite, or omit --delete.",
        ),
        K.ENCRYPTED_MULTICAST: (
            "This cast requires encryption, and multicast can't be encrypted.",
            "Use the relay (--transport auto), or don't require encryption.",
        ),
        K.CACHE_LAYOUT_REFUSED: (
            "{path} can't be stored as a Hugging Face cache.",
            "Use --layout hf-cache only for addresses that begin with hf://.",
        ),
        K.CACHE_LAYOUT_RENAMED: (
            "A Hugging Face cache can't be delivered under other names.",
            "Omit --on-conflict rename, or use --layout plain.",
        ),
    },
    FailureStatus.NOT_FOUND: {
        K.NODE_UNKNOWN: (
            "There is no node named {node}.",
            "Available nodes: {nodes}.",
        ),
        K.GROUP_UNKNOWN: ("There is no group named {group}.", "Available groups: {groups}."),
        K.CAST_UNKNOWN: ("There is no cast {cast}.", "List them with: castray casts"),
        K.JOB_UNKNOWN: ("Job {job} no longer exists.", "It has ended, and its result was already reported."),
        K.SCHEDULE_UNKNOWN: ("There is no schedule {schedule}.", "List them with: castray schedule list"),
    },
    FailureStatus.CONFLICT: {
        K.NODE_EXISTS: ("A node named {node} already exists.", "Choose another name."),
        K.NODE_NOT_REMOVABLE: ("{node} can't be removed.", "Only nodes that were added can be removed."),
        K.RECIPIENT_ALREADY: ("{node} is already a recipient of this cast.", "Specify other nodes."),
        K.CAST_FINISHED: ("Cast {cast} has already ended.", "It can no longer be changed."),
        K.CAST_GOES_ON: ("Cast {cast} has not ended yet.", "Wait until it ends, or cancel it."),
        K.CAST_NOT_QUEUED: (
            "Cast {cast} is not waiting in the queue.",
            "Only casts that are waiting in the queue can be moved.",
        ),
        K.NOTHING_TO_RETRY: (
            "No delivery of cast {cast} has failed on these nodes.",
            "To send the files to all recipients again, use Send again.",
        ),
        K.NOTHING_TO_VERIFY: (
            "Cast {cast} has delivered no files that could be verified.",
            "Verify a path instead.",
        ),
        K.RECEIPT_NEWER: (
            "{path} on {node} was written by a newer version of CastRay, and this one can't read it.",
            "Verify the cast with that version, or verify a path.",
        ),
        K.FILES_NOT_LISTED: (
            "There is no list of files for cast {cast}: its source has not been scanned.",
            "If the cast is still running, try again in a moment.",
        ),
        K.FILES_NOT_KEPT: (
            "The list of files of cast {cast} is no longer available.",
            "The lists of the last 10,000 casts are kept, up to 512 MB in total.",
        ),
        K.SCHEDULE_EXISTS: (
            "A schedule named {name} already exists.",
            "Choose another name, or change or remove the existing schedule.",
        ),
    },
    FailureStatus.NO_CLUSTER: {
        K.NO_CLUSTER: ("There is no cluster.", "Start or attach one first."),
        K.NO_AGENT: (
            "No node of the cluster {target} can be used: {reasons}.",
            "Check those machines; logs/driver.log in CastRay's data folder has more details from Ray.",
        ),
        K.CLUSTER_STOPPED: ("The cluster was stopped.", "Start or attach one, then send again."),
        K.CLUSTER_AWAITED: (
            "The cast is waiting for its cluster {target}.",
            "Start or attach that cluster, or cancel the cast.",
        ),
        K.CLUSTER_START_FAILED: (
            "Ray could not be started after {attempts} attempts: {reason}",
            "Details are in {log}.",
        ),
        K.CLUSTER_TIMED_OUT: (
            "The cluster {target} did not answer within {seconds} seconds.",
            "Check the address, and that Ray is running there.",
        ),
        K.CLUSTER_UNREACHABLE: (
            "The cluster {target} can't be reached: {reason}.",
            "Check the address, and that Ray is running there.",
        ),
        K.CLUSTER_SILENT: (
            "{target} accepts connections but does not respond.",
            "Check the port: a Ray head node listens on 6379, and on 10001 for ray://.",
        ),
        K.CLUSTER_LOST: (
            "The cluster {target} is gone: its head node no longer responds.",
            "CastRay attaches again as soon as the cluster is back.",
        ),
        K.CLUSTER_AMBIGUOUS: (
            "This machine is in several Ray clusters: {addresses}.",
            "Specify which one to use by its address.",
        ),
        K.CLUSTER_NOT_HERE: (
            "This machine is not part of a Ray cluster.",
            "Specify the address of a cluster, or start a local one.",
        ),
        K.CLUSTER_NOT_NAMED: (
            "No Ray cluster is running on this computer, but CastRay has used other clusters before:"
            " {clusters}.",
            "Specify the cluster with --cluster HOST:PORT, or use the demo on this computer with"
            " --cluster local.",
        ),
        K.NOT_RAY: (
            "{target} is not a Ray cluster.",
            "Check the port: a Ray head node listens on 6379, and on 10001 for ray://.",
        ),
        K.TOKEN_NEEDED: (
            "The cluster {target} requires an authentication token.",
            "Save the token in ~/.ray/auth_token, or set RAY_AUTH_TOKEN for CastRay, then attach again.",
        ),
        K.TOKEN_WRONG: (
            "The cluster {target} does not accept the token from {origin}.",
            "Replace it with the cluster's token, then attach again.",
        ),
        K.NOT_A_NODE: (
            "This computer is not a node of the cluster {target}, and only nodes can attach.",
            "Use the cluster's client server, ray://{host}:10001; or make this computer a node that"
            " runs no tasks: castray cluster join {target}",
        ),
        K.NODE_OF_ANOTHER: (
            "This computer is a node of the cluster {others}, not of {target}, and only nodes can attach.",
            "Use {others}; or use the client server of {target}, ray://{host}:10001; or make this"
            " computer a node of it as well: castray cluster join {target}",
        ),
        K.TOKEN_EXPOSED: (
            "The token of the shared cluster, {path}, can be read or changed by other users.",
            "Run castray cluster share --new-token to create a new one.",
        ),
        K.NOT_SHARED: (
            "A shared cluster can't be started here: {reason}.",
            "It requires a network address, and Ray 2.52 or later for token authentication. A local"
            " cluster still works.",
        ),
        K.CLUSTER_SLOW: (
            "The cluster {target} responds, but has not accepted CastRay's connection for {seconds} seconds.",
            "CastRay keeps trying for another minute. Wait or cancel, and check the load of its head node.",
        ),
        K.START_SLOW: (
            "Ray has not started within {seconds} seconds.",
            "A busy computer takes longer, so CastRay waits for another minute. Wait or cancel.",
        ),
        K.RAY_DIFFERS: (
            "The cluster {target} runs Ray {ray} on Python {python}, CastRay has Ray {own_ray} on"
            " Python {own_python}.",
            "Prepare a driver with that version of Ray: castray cluster prepare {target}",
        ),
        K.PYTHON_MISSING: (
            "A driver with Ray {ray} requires Python {python}, which is not installed on this computer.",
            "Install it, or install uv, which can download it; or set CASTRAY_DRIVER_PYTHON to an"
            " interpreter that has that version of Ray.",
        ),
        K.DRIVER_NOT_PREPARED: (
            "A driver with Ray {ray} on Python {python} could not be prepared: {reason}",
            "Details are in {log}.",
        ),
        K.JOIN_FAILED: (
            "This computer could not join the cluster {target}: {reason}",
            "Details are in {log}.",
        ),
        K.ENGINE_UNREACHABLE: (
            "The CastRay engine can't be reached: {reason}.",
            "Start it with: castray engine start",
        ),
        K.ENGINE_VERSION: (
            "The running CastRay engine has a different version.",
            "Close other CastRay windows, or run: castray engine stop",
        ),
        K.HOME_NEWER: (
            "{path} was written by CastRay {version}, which is newer than this version, so this"
            " version can't use it. Nothing was changed.",
            "Use CastRay {version} or a later version, or set CASTRAY_HOME to another folder.",
        ),
    },
    FailureStatus.FAILED: {
        K.FILE_NOT_WRITTEN: (
            "{path} could not be written: {reason}.",
            "Choose another folder, or free up space there.",
        ),
        K.NODE_AWAITED: (
            "{node} is offline.",
            "It receives the files when it is back online; you can cancel this.",
        ),
        K.NOBODY_HAS_IT: (
            "No online node still has the files for {node}: on {source} they were removed or have changed.",
            "Send them again.",
        ),
        K.SCHEDULE_WAITS: (
            "The cluster {target} is not available, so the run is waiting.",
            "It starts as soon as the cluster is available.",
        ),
        K.SCHEDULE_RUNNING: (
            "The previous run of {name} is still in progress.",
            "Wait until it ends, or cancel its cast.",
        ),
        K.CHANGED: (
            "{path} changed while it was being sent.",
            "Send it again when no program is writing to it.",
        ),
        K.HUB_NO_REPOSITORY: (
            "The Hub has no repository {repository} that this computer can read.",
            "Check the name. For a private repository, log in on this computer with 'hf auth login', or start"
            " the engine with HF_TOKEN.",
        ),
        K.HUB_NO_REVISION: (
            "{repository} has no branch, tag or commit {revision}.",
            "Check the name of the revision on the Hub.",
        ),
        K.HUB_NO_PATH: (
            "{repository} has nothing at {path}.",
            "Check the path on the Hub; paths are case-sensitive.",
        ),
        K.HUB_REFUSED: (
            "The Hub does not allow this computer to read {repository}: {reason}.",
            "Request access on its page, then log in on this computer with 'hf auth login', or start the"
            " engine with HF_TOKEN.",
        ),
        K.PARCEL_CHANGED: (
            "The files changed while {node} was offline, so the cast could not continue.",
            "Send them again.",
        ),
        K.VANISHED: ("{path} disappeared before it was sent.", "Send it again if it is still needed."),
        K.SERVER_BUSY: (
            "The server of {url} is busy: {reason}.",
            "You can send it now: the cast waits for the server.",
        ),
        K.URL_FAILED: (
            "{url} could not be downloaded: {reason}.",
            "Check the address, and that this node is allowed to download it.",
        ),
        K.SERVER_LOST: (
            "The server of {url} stopped responding: {reason}.",
            "Retry when it responds again. The download continues where it stopped.",
        ),
        K.URL_NOT_REACHED: (
            "None of the nodes that were tried can download {url} ({reasons}).",
            "Check the address, or choose a node that can reach the server.",
        ),
        K.URL_NOT_ENCRYPTED: (
            "{url} would be downloaded without encryption, and this cast has to be encrypted.",
            "Use an https address, or send without --encrypt always.",
        ),
        K.URL_CHANGED: ("{url} changed on its server while it was being sent.", "Send it again."),
        K.CHECKSUM_DIFFERS: (
            "The {checksum} checksum of {url} differs from the one that its server reports.",
            "Send it again. If this happens again, the file on the server is damaged.",
        ),
        K.STORE_UNKNOWN: (
            "{url} can't be resolved: unknown type of store.",
            "Use an address that begins with https, hf, s3, gs or az.",
        ),
        K.STORE_NOT_INSTALLED: (
            "{url} can't be resolved: support for object stores is not installed here.",
            "Install it with: {command}",
        ),
        K.STORE_NOT_FOUND: (
            "There is nothing at {url}.",
            "Check the names, including upper and lower case.",
        ),
        K.STORE_BUCKET_MISSING: (
            "The bucket or container of {url} does not exist.",
            "Check its name, and the region or account.",
        ),
        K.STORE_NAME: (
            "{url} can't be saved as a file: {reason}.",
            "Rename it in the store, or send other objects.",
        ),
        K.STORE_NO_CREDENTIALS: (
            "{url} is not public, and this computer has no credentials for it.",
            "Give the engine credentials: {how}.",
        ),
        K.STORE_DENIED: (
            "The store refuses access to {url}: {reason}.",
            "Check the credentials of this computer and their permissions.",
        ),
        K.STORE_UNSIGNED: (
            "The credentials of this computer can't create a link to {url}: {reason}.",
            "Use an access key, an account key or the key of a service account.",
        ),
        K.STORE_UNREACHABLE: (
            "The store of {url} can't be reached: {reason}.",
            "Check the network of this computer and the address of the store.",
        ),
        K.STORE_TOO_LARGE: (
            "{url}: {count} files. One cast can send at most {most} files from stores.",
            "Send its folders one after another, or select files with --include or --exclude.",
        ),
        K.SERVER_AWAITED: ("The download is waiting: {reason}.", "It continues automatically."),
        K.READ_ERROR: ("{path} could not be read completely: {reason}.", "Check the disk that it is on."),
        K.FILES_FAILED: (
            "{count} of {total} files were not delivered. {reason}",
            "Everything else arrived.",
        ),
        K.NO_FILE_DELIVERED: ("No file was delivered. {reason}", "{cure}"),
        K.NO_ROOM: (
            "{node} has no room: {path} has {free} free and {needed} are needed.",
            "Free up space there, or choose another destination.",
        ),
        K.NO_ROOM_TOGETHER: (
            "{node} has no room: it shares the disk of {path} with {others}, where {free} are free,"
            " and all of them together need {needed}.",
            "Free up space there, or choose fewer recipients or another destination.",
        ),
        K.NOT_WRITABLE: (
            "{node} can't write to {path}: {reason}.",
            "Change the permissions there, or choose another destination.",
        ),
        K.NOT_A_FOLDER: (
            "{path} on {node} is not a folder.",
            "Choose another destination.",
        ),
        K.NAME_NOT_ALLOWED: (
            "{node} can't store a file named {path}.",
            "Rename it on the source, then send it again.",
        ),
        K.NAMES_CLASH: (
            "{node} can't store both {other} and {path}: they are the same name on its file system.",
            "Rename one of them on the source, or choose another destination, then send again.",
        ),
        K.WRITE_ERROR: (
            "{node} could not write {path}: {reason}.",
            "Check the disk of {node}, then send again.",
        ),
        K.READ_BACK_FAILED: (
            "{node} could not read back {path}: {reason}.",
            "Check the disk of {node}, then send again.",
        ),
        K.DAMAGED: (
            "{path} arrived damaged on {node}, twice.",
            "Check the memory and network of {node} and {upstream}, then send again.",
        ),
        K.COPY_CHANGED: (
            "{node} can't get {path} from {upstream}, because the copy there was changed or damaged:"
            " {reason}.",
            "Send it to {node} again, and don't change delivered copies until the cast has ended.",
        ),
        K.UPSTREAM_LOST: (
            "{node} lost its connection to {upstream}: {reason}.",
            "Check the network between them, then send again.",
        ),
        K.NO_WAY: (
            "Neither {node} ({own}) nor {upstream} ({address}) can connect to the other: {reason}.",
            "Open the data port of one of them to the other; CASTRAY_DATA_PORTS sets which port. Or"
            " send without --transport direct, so that files can go through Ray.",
        ),
        K.NOT_TRUSTED: (
            "{node} and {upstream} do not trust each other's certificates: {reason}.",
            "If Ray uses TLS, check that both have certificates from the authority in"
            " RAY_TLS_CA_CERT. Otherwise, something between them may be impersonating them.",
        ),
        K.NOT_ENCRYPTED: (
            "{node} can't encrypt its connections, and this cast requires that: {reason}.",
            "Use a Python with TLS 1.3 there, or send without --encrypt always.",
        ),
        K.NODE_OFFLINE: ("{node} went offline.", "Send again when it is back."),
        K.NODE_SILENT: (
            "{node} has not responded for {seconds} seconds.",
            "Check that machine, then send again.",
        ),
        K.INBOX_SILENT: (
            "{node} is online, but its inbox does not respond: {path}.",
            "Check the file system mounted there; until it responds, send to another folder.",
        ),
        K.FOLDER_SILENT: (
            "{path} on {node} does not respond.",
            "Check the file system mounted there, or choose another destination.",
        ),
        K.NODE_AWAY: (
            "{node} is offline at the moment.",
            "The cast continues when it is back; no action is needed.",
        ),
        K.NOT_REMOVED: (
            "Everything arrived, but {node} could not remove {count} entries, among them {path}: {reason}.",
            "Change the permissions there and send again.",
        ),
        K.HASH_MISSING: (
            "{node} does not support the hash that this cast uses ({hashes}).",
            "Send to it in a separate cast.",
        ),
        K.WRITER_FAILED: (
            "{node} shares its folder with {writer}, whose copy failed.",
            "See the reason given for {writer}.",
        ),
        K.AGENT_NOT_PLACED: (
            "CastRay could not start its agent on {node}: {reason}.",
            "CastRay tries again automatically; logs/driver.log in CastRay's data folder has more"
            " details from Ray.",
        ),
        K.PORTS_TAKEN: (
            "{node} has no free port in {ports}.",
            "Stop the programs that use them, or choose other ports with CASTRAY_DATA_PORTS.",
        ),
        K.SHARED_MEMORY_SMALL: (
            "/dev/shm is too small on {node}, so Ray stores objects in {folder}, and transfers"
            " through Ray are slow there.",
            "Enlarge it before Ray starts there: mount -o remount,size=2G /dev/shm, or --shm-size=2g for a"
            " container.",
        ),
        K.HISTORY_FORGOTTEN: (
            "The casts were already deleted from the history.",
            "Their delivered files are still in place.",
        ),
        K.CANCELLED: ("Cancelled.", ""),
    },
    FailureStatus.UNAVAILABLE: {
        K.HISTORY_UNAVAILABLE: (
            "The history can't be used: {reason}.",
            "Check CastRay's data folder, then start the engine again.",
        ),
    },
    FailureStatus.INTERNAL: {
        K.INTERNAL: (
            "Something went wrong inside CastRay: {reason}.",
            "Report it, and attach the log.",
        ),
    },
}


class FailureTemplate(NamedTuple):
    """What is known of a kind of failure: its status, and the templates of its two sentences."""

    status: FailureStatus
    happened: str
    remedy: str


TEMPLATES: Mapping[FailureKind, FailureTemplate] = {
    kind: FailureTemplate(status, *sentences)
    for status, kinds in _TABLE.items()
    for kind, sentences in kinds.items()
}

TRANSLATABLE_VALUES = (
    # what a path is
    "a named pipe",
    "a socket",
    "a device",
    "neither a file nor a folder",
    "a name that is not UTF-8",
    "the root of the file system",
    "nested too deeply in folders",
    "a virtual file of the kernel",
    "a link to a folder that contains it",
    # who could not
    "the source could not read it",
    "the source",
    # room
    "room for {count} files",
    "{count} files",
    # a folder
    "it is read-only",
    "permission denied",
    # the hub
    "it is gated, and this computer is not logged in",
    "it is gated, and this account has no access to it",
    "the token of this computer is not valid",
    "it is disabled",
    "HF_HUB_OFFLINE is set",
    "a repository has an owner and a name",
    "there is no revision after the @",
    "{name} is not a valid name on the Hub",
    "the path is incomplete",
    # schedules and history
    "exactly one of an interval, a cron expression and a quiet time is required",
    "the cron expression {cron} never matches",
    "its interval or quiet time is shorter than {seconds} s",
    "{node} would receive the files inside the folder that is sent",
    "it has no name",
    "it has not been opened",
    "it was written by a newer version of CastRay",
    # clusters
    "a cluster that was removed",
    "no program is listening on that port",
    "the format is HOST:PORT or ray://HOST:PORT",
    # stores
    "it contains # or ?",
    "a part of its name is empty, . or ..",
    "another file or folder has the same name",
    "it is too long",
    "the service that issues them refuses",
    "they can't sign links",
    "they are incomplete or invalid",
    "the profile {profile} requires the package boto3",
    "it answers {status}",
    "there is no connection",
    "no answer within {seconds} seconds",
    # the engine
    "it took too long",
    "it does not respond",
    "it is shutting down",
    "it has stopped",
    "it stopped while the cast was running",
    "it failed, see the log in {path}",
    "no engine is running",
    "the engine has stopped",
    "the engine closed the connection",
    "the connection was closed",
    "there is no connection yet",
    "the driver has stopped",
    "the cluster reports versions of Ray or Python that do not exist",
    "Ray {version} does not support tokens",
    "this computer has no address that other machines can reach",
    # a connection between nodes
    "the connection was closed",
    "the connection was closed during the handshake",
    "the handshake took too long",
    "no data was received for too long",
    "the file ends too early",
    "the peer does not know this cast",
    "the peer does not know this cast's secret",
    "the peer uses protocol version {version}",
    "this node is closing",
    "Ray has no connection to it",
    "no port in {low}-{high}",
    # files on a node
    "these files have been closed",
    "another process is still using it",
    # why a download waits or failed
    "the server answers {answer} and asks to wait {seconds} s",
    "the server answers {answer}",
    "the hub answers {answer} and asks to wait {seconds} s",
    "the hub answers {answer}",
    "the hub's answer can't be understood",
    "the server does not respond",
    "the server does not answer",
    "the server's name is unknown",
    "the server's answer can't be understood",
    "the server's certificate is not trusted: {error}",
    "the server ended its answer too early",
    "the server does not say how long the file is",
    "the server sends the file as a whole only",
    "the server sends another part of the file than was requested",
    "the server redirects too many times",
    "the server redirects to {address}",
    # what became of a command after a delivery
    "done",
    "not allowed on this node: {reason}",
    "{program} is not in its list of programs",
    "allow it there with {setting} in {path}",
    "{path} can be changed by other users",
    "{path} can't be used: {error}",
    "not a command: {error}",
    "not a command: it is empty",
    "could not be started: {error}",
    "stopped because the cast was cancelled",
    "stopped after {limit} s because it had not finished: {said}",
    "stopped after {limit} s because it had not finished",
    "exited with status {status}: {said}",
    "exited with status {status}",
    "was killed by signal {number}: {said}",
    "was killed by signal {number}",
    # checks
    "this computer",
    "any free port",
    "every address",
    "ports {low} to {high}",
    "the format is LOW-HIGH",
    # what should not happen
    "a parcel without a manifest",
    "the list of files does not match the data",
)

SYSTEM_ERROR_TEXTS = (
    "Broken pipe",
    "Connection refused",
    "Connection reset by peer",
    "Connection timed out",
    "Device or resource busy",
    "Disk quota exceeded",
    "File too large",
    "File name too long",
    "Host is down",
    "Input/output error",
    "Name or service not known",
    "Network is unreachable",
    "No route to host",
    "No space left on device",
    "No such file or directory",
    "Not a directory",
    "Operation not permitted",
    "Permission denied",
    "Read-only file system",
    "Stale file handle",
    "Temporary failure in name resolution",
    "Too many open files",
    "timed out",
)
"""Error texts of the operating system, in English."""

_KNOWN = frozenset({*TRANSLATABLE_VALUES, *SYSTEM_ERROR_TEXTS})
_WITH_VALUES = {
    text: re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(text)))
    for text in TRANSLATABLE_VALUES
    if "{" in text
}


def translate_value(value: str, translate: Callable[[str], str]) -> str:
    """A failure's value in the language of `translate`, if it is one of the words here.

    A `{reason}` within it is said in the same way.
    """
    if value in _KNOWN:
        return translate(value)
    for text, pattern in _WITH_VALUES.items():
        found = pattern.fullmatch(value)
        if found is not None:
            values = found.groupdict()
            if "reason" in values:
                values["reason"] = translate_value(values["reason"], translate)
            return translate(text).format_map(values)
    return value


class _Values(dict[str, str]):
    """Values for a template; a missing one is shown as a dash rather than hiding the failure."""

    def __missing__(self, key: str) -> str:
        return "–"


def template_values(
    values: Mapping[str, str], translate: Callable[[str], str], remedy_name: str = "cure"
) -> dict[str, str]:
    """Translated values for a template. Missing ones are shown as a dash.

    If the values contain `because`, the kind of another failure, that failure's sentences are the reason
    and the remedy.
    """
    translated = _Values({name: translate_value(value, translate) for name, value in values.items()})
    if "because" in values:
        inner = {name: value for name, value in values.items() if name != "because"}
        why = explain(Failure(FailureKind(values["because"]), inner), translate)
        translated["reason"], translated[remedy_name] = why.happened, why.remedy
    return translated


def explain(failure: Failure, translate: Callable[[str], str] = str) -> Explanation:
    """The sentences for a failure, in the language of `translate`; values as in `template_values`."""
    template = TEMPLATES[failure.kind]
    values = template_values(failure.values, translate)
    return Explanation(
        translate(template.happened).format_map(values),
        translate(template.remedy).format_map(values) if template.remedy else "",
    )


def sentence(failure: Failure) -> str:
    """What happened and what to do, in one English line."""
    return explain(failure).text
