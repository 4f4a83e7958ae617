"""Verifications: nodes read files back, and what they find is compared."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.groups import Groups
from castray_desktop.core.messages import (
    DeliverySnapshot,
    DeliveryState,
    Event,
    NodeState,
    VerifiedNode,
    VerifiedState,
    Verify,
    VerifyProgress,
    VerifyReport,
)
from castray_desktop.workers.agents import Agents, common_algorithms
from castray_desktop.workers.casts.ledger import CastLedger, offline
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.protocol import VerificationReport, VerificationState
from castray_desktop.workers.who import ALL, nobody_online, resolve_recipients

PROGRESS_SECONDS = 0.25
PAGE = 1000
SHOWN = 100
"""So many differing files are named."""

_STATES = {
    VerificationState.DONE: VerifiedState.SAME,
    VerificationState.MISSING: VerifiedState.MISSING,
    VerificationState.FAILED: VerifiedState.FAILED,
}


class Verifying:
    """The verifications that run."""

    def __init__(
        self,
        agents: Agents,
        publish: Callable[[Event], None],
        groups: Callable[[], Groups],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agents = agents
        self._publish = publish
        self._groups = groups
        self._clock = clock
        self._orders = Orders(agents)
        self._jobs: dict[str, _Job] = {}

    async def path(self, command: Verify) -> VerifyReport:
        """Compare what lies at a path, node against node: what most of them have is right.

        Raises CastRayError.
        """
        if not command.path.startswith("/"):
            raise CastRayError(FailureKind.BAD_DESTINATION, destination=command.path)
        nodes = self._named(command.nodes)
        algorithm = common_algorithms(self._hellos(nodes)).file
        order = protocol.VerifyFiles(command.job, path=command.path, algorithm=algorithm)
        async with self._running(command.job, nodes) as job:
            await job.run(order)
            return VerifyReport(command.job, await self._compare(job))

    async def cast(self, command: Verify, deliveries: Iterable[DeliverySnapshot]) -> VerifyReport:
        """Compare what an ended cast has delivered with what its source sent. Raises CastRayError."""
        there = {item.node: item for item in deliveries if item.state.delivered}
        wanted = set(there) if ALL in command.nodes else set(self._named(command.nodes))
        chosen = [node for node in there if node in wanted]
        readers = {node: _reader(there[node]) for node in chosen}
        if not chosen:
            raise CastRayError(FailureKind.NOTHING_TO_VERIFY, cast=command.cast)
        order = protocol.VerifyFiles(command.job, cast=command.cast)
        async with self._running(command.job, tuple(dict.fromkeys(readers.values()))) as job:
            await job.run(order)
            found = {node: _verified(node, report) for node, report in job.reports.items()}
        return VerifyReport(
            command.job, tuple(msgspec.structs.replace(found[readers[node]], node=node) for node in chosen)
        )

    async def is_unharmed(self, ledger: CastLedger, node: str) -> bool:
        """Whether all that a cast has delivered to a node still has the hashes that it came with."""
        command = Verify(secrets.token_hex(6), cast=ledger.cast, nodes=(node,))
        try:
            report = await self.cast(command, map(ledger.delivery, ledger.recipients))
        except CastRayError:
            return False
        return all(item.state is VerifiedState.SAME for item in report.nodes)

    def cancel(self, job: str) -> None:
        """Stop one. Raises CastRayError(JOB_UNKNOWN)."""
        if job not in self._jobs:
            raise CastRayError(FailureKind.JOB_UNKNOWN, job=job)
        self._jobs[job].cancel()

    def reported(self, node: str, reports: Iterable[VerificationReport]) -> None:
        """An agent has said how its verifications go."""
        for report in reports:
            if (job := self._jobs.get(report.job)) is not None:
                job.reported(node, report)

    def agent_lost(self, node: str) -> None:
        """A node's agent has gone, and with it what it was reading."""
        for job in self._jobs.values():
            job.lost(node, offline(node))

    def close(self) -> None:
        """End all of them."""
        for job in self._jobs.values():
            job.cancel()
        self._orders.close()

    def _named(self, who: tuple[str, ...]) -> tuple[str, ...]:
        """Raises CastRayError. All are those that are online, this computer too."""
        nodes = self._agents.nodes
        if ALL in who:
            there = tuple(name for name, node in nodes.items() if node.state is NodeState.ONLINE)
            if not there:
                raise nobody_online(nodes, self._agents.target)
            return there
        return resolve_recipients(who, "", nodes, self._groups())

    def _hellos(self, nodes: Iterable[str]) -> list[protocol.AgentHello]:
        found = []
        for node in nodes:
            with contextlib.suppress(CastRayError):
                found.append(self._agents.hello(node))
        return found

    @contextlib.asynccontextmanager
    async def _running(self, name: str, nodes: tuple[str, ...]) -> AsyncIterator[_Job]:
        if name in self._jobs:
            raise CastRayError(FailureKind.INTERNAL, reason=f"there is a job {name} already")
        job = self._jobs[name] = _Job(name, nodes, self._orders, self._publish, self._clock)
        try:
            yield job
        finally:
            del self._jobs[name]
            self._orders.spawn(self._orders.tell(nodes, protocol.EndVerification(name)))

    async def _compare(self, job: _Job) -> tuple[VerifiedNode, ...]:
        verified = {node: _verified(node, report) for node, report in job.reports.items()}
        digests = Counter(item.hash for item in verified.values() if item.state is VerifiedState.SAME)
        if len(digests) > 1:
            right = digests.most_common(1)[0][0]  # of equals the first one's
            reference = next(node for node, item in verified.items() if item.hash == right)
            for node, item in verified.items():
                if item.state is VerifiedState.SAME and item.hash != right:
                    names, count = await self._differing(job.name, reference, node)
                    verified[node] = msgspec.structs.replace(
                        item, state=VerifiedState.DIFFERENT, differing=names, differing_count=count
                    )
        return tuple(verified[node] for node in job.nodes)

    async def _differing(self, job: str, one: str, other: str) -> tuple[tuple[str, ...], int]:
        """Which files are not the same on both: the first of them by name, and how many."""
        names: list[str] = []
        count = 0
        async for name in _unlike(self._files(job, one), self._files(job, other)):
            count += 1
            if len(names) < SHOWN:
                names.append(name)
        return tuple(names), count

    async def _files(self, job: str, node: str) -> AsyncIterator[protocol.FileHash]:
        start = 0
        while True:
            reply = await self._orders.call(node, protocol.DescribeFiles(job, start, PAGE))
            files = reply.files if isinstance(reply, protocol.FileHashes) else ()
            for file in files:
                yield file
            start += PAGE
            if len(files) < PAGE:
                return


