"""Fake agents: they record their orders, and send the reports that a test gives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping

import msgspec

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.messages import NodeInfo, NodeState
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, cast_parcel
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    RecipientState,
    SourceReport,
    SourceState,
)
from castray_desktop.workers.casts.agent_directory import ORDER_SECONDS, answer_within
from castray_desktop.workers.casts.cast_manager import CastManager
from tests.helpers.patience import PATIENCE

SIZE = 1 << 30
TOTALS = cast_parcel.ParcelTotals(
    100, "m", SIZE, 33, 1, 1, (cast_parcel.TopEntry("model.bin", False, SIZE, 1),)
)
STREAM = TOTALS.stream_bytes
URL = "https://example.org/model.bin?key=secret"
HELD_SECONDS = 3600.0


class FakeAgents:
    """Implements `AgentDirectory`. The source prepares itself; recipients answer the destination check."""

    def __init__(self, *names: str) -> None:
        self._nodes = {
            name: NodeInfo(
                name,
                NodeState.ONLINE,
                address=f"10.0.0.{number}",
                node_id=f"{number:056x}"[::-1],
                this_computer=number == 0,
            )
            for number, name in enumerate(names)
        }
        self.orders: list[tuple[str, agent_orders.Order]] = []
        self.replies: dict[str, agent_orders.DestinationReply] = {}
        self.hashes: dict[str, tuple[str, ...]] = {}
        self.facts: dict[str, dict[str, object]] = {}  # other fields of a node's hello
        self.packed = ""
        self.packed_trailer = ""
        self.outcomes: dict[str, str] = {}  # of the files of a running delivery, by node
        self.listing = agent_orders.RemoteListing((cast_parcel.RemoteFile("model.bin", URL, SIZE, '"v1"'),))
        self.listings: dict[str, agent_orders.RemoteListing] = {}  # of single nodes
        self.rates: dict[str, agent_orders.DownloadRate] = {}
        self.extras: dict[str, agent_orders.PrunableReply] = {}
        self.source_failure: Failure | None = None
        self.cast_manager: CastManager | None = None
        self.ordered = asyncio.Condition()
        self.settled = True
        self.target = "local"
        self.address = "127.0.0.1:6379"
        self.totals = TOTALS
        self.totals_of: dict[str, cast_parcel.ParcelTotals] = {}  # of a node that would send something else
        self.files: dict[str, list[agent_orders.FileHash]] = {}  # the findings of a verification on a node
        self.read_back: dict[str, int] = {}  # number of changed files on a node
        self.scanning = False  # the source has not finished its scan
        self.defect: type | None = None  # sending an order of this kind raises what nobody expects
        self._lives: Counter[str] = Counter()
        self._held: type | None = None
        self._gate = asyncio.Event()

    @property
    def nodes(self) -> Mapping[str, NodeInfo]:
        return self._nodes

    def hello(self, node: str) -> agent_reports.AgentHello | None:
        info = self._nodes.get(node)
        if info is None or info.state is not NodeState.ONLINE:
            return None
        return agent_reports.AgentHello(
            node,
            1,
            info.address,
            7000 + self._lives[node],
            "host",
            "",
            f"/inbox/{node}",
            piece_digests=("xxh3-128", "blake2b-128"),
            file_hashes=self.hashes.get(node, ("blake3", "sha256")),
            **self.facts.get(node, {}),  # type: ignore[arg-type]
        )

    async def call(
        self, node: str, order: agent_orders.Order, seconds: float = ORDER_SECONDS
    ) -> agent_orders.OrderReply | None:
        held = self._held is not None and isinstance(order, self._held)
        async with answer_within(node, HELD_SECONDS if held else seconds):
            return await self._answer(node, order)

    async def _answer(self, node: str, order: agent_orders.Order) -> agent_orders.OrderReply | None:
        while self._nodes[node].state is NodeState.STARTING:
            async with self.ordered:
                await self.ordered.wait()
        if self._nodes[node].state is not NodeState.ONLINE:
            raise CastRayError(FailureKind.NODE_OFFLINE, node=node)
        if self.defect is not None and isinstance(order, self.defect):
            raise RuntimeError("a defect")
        self.orders.append((node, order))
        async with self.ordered:
            self.ordered.notify_all()
        if self._held is not None and isinstance(order, self._held):
            await self._gate.wait()
        if isinstance(order, agent_orders.PrepareSource) and not self.scanning:
            failed = self.source_failure is not None
            state = SourceState.FAILED if failed else SourceState.PREPARED
            totals = None if failed else self.totals_of.get(node, self.totals)
            self.report_source(node, order.cast, state, totals=totals, failure=self.source_failure)
        if isinstance(order, agent_orders.ResolveUrls):
            return self.listings.get(node, self.listing)
        if isinstance(order, agent_orders.MeasureDownload):
            rate = self.rates.get(node, agent_orders.DownloadRate(1e8))
            return rate if order.length else dataclasses.replace(rate, rate=0.0)
        if isinstance(order, agent_orders.CheckDestination):
            reply = self.replies.get(
                node, agent_orders.DestinationReply(f"/inbox/{node}", node, free_bytes=10**9)
            )
            return reply if order.count_present else dataclasses.replace(reply, present_bytes=0)
        if isinstance(order, agent_orders.VerifyFiles) and node in self.read_back:
            self.report_verification(node, order.job, self.read_back[node])
        if isinstance(order, agent_orders.DescribeFiles):
            files = self.files.get(node, [])[order.start : order.start + order.count]
            return agent_orders.FileHashPage(tuple(files))
        if isinstance(order, agent_orders.Probe):
            return agent_orders.ProbeReply(order.verb is not agent_orders.ProbeVerb.LOOK)
        if isinstance(order, agent_orders.GetManifest):
            return agent_orders.ManifestReply(self.packed, self.packed_trailer)
        if isinstance(order, agent_orders.GetFileOutcomes):
            return agent_orders.FileOutcomesReply(self.outcomes.get(node, ""))
        if isinstance(order, agent_orders.FindPrunable):
            return self.extras.get(node, agent_orders.PrunableReply())
        if isinstance(order, agent_orders.CancelCast) and self.started(node):
            self.report_delivery(node, order.cast, RecipientState.CANCELLED)
        return None

    def started(self, node: str) -> bool:
        return any(
            isinstance(order, agent_orders.StartDelivery) and name == node for name, order in self.orders
        )

    async def wait_for(self, node: str, kind: type, count: int = 1) -> agent_orders.Order:
        """The `count`th order of this kind to the node, as soon as it arrives."""

        def found() -> list[agent_orders.Order]:
            return [order for name, order in self.orders if name == node and isinstance(order, kind)]

        async with asyncio.timeout(PATIENCE), self.ordered:
            await self.ordered.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    def hold(self, kind: type) -> None:
        """Answer orders of this kind only after `release`. Meanwhile their time does not run out: what waits
        for their answers does not end.
        """
        self._held = kind

    def release(self) -> None:
        self._gate.set()

    async def set_state(self, node: str, state: NodeState) -> None:
        """Change a node's state without any event."""
        self._nodes[node] = msgspec.structs.replace(self._nodes[node], state=state)
        async with self.ordered:
            self.ordered.notify_all()

    def go_away(self, node: str, failure: Failure | None = None) -> None:
        """The node's agent is lost."""
        assert self.cast_manager is not None
        info = self._nodes[node]
        self._nodes[node] = NodeInfo(info.name, NodeState.OFFLINE, address=info.address, failure=failure)
        self.cast_manager.agent_lost(node)

    def come_back(self, node: str) -> None:
        """The node has another agent, on another port."""
        assert self.cast_manager is not None
        info = self._nodes[node]
        self._nodes[node] = NodeInfo(info.name, NodeState.ONLINE, address=info.address)
        self._lives[node] += 1
        self.cast_manager.agent_up(node)

    def remove(self, node: str) -> None:
        """The user has removed the node."""
        assert self.cast_manager is not None
        del self._nodes[node]
        self.cast_manager.agent_lost(node)
        self.cast_manager.node_removed(node)

    def report_source(self, node: str, cast: str, state: SourceState, **facts: object) -> None:
        assert self.cast_manager is not None
        report = SourceReport(cast, state, **facts)  # type: ignore[arg-type]
        self.cast_manager.agent_reported(node, agent_reports.AgentReport(sources=(report,)))

    def report_verification(self, node: str, job: str, differing: int) -> None:
        """The node has read its files back."""
        assert self.cast_manager is not None
        report = agent_reports.VerificationReport(
            job, agent_reports.VerificationState.DONE, files=1, differing_count=differing
        )
        self.cast_manager.agent_reported(node, agent_reports.AgentReport(verifications=(report,)))

    def report_delivery(self, node: str, cast: str, state: RecipientState, **facts: object) -> None:
        assert self.cast_manager is not None
        report = DeliveryReport(cast, state, **facts)  # type: ignore[arg-type]
        self.cast_manager.agent_reported(node, agent_reports.AgentReport(deliveries=(report,)))

    def complete(self, node: str, cast: str, upstream: str) -> None:
        """The node has everything, verified and committed."""
        self.report_delivery(
            node,
            cast,
            RecipientState.COMPLETED,
            upstream=upstream,
            stream_bytes=STREAM,
            content_bytes=SIZE,
            received_bytes=STREAM,
            transport="direct",
            paths=(f"/inbox/{node}/model.bin",),
            hash="blake3:00",
        )
