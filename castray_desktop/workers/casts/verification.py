"""Verification jobs: nodes read files back, and their hashes are compared."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable

import msgspec

from castray_desktop.core.casts.node_selector import ALL_NODES, nobody_online, resolve_recipients
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import (
    DeliverySnapshot,
    DeliveryState,
    NodeState,
    VerifiedNode,
    VerifiedState,
    Verify,
    VerifyProgress,
    VerifyReport,
)
from castray_desktop.core.protocol.nodes import agent_orders
from castray_desktop.core.protocol.nodes.agent_reports import VerificationReport, VerificationState
from castray_desktop.workers.base.async_tasks import BackgroundTasks
from castray_desktop.workers.casts.agent_directory import broadcast, common_algorithms
from castray_desktop.workers.casts.cast_table import ClusterContext
from castray_desktop.workers.casts.session.cast_status import CastStatus, offline_failure

PROGRESS_SECONDS = 0.25
PAGE_FILES = 1000
MAX_SHOWN_FILES = 100
"""Maximum of differing files that are listed."""

_STATES = {
    VerificationState.DONE: VerifiedState.SAME,
    VerificationState.MISSING: VerifiedState.MISSING,
    VerificationState.FAILED: VerifiedState.FAILED,
}


class VerificationJobs:
    """The running verification jobs."""

    def __init__(self, context: ClusterContext) -> None:
        self._context = context
        self._agents = context.agents
        self._background = BackgroundTasks()
        self._jobs: dict[str, _VerificationJob] = {}

    async def verify_path(self, command: Verify) -> VerifyReport:
        """Compare what lies at a path across nodes: what most of them have counts as right.

        Raises CastRayError.
        """
        if not command.path.startswith("/"):
            raise CastRayError(FailureKind.BAD_DESTINATION, destination=command.path)
        nodes = self._named(command.nodes)
        hellos = (self._agents.hello(node) for node in nodes)
        algorithm = common_algorithms(hello for hello in hellos if hello is not None).file
        order = agent_orders.VerifyFiles(command.job, path=command.path, algorithm=algorithm)
        async with self._running(command.job, nodes) as job:
            await job.run(order)
            return VerifyReport(command.job, await self._compare(job))

    async def verify_cast(self, command: Verify, deliveries: Iterable[DeliverySnapshot]) -> VerifyReport:
        """Compare what a cast delivered with what its source sent. Raises CastRayError."""
        there = {item.node: item for item in deliveries if item.state.delivered}
        wanted = set(there) if ALL_NODES in command.nodes else set(self._named(command.nodes))
        chosen = [node for node in there if node in wanted]
        readers = {node: _reader(there[node]) for node in chosen}
        if not chosen:
            raise CastRayError(FailureKind.NOTHING_TO_VERIFY, cast=command.cast)
        order = agent_orders.VerifyFiles(command.job, cast=command.cast)
        async with self._running(command.job, tuple(dict.fromkeys(readers.values()))) as job:
            await job.run(order)
            found = {node: _verified(node, report) for node, report in job.reports.items()}
        return VerifyReport(
            command.job, tuple(msgspec.structs.replace(found[readers[node]], node=node) for node in chosen)
        )

    async def is_intact(self, status: CastStatus, node: str) -> bool:
        """Whether all files that a cast delivered to a node still have their hashes."""
        command = Verify(secrets.token_hex(6), cast=status.cast, nodes=(node,))
        try:
            report = await self.verify_cast(command, map(status.delivery, status.recipients))
        except CastRayError:
            return False
        return all(item.state is VerifiedState.SAME for item in report.nodes)

    def cancel(self, job: str) -> None:
        """Cancel a job. Raises CastRayError(JOB_UNKNOWN)."""
        if job not in self._jobs:
            raise CastRayError(FailureKind.JOB_UNKNOWN, job=job)
        self._jobs[job].cancel()

    def reported(self, node: str, reports: Iterable[VerificationReport]) -> None:
        """Handle an agent's verification reports."""
        for report in reports:
            if (job := self._jobs.get(report.job)) is not None:
                job.reported(node, report)

    def agent_lost(self, node: str) -> None:
        """A node's agent is gone, with its jobs."""
        for job in self._jobs.values():
            job.lost(node, offline_failure(node))

    def close(self) -> None:
        """Cancel all jobs."""
        for job in self._jobs.values():
            job.cancel()
        self._background.cancel()

    def _named(self, selectors: tuple[str, ...]) -> tuple[str, ...]:
        """Raises CastRayError. `all` are the online nodes, including this computer."""
        nodes = self._agents.nodes
        if ALL_NODES in selectors:
            there = tuple(name for name, node in nodes.items() if node.state is NodeState.ONLINE)
            if not there:
                raise nobody_online(nodes, self._agents.target)
            return there
        return resolve_recipients(selectors, "", nodes, self._context.services.groups())

    @contextlib.asynccontextmanager
    async def _running(self, name: str, nodes: tuple[str, ...]) -> AsyncIterator[_VerificationJob]:
        if name in self._jobs:
            raise CastRayError(FailureKind.INTERNAL, reason=f"there is a job {name} already")
        job = self._jobs[name] = _VerificationJob(name, nodes, self._context)
        try:
            yield job
        finally:
            del self._jobs[name]
            self._background.run(broadcast(self._agents, nodes, agent_orders.EndVerification(name)))

    async def _compare(self, job: _VerificationJob) -> tuple[VerifiedNode, ...]:
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
        """The files that differ: the first of them by name, and how many."""
        names: list[str] = []
        count = 0
        async for name in _differing_names(self._files(job, one), self._files(job, other)):
            count += 1
            if len(names) < MAX_SHOWN_FILES:
                names.append(name)
        return tuple(names), count

    async def _files(self, job: str, node: str) -> AsyncIterator[agent_orders.FileHash]:
        start = 0
        while True:
            reply = await self._agents.call(node, agent_orders.DescribeFiles(job, start, PAGE_FILES))
            files = reply.files if isinstance(reply, agent_orders.FileHashPage) else ()
            for file in files:
                yield file
            start += PAGE_FILES
            if len(files) < PAGE_FILES:
                return


