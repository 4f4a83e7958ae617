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
            "{path} may not be read by {user}.",
            "Change its permissions, or send it as a user who may read it.",
        ),
        K.NOT_SENDABLE: (
            "{path} is {what} and can't be sent.",
            "Send only files, folders and symbolic links, or leave it out with --exclude.",
        ),
        K.DANGLING_LINK: (
            "{path} is a link to {target}, which does not exist.",
            "Mend the link, leave it out with --exclude, or send it as it is with --links keep.",
        ),
        K.NOTHING_TO_SEND: ("There is nothing to send.", "Name at least one file or folder."),
        K.SAME_NAME_TWICE: (
            "Two of the things to send are called {name}.",
            "Send them one after the other, or rename one of them.",
        ),
        K.BAD_HUB_ADDRESS: (
            "{address} is no address of the Hugging Face hub: {reason}.",
            "Write hf://OWNER/NAME, hf://OWNER/NAME@REVISION/PATH or hf://datasets/OWNER/NAME.",
        ),
        K.GROUP_EMPTY: (
            "No node of {group} is in this cluster.",
            "Attach to the cluster that the group was made for, or save it again with nodes that are here.",
        ),
        K.BAD_GROUP_NAME: (
            "{group} can't be the name of a group.",
            "Use letters, digits and spaces, 60 at most, without commas, slashes and @.",
        ),
        K.BAD_NODE_NAME: (
            "{node} can't be the name of a node.",
            "Use letters, digits, dots, hyphens and underscores, 60 characters at most.",
        ),
        K.NO_RECIPIENTS: ("No recipients were chosen.", "Choose at least one node other than the source."),
        K.SOURCE_IS_RECIPIENT: (
            "{node} is the source, so it can't be a recipient.",
            "Choose other recipients or another source.",
        ),
        K.BAD_RATE: ("{rate} is not a rate.", "Write it like 10M, 10MB/s, 10MiB/s or 100Mbit/s."),
        K.BAD_PATTERN: (
            "{path}, line {line}: {pattern} can't be used.",
            "What a pattern leaves out can't be included again; remove the line, or write \\! for a name"
            " that begins with !.",
        ),
        K.RELATIVE_PATH: (
            "{path} is a relative path, and with --from paths are those of {node}.",
            "Write the absolute path on {node}.",
        ),
        K.LIST_NOT_READ: ("{path} can't be read: {reason}.", "Check the file and send again."),
        K.BAD_SETTING: (
            "{number} can't be set here.",
            "Give a number from 0 to {most}.",
        ),
        K.BAD_DESTINATION: (
            "{destination} can't be a destination.",
            "Give an absolute path on the recipients; it may hold {{node}}.",
        ),
        K.BAD_SCHEDULE: ("{name} can't be a schedule: {reason}.", "Change it and save it again."),
        K.SCHEDULE_AMBIGUOUS: (
            "{schedule} fits several schedules: {schedules}.",
            "Name the one that is meant by its id.",
        ),
        K.REMOVE_EXTRA_REFUSED: (
            "Removing what the source no longer has needs folders to send, and files of the same name"
            " replaced.",
            "Send folders and overwrite what has the same name, or leave --delete out.",
        ),
        K.ENCRYPTED_MULTICAST: (
            "Multicast can't be encrypted, and this cast has to be.",
            "Use the relay (--transport auto), or don't require encryption.",
        ),
        K.CACHE_LAYOUT_REFUSED: (
            "{path} can't be laid out as a cache of the Hugging Face hub.",
            "Use --layout hf-cache for addresses that begin with hf:// alone.",
        ),
        K.CACHE_LAYOUT_RENAMED: (
            "A cache of the Hugging Face hub can't be delivered under other names.",
            "Leave out --on-conflict rename, or use --layout plain.",
        ),
    },
    FailureStatus.NOT_FOUND: {
        K.NODE_UNKNOWN: (
            "There is no node {node}.",
            "Nodes here: {nodes}.",
        ),
        K.GROUP_UNKNOWN: ("There is no group {group}.", "Groups here: {groups}."),
        K.CAST_UNKNOWN: ("There is no cast {cast}.", "List them with: castray casts"),
        K.JOB_UNKNOWN: ("There is no job {job} any more.", "It has ended; its result has been told."),
        K.SCHEDULE_UNKNOWN: ("There is no schedule {schedule}.", "List them with: castray schedule list"),
    },
    FailureStatus.CONFLICT: {
        K.NODE_EXISTS: ("There is a node {node} already.", "Choose another name."),
        K.NODE_NOT_REMOVABLE: ("{node} can't be removed.", "Only nodes that were added can be removed."),
        K.RECIPIENT_ALREADY: ("{node} is a recipient of this cast already.", "Name other nodes."),
        K.CAST_FINISHED: ("Cast {cast} has ended already.", "Nothing of it can be changed any more."),
        K.CAST_GOES_ON: ("Cast {cast} has not ended yet.", "Wait for its end, or cancel it."),
        K.CAST_NOT_QUEUED: (
            "Cast {cast} is not waiting in the queue.",
            "Only casts that wait for their turn can be moved.",
        ),
        K.NOTHING_TO_RETRY: (
            "No delivery of cast {cast} has failed there.",
            "To have everybody receive it once more, send it again.",
        ),
        K.NOTHING_TO_VERIFY: (
            "Cast {cast} has put nothing in place that could be read back.",
            "Verify a path instead.",
        ),
        K.RECEIPT_NEWER: (
            "{path} on {node} was written by a later version of CastRay, and this one can't read it.",
            "Verify the cast with that version, or verify a path.",
        ),
        K.FILES_NOT_LISTED: (
            "There is no list of files for cast {cast}: its source has not been scanned.",
            "If the cast is still running, try again in a moment.",
        ),
        K.FILES_NOT_KEPT: (
            "The list of files of cast {cast} was not kept.",
            "The lists of the last 10,000 casts are kept, up to 512 MB in total.",
        ),
        K.SCHEDULE_EXISTS: (
            "There is a schedule {name} already.",
            "Choose another name, or change or remove that one.",
        ),
    },
    FailureStatus.NO_CLUSTER: {
        K.NO_CLUSTER: ("There is no cluster.", "Start or attach one first."),
        K.NO_AGENT: (
            "No node of the cluster {target} can be used: {reasons}.",
            "Look for the cause on those machines; logs/driver.log in CastRay's data has more of what"
            " Ray said.",
        ),
        K.CLUSTER_STOPPED: ("The cluster was stopped.", "Start or attach one, then send again."),
        K.CLUSTER_AWAITED: (
            "The cast waits for its cluster {target}.",
            "Start or attach that cluster, or cancel the cast.",
        ),
        K.CLUSTER_START_FAILED: (
            "Ray could not be started ({attempts} attempts): {reason}",
            "Details are in {log}.",
        ),
        K.CLUSTER_TIMED_OUT: (
            "The cluster {target} did not answer within {seconds} seconds.",
            "Check the address and that Ray runs there.",
        ),
        K.CLUSTER_UNREACHABLE: (
            "The cluster {target} can't be reached: {reason}.",
            "Check the address and that Ray runs there.",
        ),
        K.CLUSTER_SILENT: (
            "{target} takes connections but says nothing.",
            "Check the port: a Ray head listens on 6379, and on 10001 for ray://.",
        ),
        K.CLUSTER_LOST: (
            "The cluster {target} is gone: its head does not answer any more.",
            "It is attached again as soon as it is back.",
        ),
        K.CLUSTER_AMBIGUOUS: (
            "This machine is in several Ray clusters: {addresses}.",
            "Name the one to use by its address.",
        ),
        K.CLUSTER_NOT_HERE: (
            "This machine is in no Ray cluster.",
            "Give the address of one, or start a local one.",
        ),
        K.CLUSTER_NOT_NAMED: (
            "No Ray cluster runs on this computer, and CastRay has used another one before: {clusters}.",
            "Name the cluster with --cluster HOST:PORT, or use the demo on this computer with"
            " --cluster local.",
        ),
        K.NOT_RAY: (
            "What listens at {target} is no Ray cluster.",
            "Check the port: a Ray head listens on 6379, and on 10001 for ray://.",
        ),
        K.TOKEN_NEEDED: (
            "The cluster {target} lets nobody in without its token.",
            "Put the token into ~/.ray/auth_token, or set RAY_AUTH_TOKEN for CastRay, then attach again.",
        ),
        K.TOKEN_WRONG: (
            "The cluster {target} does not accept the token from {origin}.",
            "Put the cluster's own token there, then attach again.",
        ),
        K.NOT_A_NODE: (
            "This computer is no node of the cluster {target}, and only a node can attach.",
            "Go through the client server of the cluster, ray://{host}:10001; or make it a node,"
            " without CPUs for others' tasks: castray cluster join {target}",
        ),
        K.NODE_OF_ANOTHER: (
            "This computer is a node of the cluster {others}, not of {target}, and only a node can attach.",
            "Use {others}; or go through the client server of the other one, ray://{host}:10001; or make this"
            " computer its node as well: castray cluster join {target}",
        ),
        K.TOKEN_EXPOSED: (
            "The token of the cluster that is shared could be read or written by others: it is in {path}.",
            "castray cluster share --new-token makes another one.",
        ),
        K.NOT_SHARED: (
            "A cluster that others can join can't be started here: {reason}.",
            "It needs an address in a network, and Ray 2.52 or later, whose tokens keep strangers out;"
            " a local cluster works all the same.",
        ),
        K.CLUSTER_SLOW: (
            "The cluster {target} answers, but has not let CastRay in for {seconds} seconds.",
            "CastRay goes on trying for half a minute. Wait or cancel, and look at the load of its head.",
        ),
        K.START_SLOW: (
            "Ray has not started within {seconds} seconds.",
            "CastRay goes on waiting for a minute, since a busy computer needs longer. Wait or cancel.",
        ),
        K.RAY_DIFFERS: (
            "The cluster {target} runs Ray {ray} on Python {python}, CastRay has Ray {own_ray} on"
            " Python {own_python}.",
            "Prepare a driver with that Ray: castray cluster prepare {target}",
        ),
        K.PYTHON_MISSING: (
            "There is no Python {python} on this computer, which a driver with Ray {ray} needs.",
            "Install it, or uv, which brings it; or name an interpreter that has that Ray in"
            " CASTRAY_DRIVER_PYTHON.",
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
            "Start again: castray engine start",
        ),
        K.ENGINE_VERSION: (
            "The running CastRay engine is of another version.",
            "Close other CastRay windows or run: castray engine stop",
        ),
        K.HOME_NEWER: (
            "{path} was written by CastRay {version}, which is later than this version: it can't read that"
            " home. Nothing was changed.",
            "Use CastRay {version} or a later version, or set CASTRAY_HOME to another folder.",
        ),
    },
    FailureStatus.FAILED: {
        K.FILE_NOT_WRITTEN: (
            "{path} could not be written: {reason}.",
            "Choose another folder, or make room there.",
        ),
        K.NODE_AWAITED: (
            "{node} is offline.",
            "It gets the files as soon as it is back; you can cancel that.",
        ),
        K.NOBODY_HAS_IT: (
            "Nobody who is online has the files for {node} any more: at {source} they are gone or have"
            " changed.",
            "Send them again.",
        ),
        K.SCHEDULE_WAITS: (
            "The cluster {target} is not there, so the run waits.",
            "It is made up for once the cluster can be used.",
        ),
        K.SCHEDULE_RUNNING: (
            "The last run of {name} has not ended.",
            "Wait for it, or cancel its cast.",
        ),
        K.HUB_NO_REPOSITORY: (
            "The hub has no repository {repository} that this computer may read.",
            "Check the name. For a private repository, log in on this computer with 'hf auth login', or start"
            " the engine with HF_TOKEN.",
        ),
        K.HUB_NO_REVISION: (
            "{repository} has no branch, tag or commit {revision}.",
            "Check the name of the revision on the hub.",
        ),
        K.HUB_NO_PATH: (
            "{repository} has nothing at {path}.",
            "Check the path on the hub; upper and lower case differ.",
        ),
        K.HUB_REFUSED: (
            "The hub does not let this computer read {repository}: {reason}.",
            "Request access on its page, then log in on this computer with 'hf auth login', or start the"
            " engine with HF_TOKEN.",
        ),
        K.HUB_TOO_MANY_SMALL: (
            "{repository} is not public and has small files of {size}, and one cast takes {most} of them.",
            "Send parts of it one after the other: hf://{repository}/PATH.",
        ),
        K.CHANGED: ("{path} changed while it was being sent.", "Send it again once nothing writes to it."),
        K.PARCEL_CHANGED: (
            "The files changed while {node} was away, so the cast could not go on.",
            "Send them again.",
        ),
        K.VANISHED: ("{path} disappeared before it was sent.", "Send it again if it is still needed."),
        K.URL_FAILED: (
            "{url} could not be downloaded: {reason}.",
            "Check the address, and whether this node may download it.",
        ),
        K.URL_NOT_REACHED: (
            "None of the nodes that were asked can download {url} ({reasons}).",
            "Check the address, or choose a node that reaches the server.",
        ),
        K.URL_NOT_ENCRYPTED: (
            "{url} would be downloaded without encryption, and this cast has to be encrypted.",
            "Use an https address, or send without --encrypt always.",
        ),
        K.URL_CHANGED: ("{url} changed on its server while it was being sent.", "Send it again."),
        K.CHECKSUM_DIFFERS: (
            "{url} arrived with another {checksum} than its server states.",
            "Send it again. If it happens again, the file is damaged there.",
        ),
        K.STORE_UNKNOWN: (
            "{url} can't be resolved: this kind of store is not known.",
            "Use an address that begins with https, hf, s3, gs or az.",
        ),
        K.STORE_NOT_INSTALLED: (
            "{url} can't be resolved: what is needed for stores is not installed here.",
            "Install it with: {command}",
        ),
        K.STORE_NOT_FOUND: (
            "There is nothing at {url}.",
            "Check the names, upper and lower case included.",
        ),
        K.STORE_BUCKET_MISSING: (
            "The bucket or container of {url} does not exist.",
            "Check its name, and the region or account.",
        ),
        K.STORE_NAME: (
            "{url} can't become a file: {reason}.",
            "Rename it in the store, or send something else of it.",
        ),
        K.STORE_NO_CREDENTIALS: (
            "{url} is not public, and this computer has no credentials for it.",
            "Give the engine credentials: {how}.",
        ),
        K.STORE_DENIED: (
            "The store refuses access to {url}: {reason}.",
            "Check the credentials of this computer, and what they permit.",
        ),
        K.STORE_UNSIGNED: (
            "No link to {url} can be made with the credentials of this computer: {reason}.",
            "Use an access key, an account key or the key of a service account.",
        ),
        K.STORE_UNREACHABLE: (
            "The store of {url} can't be reached: {reason}.",
            "Check the network of this computer and the address of the store.",
        ),
        K.STORE_TOO_LARGE: (
            "{url} stands for {count} files, and one cast takes {most} of a store.",
            "Send parts of it one after the other.",
        ),
        K.SERVER_AWAITED: ("The download waits: {reason}.", "It continues by itself."),
        K.READ_ERROR: ("{path} could not be read to its end: {reason}.", "Check the disk it lies on."),
        K.FILES_FAILED: (
            "{count} of {total} files were not delivered. {reason}",
            "Everything else arrived.",
        ),
        K.NO_FILE_DELIVERED: ("No file was delivered. {reason}", "{cure}"),
        K.NO_ROOM: (
            "{node} has no room: {path} has {free} free and {needed} are needed.",
            "Make room there, or choose another destination.",
        ),
        K.NO_ROOM_TOGETHER: (
            "{node} has no room: it shares the disk of {path} with {others}, where {free} are free,"
            " and all of them together need {needed}.",
            "Make room there, or choose fewer recipients or another destination.",
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
            "{node} can't store a file called {path}.",
            "Rename it at the source and send it again.",
        ),
        K.NAMES_CLASH: (
            "{node} can't store both {other} and {path}: they are one name on its file system.",
            "Rename one of them at the source, or choose another destination, then send again.",
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
            "Check memory and network of {node} and {upstream}, then send again.",
        ),
        K.COPY_CHANGED: (
            "{node} can't get {path} from {upstream}, whose copy was changed or damaged: {reason}.",
            "Send it again to {node}, and leave the copies alone until the cast has ended.",
        ),
        K.UPSTREAM_LOST: (
            "{node} lost its connection to {upstream}: {reason}.",
            "Check the network between them, then send again.",
        ),
        K.NO_WAY: (
            "Neither {node} ({own}) nor {upstream} ({address}) can connect to the other: {reason}.",
            "Open the data port of one of them for the other, and choose which with"
            " CASTRAY_DATA_PORTS; or send without --transport direct, so that files may go through Ray.",
        ),
        K.NOT_TRUSTED: (
            "{node} and {upstream} do not trust each other's certificates: {reason}.",
            "If Ray runs with TLS, check that both have a certificate of the authority in RAY_TLS_CA_CERT;"
            " otherwise something between them may answer in their place.",
        ),
        K.NOT_ENCRYPTED: (
            "{node} can't encrypt its connections, and this cast requires that: {reason}.",
            "Use a Python with TLS 1.3 there, or send without --encrypt always.",
        ),
        K.NODE_OFFLINE: ("{node} went offline.", "Send again when it is back."),
        K.NODE_SILENT: (
            "{node} has not answered for {seconds} seconds.",
            "Check that machine, then send again.",
        ),
        K.INBOX_SILENT: (
            "{node} is there, but its inbox does not answer: {path}.",
            "Check what is mounted there; until then, send to another folder.",
        ),
        K.FOLDER_SILENT: (
            "{path} on {node} does not answer.",
            "Check what is mounted there, or choose another destination.",
        ),
        K.NODE_AWAY: (
            "{node} is away at the moment.",
            "The cast goes on when it is back; there is nothing to do.",
        ),
        K.NOT_REMOVED: (
            "Everything arrived, but {node} could not remove {count} entries, among them {path}: {reason}.",
            "Change the permissions there and send again.",
        ),
        K.HASH_MISSING: (
            "{node} can't compute the hashes that this cast uses ({hashes}).",
            "Send to it with a cast of its own.",
        ),
        K.WRITER_FAILED: (
            "{node} shares its folder with {writer}, whose copy failed.",
            "See the reason given for {writer}.",
        ),
        K.AGENT_NOT_PLACED: (
            "CastRay could not start its agent on {node}: {reason}.",
            "It tries again by itself; logs/driver.log in CastRay's data has more of what Ray said.",
        ),
        K.PORTS_TAKEN: (
            "{node} has no free port in {ports}.",
            "End what uses them there, or choose other ones in CASTRAY_DATA_PORTS.",
        ),
        K.SHARED_MEMORY_SMALL: (
            "/dev/shm is too small on {node}, so its Ray keeps objects in {folder}; what goes through"
            " Ray there is slow.",
            "Enlarge it before Ray starts there: mount -o remount,size=2G /dev/shm, or --shm-size=2g for a"
            " container.",
        ),
        K.HISTORY_FORGOTTEN: (
            "The casts have been forgotten already.",
            "The files that they delivered are where they were.",
        ),
        K.CANCELLED: ("Cancelled.", ""),
    },
    FailureStatus.UNAVAILABLE: {
        K.HISTORY_UNAVAILABLE: (
            "The history can't be used: {reason}.",
            "Check the folder of CastRay's data, then start the engine again.",
        ),
    },
    FailureStatus.INTERNAL: {
        K.INTERNAL: (
            "Something went wrong inside CastRay: {reason}.",
            "Please report it with the log.",
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
    "neither file nor folder",
    "a name that is not UTF-8",
    "the root of the file system",
    "too deep in its folders",
    "made up by the kernel when it is read",
    "a link to a folder that it lies in",
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
    "{name} can't be a name on the hub",
    "its path is not complete",
    # schedules and history
    "it needs exactly one of an interval, a cron expression and a quiet time",
    "{cron} is not a cron expression that ever comes true",
    "its interval or quiet time is shorter than {seconds} s",
    "what {node} receives would lie in what is sent",
    "it has no name",
    "it was written by a later version of CastRay",
    # clusters
    "one that was forgotten",
    # the engine
    "it took too long",
    "it does not answer",
    "it is ending",
    "it has ended",
    "it ended while the cast was running",
    "it failed, see the log in {path}",
    "no engine is running",
    "the engine has ended",
    "the engine closed the connection",
    "the connection has ended",
    "there is no connection yet",
    "the driver has ended",
    "the cluster names versions that neither Ray nor Python has",
    "Ray {version} has no tokens",
    "this computer has no address that others could reach",
    # a connection between nodes
    "the connection was closed",
    "the connection was closed during the handshake",
    "the handshake took too long",
    "nothing came through for too long",
    "the file ends too early",
    "this cast is not known here",
    "the peer does not know this cast's secret",
    "version {version} is spoken here",
    "this node is closing",
    "Ray has no connection to it",
    "no port in {low}-{high}",
    # files on a node
    "these files have been closed",
    "another process still works with it",
    # what became of a command after a delivery
    "done",
    "not allowed on this node: {reason}",
    "{program} is not in its list of programs",
    "allow it there with {setting} in {path}",
    "{path} could be changed by others",
    "{path} can't be used: {error}",
    "not a command: {error}",
    "not a command: it is empty",
    "could not be started: {error}",
    "ended, as the cast was cancelled",
    "ended after {limit} s, as it did not end by itself: {said}",
    "ended after {limit} s, as it did not end by itself",
    "ended with status {status}: {said}",
    "ended with status {status}",
    "ended with signal {number}: {said}",
    "ended with signal {number}",
    # checks
    "this computer",
    "any free port",
    "every address",
    "ports {low} to {high}",
    "it is written LOW-HIGH",
    # what should not happen
    "a parcel without a manifest",
    "the list of files does not fit the parcel",
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
