"""Nodes, casts, results, schedules and checks as JSON for scripts: command line, HTTP API and Python alike.

Every field is always present; what is unknown is null. Sizes are bytes, rates bytes per second, durations
seconds, times POSIX seconds. The options of a cast are read from JSON here, too.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_type_hints

import msgspec

from castray_desktop.core.casts.multicast_status import explain_multicast_end
from castray_desktop.core.casts.states import cast_name, have_files_changed
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.content.quantities import parse_limit
from castray_desktop.core.failures.check_sentences import explain_check
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.redaction import without_secrets
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.multicast.datagrams import MulticastEnd, MulticastState
from castray_desktop.core.protocol.messages import (
    LOCAL_TARGET,
    CastAttempt,
    CastCluster,
    CastFile,
    CastMode,
    CastResult,
    CastState,
    CastSummary,
    Check,
    CheckState,
    ClusterPhase,
    ClusterStatus,
    DeliverySnapshot,
    DeliveryState,
    DownloadPlacement,
    FilesPage,
    FileState,
    NodeInfo,
    NodeState,
    PlacementReason,
    PreflightProblem,
    PreflightReport,
    ScheduleInfo,
    Transport,
)
from castray_desktop.core.routing.download_nodes import explain_placement

JSON_SCHEMA = 1
"""The number of this form of JSON. It is raised when a field is removed or changes its meaning, not when one
is added."""


class Form(msgspec.Struct, frozen=True):
    """Base of what scripts get."""


FormType = TypeVar("FormType", bound=Form)

OPTION_NAMES = {field.name: field.name for field in dataclasses.fields(TransferOptions)} | {
    "destination": "dest"
}
"""The name that each option has in JSON and in Python."""


def _option_fields() -> list[tuple[str, Any]]:
    """The options' names and types in JSON: a text or number that is not set is null."""
    types = get_type_hints(TransferOptions)
    return [
        (to, types[name] | None if types[name] in (str, int) else types[name])
        for name, to in OPTION_NAMES.items()
    ]


if TYPE_CHECKING:

    class OptionsForm(Form, frozen=True):
        """The options of a cast: every field of `TransferOptions`, by its name in JSON."""

        def __getattr__(self, name: str) -> Any: ...

    class RequestForm(OptionsForm, frozen=True):
        """What a schedule sends: paths, recipients and source, and the options."""

else:
    OptionsForm = msgspec.defstruct("OptionsForm", _option_fields(), bases=(Form,), frozen=True)
    RequestForm = msgspec.defstruct(
        "RequestForm",
        [("paths", tuple[str, ...]), ("recipients", tuple[str, ...]), ("source", str), *_option_fields()],
        bases=(Form,),
        frozen=True,
    )


class ClusterForm(Form, frozen=True):
    """The cluster, as a whole."""

    state: ClusterPhase
    target: str | None
    address: str | None
    local: bool  # the demo on this computer
    nodes_ready: int
    nodes_total: int
    cpus: float
    gpus: float
    memory: int
    ray_version: str | None
    python_version: str | None
    kind: str | None
    reason: str | None


class NodeForm(Form, frozen=True):
    """A node."""

    name: str
    address: str
    node_id: str
    state: NodeState
    inbox: str
    cpus: float
    gpus: float
    memory: int
    memory_free: int
    disk_free: int
    disk_total: int
    load: float
    labels: dict[str, str]
    this_computer: bool
    kind: str | None
    reason: str | None


class CastClusterForm(Form, frozen=True):
    """The cluster that a cast runs on, or ran on."""

    address: str | None  # of its head
    local: bool  # the demo on this computer


class MulticastForm(Form, frozen=True):
    """How sending to all recipients at once went; the relay did the rest."""

    state: MulticastState
    end: MulticastEnd | None  # why it stopped before it was done
    reason: str | None  # the same in a sentence, with what to do
    listeners: tuple[str, ...]
    bytes: int  # sent once for all of them
    rate: float


class LinksForm(Form, frozen=True):
    """What became of symbolic links."""

    followed: int  # what they point to was sent
    kept: int  # they were sent as links
    dangling: int  # of these, the ones that point to nothing at a recipient
    dangling_names: tuple[str, ...]  # the first of them


