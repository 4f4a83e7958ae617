"""What a recipient is told when it is to begin."""

from __future__ import annotations

from castray_desktop.core.messages import Ways
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.writers import Writers
from castray_desktop.workers.ray_side import protocol


def start_order(
    ledger: CastLedger,
    feed: Feeding,
    writers: Writers,
    node: str,
    epoch: int,
    upstream: protocol.Upstream,
    group: protocol.MulticastGroup | None,
) -> protocol.StartDelivery:
    """The order to fetch from `upstream`, as of the route of that epoch, and to listen to `group`."""
    if ledger.totals is None:
        raise RuntimeError("a delivery before its plan")
    request = ledger.request
    return protocol.StartDelivery(
        cast=ledger.cast,
        secret=feed.secret,
        epoch=epoch,
        upstream=upstream,
        totals=ledger.totals,
        algorithms=feed.algorithms,
        destination=request.destination,
        on_conflict=request.on_conflict.value,
        limit=request.limit,
        transport=(Ways.AUTO if request.transport is Ways.UDP else request.transport).value,
        group=group,
        hook=request.hook,
        remove_extra=writers.may_remove(node),
        exclude=request.exclude if request.remove_extra else (),
    )
