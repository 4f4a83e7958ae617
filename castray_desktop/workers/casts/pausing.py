"""Recipients of a cast that are paused on their own: the others go on without them."""

from __future__ import annotations

from collections.abc import Callable

from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.relay import Relay
from castray_desktop.workers.casts.turn import Turn
from castray_desktop.workers.casts.writers import Writers


class Pausing:
    """Takes paused recipients out of the relay. A cast whose recipients are all paused is paused itself.

    `step_back()` gives the cast's turn to others.
    """

    def __init__(
        self,
        ledger: CastLedger,
        relay: Relay,
        writers: Writers,
        turn: Turn,
        step_back: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._relay = relay
        self._writers = writers
        self._turn = turn
        self._step_back = step_back

    def pause(self, nodes: tuple[str, ...]) -> None:
        """Have nothing come to these recipients until they are resumed."""
        self._ledger.pause(nodes)
        self.look()

    async def paused(self, nodes: tuple[str, ...]) -> None:
        """Returns when nothing comes to these recipients any more."""
        if self._turn.paused:
            await self._turn.held()
        await self._relay.parted(nodes)

    def look(self) -> None:
        """Part with those that are paused and still take part.

        While the cast itself is paused, nobody has to: no byte leaves any node, and all keep their places.
        """
        if self._turn.paused:
            return
        if self._ledger.all_paused:
            self._turn.pause()
            self._step_back()
            return
        for node in self._ledger.paused:
            self._writers.stand_in_for(node)
            if self._relay.is_fed(node):
                self._relay.rest(node)
        self._relay.part()
