"""Fetching what lacks from the upstream, whichever that is at the time, until everything is there."""

from __future__ import annotations

import logging
import time
from typing import Optional

from castray_desktop.core import ways
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.multicast import Keys
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.addresses import host_port, without_scope
from castray_desktop.workers.ray_side.byte_plane.channel import Channel, Untrusted
from castray_desktop.workers.ray_side.byte_plane.digests import expander
from castray_desktop.workers.ray_side.byte_plane.failures import (
    reason_of,
)
from castray_desktop.workers.ray_side.byte_plane.fetching import Fetching
from castray_desktop.workers.ray_side.byte_plane.meeting import Meeting
from castray_desktop.workers.ray_side.byte_plane.multicast.listening import MulticastListener
from castray_desktop.workers.ray_side.byte_plane.place import Place, Timing
from castray_desktop.workers.ray_side.byte_plane.restoring import Restoring
from castray_desktop.workers.ray_side.byte_plane.spending import WAITING
from castray_desktop.workers.ray_side.byte_plane.standing import StandingStock
from castray_desktop.workers.ray_side.byte_plane.supply import Cancelled, Changed, Gone, Spoilt
from castray_desktop.workers.ray_side.protocol import (
    Listen,
    PauseDelivery,
    RecipientState,
    SetUpstream,
    StartDelivery,
    Upstream,
)
from castray_desktop.workers.ray_side.repeated import Repeated

log = logging.getLogger("castray.byte_plane")

R = RecipientState
TRANSITIONS: dict[RecipientState, tuple[RecipientState, ...]] = {
    R.CONNECTING: (R.RECEIVING, R.VERIFYING, R.FAILED, R.CANCELLED),
    R.RECEIVING: (R.CONNECTING, R.VERIFYING, R.FAILED, R.CANCELLED),
    R.VERIFYING: (R.COMPLETED, R.SKIPPED, R.FAILED, R.CANCELLED),
    R.COMPLETED: (),
    R.SKIPPED: (),
    R.FAILED: (),
    R.CANCELLED: (),
}


Route = tuple[int, Optional[Upstream]]  # epoch, and where to fetch from; None: nowhere for now


MAX_LOST = 4
"""So many upstreams in a row are said to be lost; the one after them is the last that is tried."""


class Patience:
    """How long a delivery bears that nothing new comes: only the time without a connection counts.

    Progress renews it, and so does an upstream that was not tried since, as long as another one may be asked
    for; hearing from one does not.
    """

    def __init__(self, timing: Timing) -> None:
        self.spent = 0.0
        self._timing = timing
        self._pause = timing.first_pause
        self._tried: set[Upstream] = set()
        self._lost = 0

    def turn_to(self, upstream: Upstream) -> None:
        """This is the upstream now."""
        if upstream not in self._tried and self._lost <= MAX_LOST:
            self._tried.add(upstream)
            self.spent, self._pause = 0.0, self._timing.first_pause

    def renew(self) -> None:
        """Something new has come, or nothing was to come."""
        self.spent, self._pause = 0.0, self._timing.first_pause
        self._tried.clear()
        self._lost = 0

    @property
    def may_ask(self) -> bool:
        """Whether another upstream may be asked for."""
        return self._lost < MAX_LOST

    def asked(self) -> None:
        """Another upstream was asked for."""
        self._lost += 1

    def spend(self, seconds: float) -> None:
        """So long nothing could come."""
        self.spent += seconds

    def pause(self) -> float:
        """How long to wait before the next try: longer each time."""
        pause, self._pause = self._pause, min(self._pause * 2, self._timing.longest_pause)
        return pause


