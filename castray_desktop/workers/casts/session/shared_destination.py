"""Recipients that write to the same folder: one writes, the others wait for it.

Agents of one machine report equal storage themselves. For agents of several machines, an equal mount is a
reason to probe: one of them creates a uniquely named file, and a node that finds it with that content writes
to the same folder. The same probe finds recipients that would write to the very folder that is sent,
where nothing may be pruned.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from castray_desktop.core.casts.states import DeliveryEvent
from castray_desktop.core.failures.kinds import FILES_NOT_SENT, CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import DestinationReply, Probe, ProbeReply, ProbeVerb
from castray_desktop.workers.casts.session.session_context import SessionContext

SHARED_PROBE_SECONDS = 5.0
"""Storage that takes longer counts as not shared."""

SOURCE_PROBE_SECONDS = 15.0

ROUNDS = 3
"""Number of storages with the same name that are distinguished."""

log = logging.getLogger("castray.cast")


@contextlib.contextmanager
def _probe(context: SessionContext, node: str) -> Iterator[Probe]:
    """The order to place a probe file in the node's destination.

    The file is removed also when it was not there in time, and when the cast is cancelled meanwhile.
    """
    name, content = f".castray-probe-{secrets.token_hex(16)}", secrets.token_hex(16)
    destination = context.status.request.options.destination
    try:
        yield Probe(context.cast, ProbeVerb.PLACE, name, content, destination)
    finally:
        context.background.run(context.broadcast((node,), Probe(context.cast, ProbeVerb.REMOVE, name)))


async def find_shared_storage(
    context: SessionContext, replies: Mapping[str, DestinationReply]
) -> dict[str, str]:
    """A text for each node's storage: equal for nodes that write to one folder."""
    storage = {node: reply.storage or f"of {node} alone" for node, reply in replies.items()}
    groups = await asyncio.gather(
        *(_group_nodes(context, nodes) for nodes in _nodes_by_mount(replies, storage))
    )
    for group in itertools.chain.from_iterable(groups):
        merged = {storage[node]: storage[group[0]] for node in group}
        storage = {node: merged.get(key, key) for node, key in storage.items()}
    return storage


async def _group_nodes(context: SessionContext, nodes: Sequence[str]) -> list[Sequence[str]]:
    """Groups of two or more nodes that see each other's files."""
    groups: list[Sequence[str]] = []
    for _ in range(ROUNDS):
        if len(nodes) < 2:
            break
        seen = await _who_sees(context, nodes[0], nodes[1:])
        if seen:
            groups.append((nodes[0], *seen))
        nodes = [node for node in nodes[1:] if node not in seen]
    return groups


async def _who_sees(context: SessionContext, writer: str, others: Sequence[str]) -> tuple[str, ...]:
    with _probe(context, writer) as place:
        placed = await _ask(context, writer, place)
        if not placed.yes:
            return ()
        look = dataclasses.replace(place, verb=ProbeVerb.LOOK, below=placed.below)
        answers = await asyncio.gather(*(_ask(context, node, look) for node in others))
    return tuple(node for node, answer in zip(others, answers, strict=True) if answer.yes)


async def _ask(context: SessionContext, node: str, order: Probe) -> ProbeReply:
    try:
        async with asyncio.timeout(SHARED_PROBE_SECONDS):
            answer = await context.agents.call(node, order)
    except (CastRayError, TimeoutError):  # a node that is lost is dealt with elsewhere
        return ProbeReply(False)
    return answer if isinstance(answer, ProbeReply) else ProbeReply(False)


def _nodes_by_mount(replies: Mapping[str, DestinationReply], storage: Mapping[str, str]) -> list[list[str]]:
    """Nodes with the same mount, the first of each storage."""
    seen: set[str] = set()
    by_mount: dict[str, list[str]] = defaultdict(list)
    for node, reply in replies.items():
        if reply.mount and storage[node] not in seen:
            by_mount[reply.mount].append(node)
        seen.add(storage[node])
    return [nodes for nodes in by_mount.values() if len(nodes) > 1]


async def find_source_folder_recipients(context: SessionContext, nodes: Iterable[str]) -> frozenset[str]:
    """Recipients that write to the source's folder; one that can't be checked is included."""
    nodes = tuple(nodes)
    found = await asyncio.gather(*(_writes_to_source_folder(context, node) for node in nodes))
    return frozenset(node for node, here in zip(nodes, found, strict=True) if here)


def folders_above(paths: Iterable[str]) -> tuple[str, ...]:
    """Destinations at which one of these paths, or a folder above it, would be written."""
    found = []
    for path in map(PurePosixPath, paths):
        folders = (path, *path.parents)
        found += [str(above) for below, above in itertools.pairwise(folders) if below.name == path.name]
    return tuple(dict.fromkeys(found))


