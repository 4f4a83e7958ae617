"""Casts over agents in processes of their own, with real sockets and files, and the real cast manager.

Without Ray and without namespaces: each agent has its own loopback address, and so counts as a machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.laboratory.lab import LoopbackHosts
from benchmarks.laboratory.lab_nodes import LabNodes
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import DeliverySnapshot, SendRequest
from castray_desktop.core.protocol.nodes import agent_reports
from castray_desktop.workers.casts.cast_table import CastServices
from tests.faults.fault_cells import Component
from tests.faults.fault_checks import Ending, kept_for_retry, left_behind

SOURCE, FIRST, MIDDLE, LAST = NAMES = ("source", "first", "middle", "last")
RECIPIENTS = (FIRST, MIDDLE, LAST)
NODES = {Component.SOURCE: SOURCE, Component.MIDDLE: MIDDLE, Component.LAST: LAST}
"""The node that a cell concerns."""

KIB, MIB = 1 << 10, 1 << 20
SIZES = {
    "a-first.bin": 3 * MIB,
    "b-second.bin": 3 * MIB,
    "c/third.bin": 2 * MIB + 77,
    "c/small": 100,
    "d-empty": 0,
}
END_SECONDS = 60.0
CLEAR_SECONDS = 20.0


@dataclass(frozen=True)
class Parcel:
    """A folder to send, with the hash of each file."""

    folder: Path
    hashes: Mapping[str, str]  # by path relative to the folder above it, as at a recipient
    sizes: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """Bytes of the contents."""
        return sum(self.sizes.values())

    def allowed(self, name: str) -> tuple[str, ...]:
        """The hashes that a final name may have."""
        return (self.hashes[name],) if name in self.hashes else ()


def make_parcel(folder: Path, sizes: Mapping[str, int] = SIZES) -> Parcel:
    """Random files below a new folder."""
    hashes, found = {}, {}
    for name, size in sizes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = os.urandom(size)
        path.write_bytes(data)
        hashes[f"{folder.name}/{name}"] = hashlib.sha256(data).hexdigest()
        found[f"{folder.name}/{name}"] = size
    return Parcel(folder, hashes, found)


@dataclass
class AgentStage:
    """The nodes, and what a cell asks about their casts."""

    nodes: LabNodes
    folder: Path
    inboxes: Mapping[str, Path]
    homes: Mapping[str, Path]
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)

    async def place(self, name: str) -> None:
        """Start the node's agent, the first one or a replacement."""
        host = next(host for host in self.nodes.lab.hosts if host.name == name)
        environment = {"CASTRAY_HOME": str(self.homes[name]), **self.environments.get(name, {})}
        module = self.modules.get(name, "benchmarks.laboratory.lab_agent")
        await self.nodes.place(host, inbox=self.inboxes[name], environment=environment, module=module)

    def send(self, paths: Sequence[Path], recipients: Sequence[str] = RECIPIENTS, **options: object) -> str:
        """Start a cast from the source; recipients that can't take it are left out."""
        request = SendRequest(tuple(map(str, paths)), tuple(recipients), source=SOURCE, leave_out=True)
        return self.nodes.cast_manager.send(request.with_options(**options))

    def snapshots(self, cast: str) -> dict[str, DeliverySnapshot]:
        """The deliveries of a cast by node."""
        return {item.node: item for item in self.nodes.cast_manager.deliveries()[cast]}

    async def endings(self, cast: str, seconds: float = END_SECONDS) -> dict[str, Ending]:
        """How the deliveries of a cast end. Those that don't end in time have another state."""
        with contextlib.suppress(TimeoutError):
            await self.nodes.ended(cast, tuple(self.snapshots(cast)), seconds)
            await self.nodes.until(lambda: cast not in self.nodes.cast_manager.unfinished, seconds)
        return {node: ending_of(item) for node, item in self.snapshots(cast).items()}

    def report(self, cast: str, node: str) -> agent_reports.DeliveryReport:
        """The last report of a recipient."""
        return self.nodes.reports[cast, node]

    async def reached(self, cast: str, node: str, stream_bytes: int, seconds: float = END_SECONDS) -> None:
        """Wait until a recipient has reported so many verified bytes. Raises TimeoutError."""
        reports = self.nodes.reports
        await self.nodes.until(
            lambda: (cast, node) in reports and reports[cast, node].stream_bytes >= stream_bytes, seconds
        )

    async def usual_seconds(self, recipients: Sequence[str] = RECIPIENTS, **options: object) -> float:
        """What the slowest recipient of an undisturbed cast of the same size takes."""
        parcel = make_parcel(self.folder / "usual" / "parcel")
        destination = str(self.folder / "usual" / "{node}")
        cast = self.send([parcel.folder], recipients, destination=destination, **options)
        endings = await self.endings(cast)
        assert {ending.state for ending in endings.values()} == {"completed"}, endings
        return max(ending.seconds for ending in endings.values())

    def clear_casts(self) -> None:
        """Remove all ended casts from the list: failed ones stay as long as there are others."""
        for _ in range(2):
            self.nodes.cast_manager.clear_finished()

    async def left(self, *without: str) -> list[str]:
        """What the agents have left behind; not in the inboxes of some nodes.

        What a failed delivery keeps for a retry has a record that says so, and goes when the cast is cleared.
        """
        inboxes = {name: folder for name, folder in self.inboxes.items() if name not in without}
        kept = kept_for_retry(self.homes.values())
        left = [text for text in left_behind(inboxes, self.homes.values()) if text.split()[-1] not in kept]
        self.clear_casts()
        deadline = time.monotonic() + CLEAR_SECONDS
        while left_behind(inboxes, self.homes.values()) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return list(dict.fromkeys((*left, *left_behind(inboxes, self.homes.values()))))


def ending_of(item: DeliverySnapshot) -> Ending:
    """How a delivery has ended, as far as it has."""
    if item.failure is None:
        return Ending(item.state.value, seconds=item.seconds)
    return Ending(item.state.value, item.failure.kind.value, sentence(item.failure), item.seconds)


@contextlib.asynccontextmanager
async def agent_stage(
    folder: Path,
    *,
    inboxes: Mapping[str, Path] | None = None,
    homes: Mapping[str, Path] | None = None,
    environments: Mapping[str, Mapping[str, str]] | None = None,
    modules: Mapping[str, str] | None = None,
    engine: str = "engine",
    services: CastServices | None = None,
) -> AsyncIterator[AgentStage]:
    """Four nodes whose inboxes and homes are below the folder, unless others are given. Raises RuntimeError.

    Agents belong to an engine; there may be two, each with its own.

    At the end every agent must stop by itself: otherwise RuntimeError.
    """
    variables = {**os.environ, "CASTRAY_LOCAL_COPY": "0"}
    run = folder / engine
    run.mkdir(parents=True)
    nodes = LabNodes(LoopbackHosts.of(NAMES), run, variables, services)
    nodes.stop_seconds = END_SECONDS
    stage = AgentStage(
        nodes,
        folder,
        {name: folder / "inbox" / name for name in NAMES} | dict(inboxes or {}),
        {name: folder / "home" / name for name in NAMES} | dict(homes or {}),
        environments or {},
        modules or {},
    )
    try:
        for name in NAMES:
            await stage.place(name)
        yield stage
    finally:
        await nodes.close()
    if nodes.stuck:
        raise RuntimeError(f"agents that had to be killed: {', '.join(nodes.stuck)}")
    if sockets := left_behind({}, runs=(run,)):
        raise RuntimeError(f"left behind: {', '.join(sockets)}")
