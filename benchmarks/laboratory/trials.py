"""Casts in a laboratory for benchmarks: timed, counted, compared byte by byte, and cleaned up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from benchmarks.laboratory.lab import Lab
from benchmarks.laboratory.lab_nodes import LabNodes, lab_nodes
from benchmarks.laboratory.memory_disk import memory_disk
from castray_desktop.core.casts.transfer_options import Encryption, TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import (
    DeliverySnapshot,
    MulticastSnapshot,
    SendRequest,
    TransportOption,
)

MIB = 1 << 20
IPERF_SECONDS = 2.0
PATIENCE_SECONDS = 60.0
PATIENCE = 12
"""A cast may take this many times as long as its bytes take at the links' rate, plus `PATIENCE_SECONDS`."""

CANCEL_SECONDS = 30.0
UNKNOWN_RATE = 10e6  # bytes per second, for the time limit if no rate was measured

During = Callable[[str], Awaitable[Collection[str]]]
"""Disturb a running cast. Returns the recipients that need not complete."""


class TrialFailed(Exception):
    """A cast failed; the text says how."""


@dataclass(frozen=True)
class Trial:
    """The measurements of one cast."""

    seconds: float  # from Send until the last required recipient had it, verified
    copies: float  # bytes that left the source
    cpu: float  # CPU seconds of all agents
    growth: int  # bytes of the agent that grew most
    chain: tuple[str, ...]
    deliveries: Mapping[str, DeliverySnapshot]  # of the required recipients
    received: Mapping[str, int]  # payload bytes by recipient, including repeated ones
    stream: int  # bytes of the cast's stream
    by_datagrams: float = 0.0  # share of the stream, 0..1, on average over the recipients
    repaired: int = 0  # bytes that receivers did not get in datagrams, all recipients together
    multicast: MulticastSnapshot | None = None  # if it was used
    encrypted: bool | None = None


class Bench:
    """A laboratory with an agent in each host. The first host's node is the source."""

    def __init__(self, lab: Lab, nodes: LabNodes, limit: float) -> None:
        self.lab = lab
        self.nodes = nodes
        self.limit = limit
        """Bytes per second of one TCP stream, as iperf3 measured it; 0 if it was not measured."""
        self.recipients = tuple(host.name for host in lab.hosts[1:])
        self._digests: dict[Path, dict[str, str]] = {}

    def one_copy(self, size: int) -> float:
        """Seconds that one copy takes at the limit."""
        return size / self.limit

    async def make_file(self, size: int, folder: Path | None = None) -> Path:
        """A file of random bytes on the source."""
        path = (folder or self.nodes.folder / "source") / "payload.bin"
        await asyncio.to_thread(make_file, path, size)
        return path

    async def make_tree(self, files: int, size: int) -> Path:
        """A folder of files of `size` bytes each on the source."""
        path = self.nodes.folder / "source" / "tree"
        await asyncio.to_thread(make_tree, path, files, size)
        return path

    def host(self, node: str) -> int:
        """The number of a node's host."""
        return next(number for number, host in enumerate(self.lab.hosts) if host.name == node)

    def chain(self, cast: str) -> tuple[str, ...]:
        """The relay order of a cast's nodes, source first."""
        return next(item.chain for item in self.nodes.cast_manager.summaries() if item.cast == cast)

    def bytes_at(self, cast: str, node: str) -> int:
        """Verified bytes of the stream at a recipient, according to its reports."""
        report = self.nodes.reports.get((cast, node))
        return report.stream_bytes if report else 0

    def send(
        self,
        path: Path,
        recipients: Iterable[str] = (),
        transport: TransportOption = TransportOption.DIRECT,
        encrypt: Encryption = Encryption.NEVER,
    ) -> str:
        """Start a cast, to all nodes unless recipients are given."""
        request = SendRequest(
            (str(path),),
            tuple(recipients) or ("all",),
            source=self.lab.hosts[0].name,
            options=TransferOptions(transport=transport, encrypt=encrypt),
        )
        return self.nodes.cast_manager.send(request)

    async def run(
        self,
        path: Path,
        during: During | None = None,
        recipients: Collection[str] = (),
        transport: TransportOption = TransportOption.DIRECT,
        encrypt: Encryption = Encryption.NEVER,
    ) -> Trial:
        """Run a cast to its end and compare every byte. Raises TrialFailed.

        If only other recipients remain, the cast is cancelled.
        """
        self.nodes.reset_usage()
        patience = PATIENCE_SECONDS + PATIENCE * _size(path) / (self.limit or UNKNOWN_RATE)
        cast = self.send(path, recipients, transport, encrypt)
        try:
            async with asyncio.timeout(patience):
                spared = await during(cast) if during else ()
                waited = {item.node for item in self.nodes.cast_manager.deliveries()[cast]} - set(spared)
                deliveries = await self.nodes.ended(cast, sorted(waited), patience)
                if not spared:
                    await self.nodes.cast_manager.result(cast)
            trial = self._trial(cast, deliveries)
            await self._compare(path, deliveries)
        except TimeoutError as error:
            raise TrialFailed(f"no end within {patience:.0f} s: {self._state(cast)}") from error
        finally:
            await self._clear(cast)
        return trial

    def _trial(self, cast: str, deliveries: Mapping[str, DeliverySnapshot]) -> Trial:
        for node, delivery in deliveries.items():
            if not delivery.state.delivered:
                reason = sentence(delivery.failure) if delivery.failure else delivery.state
                raise TrialFailed(f"{node}: {reason}")
        usage = self.nodes.usage().values()
        summary = next(item for item in self.nodes.cast_manager.summaries() if item.cast == cast)
        reports = {node: self.nodes.reports[cast, node] for node in deliveries}
        stream = max(report.stream_bytes for report in reports.values())
        by_datagrams = sum(report.datagram_bytes for report in reports.values())
        return Trial(
            seconds=max(delivery.seconds for delivery in deliveries.values()),
            copies=summary.source_copies,
            cpu=sum(used.cpu for used in usage),
            growth=max((used.growth for used in usage), default=0),
            chain=summary.chain,
            deliveries=deliveries,
            received={node: report.received_bytes for node, report in reports.items()},
            stream=stream,
            by_datagrams=by_datagrams / (stream * len(reports)),
            repaired=sum(report.repaired_bytes for report in reports.values()),
            multicast=summary.multicast,
            encrypted=summary.encrypted,
        )

    async def _compare(self, path: Path, deliveries: Mapping[str, DeliverySnapshot]) -> None:
        """Raises TrialFailed if a recipient's bytes differ from the source's."""
        if path not in self._digests:
            self._digests[path] = await asyncio.to_thread(_digests, path)
        for node, delivery in deliveries.items():
            if await asyncio.to_thread(_digests, Path(delivery.paths[0])) != self._digests[path]:
                raise TrialFailed(f"{node} has other bytes than the source")

    def _state(self, cast: str) -> str:
        found = [item for item in self.nodes.cast_manager.deliveries()[cast] if not item.state.finished]
        return ", ".join(f"{item.node} {item.state} with {item.bytes} bytes" for item in found) or "all ended"

    async def _clear(self, cast: str) -> None:
        with contextlib.suppress(CastRayError, TimeoutError):  # it has ended, or can't end
            async with asyncio.timeout(CANCEL_SECONDS):
                await self.nodes.cast_manager.cancel(cast)
        for node in self.nodes.nodes.values():
            await asyncio.to_thread(shutil.rmtree, node.inbox, ignore_errors=True)