class _Job:
    """One verification: what its nodes have said."""

    def __init__(
        self,
        name: str,
        nodes: tuple[str, ...],
        orders: Orders,
        publish: Callable[[Event], None],
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.nodes = nodes
        self.reports = dict.fromkeys(nodes, VerificationReport(name, VerificationState.READING))
        self._orders = orders
        self._publish = publish
        self._clock = clock
        self._told = 0.0
        self._cancelled = False
        self._news = asyncio.Event()

    async def run(self, order: protocol.VerifyFiles) -> None:
        """Until every node is through. Raises CastRayError(CANCELLED)."""
        await asyncio.gather(*(self._order(node, order) for node in self.nodes))
        while not self._cancelled and not self._is_through():
            self._news.clear()
            await self._news.wait()
        if self._cancelled:
            raise CastRayError(FailureKind.CANCELLED)
        self._tell()

    def reported(self, node: str, report: VerificationReport) -> None:
        if self.reports.get(node, report).state is VerificationState.READING and node in self.reports:
            self.reports[node] = report
            self._news.set()
            if self._clock() - self._told >= PROGRESS_SECONDS:
                self._tell()

    def lost(self, node: str, failure: Failure) -> None:
        self.reported(node, VerificationReport(self.name, VerificationState.FAILED, failure=failure))

    def cancel(self) -> None:
        self._cancelled = True
        self._news.set()

    async def _order(self, node: str, order: protocol.VerifyFiles) -> None:
        try:
            await self._orders.call(node, order)
        except CastRayError as error:
            self.lost(node, error.failure)

    def _is_through(self) -> bool:
        return all(report.state is not VerificationState.READING for report in self.reports.values())

    def _tell(self) -> None:
        self._told = self._clock()
        reports = self.reports.values()
        known = all(report.total or report.state is not VerificationState.READING for report in reports)
        total = sum(report.total for report in reports) if known else 0
        self._publish(VerifyProgress(self.name, sum(report.read for report in reports), total))


def _reader(delivery: DeliverySnapshot) -> str:
    """Who can read back what was delivered: for shared files the one that wrote them."""
    return delivery.upstream if delivery.state is DeliveryState.SHARED else delivery.node


def _verified(node: str, report: VerificationReport) -> VerifiedNode:
    state = VerifiedState.DIFFERENT if report.differing_count else _STATES[report.state]
    if report.state is VerificationState.MISSING:
        state = VerifiedState.MISSING
    return VerifiedNode(
        node,
        state,
        hash=report.digest if report.state is VerificationState.DONE else "",
        files=report.files,
        bytes=report.total,
        differing=report.differing,
        differing_count=report.differing_count,
        failure=report.failure,
    )


async def _unlike(
    ones: AsyncIterator[protocol.FileHash], others: AsyncIterator[protocol.FileHash]
) -> AsyncIterator[str]:
    """Names that only one has, or that have another hash; both are sorted by name."""
    one, other = await anext(ones, None), await anext(others, None)
    while one is not None or other is not None:
        if other is None or (one is not None and _key(one) < _key(other)):
            assert one is not None
            yield one.path
            one = await anext(ones, None)
        elif one is None or _key(other) < _key(one):
            yield other.path
            other = await anext(others, None)
        else:
            if one.hash != other.hash:
                yield one.path
            one, other = await anext(ones, None), await anext(others, None)


def _key(file: protocol.FileHash) -> bytes:
    return file.path.encode(errors="surrogateescape")
