"""Download from the present upstream until everything is there: one connection after another."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Optional

from castray_desktop.core.casts.transfer_options import TransportOption
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import (
    JoinGroup,
    PauseDelivery,
    SetUpstream,
    StartDelivery,
)
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, all_encrypted
from castray_desktop.core.protocol.nodes.cast_parcel import Upstream
from castray_desktop.core.protocol.nodes.peer_frames import ProtocolError
from castray_desktop.workers.agent.network_addresses import host_port, without_scope
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.agent.transfer.delivery.piece_downloader import (
    DownloadPause,
    GroupMembership,
    PieceDownloader,
)
from castray_desktop.workers.agent.transfer.node_context import NodeContext, PeerTiming
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection, UntrustedPeerError
from castray_desktop.workers.agent.transfer.peer.dial import PeerDialer, PlainPeers
from castray_desktop.workers.agent.transfer.store.piece_store import Spoilt, StoreGoneError
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.store.resume_verifier import ResumeVerifier
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of
from castray_desktop.workers.agent.transfer.system.time_breakdown import WAITING

log = logging.getLogger("castray.byte_plane")

R = RecipientState

RECIPIENT_TRANSITIONS: dict[RecipientState, tuple[RecipientState, ...]] = {
    R.CONNECTING: (R.RECEIVING, R.VERIFYING, R.FAILED, R.CANCELLED),
    R.RECEIVING: (R.CONNECTING, R.VERIFYING, R.FAILED, R.CANCELLED),
    R.VERIFYING: (R.COMPLETED, R.SKIPPED, R.FAILED, R.CANCELLED),
    R.COMPLETED: (),
    R.SKIPPED: (),
    R.FAILED: (),
    R.CANCELLED: (),
}


class DeliveryStatus:
    """The state of a delivery, and its failure: the final one, or that of the lost upstream."""

    def __init__(self, lock: threading.RLock, report: Callable[[], None]) -> None:
        """`lock` is that of the store, so that a report is consistent."""
        self.state = R.CONNECTING
        self.failure: Optional[Failure] = None
        self._lock = lock
        self._report = report

    def enter(self, state: RecipientState, failure: Optional[Failure] = None) -> None:
        """Enter this state, and report it."""
        with self._lock:
            if state is not self.state and state not in RECIPIENT_TRANSITIONS[self.state]:
                raise RuntimeError(f"{self.state.value} can't become {state.value}")
            self.state, self.failure = state, failure
        self._report()

    def lose_upstream(self, failure: Failure) -> bool:
        """Connect again because the upstream is lost; returns False if that was noted already."""
        with self._lock:
            if self.failure is not None:
                return False
            self.state, self.failure = R.CONNECTING, failure
            return True

    def clear_lost_upstream(self) -> None:
        """There is another upstream: the failure of the one before does not count any more."""
        with self._lock:
            if self.state is R.CONNECTING:
                self.failure = None


class UpstreamRoute(NamedTuple):
    """Where to fetch from, by the order with this epoch."""

    epoch: int
    upstream: Optional[Upstream]  # None: nowhere for now


MAX_LOST = 4
"""How many upstreams in a row are reported as lost; the one after them is the last that is tried."""


class Patience:
    """How long a delivery waits while nothing new comes: only the time without a connection counts.

    Progress renews it, and so does an upstream that was not tried since, as long as another one may be asked
    for; hearing from one does not.
    """

    def __init__(self, timing: PeerTiming) -> None:
        self.spent = 0.0  # seconds in which nothing could come
        self.lost = 0  # upstreams in a row that were reported as lost
        self._timing = timing
        self._pause = timing.first_pause
        self._tried: set[Upstream] = set()

    def turn_to(self, upstream: Upstream) -> None:
        """This is the upstream now."""
        if upstream not in self._tried and self.lost <= MAX_LOST:
            self._tried.add(upstream)
            self.spent, self._pause = 0.0, self._timing.first_pause

    def renew(self) -> None:
        """Something new has come, or nothing was to come."""
        self.spent, self._pause = 0.0, self._timing.first_pause
        self._tried.clear()
        self.lost = 0

    def pause(self) -> float:
        """How long to wait before the next try: longer each time."""
        pause, self._pause = self._pause, min(self._pause * 2, self._timing.longest_pause)
        return pause


class DownloadSession:
    """Fills a store from an upstream. Orders come from other threads and change the upstream or end it."""

    def __init__(
        self, order: StartDelivery, context: NodeContext, store: ReceiveStore, status: DeliveryStatus
    ) -> None:
        self.secret = bytes.fromhex(order.secret)
        self.route = UpstreamRoute(order.epoch, order.upstream)
        self.plain = PlainPeers.of(order)
        self.connected_to = ""
        self.transport = ""
        self.encrypted: Optional[bool] = None  # all connections to other machines
        self._order = order
        self._context = context
        self._store = store
        self._pieces = store.pieces
        self._status = status
        self._cancellation = store.cancellation
        self._cancellation.add_listener(self._interrupt)
        self._pause = DownloadPause(store)
        self.membership = GroupMembership(store, context)
        self._heard = False  # from the last upstream
        self._fetching_from: Optional[Upstream] = None
        self._why_lost = FailureKind.UPSTREAM_LOST
        self._repairs: dict[Upstream, dict[int, int]] = {}  # how often a piece came damaged, from each place
        self._met: set[Upstream] = set()  # with whom there was a connection
        self._not_fetched = RepeatedLogLines(log, logging.INFO, "cast %s on %s: %s")
        self._spoilt: dict[Upstream, dict[int, Spoilt]] = {}  # pieces that can't be had from there
        self._channel: Optional[PeerConnection] = None
        self.dialer = PeerDialer(
            context.connections,
            order.cast,
            self.secret,
            order.options.transport,
            self._is_current,
            self._dialer_changed,
        )
        self._verifier = ResumeVerifier(store, self._journal_verified)

    # --- orders

    def set_upstream(self, order: SetUpstream) -> None:
        """Change the upstream; older orders are ignored."""
        with self._pieces.lock:
            if order.epoch <= self.route.epoch:
                return
            pause = self._pause
            kept = pause.ends is not None and order.upstream == self._fetching_from and not pause.reading
            self.route, pause.ends = UpstreamRoute(order.epoch, order.upstream), None
            self._status.clear_lost_upstream()
            if not kept:
                self._abort_channel()
            self._pieces.condition.notify_all()

    def pause_fetching(self, order: PauseDelivery) -> None:
        """Detach from the upstream; older orders are ignored. The connection stays for a while."""
        with self._pieces.lock:
            if order.epoch <= self.route.epoch:
                return
            self.route = UpstreamRoute(order.epoch, None)
            self._pause.ends = time.monotonic() + self._context.timing.keep
            self.dialer.interrupt()
            self._pieces.condition.notify_all()

    def join_group(self, order: JoinGroup) -> None:
        """Join this group, also if it was left before; or leave."""
        with self._pieces.lock:
            if not self.membership.join(order.group):
                return
            if order.group is not None:
                self._abort_channel()  # what was requested on it comes by multicast
            self._pieces.condition.notify_all()

    def _is_current(self, epoch: int) -> bool:
        """Whether no newer order has come, and the delivery does not have to end."""
        return self.route.epoch == epoch and not self._cancellation.requested

    def _dialer_changed(self, urgent: bool) -> None:
        """The upstream should be asked to dial, or has dialled."""
        if urgent:
            self._pieces.report_state()
        with self._pieces.lock:
            self._pieces.condition.notify_all()

    def _abort_channel(self) -> None:
        self.dialer.interrupt()
        if self._channel is not None:
            self._channel.abort()

    def _interrupt(self) -> None:
        """The delivery has to end: have the thread that fetches notice that."""
        with self._pieces.lock:
            self._abort_channel()
            self._pieces.condition.notify_all()

    def _journal_verified(self, error: Optional[BaseException]) -> None:
        """Journaled data was verified; the download may be complete."""
        if error is not None:
            self._cancellation.fail(error)
        elif self._store.is_complete():
            self._interrupt()
        else:
            with self._pieces.lock:
                self._pieces.condition.notify_all()

    # --- the thread

    def run(self) -> None:
        """Download, and verify what a journal recorded, until everything is there. Raises what ends the
        delivery.
        """
        self._verifier.start()
        try:
            self._fetch_until_complete()
        finally:
            self.membership.leave()
            self._verifier.stop()

    def _fetch_until_complete(self) -> None:
        patience = Patience(self._context.timing)
        while not self._store.is_complete():
            self._cancellation.check()
            epoch, upstream = self.route
            if upstream is None:
                self._wait_for_orders()
                patience.renew()
                continue
            if self._pieces.paused:  # and not connected: no upstream is missed until it resumes
                self._pause.wait()
                patience.renew()
                continue
            patience.turn_to(upstream)
            had, began = self._pieces.have.total, time.monotonic()
            spoilt = self._spoilt_there(upstream)
            reason = str(spoilt) if spoilt is not None else self._try_fetching(epoch, upstream)
            self._cancellation.check()
            if self._pieces.have.total > had or self._verifier.alive:
                patience.renew()
            elif spoilt is None and not self._heard:
                patience.spent += time.monotonic() - began
            if self._store.is_complete() or self.route.epoch != epoch:
                continue
            self._lost(upstream, patience, reason)
            began = time.monotonic()
            with self._pieces.lock:
                if self._is_current(epoch) and not self.dialer.upstream_connected:
                    self._pieces.condition.wait(patience.pause())
            patience.spent += time.monotonic() - began

    def _wait_for_orders(self) -> None:
        """Detached: wait until the engine gives an upstream."""
        self.connected_to = ""
        self._status.enter(R.CONNECTING)
        with self._pieces.lock:
            while self.route.upstream is None and not self._cancellation.requested:
                if self._store.is_complete():
                    return
                self._pieces.condition.wait()
        self._cancellation.check()

    def _try_fetching(self, epoch: int, upstream: Upstream) -> str:
        """Use one connection until everything is there or it breaks; returns why it broke."""
        self._heard = False
        try:
            self._fetch_from(epoch, upstream)
        except Spoilt as error:
            log.warning(
                "cast %s on %s: no piece %d from %s: %s",
                self._pieces.cast,
                self._context.node,
                error.piece,
                upstream.node,
                error,
            )
            self._spoilt.setdefault(upstream, {})[error.piece] = error
            return str(error)
        except (OSError, ProtocolError, StoreGoneError) as error:
            self._not_fetched.log(self._pieces.cast, self._context.node, str(error))
            self._why_lost = (
                FailureKind.NOT_TRUSTED
                if isinstance(error, UntrustedPeerError)
                else FailureKind.UPSTREAM_LOST
            )
            return reason_of(error) if isinstance(error, OSError) and error.strerror else str(error)
        return ""

    def _fetch_from(self, epoch: int, upstream: Upstream) -> None:
        channel, transport = self.dialer.connect(epoch, upstream)
        try:
            with self._pieces.lock:
                self._channel = channel
                if not self._is_current(epoch):
                    return
                self.connected_to, self.transport = upstream.node, transport
                now = self._context.connections.is_encrypted(channel, upstream)
                self.encrypted = all_encrypted((self.encrypted, now))
                self._fetching_from = upstream
                self._met.add(upstream)
            if self._status.state is not R.RECEIVING:
                self._status.enter(R.RECEIVING)
            repairs = self._repairs.setdefault(upstream, {})
            downloader = PieceDownloader(channel, self._store, self._pause, self.membership, repairs)
            try:
                downloader.run()
            finally:
                self._heard = downloader.heard
        finally:
            self._store.time_breakdown.switch(WAITING)
            with self._pieces.lock:
                self._channel = self._fetching_from = None
            channel.close()

    def _lost(self, upstream: Upstream, patience: Patience, reason: str) -> None:
        """Report the lost upstream after a while, give up after a while more. What can't be had from there is
        said at once."""
        timing = self._context.timing
        kind, lost_after = self._why_lost, timing.lost_after
        values = {"node": self._context.node, "upstream": upstream.node, "reason": reason}
        spoilt = self._spoilt_there(upstream)
        if spoilt is not None:
            kind, lost_after = spoilt.kind, 0.0
            values["path"] = self._store.path_of_piece(spoilt.piece)
        elif self._order.options.transport is TransportOption.DIRECT and upstream not in self._met:
            kind, around = FailureKind.NO_WAY, self._context.connections
            values["address"] = host_port(upstream.address, upstream.port)
            values["own"] = host_port(without_scope(around.address), around.port)
        if patience.spent >= lost_after + timing.grace:
            raise CastRayError(kind, **values)
        if patience.spent < lost_after or patience.lost >= MAX_LOST:
            return
        with self._pieces.lock:
            if self.route.upstream != upstream or not self._status.lose_upstream(Failure(kind, values)):
                return
            self.connected_to = ""
        patience.lost += 1
        self._pieces.report_state()

    def _spoilt_there(self, upstream: Upstream) -> Optional[Spoilt]:
        """A piece that is missing and can't be had from there."""
        for piece, spoilt in self._spoilt.get(upstream, {}).items():
            if not self._pieces.has_piece(piece):
                return spoilt
        return None