@contextlib.asynccontextmanager
async def bench(
    hosts: int,
    rate: str | None,
    *,
    loss: float = 0.0,
    coalesce: bool = True,
    delay: float = 0.0,
    measure: bool = True,
) -> AsyncIterator[Bench]:
    """A laboratory with agents; the rate of one stream is measured first, without loss.

    Raises LabUnavailable, RuntimeError.
    """
    with memory_disk("castray-bench-") as disk, Lab(hosts, rate, coalesce=coalesce, delay=delay) as lab:
        limit = lab.iperf(lab.hosts[0], lab.hosts[1], IPERF_SECONDS) if measure else 0.0
        if loss:
            for host in lab.hosts:
                lab.set_loss(host, loss)
        async with lab_nodes(lab, below=disk) as nodes:
            yield Bench(lab, nodes, limit)


def make_file(path: Path, size: int) -> None:
    """A file of random bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for at in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - at)))


def make_tree(path: Path, files: int, size: int) -> None:
    """A folder of files of `size` bytes each, 250 in each subfolder, all different."""
    block = os.urandom(files + size)
    for number in range(files):
        below = path / f"{number // 250:04}"
        if number % 250 == 0:
            below.mkdir(parents=True)
        (below / f"{number:06}.bin").write_bytes(block[number : number + size])


async def repeat(
    times: int, lab: Bench, path: Path, transport: TransportOption = TransportOption.DIRECT
) -> list[Trial]:
    """The same cast to all nodes several times, one after the other. Raises TrialFailed."""
    return [await lab.run(path, transport=transport) for _ in range(times)]


def median(values: Iterable[float]) -> float:
    """The median."""
    return statistics.median(values)


def stopwatch() -> Callable[[], float]:
    """A function that returns the seconds since now."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def _digests(path: Path) -> dict[str, str]:
    """The hash of each file at or below a path, by its relative name."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {str(file.relative_to(path)): blake3().update_mmap(file).hexdigest() for file in files}
