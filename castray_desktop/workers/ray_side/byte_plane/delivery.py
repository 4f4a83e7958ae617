"""One recipient's share of a cast: fetch what is missing, verify, write, land; serve all the while.

One thread does it all, from connecting to the last rename. Orders come in from other threads, change the
route or the end, and wake it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import (
    FileResult,
    FileStatus,
    Layout,
    Manifest,
    Span,
    decode,
    decode_trailer,
)
from castray_desktop.core.wire import ProtocolError
from castray_desktop.workers.ray_side.byte_plane.channel import Channel
from castray_desktop.workers.ray_side.byte_plane.digests import Hasher, file_hasher, piece_hasher
from castray_desktop.workers.ray_side.byte_plane.failures import (
    file_failure,
    no_room,
    reason_of,
    short_reason,
    write_failure,
)
from castray_desktop.workers.ray_side.byte_plane.fetching import Fetching
from castray_desktop.workers.ray_side.byte_plane.landing import Landing
from castray_desktop.workers.ray_side.byte_plane.meeting import Meeting, Surroundings
from castray_desktop.workers.ray_side.byte_plane.parts import PartFiles
from castray_desktop.workers.ray_side.byte_plane.preflight import nearest_folder, resolve_destination
from castray_desktop.workers.ray_side.byte_plane.registry import Registry
from castray_desktop.workers.ray_side.byte_plane.room import Ledger
from castray_desktop.workers.ray_side.byte_plane.scan import MAX_PROBLEMS
from castray_desktop.workers.ray_side.byte_plane.staging import Staging
from castray_desktop.workers.ray_side.byte_plane.supply import Again, Changed, Gone, Supply
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


@dataclass(frozen=True)
class Timing:
    """How patient a recipient is, in seconds."""

    lost_after: float = 5.0  # without a living upstream: UPSTREAM_LOST is reported
    grace: float = 5.0  # after that report: what the dispatcher has for another upstream
    first_pause: float = 0.02
    longest_pause: float = 0.5


@dataclass(frozen=True)
class Place:
    """What a delivery needs to know about its node."""

    node: str
    inbox: Path
    ledger: Ledger
    registry: Registry
    surroundings: Surroundings
    timing: Timing


Route = tuple[int, Optional[Upstream]]  # epoch, and where to fetch from; None: nowhere for now


class Cancelled(Exception):
    """The cast was cancelled here."""


class Delivery(Supply):
    """The receiving side of one cast on one node."""

    def __init__(self, order: StartDelivery, place: Place, changed: Changed) -> None:
        super().__init__(order.cast, changed)
        self.order = order
        self.limiter.change(order.limit)
        self.secret = bytes.fromhex(order.secret)
        self.state = R.CONNECTING
        self.route: Route = (order.epoch, order.upstream)
        self._heard = False
        self.received_bytes = 0
        self._place = place
        self._content_bytes = 0
        self._connected_to = ""
        self._transport = ""
        self._seal = ""
        self._failure: Optional[Failure] = None
        self._paths: tuple[str, ...] = ()
        self._file_hash = ""
        self._problems: tuple[FileProblem, ...] = ()
        self._problem_count = 0
        self._stop = False
        self._forgotten = False
        self._channel: Optional[Channel] = None
        self._meeting = Meeting(
            place.surroundings, order.cast, self.secret, order.transport, self._meeting_changed
        )
        self._staging: Optional[Staging] = None
        self._parts: Optional[PartFiles] = None
        totals = order.totals
        self._lay_out(
            Layout(
                totals.manifest_bytes,
                totals.content_bytes,
                totals.trailer_bytes,
                order.algorithms.piece_bytes,
            )
        )
        self._raw_manifest = bytearray(totals.manifest_bytes)
        self._raw_trailer = bytearray(totals.trailer_bytes)
        self.new_piece_hasher = piece_hasher(order.algorithms.piece)
        self._new_file_hasher = file_hasher(order.algorithms.file)
        self._hashes: list[bytes] = []
        self._hasher: Hasher = self._new_file_hasher()
        self._hashed = 0  # contents that went through the file hashes, always a prefix
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
            self._fetch_all()
            self._go(R.VERIFYING)
            final, failure = self._verify_and_land()
        except Cancelled:
            final, failure = R.CANCELLED, Failure(FailureKind.CANCELLED)
        except CastRayError as error:
            failure = error.failure
        except OSError as error:
            failure = write_failure(error, self._place.node, self._shown_path(error)).failure
        except Exception as error:
            log.exception("delivery of cast %s failed on %s", self.cast, self._place.node)
            failure = Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
        self._finish(final, failure)

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
            self._clean_up()
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

    def _clean_up(self) -> None:
        if self._staging is not None:
            self._staging.remove()
            if not self._paths:
                self._staging.remove_made_folders()

    def _shown_path(self, error: OSError) -> str:
        """What to name in a failure: the file's final place rather than the staging folder."""
        name = error.filename
        if name is None or self._staging is None:
            return display(self._destination_text())
        raw = os.fsencode(name)
        parts = self._staging.parts + b"/"
        return display(self._staging.destination + b"/" + raw[len(parts) :] if raw.startswith(parts) else raw)

    def _destination_text(self) -> str:
        return os.fspath(self.order.destination or self._place.inbox)

    def check_stop(self) -> None:
        if self._stop:
            raise Cancelled

    def _open(self) -> None:
        """Make the staging folder, if there is room. Raises CastRayError or OSError."""
        order, place = self.order, self._place
        destination = resolve_destination(order.destination, place.node, place.inbox)
        folder = nearest_folder(destination, place.node)
        free = place.ledger.free(folder, but=self.cast)
        if free < order.totals.content_bytes:
            raise no_room(place.node, destination, free, order.totals.content_bytes)
        place.ledger.promise(self.cast, os.stat(folder).st_dev, order.totals.content_bytes)
        header = {
            "manifest": order.totals.manifest_digest,
            "piece": order.algorithms.piece,
            "file": order.algorithms.file,
            "piece_bytes": str(order.algorithms.piece_bytes),
        }
        try:
            self._staging = Staging(destination, self.cast, place.node, header, place.registry)
        except OSError as error:
            raise write_failure(error, place.node, destination, order.totals.content_bytes) from error
        if order.totals.manifest_bytes == 0:
            raise CastRayError(FailureKind.INTERNAL, reason="a parcel without a manifest")

    # --- fetching

    def is_complete(self) -> bool:
        """Whether every byte of the stream is here and was verified."""
        return self.have.total == self.layout.stream_bytes

    def _fetch_all(self) -> None:
        timing = self._place.timing
        pause, lost_since, asked = timing.first_pause, 0.0, self.route
        while not self.is_complete():
            self.check_stop()
            route = self.route
            if route[1] is None:
                self._wait_for_orders()
                continue
            reason = self._try_fetching(route[0], route[1])
            self.check_stop()
            if self._heard or route != asked:
                pause, lost_since, asked = timing.first_pause, 0.0, route
            if self.is_complete() or self.route != route:
                continue
            if lost_since == 0.0:
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
            while self.route[1] is None and not self._stop:
                self.condition.wait()
        self.check_stop()

    def _try_fetching(self, epoch: int, upstream: Upstream) -> str:
        """One connection, until everything is there or it breaks; why it broke."""
        self._heard = False
        try:
            self._fetch_from(epoch, upstream)
        except (OSError, ProtocolError, Gone) as error:
            log.info("cast %s on %s: %s", self.cast, self._place.node, error)
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
            raise CastRayError(FailureKind.UPSTREAM_LOST, **values)
        if self._failure is None:
            self._connected_to = ""
            self._go(R.CONNECTING, Failure(FailureKind.UPSTREAM_LOST, values))

    def heard(self) -> None:
        """The upstream lives."""
        self._heard = True

    def place_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        """Write a verified piece; False where it can't be placed yet, since the manifest is not there.

        Raises CastRayError where it can't be stored.
        """
        try:
            return self._place_piece(index, digest, view)
        except OSError as error:
            needed = self.layout.stream_bytes - self.have.total
            raise write_failure(error, self._place.node, self._shown_path(error), needed) from error

    def _place_piece(self, index: int, digest: bytes, view: memoryview) -> bool:
        start, end = self.layout.piece(index)
        layout = self.layout
        if start < layout.manifest_bytes:
            self._raw_manifest[start : min(end, layout.manifest_bytes)] = view[
                : layout.manifest_bytes - start
            ]
        if self.manifest is None and end >= layout.manifest_bytes:
            if self.have.prefix < min(start, layout.manifest_bytes):
                return False
            self._decode_manifest()
        low, high = layout.content_part(start, end)
        content = view[layout.manifest_bytes + low - start :]
        spans = self.manifest.spans(low, high) if self.manifest is not None else []
        self._write(spans, content)
        if end > layout.trailer_start:
            first = max(start, layout.trailer_start)
            self._raw_trailer[first - layout.trailer_start : end - layout.trailer_start] = view[
                first - start :
            ]
        assert self._staging is not None
        self._staging.note(index, digest)
        whole = len(spans) == 1 and high - low == end - start
        self._content_bytes += high - low
        self._add(index, digest, None if whole else bytes(view))
        self._feed(low, high, spans, content)
        self.progressed()
        return True

    def _decode_manifest(self) -> None:
        raw = bytes(self._raw_manifest)
        if hashlib.sha256(raw).hexdigest() != self.order.totals.manifest_digest:
            raise self.damaged("the list of files")
        try:
            manifest = decode(raw)
        except ValueError as error:
            raise CastRayError(
                FailureKind.INTERNAL, reason=f"the list of files is not valid: {error}"
            ) from error
        layout = self.layout
        if manifest.content_bytes != layout.content_bytes or len(manifest.files) != self.order.totals.files:
            raise CastRayError(FailureKind.INTERNAL, reason="the list of files does not fit the parcel")
        assert self._staging is not None
        parts = PartFiles(self._staging.parts, manifest, self.cast, self._place.ledger)
        self._parts = parts
        parts.make_folders()
        self.manifest = manifest

    def damaged(self, path: str) -> CastRayError:
        upstream = self.route[1]
        return CastRayError(
            FailureKind.DAMAGED, path=path, node=self._place.node, upstream=upstream.node if upstream else ""
        )

    def path_of_piece(self, index: int) -> str:
        """The file that a piece belongs to, to name it."""
        if self.manifest is not None:
            spans = self.manifest.spans(*self.layout.content_part(*self.layout.piece(index)))
            if spans:
                return display(self.manifest.files[spans[0].file].path)
        return "the list of files"

    def _write(self, spans: list[Span], view: memoryview) -> None:
        at = 0
        for span in spans:
            assert self.manifest is not None
            assert self._parts is not None
            try:
                self._parts.write(span.file, span.offset, view[at : at + span.length])
            except OSError as error:
                entry = self.manifest.files[span.file]
                path = os.fsencode(self._destination_text()) + b"/" + entry.path
                raise write_failure(error, self._place.node, path, entry.size - span.offset) from error
            at += span.length

    # --- file hashes

    def _feed(self, low: int, high: int, spans: list[Span], view: memoryview) -> None:
        """Contents that continue what was hashed go straight in; what waited behind a gap is read back."""
        if low != self._hashed or low == high or self.manifest is None:
            return
        self._hash_contents(spans, view)
        self._hashed = high
        manifest_bytes = self.layout.manifest_bytes
        while self._hashed < self.layout.content_bytes:
            there = self.have.available_from(manifest_bytes + self._hashed) - manifest_bytes
            there = min(there, self._hashed + self.layout.piece_bytes, self.layout.content_bytes)
            if there <= self._hashed:
                return
            again = memoryview(bytearray(there - self._hashed))
            self._fill(again, manifest_bytes + self._hashed, manifest_bytes + there)
            self._hash_contents(self.manifest.spans(self._hashed, there), again)
            self._hashed = there

    def _hash_contents(self, spans: list[Span], view: memoryview) -> None:
        assert self.manifest is not None
        at = 0
        for span in spans:
            self._hasher.update(view[at : at + span.length])
            at += span.length
            if span.offset + span.length == self.manifest.files[span.file].size:
                self._file_hashed(span.file)

    def _file_hashed(self, file: int) -> None:
        """A file is complete. Empty ones before it are so without a byte."""
        assert self._parts is not None
        while len(self._hashes) < file:
            self._hashes.append(self._new_file_hasher().digest())
            self._parts.complete(len(self._hashes) - 1)
        self._hashes.append(self._hasher.digest())
        self._hasher = self._new_file_hasher()
        self._parts.complete(file)

    # --- verifying and landing

    def _verify_and_land(self) -> tuple[RecipientState, Optional[Failure]]:
        assert self.manifest is not None
        assert self._parts is not None
        assert self._staging is not None
        for file in range(len(self._hashes), len(self.manifest.files)):
            self._hashes.append(self._new_file_hasher().digest())
            self._parts.complete(file)
        results = self._checked_results(self.manifest)
        self._parts.sync()
        self.check_stop()
        landing = Landing(
            self.manifest,
            self._parts,
            results,
            self._staging.destination,
            self.order.on_conflict,
            self.order.algorithms.file,
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

    def _checked_results(self, manifest: Manifest) -> list[FileResult]:
        """The trailer's records, once its digest has come from the source and fits."""
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
        return [
            # every piece was right: the file has changed at the source after its hash was made
            FileResult(FileStatus.CHANGED, b"")
            if result.status is FileStatus.OK and result.hash != mine
            else result
            for result, mine in zip(results, self._hashes)
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

    # --- serving

    def _manifest_bytes(self) -> bytearray:
        return self._raw_manifest

    def _trailer_bytes(self) -> bytearray:
        return self._raw_trailer

    def _open_for_reading(self, file: int) -> int:
        assert self._parts is not None
        return self._parts.open(file)

    def read_anew(self, index: int) -> Again:
        """A piece that arrived damaged below: it is sent again if it is still right here."""
        if self.gone:
            raise Gone(self.gone)
        payload = self.assembled(index)
        hasher = self.new_piece_hasher()
        hasher.update(payload)
        if hasher.digest() != self.digest(index):
            raise Gone(f"its copy on {self._place.node} has been damaged")
        return Again(payload, self.digest(index), False)


_STILL_SERVED = (
    FailureKind.FILES_FAILED,
    FailureKind.CHANGED,
    FailureKind.VANISHED,
    FailureKind.READ_ERROR,
    FailureKind.NOT_READABLE,
)