class Follower(StandingStock):
    """A stock that an upstream fills. Orders come from other threads, and change the upstream or the end."""

    def __init__(self, order: StartDelivery, place: Place, changed: Changed) -> None:
        super().__init__(order, place, changed)
        self.limiter.change(order.limit)
        self.secret = bytes.fromhex(order.secret)
        self.state = R.CONNECTING
        self.route: Route = (order.epoch, order.upstream)
        self.received_bytes = 0  # from upstreams
        self._heard = False
        self._connected_to = ""
        self._transport = ""
        self._failure: Optional[Failure] = None
        self._stop = False
        self.pause_ends: Optional[float] = None  # until then a paused delivery keeps its connection
        self.reading_in_pause = False  # the upstream knows of the pause, and may have stopped within a piece
        self._fetching_from: Optional[Upstream] = None
        self._why_lost = FailureKind.UPSTREAM_LOST
        self._repairs: dict[Upstream, dict[int, int]] = {}  # how often a piece came damaged, from each place
        self._met: set[Upstream] = set()  # with whom there was a connection
        self._not_fetched = Repeated(log, logging.INFO, "cast %s on %s: %s")
        self._spoilt: dict[Upstream, dict[int, Spoilt]] = {}  # pieces that can't be had from there
        self._channel: Optional[Channel] = None
        self._meeting = Meeting(
            place.surroundings, order.cast, self.secret, order.transport, self._meeting_changed
        )
        self._trouble: Optional[BaseException] = None
        self._restoring = Restoring(self, self._restored)
        self._group = order.group
        self._listener: Optional[MulticastListener] = None
        self._listens_anew = False  # it was told to since it has listened for the last time
        self.datagram_bytes = 0
        self.repaired_bytes = 0

    # --- orders

    def set_upstream(self, order: SetUpstream) -> None:
        """Fetch from there from now on; older orders are ignored."""
        with self.lock:
            if order.epoch <= self.route[0]:
                return
            kept = (
                self.pause_ends is not None
                and order.upstream == self._fetching_from
                and not self.reading_in_pause
            )
            self.route, self.pause_ends = (order.epoch, order.upstream), None
            if self.state is R.CONNECTING:
                self._failure = None  # it was that of the upstream before
            if not kept:
                self._abort_channel()
            self.condition.notify_all()

    def pause_fetching(self, order: PauseDelivery) -> None:
        """Have nothing come any more; older orders are ignored. Its connection stays for a while."""
        with self.lock:
            if order.epoch <= self.route[0]:
                return
            self.route = (order.epoch, None)
            self.pause_ends = time.monotonic() + self._place.timing.keep
            self._meeting.interrupt()
            self.condition.notify_all()

    def listen(self, order: Listen) -> None:
        """Listen to this group from now on, also if it has left it; or to none."""
        with self.lock:
            if order.group == self._group and (self._listener is None or self._listener.listening):
                return
            self._group, self._listens_anew = order.group, True
            if self._listener is not None:
                self._listener.stop("it was told to")
            if self._group is not None:
                self._abort_channel()  # what was asked for on it comes by the group
            self.condition.notify_all()

    def offer(self, channel: Channel, epoch: int) -> bool:
        """The upstream has dialled, since it can't be dialled. True: the channel is ours now."""
        return self._meeting.offer(channel, epoch)

    def _meeting_changed(self, urgent: bool) -> None:
        """The upstream is to be told that it should dial, or has done so."""
        if urgent:
            self.stated()
        with self.lock:
            self.condition.notify_all()

    def _abort_channel(self) -> None:
        self._meeting.interrupt()
        if self._channel is not None:
            self._channel.abort()

    def _go(self, state: RecipientState, failure: Optional[Failure] = None) -> None:
        with self.lock:
            if state is not self.state and state not in TRANSITIONS[self.state]:
                raise RuntimeError(f"{self.state.value} can't become {state.value}")
            self.state, self._failure = state, failure
        self.stated()

    def _restored(self, error: Optional[BaseException]) -> None:
        """What the journal claimed was read back; the fetch may have all it needs by that."""
        with self.lock:
            self._trouble = self._trouble or error
            if error is not None or self.is_complete():
                self._abort_channel()
            self.condition.notify_all()

    def check_stop(self) -> None:
        if self._stop:
            raise Cancelled
        if self._trouble is not None:
            raise self._trouble

    # --- listening, for the thread that fetches

    @property
    def listening(self) -> bool:
        """Whether it takes datagrams."""
        return self._listener is not None and self._listener.listening

    def listener(self) -> Optional[MulticastListener]:
        """What takes datagrams for this delivery, or has done so; None where it is not told to."""
        group = self._group
        if group is None:
            return self._listener
        if self._listener is not None and self._listener.group == group and not self._listens_anew:
            return self._listener
        self._listens_anew = False
        self.leave_group()
        try:
            self._listener = MulticastListener(
                group,
                self._place.surroundings.address,
                self._place.node,
                Keys(self.secret, self.cast, expander(self.order.algorithms.file)),
                self.layout,
                self,
                lambda: self.paused,
            )
        except OSError as error:
            log.info(
                "cast %s on %s can't listen to %s: %s", self.cast, self._place.node, group.address, error
            )
            self._group = None
            return None
        self._listener.start()
        return self._listener

    def leave_group(self) -> None:
        """Take no datagrams any more; `listener` listens again, if it is to."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            self.stated()

    def came_by_datagrams(self, count: int) -> None:
        """Verified bytes of a piece that was placed."""
        self.datagram_bytes += count

    def repaired(self, count: int) -> None:
        """Bytes that the upstream is asked for, since they did not come to the group, or came wrong."""
        self.repaired_bytes += count

    # --- the thread

    def _fetch_all(self) -> None:
        try:
            self._fetch_until_complete()
        finally:
            self.leave_group()

    def _fetch_until_complete(self) -> None:
        patience = Patience(self._place.timing)
        while not self.is_complete():
            self.check_stop()
            route = self.route
            epoch, upstream = route
            if upstream is None:
                self._wait_for_orders()
                patience.renew()
                continue
            if self.paused:  # and not connected: nobody is missed until it goes on
                self.rest()
                patience.renew()
                continue
            patience.turn_to(upstream)
            had, began = self.have.total, time.monotonic()
            spoilt = self._spoilt_there(upstream)
            reason = str(spoilt) if spoilt is not None else self._try_fetching(epoch, upstream)
            self.check_stop()
            if self.have.total > had or self._restoring.alive:
                patience.renew()
            elif spoilt is None and not self._heard:
                patience.spend(time.monotonic() - began)
            if self.is_complete() or self.route != route:
                continue
            self._lost(upstream, patience, reason)
            began = time.monotonic()
            with self.lock:
                if self.route == route and not self._stop and not self._meeting.has_come:
                    self.condition.wait(patience.pause())
            patience.spend(time.monotonic() - began)

    def _wait_for_orders(self) -> None:
        """The engine has nobody to fetch from: wait until it has."""
        self._connected_to = ""
        self._go(R.CONNECTING)
        with self.lock:
            while self.route[1] is None and not self._stop and self._trouble is None:
                if self.is_complete():
                    return
                self.condition.wait()
        self.check_stop()

    def reads_in_pause(self) -> bool:
        """Whether a pause of this delivery goes on; then a piece is read that may end in silence."""
        with self.lock:
            self.reading_in_pause = self.pause_ends is not None
            return self.reading_in_pause

    @property
    def keeps_still(self) -> bool:
        """Nothing is missed on its connection: the cast is paused, or this delivery for a while."""
        return self.paused or (self.pause_ends is not None and time.monotonic() < self.pause_ends)

    def rest(self) -> None:
        """Wait while it keeps still. Raises what ends the delivery."""
        with self.lock:
            while self.keeps_still and not self._stop and self._trouble is None and not self.is_complete():
                ends = self.pause_ends
                self.condition.wait(None if ends is None else max(ends - time.monotonic(), 0.0))
        self.check_stop()

    def _try_fetching(self, epoch: int, upstream: Upstream) -> str:
        """One connection, until everything is there or it breaks; why it broke."""
        self._heard = False
        try:
            self._fetch_from(epoch, upstream)
        except Spoilt as error:
            log.warning(
                "cast %s on %s: no piece %d from %s: %s",
                self.cast,
                self._place.node,
                error.piece,
                upstream.node,
                error,
            )
            self._spoilt.setdefault(upstream, {})[error.piece] = error
            return str(error)
        except (OSError, ProtocolError, Gone) as error:
            self._not_fetched.tell(self.cast, self._place.node, str(error))
            self._why_lost = (
                FailureKind.NOT_TRUSTED if isinstance(error, Untrusted) else FailureKind.UPSTREAM_LOST
            )
            return reason_of(error) if isinstance(error, OSError) and error.strerror else str(error)
        return ""

    def _fetch_from(self, epoch: int, upstream: Upstream) -> None:
        channel, transport = self._meeting.connect(
            epoch, upstream, lambda: not self._stop and self.route[0] == epoch
        )
        try:
            with self.lock:
                self._channel = channel
                if self._stop or self.route[0] != epoch:
                    return
                self._connected_to, self._transport = upstream.node, transport
                self._fetching_from = upstream
                self._met.add(upstream)
            if self.state is not R.RECEIVING:
                self._go(R.RECEIVING)
            Fetching(channel, self, upstream).run()
        finally:
            self.spending.on(WAITING)
            with self.lock:
                self._channel = self._fetching_from = None
            channel.close()

    def _lost(self, upstream: Upstream, patience: Patience, reason: str) -> None:
        """Say so after a while, give up after a while more. What can't be had from there is said at once."""
        timing = self._place.timing
        kind, lost_after = self._why_lost, timing.lost_after
        values = {"node": self._place.node, "upstream": upstream.node, "reason": reason}
        spoilt = self._spoilt_there(upstream)
        if spoilt is not None:
            kind, lost_after = spoilt.kind, 0.0
            values["path"] = self.path_of_piece(spoilt.piece)
        elif self.order.transport == ways.DIRECT and upstream not in self._met:
            kind, around = FailureKind.NO_WAY, self._place.surroundings
            values["address"] = host_port(upstream.address, upstream.port)
            values["own"] = host_port(without_scope(around.address), around.port)
        if patience.spent >= lost_after + timing.grace:
            raise CastRayError(kind, **values)
        if patience.spent < lost_after or not patience.may_ask:
            return
        with self.lock:
            if self._failure is not None or self.route[1] != upstream:
                return
            self._connected_to, self.state, self._failure = "", R.CONNECTING, Failure(kind, values)
        patience.asked()
        self.stated()

    def repairs_from(self, upstream: Upstream) -> dict[int, int]:
        """How often each piece came damaged from there, on all connections."""
        return self._repairs.setdefault(upstream, {})

    def _spoilt_there(self, upstream: Upstream) -> Optional[Spoilt]:
        """A piece that is missing and can't be had from there."""
        for piece, spoilt in self._spoilt.get(upstream, {}).items():
            if not self.has_piece(piece):
                return spoilt
        return None

    def end_with(self, error: BaseException) -> None:
        with self.lock:
            self._trouble = self._trouble or error
            self._abort_channel()
            self.condition.notify_all()

    def heard(self) -> None:
        """The upstream lives."""
        self._heard = True

    def damaged(self, path: str) -> CastRayError:
        upstream = self.route[1]
        return CastRayError(
            FailureKind.DAMAGED, path=path, node=self._place.node, upstream=upstream.node if upstream else ""
        )