async def _writes_to_source_folder(context: SessionContext, node: str) -> bool:
    request, agents = context.status.request, context.agents
    try:
        with _probe(context, node) as place:
            async with asyncio.timeout(SOURCE_PROBE_SECONDS):
                placed = await agents.call(node, place)
                if isinstance(placed, ProbeReply) and placed.yes and placed.below:
                    return False  # there is no such folder yet
                looks = [
                    dataclasses.replace(place, verb=ProbeVerb.LOOK, destination=folder)
                    for folder in folders_above(request.local_paths)
                ]
                answers = await asyncio.gather(*(agents.call(request.source, look) for look in looks))
    except (CastRayError, TimeoutError) as error:
        log.warning("cast %s: no pruning on %s, which did not respond in time: %s", context.cast, node, error)
        return True
    return not _answered(placed, True) or not all(_answered(answer, False) for answer in answers)


def _answered(answer: object, yes: bool) -> bool:
    return isinstance(answer, ProbeReply) and answer.yes is yes


_AWAY = frozenset(
    {
        FailureKind.NODE_OFFLINE,
        FailureKind.NODE_SILENT,
        FailureKind.NODE_AWAITED,
        FailureKind.UPSTREAM_LOST,
        FailureKind.COPY_CHANGED,
        FailureKind.NO_WAY,
        FailureKind.NOT_TRUSTED,
        FailureKind.CANCELLED,
    }
)


class SharedDestinations:
    """Lets one recipient of each folder write, and decides about the others when it ends."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._status = context.status
        self.writers: dict[str, str] = {}
        """The writer of each follower: a recipient that does not write itself. No writer is a follower."""
        self.folders: dict[str, DestinationReply] = {}
        """The destination of each recipient; `storage` is equal for all that write to one folder."""

    async def find_shared(self, replies: Mapping[str, DestinationReply]) -> None:
        """Find out where these recipients write."""
        there = {node: reply for node, reply in self.folders.items() if node not in self._context.absences}
        asked = {**there, **replies}
        request, here = self._status.request, frozenset[str]()
        if request.options.remove_extra:
            here = await find_source_folder_recipients(self._context, replies)
        for node, storage in (await find_shared_storage(self._context, asked)).items():
            sent_here = asked[node].sent_here or node in here
            self.folders[node] = dataclasses.replace(asked[node], storage=storage, sent_here=sent_here)

    def may_remove(self, node: str) -> bool:
        """Whether `node` may prune, if that was requested."""
        folder = self.folders.get(node)
        return self._status.request.options.remove_extra and folder is not None and not folder.sent_here

    def assign(self, nodes: Iterable[str]) -> None:
        """Assign these recipients, each as the writer of its folder or to the one that writes there."""
        first: dict[str, str] = {}
        for node, folder in self.folders.items():
            if node not in self.writers:
                first.setdefault(folder.storage, node)
        for node in nodes:
            writer = first[self.folders[node].storage]
            if writer != node:
                self.writers[node] = writer

    def add_recipient(self, node: str) -> None:
        """Add a recipient, whose writer may have finished."""
        self.assign((node,))
        writer = self.writers.get(node)
        if writer is None:
            return
        state = self._status.delivery(writer).state
        if state.delivered:
            self._share(node, writer)
        elif state.finished:
            self._promote(writer, node)

    def replace_writer(self, writer: str) -> bool:
        """Let another recipient write instead of a lost writer, if one is online."""
        if self._status.delivery(writer).state.delivered:
            return False
        successors = self._successors(writer)
        successors = [
            successor for successor in successors if not self._status.is_recipient_paused(successor)
        ] or successors
        if successors:
            self._promote(writer, successors[0])
        return bool(successors)

    def replace_paused_writer(self, node: str) -> None:
        """Let another active recipient write instead of a paused writer, if there is one.

        The writer keeps its data, in case it writes again.
        """
        for successor in self._successors(node):
            if not self._status.is_recipient_paused(successor):
                self._promote(node, successor)
                return

    def _successors(self, writer: str) -> list[str]:
        return [
            node
            for node in self._followers(writer)
            if node not in self._context.absences and not self._status.delivery(node).state.finished
        ]

    def _followers(self, writer: str) -> tuple[str, ...]:
        return tuple(node for node, current in self.writers.items() if current == writer)

    def _promote(self, writer: str, follower: str) -> None:
        """Let a follower of `writer` write for it and for all others."""
        del self.writers[follower]
        for node in (*self._followers(writer), writer):
            self.writers[node] = follower

    def delivery_ended(self, node: str) -> bool:
        """Its delivery has ended, and possibly those that depend on it.

        Returns whether it can't serve others any more.
        """
        snapshot = self._status.delivery(node)
        if snapshot.state.delivered:
            for follower in self._followers(node):
                self._share(follower, node)
            return False
        kind = snapshot.failure.kind if snapshot.failure is not None else None
        if kind in FILES_NOT_SENT:
            self._fail_followers(node, snapshot.failure)
            return False
        # The trouble of a writer's disk would be its followers' trouble as well.
        if not (kind in _AWAY and self.replace_writer(node)):
            self._fail_followers(node, None)
        return True

    def _fail_followers(self, writer: str, failure: Failure | None) -> None:
        for follower in self._followers(writer):
            own = Failure(FailureKind.WRITER_FAILED, {"writer": writer, "node": follower})
            self._context.end_delivery(follower, DeliveryEvent.FAILED, failure or own)

    def _share(self, follower: str, writer: str) -> None:
        folders = self.folders[writer].destination, self.folders[follower].destination
        self._status.mark_shared(follower, writer, self._context.now, *folders)
