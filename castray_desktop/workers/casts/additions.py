"""More recipients for a cast that is under way."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from castray_desktop.core.cast import DeliveryEvent
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.messages import CastMode
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.surveying import Survey, ask_recipients
from castray_desktop.workers.casts.writers import Writers
from castray_desktop.workers.ray_side.protocol import PreflightReply


class Additions:
    """Asks those that are to join, and takes them in; the cast does not end meanwhile.

    `check()` raises CastRayError(CAST_FINISHED) when nobody may join any more.
    """

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        orders: Orders,
        feed: Feeding,
        writers: Writers,
        clock: Callable[[], float],
        check: Callable[[], None],
    ) -> None:
        self.under_way = 0  # requests that are not through
        self._ledger = ledger
        self._agents = agents
        self._orders = orders
        self._feed = feed
        self._writers = writers
        self._clock = clock
        self._check = check

    async def add(self, nodes: tuple[str, ...], mode: CastMode) -> Survey:
        """Have these nodes receive it; what keeps some from it fails them alone.

        Raises CastRayError: CAST_FINISHED.
        """
        self._check()
        ledger = self._ledger
        totals = ledger.totals
        if totals is None:
            raise RuntimeError("a route before the scan")
        self.under_way += 1
        try:
            survey = await ask_recipients(
                ledger.cast, ledger.request, totals, nodes, self._agents, self._orders
            )
            self._check()
            replies = {node: self._lacks_hashes(node) or reply for node, reply in survey.replies.items()}
            await self._writers.find({node: reply for node, reply in replies.items() if not reply.failure})
            self._check()
            for node, reply in replies.items():
                self._join(node, reply, mode)
            ledger.request = msgspec.structs.replace(ledger.request, recipients=ledger.recipients)
            return Survey(survey.totals, replies)
        finally:
            self.under_way -= 1

    def _join(self, node: str, reply: PreflightReply, mode: CastMode) -> None:
        """One more recipient; it gets an upstream with the next reaction."""
        info = self._agents.nodes.get(node)
        self._ledger.add_recipient(node, info.address if info is not None else "", mode)
        if reply.failure is not None:
            self._ledger.end_delivery(node, DeliveryEvent.FAILED, self._clock(), reply.failure)
        else:
            self._writers.join(node)

    def _lacks_hashes(self, node: str) -> PreflightReply | None:
        """Why it can't check what the others are sent, if it can't."""
        try:
            hello = self._agents.hello(node)
        except CastRayError as error:
            return PreflightReply(failure=error.failure)
        used = self._feed.algorithms
        if used.piece in hello.piece_digests and used.file in hello.file_hashes:
            return None
        values = {"node": node, "hashes": f"{used.piece}, {used.file}"}
        return PreflightReply(failure=Failure(FailureKind.HASH_MISSING, values))
