"""Nodes, casts, deliveries and remote files for tests."""

from __future__ import annotations

from dataclasses import replace

from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.protocol.messages import (
    CastMode,
    CastState,
    CastSummary,
    DeliverySnapshot,
    DeliveryState,
    NodeInfo,
    NodeState,
)
from castray_desktop.core.protocol.nodes.agent_orders import StartDelivery
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, ParcelTotals, RemoteFile

GB = 10**9
NOW = 1_800_000_000.0


def make_node(name: str, state: NodeState = NodeState.ONLINE, **facts: object) -> NodeInfo:
    """A node with an address, an inbox and free space."""
    values: dict[str, object] = {
        "address": "127.0.0.1",
        "inbox": f"/home/user/CastRay/{name}",
        "cpus": 2.0,
        "disk_free": 90 * GB,
        "disk_total": 100 * GB,
        "last_seen": NOW,
    }
    return NodeInfo(name=name, state=state, **(values | facts))  # type: ignore[arg-type]


def make_nodes(count: int) -> list[NodeInfo]:
    """This computer, called "desk", and node_1 to node_COUNT."""
    return [make_node("desk", this_computer=True), *(make_node(f"node_{i}") for i in range(1, count + 1))]


def without_link(file: RemoteFile) -> RemoteFile:
    """The file as it was listed: the link to a file of a web server is all that is known of it."""
    return replace(file, url="", authorization="", expires=0.0, contents="") if file.address else file


def make_cast(
    name: str = "model.bin", *, cast: str = "", recipients: int = 3, **values: object
) -> CastSummary:
    """A running cast from "desk" to node_1 and so on."""
    nodes = tuple(f"node_{i}" for i in range(1, recipients + 1))
    facts: dict[str, object] = {
        "state": CastState.SENDING,
        "started": NOW,
        "files": 1,
        "bytes": 10 * GB,
        "done_bytes": 4 * GB,
        "rate": 100e6,
        "eta": 60.0,
        "chain": ("desk", *nodes),
    }
    return CastSummary(
        cast=cast or name,
        name=name,
        source="desk",
        recipients=nodes,
        mode=CastMode.MULTICAST,
        **(facts | values),  # type: ignore[arg-type]
    )


def make_delivery(
    node: str, state: DeliveryState = DeliveryState.RECEIVING, **values: object
) -> DeliverySnapshot:
    """A delivery that has four of ten gigabytes."""
    facts: dict[str, object] = {"address": "127.0.0.1", "bytes": 4 * GB, "rate": 100e6}
    return DeliverySnapshot(node=node, state=state, **(facts | values))  # type: ignore[arg-type]


def delivery_order(cast: str, options: TransferOptions | None = None) -> StartDelivery:
    """An order to receive an empty parcel."""
    totals = ParcelTotals(0, "", 0, 0, 0, 0)
    return StartDelivery(cast, "", 0, None, totals, Algorithms(), options or TransferOptions())
