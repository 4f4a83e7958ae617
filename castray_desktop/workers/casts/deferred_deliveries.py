"""Deliveries to recipients that were offline when their cast ended: served as soon as they are online.

A new cast serves those that have returned, from the original source, or from a node that received the
files where the source is gone or its files have changed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import DeliverySnapshot, DeliveryState, NodeState, SendRequest
from castray_desktop.core.protocol.nodes.cast_parcel import ParcelTotals
from castray_desktop.workers.casts.cast_table import ClusterContext
from castray_desktop.workers.casts.session.cast_status import CastStatus

GATHER_SECONDS = 1.0
"""Nodes that return within this time are served together."""

RETRIED_FAILURES = frozenset({FailureKind.NODE_OFFLINE, FailureKind.NODE_SILENT, FailureKind.CLUSTER_STOPPED})
"""A recipient that failed with one of these is gone again, and stays deferred."""

log = logging.getLogger("castray.cast")


class StartCast(Protocol):
    """See `CastManager.send`."""

    def __call__(self, request: SendRequest, *, schedule: str = "", follows: str = "") -> str: ...


class DeferredDeliveries:
    """Serves deferred deliveries of ended casts.

    `scan(request)` returns what a request would send, and raises CastRayError. `is_intact(status, node)`
    returns whether a node's files of a cast still have their hashes. `settled(status)` is called after each
    change.
    """

    def __init__(
        self,
        context: ClusterContext,
        send: StartCast,
        scan: Callable[[SendRequest], Awaitable[ParcelTotals]],
        is_intact: Callable[[CastStatus, str], Awaitable[bool]],
        settled: Callable[[CastStatus], None],
    ) -> None:
        self._context = context
        self._send = send
        self._scan = scan
        self._is_intact = is_intact
        self._settled = settled
        self._casts: dict[str, CastStatus] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __contains__(self, cast: object) -> bool:
        return cast in self._casts

    def __bool__(self) -> bool:
        return bool(self._casts)

    def add_cast(self, status: CastStatus) -> None:
        """Add an ended cast with deferred deliveries."""
        self._casts[status.cast] = status
        self.check_nodes()

    def check_nodes(self) -> None:
        """Check whether nodes are online that deferred deliveries need."""
        for cast in self._casts:
            if cast not in self._tasks and any(self._due(cast)):
                work = asyncio.create_task(self._serve(cast), name=f"serve those that cast {cast} waits for")
                self._tasks[cast] = work
                work.add_done_callback(lambda _, cast=cast: self._tasks.pop(cast))  # type: ignore[misc]

    def cast_ended(self, ended: CastStatus) -> None:
        """A cast has ended, possibly one for deferred deliveries."""
        status = self._casts.get(ended.follows)
        if status is None:
            return
        for node in set(status.awaited) & set(ended.recipients):
            delivery = ended.delivery(node)
            if delivery.state is not DeliveryState.AWAITED and not _is_gone_again(delivery):
                status.settle_deferred(delivery)
        self._update(status)
        self.check_nodes()

    def cancel(self, cast: str, nodes: tuple[str, ...] = ()) -> None:
        """Cancel deferred deliveries of these nodes, or of all. Raises CastRayError(CAST_FINISHED)."""
        status = self._casts.get(cast)
        waiting = [node for node in status.awaited if not nodes or node in nodes] if status else []
        if status is None or not waiting:
            raise CastRayError(FailureKind.CAST_FINISHED, cast=cast)
        for node in waiting:
            self._settle(status, node, DeliveryState.CANCELLED, Failure(FailureKind.CANCELLED))
        self._update(status)

    async def close(self) -> None:
        """Stop. Checkpoints remain for the next engine."""
        work = tuple(self._tasks.values())
        for task in work:
            task.cancel()
        if work:
            await asyncio.wait(work)

    # --- inside ---------------------------------------------------------------------------------

    def _due(self, cast: str) -> Iterator[str]:
        """Deferred recipients that are online and not being served."""
        served = {
            node
            for other in self._context.table.unfinished()
            if other.follows == cast
            for node in other.recipients
        }
        return (node for node in self._casts[cast].awaited if self._online(node) and node not in served)

    async def _serve(self, cast: str) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        status = self._casts.get(cast)
        if status is None:
            return
        request = await self._find_source(status)
        nodes = tuple(self._due(cast)) if cast in self._casts else ()
        if not nodes:
            return
        if request is not None:
            try:
                self._send(msgspec.structs.replace(request, recipients=nodes), follows=cast)
            except CastRayError as error:  # the cluster has just gone: retried at the next check
                log.warning("cast %s: %s is not served yet: %s", cast, ", ".join(nodes), error)
        elif not any(item.state.delivered for item in map(status.delivery, status.recipients)):
            values = {"source": status.request.source}
            for node in nodes:
                failure = Failure(FailureKind.NOBODY_HAS_IT, {"node": node, **values})
                self._settle(status, node, DeliveryState.FAILED, failure)
            self._update(status)

    async def _find_source(self, status: CastStatus) -> SendRequest | None:
        """The request for returned recipients; None if no online node has the files.

        An offline source may return, so no delivery fails because of it.
        """
        for request in self._requests(status):
            try:
                totals = await self._scan(request)
            except CastRayError as error:
                log.info("cast %s: %s can't serve what was deferred: %s", status.cast, request.source, error)
                continue
            first = request.source == status.repeatable_request.source
            if not _matches(totals, status.source.totals, exactly=first):
                continue
            if first or await self._is_intact(status, request.source):
                return request
        return None

    def _requests(self, status: CastStatus) -> Iterator[SendRequest]:
        """The original request, then equivalents from online recipients that have the files."""
        plain = msgspec.structs.replace(
            status.repeatable_request, recipients=status.awaited, leave_out=True
        ).with_options(await_offline=False)
        if not plain.source or self._online(plain.source):
            yield plain
        for delivery in map(status.delivery, status.recipients):
            if _has_original_names(delivery, status.source.totals) and self._online(delivery.node):
                yield msgspec.structs.replace(plain, source=delivery.node, paths=delivery.paths).with_options(
                    remove_extra=False, exclude=(), include=()
                )

    def _settle(self, status: CastStatus, node: str, state: DeliveryState, failure: Failure) -> None:
        status.settle_deferred(msgspec.structs.replace(status.delivery(node), state=state, failure=failure))

    def _update(self, status: CastStatus) -> None:
        if not status.awaited:
            self._casts.pop(status.cast, None)
        self._settled(status)

    def _online(self, node: str) -> bool:
        info = self._context.agents.nodes.get(node)
        return info is not None and info.state is NodeState.ONLINE


def _has_original_names(delivery: DeliverySnapshot, sent: ParcelTotals | None) -> bool:
    """Whether a node has all files under their original names."""
    names = sorted(path.rpartition("/")[2] for path in delivery.paths)
    return (
        delivery.state.delivered
        and sent is not None
        and bool(names)
        and names == sorted(top.name for top in sent.top)
    )


def _is_gone_again(delivery: DeliverySnapshot) -> bool:
    return delivery.failure is not None and delivery.failure.kind in RETRIED_FAILURES


def _matches(found: ParcelTotals, sent: ParcelTotals | None, exactly: bool) -> bool:
    """Whether a scan matches what was sent. Copies may differ in attributes that a node does not preserve,
    such as modes."""
    if sent is None:
        return True
    if exactly:
        return found.manifest_digest == sent.manifest_digest
    return (found.files, found.content_bytes) == (sent.files, sent.content_bytes)