class StoreSpeedForm(Form, frozen=True):
    """How fast a node downloads from the server."""

    node: str
    rate: float | None  # null: not known
    reason: str | None  # why it can't download


class DownloadForm(Form, frozen=True):
    """Why the source downloads, and not another node."""

    why: PlacementReason
    text: str  # the same in words
    host: str | None  # the server that has the largest file
    speeds: tuple[StoreSpeedForm, ...]  # of the nodes that were asked


class DeliveryForm(Form, frozen=True):
    """One recipient's share of a cast."""

    node: str
    address: str
    state: DeliveryState
    paths: tuple[str, ...]
    bytes: int
    skipped_bytes: int  # of these, in files that were there already
    seconds: float
    hash: str | None
    transport: Transport | None
    encrypted: bool | None  # on the way between machines; null: nothing went that way, or it is not known
    kind: str | None  # of the failure, for programs; its sentence is the reason
    reason: str | None
    upstream: str | None
    rate: float
    eta: float | None
    hook: str | None
    removed: int  # entries that the source no longer has
    listening: bool  # to what is sent to all recipients at once
    datagram_bytes: int  # that came by that
    repaired_bytes: int  # that came by the relay instead
    counts: FileCounts | None  # what became of the files; null before the end, or where it is not known


class FileRecipientsForm(Form, frozen=True):
    """Recipients at which the same became of a file."""

    state: FileState
    nodes: tuple[str, ...]
    path: str | None  # below the destination, where it has another one than at the source
    reason: str | None


class CheckForm(Form, frozen=True):
    """One thing that was looked at."""

    kind: str
    state: CheckState
    node: str | None
    text: str
    remedy: str | None


class FileForm(Form, frozen=True):
    """A file of a cast."""

    path: str  # as it was sent
    bytes: int
    hash: str | None
    link: bool  # a symbolic link, sent as a link
    recipients: tuple[FileRecipientsForm, ...]


class FilesForm(Form, frozen=True):
    """Some of the files of a cast that fit, and how many fit."""

    cast: str
    files: tuple[FileForm, ...]
    total: int  # that fit
    all: int
    states: dict[str, int]  # number of files that are in this state at a recipient
    live: bool  # some of it may still change


class AttemptForm(Form, frozen=True):
    """An earlier attempt of a cast that was retried."""

    started: float
    finished: float
    state: CastState
    recipients: tuple[str, ...]  # that took part in it
    reasons: dict[str, str]  # why deliveries failed, by recipient


class CastForm(Form, frozen=True):
    """A cast with its current state."""

    cast: str
    name: str
    state: CastState
    source: str
    recipients: tuple[str, ...]
    mode: CastMode
    destination: str | None
    options: OptionsForm
    started: float
    finished: float | None
    files: int
    bytes: int
    links: LinksForm
    done_bytes: int
    rate: float
    upload_rate: float
    eta: float | None
    verified: int
    failed: int
    awaited: int
    paused: int
    chain: tuple[str, ...]
    source_copies: float
    encrypted: bool | None  # for every recipient that got bytes from another machine
    checksums: dict[str, int]  # downloaded files with the checksum that their server states, by its kind
    multicast: MulticastForm | None  # where it was tried
    download: DownloadForm | None  # null: files of a node are sent
    limit: int | None
    place: int
    schedule: str | None
    follows: str | None
    attempts: tuple[AttemptForm, ...]  # the earlier ones, oldest first
    files_changed: bool  # other files, or other versions of them, than in the attempt before
    cluster: CastClusterForm
    kind: str | None
    reason: str | None
    next_try: float | None  # when a server that lets it wait is asked again; null: none does, or not known
    deliveries: tuple[DeliveryForm, ...]


class ResultForm(Form, frozen=True):
    """How a cast ended."""

    event: Literal["result"]
    cast: str
    name: str
    state: CastState
    source: str
    cluster: CastClusterForm
    destination: str | None
    options: OptionsForm
    started: float
    finished: float | None
    bytes: int
    files: int
    links: LinksForm
    seconds: float
    source_copies: float
    encrypted: bool | None  # for every recipient that got bytes from another machine
    checksums: dict[str, int]  # downloaded files with the checksum that their server states, by its kind
    chain: tuple[str, ...]
    multicast: MulticastForm | None  # where it was tried
    download: DownloadForm | None  # null: files of a node are sent
    files_changed: bool  # other files, or other versions of them, than in the attempt before
    deliveries: tuple[DeliveryForm, ...]
    kind: str | None
    reason: str | None

    @property
    def delivered(self) -> bool:
        """Whether every recipient has everything."""
        return self.state is CastState.COMPLETED


