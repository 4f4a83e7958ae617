"""One recipient's share of a cast: fetch what is missing, verify, write, land; serve all the while.

One thread does it all, from connecting to the last rename; only what a journal claims is read back by another
one beside it. Orders come in from other threads, change the
route or the end, and wake it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from typing import Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import (
    FileResult,
    FileStatus,
    Manifest,
    decode_trailer,
)
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.byte_plane.channel import Channel, Untrusted
from castray_desktop.workers.ray_side.byte_plane.failures import (
    file_failure,
    reason_of,
    short_reason,
    write_failure,
)
from castray_desktop.workers.ray_side.byte_plane.fetching import Fetching
from castray_desktop.workers.ray_side.byte_plane.landing import Landing
from castray_desktop.workers.ray_side.byte_plane.meeting import Meeting
from castray_desktop.workers.ray_side.byte_plane.place import Place
from castray_desktop.workers.ray_side.byte_plane.restoring import Restoring
from castray_desktop.workers.ray_side.byte_plane.scan import MAX_PROBLEMS
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, DISK, WAITING
from castray_desktop.workers.ray_side.byte_plane.standing import StandingStock
from castray_desktop.workers.ray_side.byte_plane.supply import Cancelled, Changed, Gone
from castray_desktop.workers.ray_side.hooks import read_rules, rules_path, run_hook
from castray_desktop.workers.ray_side.protocol import (
    FINAL_RECIPIENT_STATES,
    DeliveryReport,
    FileProblem,
    RecipientState,
    Seal,
    SetUpstream,
    StartDelivery,
    Upstream,
)

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


class Delivery(StandingStock):
    """The receiving side of one cast on one node."""

    def __init__(self, order: StartDelivery, place: Place, changed: Changed) -> None:
        super().__init__(order, place, changed)
        self.limiter.change(order.limit)
        self.secret = bytes.fromhex(order.secret)
        self.state = R.CONNECTING
        self.route: Route = (order.epoch, order.upstream)
        self._heard = False
        self.received_bytes = 0
        self._connected_to = ""
        self._transport = ""
        self._seal = ""
        self._failure: Optional[Failure] = None
        self._paths: tuple[str, ...] = ()
        self._file_hash = ""
        self._hook = ""
        self._problems: tuple[FileProblem, ...] = ()
        self._problem_count = 0
        self._stop = False
        self._left = False
        self._forgotten = False
        self._why_lost = FailureKind.UPSTREAM_LOST
        self._channel: Optional[Channel] = None
        self._meeting = Meeting(
            place.surroundings, order.cast, self.secret, order.transport, self._meeting_changed
        )
        self._trouble: Optional[BaseException] = None
        self._restoring = Restoring(self, self._restored)
        self._thread = threading.Thread(target=self._run, name=f"castray-delivery-{self.cast}", daemon=True)

    # --- orders

    def start(self) -> None:
        self._thread.start()

    def set_upstream(self, order: SetUpstream) -> None:
        """Fetch from there from now on; older orders are ignored."""
        with self.condition:
            if order.epoch <= self.route[0]:
                return
            self.route = (order.epoch, order.upstream)
            self._abort_channel()
            self.condition.notify_all()

    def offer(self, channel: Channel, epoch: int) -> bool:
        """The upstream has dialled, since it can't be dialled. True: the channel is ours now."""
        return self._meeting.offer(channel, epoch)

    def seal(self, order: Seal) -> None:
        with self.condition:
            self._seal = order.trailer_digest
            self.condition.notify_all()

    def leave(self) -> None:
        """End it, but keep what is there for a later delivery."""
        with self.condition:
            self._left = True
        self.cancel()

    def cancel(self) -> None:
        """End it; part files go, what has landed stays."""
        with self.condition:
            self._stop = True
            self._abort_channel()
            self.condition.notify_all()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def forget(self) -> None:
        """Nobody will ask about it any more: end it if it still runs, and free what it holds."""
        with self.condition:
            self._forgotten = True
            ended = self.state in FINAL_RECIPIENT_STATES
        if ended:
            self.release()
        else:
            self.cancel()

    def release(self) -> None:
        """Nobody needs it any more: free what it holds."""
        self.end("the cast is over")
        if self._parts is not None:
            self._parts.close()

    def report(self) -> DeliveryReport:
        with self.condition:
            return DeliveryReport(
                cast=self.cast,
                state=self.state,
                epoch=self.route[0],
                upstream=self._connected_to,
                stream_bytes=self.have.total,
                content_bytes=self._content_bytes,
                received_bytes=self.received_bytes,
                sent_bytes=self.sent_bytes,
                transport=self._transport,
                paths=self._paths,
                hash=self._file_hash,
                problems=self._problems,
                problem_count=self._problem_count,
                failure=self._failure,
                asked=self._meeting.asked.times,
                asked_upstream=self._meeting.asked.upstream,
                checking=self.spending.seconds(CHECKING),
                writing=self.spending.seconds(DISK),
                hook=self._hook,
            )

    def _meeting_changed(self, urgent: bool) -> None:
        """The upstream is to be told that it should dial, or has done so."""
        if urgent:
            self.stated()
        with self.condition:
            self.condition.notify_all()

    def _abort_channel(self) -> None:
        self._meeting.interrupt()
        if self._channel is not None:
            self._channel.abort()

    def _go(self, state: RecipientState, failure: Optional[Failure] = None) -> None:
        with self.condition:
            if state is not self.state and state not in TRANSITIONS[self.state]:
                raise RuntimeError(f"{self.state.value} can't become {state.value}")
            self.state, self._failure = state, failure
        self.stated()

    # --- the thread

    def _run(self) -> None:
        final, failure = R.FAILED, None
        try:
            self._go(R.CONNECTING)
            self._open()
            self._restoring.start()
            self._fetch_all()
            self._restoring.stop()
            self._go(R.VERIFYING)
            final, failure = self._verify_and_land()
            if self.order.hook and failure is None:
                self._hook = self._run_hook(final)
        except Cancelled:
            final, failure = R.CANCELLED, Failure(FailureKind.CANCELLED)
        except CastRayError as error:
            failure = error.failure
        except OSError as error:
            failure = write_failure(error, self._place.node, self._shown_path(error)).failure
        except Exception as error:
            log.exception("delivery of cast %s failed on %s", self.cast, self._place.node)
            failure = Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
        if self._hashes is not None:
            self._hashes.stop()
        self._restoring.stop()
        self._finish(final, failure)

    def _restored(self, error: Optional[BaseException]) -> None:
        """What the journal claimed was read back; the fetch may have all it needs by that."""
        with self.condition:
            self._trouble = error
            if error is not None or self.is_complete():
                self._abort_channel()
            self.condition.notify_all()

    def _finish(self, final: RecipientState, failure: Optional[Failure]) -> None:
        whole = final in (R.COMPLETED, R.SKIPPED) or (failure is not None and failure.kind in _STILL_SERVED)
        if not whole:
            self.end(
                "the cast was cancelled" if final is R.CANCELLED else f"{self._place.node} could not store it"
            )
        if self._parts is not None and not whole:
            self._parts.close()
        self._meeting.close()
        try:
            self._clean_up(final)
        except OSError as error:  # the result has to be told all the same
            log.warning("cast %s on %s: staging could not be removed: %s", self.cast, self._place.node, error)
        self._place.ledger.release(self.cast)
        if failure is not None and final is not R.CANCELLED:
            log.warning(
                "cast %s failed on %s: %s %s", self.cast, self._place.node, failure.kind, failure.values
            )
        self._go(final, failure)
        if self._forgotten:
            self.release()

    def _clean_up(self, final: RecipientState) -> None:
        if self._staging is not None:
            if self._left and final is R.CANCELLED:
                self._staging.leave()
                return
            self._staging.remove()
            if not self._paths:
                self._staging.remove_made_folders()

    def check_stop(self) -> None:
        if self._stop:
            raise Cancelled
        if self._trouble is not None:
            raise self._trouble

    # --- fetching

    def _fetch_all(self) -> None:
        timing = self._place.timing
        pause, lost_since, asked = timing.first_pause, 0.0, self.route
        while not self.is_complete():
            self.check_stop()
            route = self.route
            if route[1] is None:
                self._wait_for_orders()
                continue
            if self.paused:  # and not connected: nobody is missed until it goes on
                self.rest()
                lost_since = 0.0
                continue
            reason = self._try_fetching(route[0], route[1])
            self.check_stop()
            if self._heard or route != asked:
                pause, lost_since, asked = timing.first_pause, 0.0, route
            if self.is_complete() or self.route != route:
                continue
            if lost_since == 0.0 or self._restoring.alive:
                lost_since = time.monotonic()
            self._lost(route[1], time.monotonic() - lost_since, reason)
            with self.condition:
                if self.route == route and not self._stop and not self._meeting.has_come:
                    self.condition.wait(pause)
            pause = min(pause * 2, timing.longest_pause)

    def _wait_for_orders(self) -> None:
        """The engine has nobody to fetch from: wait until it has."""
        self._connected_to = ""
        self._go(R.CONNECTING)
        with self.condition:
            while self.route[1] is None and not self._stop and self._trouble is None:
                if self.is_complete():
                    return
                self.condition.wait()
        self.check_stop()

    def rest(self) -> None:
        """Wait while the cast is paused. Raises what ends the delivery."""
        with self.condition:
            while self.paused and not self._stop and self._trouble is None and not self.is_complete():
                self.condition.wait()
        self.check_stop()

    def _try_fetching(self, epoch: int, upstream: Upstream) -> str:
        """One connection, until everything is there or it breaks; why it broke."""
        self._heard = False
        try:
            self._fetch_from(epoch, upstream)
        except (OSError, ProtocolError, Gone) as error:
            log.info("cast %s on %s: %s", self.cast, self._place.node, error)
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
            with self.condition:
                self._channel = channel
                if self._stop or self.route[0] != epoch:
                    return
                self._connected_to, self._transport = upstream.node, transport
            if self.state is not R.RECEIVING:
                self._go(R.RECEIVING)
            Fetching(channel, self).run()
        finally:
            self.spending.on(WAITING)
            with self.condition:
                self._channel = None
            channel.close()

    def _lost(self, upstream: Upstream, seconds: float, reason: str) -> None:
        """Say so after a while, give up after a while more."""
        timing = self._place.timing
        if seconds < timing.lost_after:
            return
        values = {"node": self._place.node, "upstream": upstream.node, "reason": reason}
        if seconds >= timing.lost_after + timing.grace:
            raise CastRayError(self._why_lost, **values)
        if self._failure is None:
            self._connected_to = ""
            self._go(R.CONNECTING, Failure(self._why_lost, values))

    def heard(self) -> None:
        """The upstream lives."""
        self._heard = True

    def damaged(self, path: str) -> CastRayError:
        upstream = self.route[1]
        return CastRayError(
            FailureKind.DAMAGED, path=path, node=self._place.node, upstream=upstream.node if upstream else ""
        )

    # --- verifying and landing

    def _verify_and_land(self) -> tuple[RecipientState, Optional[Failure]]:
        assert self.manifest is not None
        assert self._parts is not None
        assert self._staging is not None
        results = self._checked_results(self.manifest)
        if not self.landing_begun:
            self._parts.sync()
        self.check_stop()
        landing = Landing(
            self.manifest,
            self._parts,
            results,
            self._staging.destination,
            self.order.on_conflict,
            self.order.algorithms.file,
            self._place.hashes,
        )
        try:
            landed = landing.run()
        finally:
            self._paths = tuple(display(path) for path in landing.landed.paths)
        if len(self.manifest.files) == 1 == len(self.manifest.entries) and results[0].status is FileStatus.OK:
            self._file_hash = f"{self.order.algorithms.file}:{results[0].hash.hex()}"
        failure = self._file_failures(self.manifest, results)
        if failure is not None:
            return R.FAILED, failure
        return (R.COMPLETED if landed.something_new else R.SKIPPED), None

    def _run_hook(self, final: RecipientState) -> str:
        """What was sent is in place: run the command that comes with it, where this node allows that."""
        assert self._staging is not None
        folder = os.fsdecode(self._staging.destination)
        variables = {
            "CASTRAY_CAST": self.cast,
            "CASTRAY_NODE": self._place.node,
            "CASTRAY_STATE": final.value,
            "CASTRAY_DESTINATION": folder,
            "CASTRAY_PATHS": "\n".join(self._paths),
        }
        return run_hook(self.order.hook, read_rules(rules_path()), variables, folder, lambda: self._stop)

    def _checked_results(self, manifest: Manifest) -> list[FileResult]:
        """The trailer's records, once its digest has come from the source and fits."""
        if self._hashes is not None and not self.landing_begun:
            self._hashes.finish()
        with self.condition:
            while not self._seal and not self._stop:
                self.condition.wait()
        self.check_stop()
        if hashlib.sha256(self._raw_trailer).hexdigest() != self._seal:
            raise self.damaged("the list of hashes")
        try:
            results = decode_trailer(bytes(self._raw_trailer), len(manifest.files))
        except ValueError as error:
            raise CastRayError(FailureKind.INTERNAL, reason=str(error)) from error
        if self.landing_begun:  # they agreed before the first entry got its name
            return results
        assert self._hashes is not None
        return [
            # every piece was right: the file has changed at the source after its hash was made
            FileResult(FileStatus.CHANGED, b"")
            if result.status is FileStatus.OK and result.hash != mine
            else result
            for result, mine in zip(results, self._hashes.finish())
        ]

    def _file_failures(self, manifest: Manifest, results: list[FileResult]) -> Optional[Failure]:
        problems = [
            FileProblem(display(entry.path), file_failure(result.status, entry.path))
            for entry, result in zip(manifest.files, results)
            if result.status is not FileStatus.OK
        ]
        if not problems:
            return None
        self._problems, self._problem_count = tuple(problems[:MAX_PROBLEMS]), len(problems)
        if len(manifest.entries) == 1:
            return problems[0].failure
        return Failure(
            FailureKind.FILES_FAILED,
            {
                "count": str(len(problems)),
                "total": str(len(manifest.files)),
                "path": problems[0].path,
                "reason": short_reason(problems[0].failure),
            },
        )


_STILL_SERVED = (
    FailureKind.FILES_FAILED,
    FailureKind.CHANGED,
    FailureKind.VANISHED,
    FailureKind.READ_ERROR,
    FailureKind.NOT_READABLE,
)
