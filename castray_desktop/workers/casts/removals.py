"""What recipients would remove, since the source no longer has it: asked before a cast."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from castray_desktop.core.failure import CastRayError
from castray_desktop.core.messages import Removal, SendRequest
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.ray_side import protocol


async def find_removals(
    cast: str, request: SendRequest, recipients: Iterable[str], orders: Orders
) -> tuple[Removal, ...]:
    """Ask all with the source's list of files; those where something would go. Raises CastRayError."""
    reply = await orders.call(request.source, protocol.GetManifest(cast))
    packed = reply.packed if isinstance(reply, protocol.ManifestReply) else ""
    if not packed:
        return ()
    order = protocol.FindExtra(cast, packed, request.destination, request.exclude)

    async def ask(node: str) -> Removal:
        answer = await orders.call(node, order)
        if not isinstance(answer, protocol.ExtraReply):
            return Removal(node, 0, ())
        if answer.failure is not None:
            raise CastRayError.of(answer.failure)
        return Removal(node, answer.count, answer.paths)

    answers = await asyncio.gather(*(ask(node) for node in recipients))
    return tuple(answer for answer in answers if answer.count)