def _form(form: type[FormType], message: Any, /, **values: Any) -> FormType:
    """A form with the message's fields of the same names, and `values` for the others.

    An empty text and the number 0 of a message become null if the form's field may be null.
    """
    for name in form.__struct_fields__:
        if name not in values:
            value = getattr(message, name)
            values[name] = value or None if name in _nullable(form) else value
    return form(**values)


@functools.cache
def _nullable(kind: type[Form]) -> frozenset[str]:
    types = get_type_hints(kind)
    return frozenset(name for name, hint in types.items() if type(None) in get_args(hint))


def cluster_form(status: ClusterStatus) -> ClusterForm:
    return _form(
        ClusterForm,
        status,
        state=status.phase,
        local=status.target == LOCAL_TARGET,
        kind=failure_kind(status.failure or status.notice),
        reason=failure_sentence(status.failure or status.notice),
    )


def cast_cluster_form(cluster: CastCluster) -> CastClusterForm:
    return _form(CastClusterForm, cluster)


def node_form(node: NodeInfo) -> NodeForm:
    return _form(
        NodeForm,
        node,
        load=round(node.load, 3),
        kind=failure_kind(node.failure),
        reason=failure_sentence(node.failure),
    )


def multicast_form(cast: CastSummary) -> MulticastForm | None:
    multicast = cast.multicast
    if multicast is None:
        return None
    why = explain_multicast_end(multicast, cast.source)
    reason = None if why is None else why.text
    return _form(MulticastForm, multicast, reason=reason, rate=round(multicast.rate))


def download_form(download: DownloadPlacement | None) -> DownloadForm | None:
    if download is None:
        return None
    speeds = tuple(
        StoreSpeedForm(item.node, round(item.rate) or None, failure_sentence(item.failure))
        for item in download.speeds
    )
    return DownloadForm(download.reason, explain_placement(download), download.host or None, speeds)


def links_form(found: CastSummary | PreflightReport) -> LinksForm:
    return LinksForm(found.followed_links, found.kept_links, found.broken_links, found.broken_names)


def delivery_form(item: DeliverySnapshot) -> DeliveryForm:
    return _form(
        DeliveryForm,
        item,
        seconds=round(item.seconds, 3),
        kind=failure_kind(item.failure),
        reason=failure_sentence(item.failure),
        encrypted=item.encrypted,
        rate=round(item.rate),
        eta=item.eta,
        hook=item.hook_status or None,
    )


def check_form(check: Check) -> CheckForm:
    """A check as text, without secrets."""
    finding = explain_check(check)
    remedy = without_secrets(finding.remedy) if finding.remedy else None
    return CheckForm(check.kind, check.state, check.node or None, without_secrets(finding.found), remedy)


def file_form(file: CastFile) -> FileForm:
    groups = tuple(
        _form(FileRecipientsForm, group, path=group.place or None, reason=failure_sentence(group.failure))
        for group in file.recipients
    )
    return _form(FileForm, file, recipients=groups)


def files_form(page: FilesPage) -> FilesForm:
    states = {state.value: count for state, count in page.states.items()}
    return _form(FilesForm, page, files=tuple(map(file_form, page.files)), states=states)


def attempt_form(attempt: CastAttempt) -> AttemptForm:
    reasons = {node: sentence(failure) for node, failure in attempt.failures.items()}
    return _form(AttemptForm, attempt, reasons=reasons)


def cast_form(cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...] = ()) -> CastForm:
    return _form(
        CastForm,
        cast,
        **_parts(cast, deliveries),
        rate=round(cast.rate),
        upload_rate=round(cast.upload_rate),
        eta=cast.eta,
        attempts=tuple(map(attempt_form, cast.attempts)),
        limit=cast.options.limit or None,
    )


def result_form(result: CastResult) -> ResultForm:
    return _form(
        ResultForm,
        result.summary,
        **_parts(result.summary, result.deliveries),
        event="result",
        seconds=round(result.seconds, 3),
    )


