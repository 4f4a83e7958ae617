"""What the next engine needs to know of a running cast, noted whenever it has changed."""

from __future__ import annotations

from collections.abc import Callable

from castray_desktop.core.messages import DeliverySnapshot, DeliveryState
from castray_desktop.workers.agents import Agents
from castray_desktop.workers.casts.cast_records import CastRecord
from castray_desktop.workers.casts.feeding import Feeding
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.writers import Writers

SENT_STEPS = 20
"""So often per copy of the parcel it is noted how much the source has sent."""

Keep = Callable[[CastRecord], None]


class Recording:
    """Gives `keep` a record where it differs from the last one. `before` is that of an earlier engine."""

    def __init__(
        self,
        ledger: CastLedger,
        agents: Agents,
        feed: Feeding,
        writers: Writers,
        keep: Keep | None,
        before: CastRecord | None,
    ) -> None:
        self._ledger = ledger
        self._agents = agents
        self._feed = feed
        self._writers = writers
        self._keep = keep
        self._before = before
        self._kept: tuple[object, ...] = ()

    def note(self, ended: int, paused: bool) -> None:
        """Keep how the cast stands now; `ended` is how many of its deliveries have been dealt with."""
        ledger, feed = self._ledger, self._feed
        writers, folders = self._writers.by_follower(), len(self._writers.folders)
        sent = ledger.sent_contents * SENT_STEPS // (ledger.stream_bytes or 1)
        order, pauses = ledger.order, (paused, ledger.paused)
        state = (ended, pauses, order, feed.digest, ledger.request, writers, folders, sent)
        if self._keep is None or state == self._kept:
            return
        self._kept = state
        self._keep(self.record(paused))

    def record(self, paused: bool) -> CastRecord:
        """The cast as it stands now."""
        ledger, feed = self._ledger, self._feed
        return CastRecord(
            cast=ledger.cast,
            target=self._agents.target if self._before is None else self._before.target,
            request=ledger.request,
            mode=ledger.mode,
            started=ledger.started,
            deliveries=tuple(map(_as_kept, map(ledger.delivery, ledger.recipients))),
            manifest_digest=feed.digest,
            algorithms=feed.algorithms,
            writers=self._writers.by_follower(),
            folders=dict(self._writers.folders),
            paused=paused,
            order=ledger.order,
            totals=ledger.totals,
            sent_bytes=ledger.sent_contents,
            schedule=ledger.schedule,
            follows=ledger.follows,
        )


def _as_kept(delivery: DeliverySnapshot) -> DeliverySnapshot:
    """A delivery that goes on begins again under another engine, from what its node has; or it is paused."""
    if delivery.state.finished:
        return delivery
    paused = delivery.state is DeliveryState.PAUSED
    state = DeliveryState.PAUSED if paused else DeliveryState.WAITING
    return DeliverySnapshot(delivery.node, state, delivery.address, bytes=delivery.bytes)
