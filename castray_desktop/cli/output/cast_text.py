"""What several commands print about casts: results, symbolic links, multicast, the cluster, limits."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable

from castray_desktop.cli.output.terminal import (
    format_count,
    format_duration,
    output_style,
    print_line,
    print_note,
)
from castray_desktop.core.casts.multicast_status import explain_multicast_end
from castray_desktop.core.casts.states import cast_name, have_files_changed, seconds_to_next_try
from castray_desktop.core.casts.transfer_options import Encryption, TransportOption
from castray_desktop.core.content.checksums import LABELS
from castray_desktop.core.content.file_outcomes import FileCounts
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import Failure
from castray_desktop.core.failures.sentences import explain, sentence
from castray_desktop.core.failures.short_reasons import short_reason
from castray_desktop.core.protocol.messages import (
    CastCluster,
    CastResult,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    PreflightReport,
)
from castray_desktop.core.routing.download_nodes import explain_placement

NAMED = 4
"""Of the nodes in a warning."""

MAX_ROWS = 12
"""Recipients that each have a line on a terminal; of more, those with the same outcome share one."""


FILES_CHANGED = "The files have changed since the previous attempt: this one sends the current files."


def format_state(state: CastState | DeliveryState) -> str:
    """A state in words."""
    return state.value.replace("_", " ")


def format_wait(cast: CastSummary) -> str:
    """What a cast that waits for a server shows: when that is asked again, if it is known."""
    seconds = seconds_to_next_try(cast, time.time())
    return f"next try in {format_duration(seconds)}" if seconds else "waiting for server"


def format_cluster(cluster: CastCluster) -> str:
    """A cluster by its address, or as the demo."""
    if cluster.local:
        return "the demo on this computer"
    return cluster.address or cluster.target


def print_troubles(result: CastResult) -> None:
    """Print on stderr what was not delivered, and warnings."""
    for line in _failure_lines(result):
        print_note(line)
    _print_other_failure(result)
    warn_of_clear_text(result.summary, result.deliveries)
    warn_of_links(result.summary)


def _failed(result: CastResult) -> list[tuple[str, Failure]]:
    """The recipients that have not received it, and why."""
    return [
        (item.node, item.failure)
        for item in result.deliveries
        if item.failure is not None and not item.state.delivered
    ]


def _failure_lines(result: CastResult) -> list[str]:
    """Why deliveries failed: one line for each reason, with the recipients that it is about."""
    alike: dict[object, list[tuple[str, Failure]]] = {}
    for node, failure in _failed(result):
        values = {key: value for key, value in failure.values.items() if (key, value) != ("node", node)}
        alike.setdefault((failure.kind, tuple(sorted(values.items()))), []).append((node, failure))
    several = len(result.deliveries) > 1
    return [_failure_line([node for node, _ in each], each[0][1], several=several) for each in alike.values()]


def _failure_line(nodes: list[str], failure: Failure, *, several: bool) -> str:
    """One reason of these recipients, among `several` or the only one."""
    names_node = failure.values.get("node") == nodes[0]
    if len(nodes) == 1:
        return sentence(failure) if names_node or not several else f"{nodes[0]}: {sentence(failure)}"
    who = ", ".join(nodes) if len(nodes) <= NAMED else format_count(len(nodes), "recipient")
    if not names_node:
        return f"{who}: {sentence(failure)}"
    remedy = explain(Failure(failure.kind, {**failure.values, "node": who})).remedy
    return f"{who}: {short_reason(failure)}. {remedy}".rstrip()


def _print_other_failure(result: CastResult) -> None:
    """Print on stderr why the whole cast failed, unless that is the reason of a delivery."""
    if result.summary.failure not in [failure for _, failure in _failed(result)]:
        print_cast_failure(result.summary)


def print_cast_failure(cast: CastSummary) -> None:
    """Print on stderr why the whole cast failed, if it did."""
    if cast.failure is not None and cast.state is CastState.FAILED:
        print_note(sentence(cast.failure))


def format_counts(counts: FileCounts | None) -> str:
    """What became of files, in words; empty where that is not known."""
    if counts is None:
        return ""
    named = (
        (counts.sent, "sent"),
        (counts.identical, "identical"),
        (counts.renamed, "kept as (2)"),
        (counts.overwritten, "overwritten"),
        (counts.failed, "failed"),
    )
    return ", ".join(f"{count:,} {word}" for count, word in named if count)


def print_result(result: CastResult) -> None:
    """Print one line for each recipient, each reason of failures on stderr, and one line for the cast.

    On a terminal, recipients with the same outcome share a line if there are many.
    """
    summary = result.summary
    verbose = output_style().verbose
    alike: dict[object, list[DeliverySnapshot]] = {}
    for item in result.deliveries:
        alike.setdefault((item.state, item.hash, item.counts), []).append(item)
    folds = sys.stdout.isatty() and not verbose and len(result.deliveries) > MAX_ROWS
    for line in _failure_lines(result):
        print_note(line)
    failed = {node for node, _ in _failed(result)}
    for item in result.deliveries:
        others = alike[item.state, item.hash, item.counts]
        if item.node not in failed and (not folds or len(others) == 1):
            _print_outcome(item.node, item, ", ".join(item.paths))
        elif item.node not in failed and item is others[0]:
            _print_outcome(format_count(len(others), "recipient"), item, "")
        if verbose:
            print_line(f"{item.node}: {_details(item)}")
        if item.hook_status:
            print_line(f"{item.node}: hook: {item.hook_status}")
    if folds:
        print_line(f"Show each recipient with: castray casts show {summary.cast}")
    if summary.cluster.target:
        print_line(f"Cluster: {format_cluster(summary.cluster)}")
    if have_files_changed(summary):
        print_line(FILES_CHANGED)
    if summary.download is not None and summary.bytes:
        print_line(f"Downloaded by {summary.source}: {explain_placement(summary.download)}.")
    rate = format_bytes(summary.bytes / result.seconds) if result.seconds > 0 else "0 B"
    print_line(
        f"{cast_name(summary)}: {format_state(summary.state)},"
        f" {summary.verified} of {format_count(len(summary.recipients), 'recipient')},"
        f" {format_bytes(summary.bytes)} in {result.seconds:.1f} s ({rate}/s),"
        f" {summary.source_copies:.2f} copies uploaded{_encryption(result)}"
    )
    _print_other_failure(result)
    warn_of_clear_text(summary, result.deliveries)
    _print_multicast(summary)
    _print_checksums(summary)
    if summary.verified or summary.state is CastState.PARTLY_FAILED:
        print_links(summary)


def _print_outcome(who: str, item: DeliverySnapshot, paths: str) -> None:
    counts = f"({format_counts(item.counts)})" if _is_telling(item.counts) else ""
    parts = (f"{who}: {format_state(item.state)}", paths, item.hash, counts)
    print_line(" ".join(part for part in parts if part))


def _details(item: DeliverySnapshot) -> str:
    """How a delivery went, for those who ask for more."""
    rate = item.delivered_bytes / item.seconds if item.seconds else 0.0
    facts = [f"{format_bytes(item.bytes)} in {item.seconds:.1f} s ({format_bytes(rate)}/s)"]
    if item.skipped_bytes:
        facts.append(f"{format_bytes(item.skipped_bytes)} of it already present")
    if item.upstream:
        facts.append(f"from {item.upstream}")
    if item.transport is not None:
        facts.append(f"transport {item.transport.value}")
    if item.encrypted is not None:
        facts.append("encrypted" if item.encrypted else "not encrypted")
    if item.removed:
        facts.append(f"{item.removed} removed")
    return ", ".join(facts)


def _is_telling(counts: FileCounts | None) -> bool:
    """Whether it is more than one file, or another one than a new one."""
    return counts is not None and counts not in (FileCounts(), FileCounts(sent=1))


def _encryption(result: CastResult) -> str:
    """Whether it was encrypted from machine to machine, to follow the other facts."""
    if result.summary.encrypted is None:
        return ""
    if result.summary.encrypted:
        return ", encrypted"
    return ", partly encrypted" if any(item.encrypted for item in result.deliveries) else ", not encrypted"


def warn_of_clear_text(cast: CastSummary, deliveries: Iterable[DeliverySnapshot]) -> None:
    """Print on stderr which recipients get bytes that can be read on the way, unless that was asked for."""
    nodes = [item.node for item in deliveries if item.encrypted is False]
    if not nodes or cast.options.encrypt is not Encryption.AUTO:
        return
    if cast.options.transport is TransportOption.UDP:
        print_note("warning: multicast is not encrypted. Use the relay (--transport auto) for secrets.")
        return
    listed = ", ".join(nodes[:NAMED]) + (f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else "")
    print_note(
        f"warning: the connections to {listed} are not encrypted. With --encrypt always, nothing"
        " is sent unencrypted."
    )


def _print_multicast(cast: CastSummary) -> None:
    """Print how much was sent by multicast, and on stderr why multicast has stopped."""
    why = explain_multicast_end(cast.multicast, cast.source)
    if why is not None and cast.state is not CastState.CANCELLED:
        print_note(why.text)
    elif cast.multicast is not None and cast.multicast.bytes:
        print_line(f"{format_bytes(cast.multicast.bytes)} by multicast, once for all.")


def _print_checksums(cast: CastSummary) -> None:
    """Print how many downloaded files were compared with a checksum of their server, and with which."""
    if cast.checksums:
        counts = ", ".join(f"{count} by {LABELS.get(kind, kind)}" for kind, count in cast.checksums.items())
        print_line(
            f"Compared with the checksums of their servers: {counts} of {format_count(cast.files, 'file')}."
        )


def print_links(found: CastSummary | PreflightReport) -> None:
    """Print how symbolic links are sent; on stderr those that point to nothing at the recipients."""
    parts = []
    if found.followed_links:
        parts.append(f"{found.followed_links} sent as their targets")
    if found.kept_links:
        parts.append(f"{found.kept_links} as links")
    if parts:
        print_line(f"Symbolic links: {', '.join(parts)}.")
    warn_of_links(found)


def warn_of_links(found: CastSummary | PreflightReport) -> None:
    """Print on stderr the links that point to nothing at the recipients, the first ones by name."""
    if found.broken_links:
        names = ", ".join(found.broken_names)
        more = found.broken_links - len(found.broken_names)
        listed = f"{names} and {more} more" if more else names
        print_note(
            f"warning: links that are broken on the recipients: {found.broken_links}"
            f" ({listed}). Their targets don't exist or are not sent."
        )


def print_limit(limit: int, cast: str = "") -> None:
    """Print the limit of every node's uploads, over all casts or for one; 0: none."""
    scope = f"for cast {cast}" if cast else "over all casts"
    if limit:
        print(f"Upload limit of every node: {format_bytes(limit)}/s {scope}.")
    else:
        print(f"There is no limit {scope}.")