def _parts(cast: CastSummary, deliveries: tuple[DeliverySnapshot, ...]) -> dict[str, Any]:
    """What the forms of a cast and of a result have in common, apart from the plain fields."""
    return {
        "name": cast_name(cast),
        "destination": cast.options.destination or None,
        "options": options_form(cast.options),
        "links": links_form(cast),
        "encrypted": cast.encrypted,
        "multicast": multicast_form(cast),
        "download": download_form(cast.download),
        "cluster": cast_cluster_form(cast.cluster),
        "files_changed": have_files_changed(cast),
        "kind": failure_kind(cast.failure),
        "reason": failure_sentence(cast.failure),
        "deliveries": tuple(map(delivery_form, deliveries)),
    }


def form_to_json(form: Form) -> dict[str, object]:
    """A form as an object of JSON."""
    fields: dict[str, object] = msgspec.to_builtins(form)
    return fields


def problem_to_json(problem: PreflightProblem) -> dict[str, object]:
    """Why a node can't be a recipient."""
    failure = problem.failure
    return {"node": problem.node, "kind": failure.kind.value, "reason": sentence(failure)}


def failure_kind(failure: Failure | None) -> str | None:
    """The kind of a failure, for programs, or nothing."""
    return None if failure is None else failure.kind.value


def failure_sentence(failure: Failure | None) -> str | None:
    """What happened and what to do, or nothing."""
    return None if failure is None else sentence(failure)


def message_to_json(value: Any) -> Any:
    """A message of the engine in plain values: every field, also those that have their default.

    A message carries its name as `type`, a failure its sentence as `text`.
    """
    if isinstance(value, msgspec.Struct):
        fields: dict[str, Any] = {}
        for name in value.__struct_fields__:
            item = getattr(value, name)
            fields |= message_to_json(vars(item) if isinstance(item, TransferOptions) else {name: item})
        tag = value.__struct_config__.tag
        return fields if tag is None else {"type": tag, **fields}
    if isinstance(value, Failure):
        return {"kind": value.kind.value, "values": value.values, "text": sentence(value)}
    if isinstance(value, tuple | list):
        return [message_to_json(item) for item in value]
    if isinstance(value, dict):
        return {key: message_to_json(item) for key, item in value.items()}
    return value


class ScheduleForm(Form, frozen=True):
    """A schedule with its current state."""

    schedule: str
    name: str
    cluster: str
    enabled: bool
    every: float | None
    cron: str | None
    quiet: float | None
    next_run: float | None
    last_run: float | None
    last_cast: str | None
    last_state: CastState | None
    running: bool
    unchanged: bool  # the last run found nothing new to send
    changes_seen: int
    looks_every: float | None  # seconds, where it can't be watched
    kind: str | None
    reason: str | None
    request: RequestForm


def _option_values(options: TransferOptions) -> dict[str, Any]:
    """The options by their names in JSON; an empty text and the number 0 are null."""
    values = ((to, getattr(options, name)) for name, to in OPTION_NAMES.items())
    return {name: value if isinstance(value, bool | tuple) else value or None for name, value in values}


def options_form(options: TransferOptions) -> OptionsForm:
    return msgspec.convert(_option_values(options), OptionsForm)


def options_from_json(values: Mapping[str, Any]) -> TransferOptions:
    """The options that `values` has by their names in JSON. Null is the default; other keys are ignored.

    `limit` may be a text. Raises CastRayError for a text that is no rate, ValueError for other wrong values.
    """
    given = {name: values[key] for name, key in OPTION_NAMES.items() if values.get(key) is not None}
    if "limit" in given:
        given["limit"] = parse_limit(given["limit"])
    return msgspec.convert(given, TransferOptions)


def schedule_form(info: ScheduleInfo) -> ScheduleForm:
    schedule, request = info.schedule, info.schedule.request
    sent = {"paths": request.shown_paths, "recipients": request.recipients, "source": request.source}
    return _form(
        ScheduleForm,
        info,
        schedule=schedule.schedule,
        name=schedule.name,
        cluster=schedule.cluster,
        enabled=schedule.enabled,
        every=schedule.every or None,
        cron=schedule.cron or None,
        quiet=schedule.quiet or None,
        kind=failure_kind(info.failure),
        reason=failure_sentence(info.failure),
        request=msgspec.convert(sent | _option_values(request.options), RequestForm),
    )
