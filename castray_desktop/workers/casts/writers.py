"""Which recipients of a running cast write, where, and for whom."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from castray_desktop.core.absence import Absences
from castray_desktop.core.cast import DeliveryEvent
from castray_desktop.core.failure import Failure, FailureKind
from castray_desktop.core.messages import DeliveryState
from castray_desktop.core.sharing import Sharing
from castray_desktop.workers.casts.ledger import CastLedger
from castray_desktop.workers.casts.orders import Orders
from castray_desktop.workers.casts.sent_here import find_sent_here
from castray_desktop.workers.casts.storage_groups import StorageGroups
from castray_desktop.workers.ray_side.protocol import PreflightReply

_AWAY = frozenset(
    {
        FailureKind.NODE_OFFLINE,
        FailureKind.NODE_SILENT,
        FailureKind.NODE_AWAITED,
        FailureKind.UPSTREAM_LOST,
        FailureKind.COPY_CHANGED,
        FailureKind.NO_WAY,
        FailureKind.NOT_TRUSTED,
        FailureKind.CANCELLED,
    }
)
_SOURCE_FAULTS = frozenset(
    {
        FailureKind.FILES_FAILED,
        FailureKind.NO_FILE_DELIVERED,
        FailureKind.CHANGED,
        FailureKind.VANISHED,
        FailureKind.READ_ERROR,
        FailureKind.NOT_READABLE,
    }
)


class Writers:
    """Has one recipient of each folder write, and says what becomes of the others when that has ended."""

    def __init__(
        self, ledger: CastLedger, orders: Orders, absences: Absences, clock: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._orders = orders
        self._absences = absences
        self._clock = clock
        self._sharing = Sharing()
        self._folders: dict[str, PreflightReply] = {}

    @property
    def folders(self) -> Mapping[str, PreflightReply]:
        """By recipient: where it writes; `storage` is equal for all that write to one folder."""
        return self._folders

    def by_follower(self) -> dict[str, str]:
        """Who writes for each that does not write itself."""
        return self._sharing.writers()

    def writer_of(self, node: str) -> str | None:
        """Who writes for `node`; None when it writes itself."""
        return self._sharing.writer_of(node)

    def restore(self, writers: Mapping[str, str], folders: Mapping[str, PreflightReply]) -> None:
        """As it was under another engine."""
        self._sharing.restore(writers)
        self._folders.update(folders)

    async def find(self, replies: Mapping[str, PreflightReply]) -> None:
        """Note where these recipients write."""
        groups = StorageGroups(
            self._ledger.cast, self._ledger.request.destination, self._orders.call, self._orders.spawn
        )
        there = {node: reply for node, reply in self._folders.items() if node not in self._absences}
        asked = {**there, **replies}
        request, here = self._ledger.request, frozenset[str]()
        if request.remove_extra:
            here = await find_sent_here(self._ledger.cast, request, replies, self._orders)
        for node, storage in (await groups.find(asked)).items():
            sent_here = asked[node].sent_here or node in here
            self._folders[node] = dataclasses.replace(asked[node], storage=storage, sent_here=sent_here)

    def may_remove(self, node: str) -> bool:
        """Whether what is not in the parcel may go at `node`, if that was asked for."""
        folder = self._folders.get(node)
        return self._ledger.request.remove_extra and folder is not None and not folder.sent_here

    def add(self, nodes: Iterable[str]) -> None:
        """These receive, each as the writer of its folder or as a follower of another one."""
        for node in nodes:
            self._sharing.add(node, self._folders[node].storage)

    def join(self, node: str) -> None:
        """One more, whose writer may be through already."""
        self.add((node,))
        writer = self.writer_of(node)
        if writer is None:
            return
        state = self._ledger.delivery(writer).state
        if state.delivered:
            self._share(node, writer)
        elif state.finished:
            self._sharing.hand_over(writer, node)

    def pass_on(self, writer: str) -> bool:
        """Have one of its followers write in the place of a writer that went away, if one is there."""
        if self._ledger.delivery(writer).state.delivered:
            return False
        heirs = self._heirs(writer)
        heirs = [heir for heir in heirs if not self._is_paused(heir)] or heirs
        if heirs:
            self._sharing.hand_over(writer, heirs[0])
        return bool(heirs)

    def stand_in_for(self, node: str) -> None:
        """Have one of its followers that goes on write in the place of a paused writer, if there is one.

        What the writer has stays, in case that it writes again.
        """
        for heir in self._heirs(node):
            if not self._is_paused(heir):
                self._sharing.hand_over(node, heir)
                return

    def _heirs(self, writer: str) -> list[str]:
        followers = self._sharing.followers_of(writer)
        return [
            node
            for node in followers
            if node not in self._absences and not self._ledger.delivery(node).state.finished
        ]

    def _is_paused(self, node: str) -> bool:
        return self._ledger.delivery(node).state is DeliveryState.PAUSED

    def ended(self, node: str) -> bool:
        """Its delivery has ended, and perhaps with it those of its followers.

        Whether it can't feed others any more.
        """
        snapshot = self._ledger.delivery(node)
        if snapshot.state.delivered:
            for follower in self._sharing.followers_of(node):
                self._share(follower, node)
            return False
        kind = snapshot.failure.kind if snapshot.failure is not None else None
        if kind in _SOURCE_FAULTS:  # it goes on serving what it has, which is all there is
            self._fail_followers(node, snapshot.failure)
            return False
        # The trouble of a writer's disk would be its followers' trouble as well.
        if not (kind in _AWAY and self.pass_on(node)):
            self._fail_followers(node, None)
        return True

    def _fail_followers(self, writer: str, failure: Failure | None) -> None:
        for follower in self._sharing.followers_of(writer):
            own = Failure(FailureKind.WRITER_FAILED, {"writer": writer, "node": follower})
            self._ledger.end_delivery(follower, DeliveryEvent.FAILED, self._clock(), failure or own)

    def _share(self, follower: str, writer: str) -> None:
        folders = self._folders[writer].destination, self._folders[follower].destination
        self._ledger.share(follower, writer, self._clock(), *folders)
