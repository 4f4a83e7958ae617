"""The relay: the real cast manager and a real agent in each host, without Ray and local transport."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.laboratory.lab_nodes import lab_nodes
from benchmarks.peers.common import LIMIT_SECONDS, PeerFailed
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol.messages import CastState, SendRequest, TransportOption

NAME = "CastRay relay"
RUNS_WITH = (
    "a relay chain over TCP from Send to the last recipient's verified result; every byte hashed twice"
)


def available() -> str:
    return ""


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    """The destinations must be in one folder, each with the name of its host."""
    try:
        return asyncio.run(_run(lab, source, hosts, destinations))
    except CastRayError as error:
        raise PeerFailed(sentence(error.failure)) from error
    except RuntimeError as error:  # an agent did not start
        raise PeerFailed(str(error)) from error


async def _run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    first, *recipients = (host.name for host in hosts)
    request = SendRequest(
        (str(source),),
        tuple(recipients),
        source=first,
        options=TransferOptions(
            destination=str(destinations[0].parent / "{node}"), transport=TransportOption.DIRECT
        ),
    )
    async with lab_nodes(lab) as nodes:
        began = time.monotonic()
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                result = await nodes.cast_manager.result(nodes.cast_manager.send(request))
        except TimeoutError as error:
            raise PeerFailed(f"it did not end within {LIMIT_SECONDS:g} s") from error
        seconds = time.monotonic() - began
    if result.summary.state is not CastState.COMPLETED:
        failures = [item.failure for item in result.deliveries if item.failure]
        raise PeerFailed("; ".join(map(sentence, failures)) or result.summary.state.value)
    return seconds
