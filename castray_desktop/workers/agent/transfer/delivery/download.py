"""Download from the present upstream until everything is there: one connection after another.

Requests go out, pieces come in, each is verified before it counts.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Optional

from castray_desktop.core.content.byte_ranges import RangeSet
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.multicast.datagrams import DatagramKeys
from castray_desktop.core.protocol.nodes import dial_strategy, peer_frames
from castray_desktop.core.protocol.nodes.agent_protocol import (
    JoinGroup,
    PauseDelivery,
    RecipientState,
    SetUpstream,
    StartDelivery,
    Upstream,
)
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, PieceFlag, ProtocolError
from castray_desktop.workers.agent.network_addresses import host_port, without_scope
from castray_desktop.workers.agent.repeated_log_lines import RepeatedLogLines
from castray_desktop.workers.agent.transfer.delivery.delivery_status import DeliveryStatus
from castray_desktop.workers.agent.transfer.multicast.multicast_receiver import MulticastReceiver
from castray_desktop.workers.agent.transfer.multicast.multicast_repair import MulticastRepair
from castray_desktop.workers.agent.transfer.node_context import NodeContext, PeerTiming
from castray_desktop.workers.agent.transfer.peer.connection import PeerConnection, UntrustedPeerError
from castray_desktop.workers.agent.transfer.peer.dial import PeerDialer
from castray_desktop.workers.agent.transfer.store.piece_store import (
    Spoilt,
    StoreGoneError,
    read_some,
)
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.store.resume_verifier import ResumeVerifier
from castray_desktop.workers.agent.transfer.system.digests import expander
from castray_desktop.workers.agent.transfer.system.file_io import CHUNK_BYTES, page_buffer
from castray_desktop.workers.agent.transfer.system.os_failures import reason_of
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, WAITING

log = logging.getLogger("castray.byte_plane")

R = RecipientState

MAX_REQUESTS = 1000

MAX_REPAIRS = 5

GROUP_SECONDS = 0.1

LIVENESS_FRAMES = (FrameType.PIECE, FrameType.DIGESTS, FrameType.PART, FrameType.WAITING, FrameType.HASHES)

POLL_SECONDS = 0.1  # while idle, the delivery is checked


class PieceDownloader:
    """Downloads pieces over one connection."""

    def __init__(
        self, channel: PeerConnection, session: DownloadSession, store: ReceiveStore, upstream: Upstream
    ) -> None:
        self._channel = channel
        channel.tolerates_silence = lambda: session.is_idle
        self._session = session
        self._store = store
        self._pieces = store.pieces
        self._layout = store.pieces.layout
        self._buffer = page_buffer(min(self._layout.piece_bytes, self._layout.stream_bytes))
        self._repairs = session.repairs_from(upstream)
        self._unplaced = False
        self._hashes_asked = False
        self._upstream_told_to_pause = False
        self._asked = RangeSet()
        self._queue: deque[tuple[int, int, bool]] = deque()  # start, end, whether digests suffice
        self._last_pieces: deque[int] = deque()  # last pieces of outstanding requests
        self._early_asked = RangeSet()  # digests requested ahead of their pieces
        self._multicast_repair: Optional[MulticastRepair] = None  # while multicast brings pieces
        self._parts_due = 0  # parts that still arrive after the group

    def run(self) -> None:
        """Run until everything is there, or the delivery has been paused for so long that it closes the
        connection.

        Raises Silent, ConnectionError, ProtocolError, Gone, or CastRayError.
        """
        self._look_for_group()
        self._request_missing()
        while not self._store.is_complete():
            if not self._goes_on():
                return
            if self._upstream_told_to_pause and not (
                self._channel.wait_readable(POLL_SECONDS) and self._session.reads_in_pause()
            ):
                continue
            if self._look_for_group() or self._store.has_new_wanted:
                self._request_missing()
            if self._pieces.early_digests_wanted:
                self._request_early(0, self._layout.stream_bytes)
            if self._store.comparison.hashes_awaited and not self._hashes_asked:
                self._hashes_asked = True
                self._channel.write(peer_frames.frame(FrameType.HASHES))
            if self._pieces.wake_pending and not self._channel.has_data():
                self._pieces.notify_waiting()
            if not self._gather():
                continue
            self._store.time_breakdown.switch(WAITING)
            header = self._channel.read_header()
            if header.type in LIVENESS_FRAMES:
                self._session.upstream_alive()
            if header.type is FrameType.PIECE:
                self._take_piece(header)
            elif header.type is FrameType.WAITING:
                self._pieces.flush_progress()
            elif header.type is FrameType.DIGESTS:
                self._take_early(*peer_frames.parse_digests(self._channel.read(header.length)))
            elif header.type is FrameType.PART:
                self._take_part(header)
            elif header.type is FrameType.FILE and self._channel.local:
                peer_frames.parse_file(self._channel.receive_file(header.length))
            elif header.type is FrameType.HASHES and self._hashes_asked:
                self._store.add_source_hashes(*peer_frames.parse_hashes(self._channel.read(header.length)))
            elif header.type is FrameType.GONE:
                raise StoreGoneError(
                    peer_frames.text_of(self._channel.read(header.length)) or "it can't serve this cast"
                )
            elif header.type is FrameType.SPOILT:
                raise Spoilt(*peer_frames.parse_spoilt(self._channel.read(header.length)))
            else:
                raise ProtocolError(f"{header.type.name} frame where a piece belongs")

    def _goes_on(self) -> bool:
        """Tell the upstream of pauses; returns False once a paused delivery closes its connection.

        Data in flight when a pause starts still arrives and counts.
        """
        self._session.reading_in_pause = False
        ends = self._session.pause_ends
        if self._upstream_told_to_pause is (ends is None):
            self._upstream_told_to_pause = not self._upstream_told_to_pause
            self._channel.write(
                peer_frames.frame(FrameType.PAUSE if self._upstream_told_to_pause else FrameType.RESUME)
            )
            self._leave_group()
        return ends is None or time.monotonic() < ends

    def _request_missing(self) -> None:
        """Request needed data that was not requested on this connection."""
        begins = self._layout.stream_bytes
        if self._multicast_repair is not None and not self._store.is_undecided():
            begins = self._multicast_repair.starts_at
            self._multicast_repair.recheck()
        for start, end in self._store.needed_ranges():
            self._request(start, min(end, begins))
            for low, high, digests in self._store.comparison.split(max(start, begins), end):
                if digests:
                    self._request(low, high)
                else:  # their bytes come by multicast
                    self._request_early(low, high)
        self._ask()

    def _request(self, start: int, end: int) -> None:
        if start >= end:
            return
        for gap in self._asked.missing(start, end):
            self._queue.extend(self._store.comparison.split(*gap))
        self._asked.add(start, end)

    def _request_early(self, start: int, end: int) -> None:
        """Request digests as soon as they are known."""
        if start >= end:
            return
        gaps = self._early_asked.missing(start, end)
        if gaps:
            self._early_asked.add(start, end)
            flags = PieceFlag.DIGEST | PieceFlag.EARLY
            self._channel.write(b"".join(peer_frames.request_frame(*gap, flags) for gap in gaps))

    def _look_for_group(self) -> bool:
        """Returns whether it has just become known what multicast brings."""
        if self._multicast_repair is None and not self._channel.local and not self._upstream_told_to_pause:
            receiver = self._session.multicast_receiver()
            if receiver is None:
                return False
            self._multicast_repair = MulticastRepair(
                self._channel, self._store, self._layout, receiver, self._parts_due
            )
            return True
        return self._multicast_repair is not None and self._multicast_repair.start_became_known()

    def _leave_group(self) -> None:
        self._session.leave_group()
        if self._multicast_repair is not None:
            self._parts_due, self._multicast_repair = self._multicast_repair.parts_due, None

    def _take_part(self, header: peer_frames.FrameHeader) -> None:
        if self._multicast_repair is not None:
            self._multicast_repair.receive_part(header)
        elif self._parts_due:  # requested before the group was left
            self._parts_due -= 1
            self._channel.read(header.length)
        else:
            raise ProtocolError("a part that nobody asked for")

    def _gather(self) -> bool:
        """Complete pieces that multicast brought; returns whether there is data from the upstream."""
        repair = self._multicast_repair
        if repair is None:
            return True
        for first, last in repair.step():
            self._fetch_wholly(self._layout.piece(first)[0], self._layout.piece(last - 1)[1])
        if self._unplaced and self._pieces.manifest is not None:  # it came by multicast, after contents
            self._unplaced = False
            self._ask_again()
        self._ask()
        if self._store.is_complete() or self._store.has_new_wanted:
            return False
        return not repair.receiver.is_active or repair.wait_for_data(GROUP_SECONDS)

    def _fetch_wholly(self, start: int, end: int) -> None:
        """Request what multicast did not bring."""
        self._queue.extend((*gap, False) for gap in self._asked.missing(start, end))
        self._asked.add(start, end)

    def _ask(self) -> None:
        """Send requests up to a bound; more when the first were answered."""
        requests = []
        while self._queue and len(self._last_pieces) < MAX_REQUESTS:
            start, end, digests = self._queue.popleft()
            requests.append(peer_frames.request_frame(start, end, PieceFlag.DIGEST if digests else 0))
            self._last_pieces.append(self._layout.piece_at(end - 1))
        if requests:
            self._channel.write(b"".join(requests))

    def _ask_again(self) -> None:
        """Received data could not be written: request everything missing again."""
        self._asked = RangeSet()
        self._queue.clear()
        self._last_pieces.clear()
        self._request_missing()

    def _take_early(self, first: int, digests: bytes) -> None:
        try:
            self._pieces.add_early_digests(first, digests)
        except ValueError as error:
            raise ProtocolError(str(error)) from error

    def _take_piece(self, header: peer_frames.FrameHeader) -> None:
        head = peer_frames.parse_piece_head(header, self._channel.read(peer_frames.PIECE_BYTES))
        try:
            start, end = self._layout.piece(head.index)
        except ValueError as error:
            raise ProtocolError(str(error)) from error
        if head.length != end - start:
            raise ProtocolError(f"a piece of {head.length} bytes where {end - start} belong")
        if header.flags & PieceFlag.DIGEST:
            self._take_digest(head, start, end)
            return
        view = self._buffer[: head.length]
        by_fd = bool(header.flags & PieceFlag.BY_FD)
        if by_fd and self._session.is_idle:  # hundreds of these may be in flight
            self._goes_on()
            self._session.wait_while_idle()
        good = (self._copied(view) if by_fd else self._received(view)) == head.digest
        self._store.received_bytes += head.length
        self._answered(head.index)
        if not good:
            self._repair(head.index, start, end, bool(header.flags & PieceFlag.CHANGED))
            return
        with self._store.write_lock:
            had = self._pieces.has_piece(head.index)
            placed = had or self._store.write_piece(head.index, head.digest, view)
        if not had:
            if not placed:
                self._unplaced = True  # damage left a gap in the manifest:
            elif self._unplaced and head.index in self._repairs:
                self._unplaced = False
                self._ask_again()

    def _take_digest(self, head: peer_frames.PieceHead, start: int, end: int) -> None:
        """If an existing file has other bytes, request the piece itself."""
        with self._store.write_lock:
            known = self._pieces.has_piece(head.index) or self._store.use_existing_piece(
                head.index, head.digest, self._buffer
            )
        if not known:
            if self._queue and self._queue[-1][1:] == (start, False):
                self._queue[-1] = (self._queue[-1][0], end, False)
            else:
                self._queue.append((start, end, False))
        self._answered(head.index)

    def _answered(self, index: int) -> None:
        """Requests are answered in order: the last piece of one lets the next one go out."""
        if self._last_pieces and index == self._last_pieces[0]:
            self._last_pieces.popleft()
        self._ask()

    def _received(self, view: memoryview) -> bytes:
        """Receive the payload in one system call: fewer wake-ups weigh more than a warm cache (measured)."""
        self._channel.read_into(view)
        self._store.time_breakdown.switch(CHECKING)
        hasher = self._pieces.new_piece_hasher()
        hasher.update(view)
        return hasher.digest()

    def _copied(self, view: memoryview) -> bytes:
        """Read the payload from the file that the upstream passed; empty if the file has become too short."""
        _, offset = peer_frames.parse_by_fd(self._channel.read(peer_frames.BY_FD_BYTES))
        if self._channel.passed_fd < 0:
            raise ProtocolError("a piece of a file that was never passed")
        self._store.time_breakdown.switch(CHECKING)
        hasher = self._pieces.new_piece_hasher()
        for at in range(0, len(view), CHUNK_BYTES):
            chunk = view[at : at + CHUNK_BYTES]
            try:
                count = read_some(self._channel.passed_fd, offset + at, chunk)
            except OSError:  # of the upstream's disk: asked once more, it says so itself
                return b""
            if count < len(chunk):
                return b""
            hasher.update(chunk)
        return hasher.digest()

    def _repair(self, index: int, start: int, end: int, changed: bool) -> None:
        """Request the piece once more; a second error is a failure, unless the file changes at the source."""
        self._repairs[index] = self._repairs.get(index, 0) + 1
        if self._repairs[index] > (MAX_REPAIRS if changed else 1):
            raise Spoilt(index, "it arrived damaged, twice", FailureKind.DAMAGED)
        self._channel.write(peer_frames.request_frame(start, end, PieceFlag.AGAIN))


UpstreamRoute = tuple[int, Optional[Upstream]]  # epoch, and where to fetch from; None: nowhere for now


MAX_LOST = 4

"""So many upstreams in a row are said to be lost; the one after them is the last that is tried."""


class Patience:
    """How long a delivery bears that nothing new comes: only the time without a connection counts.

    Progress renews it, and so does an upstream that was not tried since, as long as another one may be asked
    for; hearing from one does not.
    """

    def __init__(self, timing: PeerTiming) -> None:
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


class DownloadSession:
    """Fills a store from an upstream. Orders come from other threads and change the upstream or end it."""

    def __init__(
        self, order: StartDelivery, context: NodeContext, store: ReceiveStore, status: DeliveryStatus
    ) -> None:
        self.secret = bytes.fromhex(order.secret)
        self.route: UpstreamRoute = (order.epoch, order.upstream)
        self.connected_to = ""
        self.transport = ""
        self._order = order
        self._context = context
        self._store = store
        self._pieces = store.pieces
        self._status = status
        self._cancellation = store.cancellation
        self._cancellation.add_listener(self._interrupt)
        self._heard = False
        self.pause_ends: Optional[float] = None  # until then a paused delivery keeps its connection
        self.reading_in_pause = False  # the upstream knows of the pause, and may have stopped within a piece
        self._fetching_from: Optional[Upstream] = None
        self._why_lost = FailureKind.UPSTREAM_LOST
        self._repairs: dict[Upstream, dict[int, int]] = {}  # how often a piece came damaged, from each place
        self._met: set[Upstream] = set()  # with whom there was a connection
        self._not_fetched = RepeatedLogLines(log, logging.INFO, "cast %s on %s: %s")
        self._spoilt: dict[Upstream, dict[int, Spoilt]] = {}  # pieces that can't be had from there
        self._channel: Optional[PeerConnection] = None
        self._dialer = PeerDialer(
            context.connections, order.cast, self.secret, order.options.transport, self._dialer_changed
        )
        self._verifier = ResumeVerifier(store, self._journal_verified)
        self._group = order.group
        self._receiver: Optional[MulticastReceiver] = None
        self._listens_anew = False  # it was told to join since it last received

    # --- orders

    def set_upstream(self, order: SetUpstream) -> None:
        """Change the upstream; older orders are ignored."""
        with self._pieces.lock:
            if order.epoch <= self.route[0]:
                return
            kept = (
                self.pause_ends is not None
                and order.upstream == self._fetching_from
                and not self.reading_in_pause
            )
            self.route, self.pause_ends = (order.epoch, order.upstream), None
            self._status.clear_lost_upstream()
            if not kept:
                self._abort_channel()
            self._pieces.condition.notify_all()

    def pause_fetching(self, order: PauseDelivery) -> None:
        """Detach from the upstream; older orders are ignored. The connection stays for a while."""
        with self._pieces.lock:
            if order.epoch <= self.route[0]:
                return
            self.route = (order.epoch, None)
            self.pause_ends = time.monotonic() + self._context.timing.keep
            self._dialer.interrupt()
            self._pieces.condition.notify_all()

    def join_group(self, order: JoinGroup) -> None:
        """Join this group, also if it was left before; or leave."""
        with self._pieces.lock:
            if order.group == self._group and (self._receiver is None or self._receiver.is_active):
                return
            self._group, self._listens_anew = order.group, True
            if self._receiver is not None:
                self._receiver.stop("it was told to")
            if self._group is not None:
                self._abort_channel()  # what was requested on it comes by multicast
            self._pieces.condition.notify_all()

    def offer(self, channel: PeerConnection, epoch: int) -> bool:
        """Offer a connection that the upstream has dialled. Returns whether it was taken."""
        return self._dialer.offer(channel, epoch)

    def _dialer_changed(self, urgent: bool) -> None:
        """The upstream should be asked to dial, or has dialled."""
        if urgent:
            self._pieces.report_state()
        with self._pieces.lock:
            self._pieces.condition.notify_all()

    def _abort_channel(self) -> None:
        self._dialer.interrupt()
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

    @property
    def asked_upstream(self) -> tuple[int, str]:
        """How often an upstream was asked to dial this node, and which one."""
        request = self._dialer.reverse_request
        return request.times, request.upstream

    def close(self) -> None:
        """Close connections that nobody uses any more."""
        self._dialer.close()

    # --- listening, for the thread that fetches

    @property
    def receives_multicast(self) -> bool:
        """Whether it receives multicast."""
        return self._receiver is not None and self._receiver.is_active

    def multicast_receiver(self) -> Optional[MulticastReceiver]:
        """The multicast receiver of this delivery, present or past; None if it has no group."""
        group = self._group
        if group is None:
            return self._receiver
        if self._receiver is not None and self._receiver.group == group and not self._listens_anew:
            return self._receiver
        self._listens_anew = False
        self.leave_group()
        try:
            self._receiver = MulticastReceiver(
                group,
                self._context.connections.address,
                self._context.node,
                DatagramKeys(self.secret, self._pieces.cast, expander(self._order.algorithms.file)),
                self._pieces.layout,
                self._store,
            )
        except OSError as error:
            log.info(
                "cast %s on %s can't listen to %s: %s",
                self._pieces.cast,
                self._context.node,
                group.address,
                error,
            )
            self._group = None
            return None
        self._receiver.start()
        return self._receiver

    def leave_group(self) -> None:
        """Stop receiving; `multicast_receiver` starts again if there is a group."""
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.close()
            self._pieces.report_state()

    # --- the thread

    def run(self) -> None:
        """Download, and verify what a journal recorded, until everything is there. Raises what ends the
        delivery.
        """
        self._verifier.start()
        try:
            self._fetch_until_complete()
        finally:
            self.leave_group()
            self._verifier.stop()

    def _fetch_until_complete(self) -> None:
        patience = Patience(self._context.timing)
        while not self._store.is_complete():
            self._cancellation.check()
            route = self.route
            epoch, upstream = route
            if upstream is None:
                self._wait_for_orders()
                patience.renew()
                continue
            if self._pieces.paused:  # and not connected: no upstream is missed until it resumes
                self.wait_while_idle()
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
                patience.spend(time.monotonic() - began)
            if self._store.is_complete() or self.route != route:
                continue
            self._lost(upstream, patience, reason)
            began = time.monotonic()
            with self._pieces.lock:
                if (
                    self.route == route
                    and not self._cancellation.requested
                    and not self._dialer.upstream_connected
                ):
                    self._pieces.condition.wait(patience.pause())
            patience.spend(time.monotonic() - began)

    def _wait_for_orders(self) -> None:
        """Detached: wait until the engine gives an upstream."""
        self.connected_to = ""
        self._status.enter(R.CONNECTING)
        with self._pieces.lock:
            while self.route[1] is None and not self._cancellation.requested:
                if self._store.is_complete():
                    return
                self._pieces.condition.wait()
        self._cancellation.check()

    def reads_in_pause(self) -> bool:
        """Whether this delivery is still paused; then a piece is read that may stall."""
        with self._pieces.lock:
            self.reading_in_pause = self.pause_ends is not None
            return self.reading_in_pause

    @property
    def is_idle(self) -> bool:
        """Whether no data is expected on its connection: the cast is paused, or this delivery recently."""
        return self._pieces.paused or (self.pause_ends is not None and time.monotonic() < self.pause_ends)

    def wait_while_idle(self) -> None:
        """Wait while no data is expected. Raises what ends the delivery."""
        with self._pieces.lock:
            while self.is_idle and not self._cancellation.requested and not self._store.is_complete():
                ends = self.pause_ends
                self._pieces.condition.wait(None if ends is None else max(ends - time.monotonic(), 0.0))
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
        channel, transport = self._dialer.connect(
            epoch, upstream, lambda: not self._cancellation.requested and self.route[0] == epoch
        )
        try:
            with self._pieces.lock:
                self._channel = channel
                if self._cancellation.requested or self.route[0] != epoch:
                    return
                self.connected_to, self.transport = upstream.node, transport
                self._fetching_from = upstream
                self._met.add(upstream)
            if self._status.state is not R.RECEIVING:
                self._status.enter(R.RECEIVING)
            PieceDownloader(channel, self, self._store, upstream).run()
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
        elif self._order.options.transport == dial_strategy.DIRECT and upstream not in self._met:
            kind, around = FailureKind.NO_WAY, self._context.connections
            values["address"] = host_port(upstream.address, upstream.port)
            values["own"] = host_port(without_scope(around.address), around.port)
        if patience.spent >= lost_after + timing.grace:
            raise CastRayError(kind, **values)
        if patience.spent < lost_after or not patience.may_ask:
            return
        with self._pieces.lock:
            if self.route[1] != upstream or not self._status.lose_upstream(Failure(kind, values)):
                return
            self.connected_to = ""
        patience.asked()
        self._pieces.report_state()

    def repairs_from(self, upstream: Upstream) -> dict[int, int]:
        """How often each piece came damaged from there, on all connections."""
        return self._repairs.setdefault(upstream, {})

    def _spoilt_there(self, upstream: Upstream) -> Optional[Spoilt]:
        """A piece that is missing and can't be had from there."""
        for piece, spoilt in self._spoilt.get(upstream, {}).items():
            if not self._pieces.has_piece(piece):
                return spoilt
        return None

    def upstream_alive(self) -> None:
        """The upstream is alive."""
        self._heard = True