class _VerificationJob:
    """One verification job: the reports of its nodes."""

    def __init__(self, name: str, nodes: tuple[str, ...], context: ClusterContext) -> None:
        self.name = name
        self.nodes = nodes
        self.reports = dict.fromkeys(nodes, VerificationReport(name, VerificationState.READING))
        self._context = context
        self._published = 0.0
        self._cancelled = False
        self._changed = asyncio.Event()

    async def run(self, order: agent_orders.VerifyFiles) -> None:
        """Run until every node has finished. Raises CastRayError(CANCELLED)."""
        await asyncio.gather(*(self._order(node, order) for node in self.nodes))
        while not self._cancelled and not self._is_finished():
            self._changed.clear()
            await self._changed.wait()
        if self._cancelled:
            raise CastRayError(FailureKind.CANCELLED)
        self._publish_progress()

    def reported(self, node: str, report: VerificationReport) -> None:
        if self.reports.get(node, report).state is VerificationState.READING and node in self.reports:
            self.reports[node] = report
            self._changed.set()
            if self._context.now - self._published >= PROGRESS_SECONDS:
                self._publish_progress()

    def lost(self, node: str, failure: Failure) -> None:
        self.reported(node, VerificationReport(self.name, VerificationState.FAILED, failure=failure))

    def cancel(self) -> None:
        self._cancelled = True
        self._changed.set()

    async def _order(self, node: str, order: agent_orders.VerifyFiles) -> None:
        try:
            await self._context.agents.call(node, order)
        except CastRayError as error:
            self.lost(node, error.failure)

    def _is_finished(self) -> bool:
        return all(report.state is not VerificationState.READING for report in self.reports.values())

    def _publish_progress(self) -> None:
        self._published = self._context.now
        reports = self.reports.values()
        known = all(report.total or report.state is not VerificationState.READING for report in reports)
        total = sum(report.total for report in reports) if known else 0
        self._context.publish(VerifyProgress(self.name, sum(report.read for report in reports), total))


def _reader(delivery: DeliverySnapshot) -> str:
    """The node that can read back a delivery: for shared files, the writer."""
    return delivery.upstream if delivery.state is DeliveryState.SHARED else delivery.node


def _verified(node: str, report: VerificationReport) -> VerifiedNode:
    state = _STATES[report.state]
    if report.differing_count and state is not VerifiedState.MISSING:
        state = VerifiedState.DIFFERENT
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


async def _differing_names(
    ones: AsyncIterator[agent_orders.FileHash], others: AsyncIterator[agent_orders.FileHash]
) -> AsyncIterator[str]:
    """Names that only one side has, or whose hashes differ. Both sides are sorted by name."""
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


def _key(file: agent_orders.FileHash) -> bytes:
    return file.path.encode(errors="surrogateescape")
