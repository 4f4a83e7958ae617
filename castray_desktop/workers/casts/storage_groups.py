"""Which recipients write to one folder of one storage, so that it is written once.

Agents of one machine say so themselves. For those of several machines an equal mount is a reason to look: one
of them places a uniquely named file, and who then finds it by that name, with that content, writes there too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

from castray_desktop.core.failure import CastRayError
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.protocol import Probe, ProbeReply, ProbeVerb

PROBE_SECONDS = 5.0
"""Storage that takes longer counts as not shared."""

ROUNDS = 3
"""So many different storages that call themselves the same are told apart."""

Call = Callable[[str, protocol.Order], Awaitable[protocol.Answers | None]]


class StorageGroups:
    """Asks the agents for one cast. `spawn` runs what nobody waits for."""

    def __init__(
        self,
        cast: str,
        destination: str,
        call: Call,
        spawn: Callable[[Coroutine[None, None, None]], object],
    ) -> None:
        self._cast = cast
        self._destination = destination
        self._call = call
        self._spawn = spawn

    async def find(self, replies: Mapping[str, protocol.PreflightReply]) -> dict[str, str]:
        """A text for each node's storage: equal for nodes that write to one folder."""
        storage = {node: reply.storage or f"of {node} alone" for node, reply in replies.items()}
        groups = await asyncio.gather(*(self._look(nodes) for nodes in _candidates(replies, storage)))
        for group in (group for found in groups for group in found):
            merged = {storage[node]: storage[group[0]] for node in group}
            storage = {node: merged.get(key, key) for node, key in storage.items()}
        return storage

    async def _look(self, nodes: Sequence[str]) -> list[Sequence[str]]:
        """Groups of two or more of these nodes that see each other's files."""
        groups: list[Sequence[str]] = []
        for _ in range(ROUNDS):
            if len(nodes) < 2:
                break
            seen = await self._who_sees(nodes[0], nodes[1:])
            if seen:
                groups.append((nodes[0], *seen))
            nodes = [node for node in nodes[1:] if node not in seen]
        return groups

    async def _who_sees(self, writer: str, others: Iterable[str]) -> tuple[str, ...]:
        name, content = f".castray-probe-{secrets.token_hex(16)}", secrets.token_hex(16)
        others = tuple(others)
        try:
            placed = await self._ask(
                writer, Probe(self._cast, ProbeVerb.PLACE, name, content, self._destination)
            )
            if not placed.yes:
                return ()
            look = Probe(self._cast, ProbeVerb.LOOK, name, content, self._destination, placed.below)
            answers = await asyncio.gather(*(self._ask(node, look) for node in others))
        finally:  # also when it was not there in time, and when the cast is cancelled meanwhile
            self._spawn(self._remove(writer, name))
        return tuple(node for node, answer in zip(others, answers, strict=True) if answer.yes)

    async def _ask(self, node: str, order: Probe) -> ProbeReply:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                answer = await self._call(node, order)
        except (CastRayError, TimeoutError):  # a node that is lost is dealt with elsewhere
            return ProbeReply(False)
        return answer if isinstance(answer, ProbeReply) else ProbeReply(False)

    async def _remove(self, node: str, name: str) -> None:
        await self._ask(node, Probe(self._cast, ProbeVerb.REMOVE, name))


def _candidates(
    replies: Mapping[str, protocol.PreflightReply], storage: Mapping[str, str]
) -> list[list[str]]:
    """Nodes with one mount, the first of each storage."""
    seen: set[str] = set()
    by_mount: dict[str, list[str]] = defaultdict(list)
    for node, reply in replies.items():
        if reply.mount and storage[node] not in seen:
            by_mount[reply.mount].append(node)
        seen.add(storage[node])
    return [nodes for nodes in by_mount.values() if len(nodes) > 1]
