"""The trailer's digest, handed to everybody who fetches, once the source has said it."""

from __future__ import annotations

from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.ray_side.protocol import Seal


class Sealing:
    """Tells each agent once."""

    def __init__(self, ledger: CastLedger, relay: Relay, orders: Orders) -> None:
        self._ledger = ledger
        self._relay = relay
        self._orders = orders
        self._sealed: set[str] = set()  # whose present agent knows the digest

    def left(self, node: str) -> None:
        """The node's agent has gone, and with it what it knew."""
        self._sealed.discard(node)

    def go_on(self) -> None:
        """Tell those that do not know it yet, if it is known."""
        digest = self._ledger.trailer_digest
        if not digest:
            return
        unsealed = self._relay.fetching - self._sealed
        self._sealed |= unsealed
        going_on = [node for node in unsealed if not self._ledger.delivery(node).state.finished]
        if going_on:
            self._orders.spawn(self._orders.tell(going_on, Seal(self._ledger.cast, digest)))
