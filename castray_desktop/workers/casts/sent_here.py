"""Which recipients would write to the very folder that is sent, so that nothing may be removed there.

What somebody adds to that folder after the scan is not in the parcel, and yet it is the source's. A recipient
places a uniquely named file where it writes, and the source looks for it beside what it sends.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Iterable
from pathlib import PurePosixPath

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.messages import SendRequest
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.ray_side.protocol import Probe, ProbeReply, ProbeVerb

PROBE_SECONDS = 15.0

log = logging.getLogger("castray.cast")


async def find_sent_here(
    cast: str, request: SendRequest, nodes: Iterable[str], orders: Orders
) -> frozenset[str]:
    """These of the recipients; one of which that can't be found out is among them."""
    nodes = tuple(nodes)
    found = await asyncio.gather(*(_is_sent_here(cast, request, node, orders) for node in nodes))
    return frozenset(node for node, here in zip(nodes, found, strict=True) if here)


def folders_above(paths: Iterable[str]) -> tuple[str, ...]:
    """The destinations at which one of these paths, or a folder that it lies in, would be written to."""
    found = []
    for path in map(PurePosixPath, paths):
        way = (path, *path.parents)
        found += [str(above) for below, above in itertools.pairwise(way) if below.name == path.name]
    return tuple(dict.fromkeys(found))


async def _is_sent_here(cast: str, request: SendRequest, node: str, orders: Orders) -> bool:
    name, content = f".castray-probe-{secrets.token_hex(16)}", secrets.token_hex(16)
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            place = Probe(cast, ProbeVerb.PLACE, name, content, request.destination)
            placed = await orders.call(node, place)
            if isinstance(placed, ProbeReply) and placed.yes and placed.below:
                return False  # there is no such folder yet
            looks = [
                orders.call(request.source, Probe(cast, ProbeVerb.LOOK, name, content, folder))
                for folder in folders_above(request.paths)
            ]
            answers = await asyncio.gather(*looks)
    except (CastRayError, TimeoutError) as error:
        log.warning("cast %s: nothing is removed on %s, which did not answer in time: %s", cast, node, error)
        return True
    finally:
        orders.spawn(orders.tell((node,), Probe(cast, ProbeVerb.REMOVE, name)))
    return not _says(placed, True) or not all(_says(answer, False) for answer in answers)


def _says(answer: object, yes: bool) -> bool:
    return isinstance(answer, ProbeReply) and answer.yes is yes
