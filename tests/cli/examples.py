"""A finished cast, as several tests of the command line print it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from castray_desktop.core.failures.kinds import Failure, FailureKind
from castray_desktop.core.protocol import messages as m
from castray_desktop.core.protocol.messages import CastResult, CastState, DeliveryState, Transport
from castray_desktop.core.protocol.nodes import driver_protocol
from tests.helpers.engine_home import EngineHome
from tests.helpers.samples import make_cast, make_delivery


def ended(state: CastState = CastState.COMPLETED, **values: Any) -> CastResult:
    summary = make_cast("model.bin", cast="c0ffee", recipients=2, state=state, verified=2, **values)
    deliveries = (
        make_delivery(
            "node_1",
            DeliveryState.COMPLETED,
            bytes=10**10,
            seconds=1.23456,
            hash="blake3:00",
            transport=Transport.DIRECT,
            paths=("/in/model.bin",),
            rate=0.0,
        ),
        make_delivery(
            "node_2",
            DeliveryState.FAILED,
            failure=Failure(FailureKind.NODE_OFFLINE, {"node": "node_2"}),
            seconds=2.0,
            rate=0.0,
        ),
    )
    return CastResult(summary, deliveries, 12.34567)


Said: TypeAlias = Callable[[CastResult], dict[str, Any]]
UNKNOWN = {
    "upstream": None,
    "rate": 0,
    "eta": None,
    "hook": None,
    "removed": 0,
    "skipped_bytes": 0,
    "listening": False,
    "datagram_bytes": 0,
    "repaired_bytes": 0,
    "counts": None,
}

# --- JSON -------------------------------------------------------------------------------------------


async def running_cast(engine_home: EngineHome, tmp_path: Path) -> str:
    """A cast that runs until it is reported as finished."""
    (tmp_path / "x").write_text("x")
    client = await engine_home.connect()
    await client.request(m.UseCluster("local"), m.Done)
    async for event in client.events():
        if isinstance(event, m.ClusterChanged) and event.cluster.phase is m.ClusterPhase.READY:
            break
    request = m.SendRequest((str(tmp_path / "x"),), ("node_1", "node_2"))
    cast = (await client.request(m.Send(request), m.Accepted)).cast
    await engine_home.drivers[0].wait_for(driver_protocol.AgentCall)
    await client.close()
    return cast
