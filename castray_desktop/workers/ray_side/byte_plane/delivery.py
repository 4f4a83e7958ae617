"""One recipient's share of a cast: fetch what is missing, verify, write, land; serve all the while.

One thread does it all, from connecting to the last rename; only what a journal claims, and what has to be
hashed later, is read back by others beside it. Orders come in from other threads, and wake it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from typing import Optional

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.core.names import display
from castray_desktop.core.parcel import FileResult, FileStatus, Manifest, decode_trailer
from castray_desktop.workers.ray_side.byte_plane.extras import ExtraFinder, not_removed
from castray_desktop.workers.ray_side.byte_plane.following import Follower
from castray_desktop.workers.ray_side.byte_plane.landing import Landed, Landing
from castray_desktop.workers.ray_side.byte_plane.parts import PartFiles
from castray_desktop.workers.ray_side.byte_plane.place import Place
from castray_desktop.workers.ray_side.byte_plane.receipts import Receipts, items_of
from castray_desktop.workers.ray_side.byte_plane.scan import MAX_PROBLEMS
from castray_desktop.workers.ray_side.byte_plane.spending import CHECKING, DISK
from castray_desktop.workers.ray_side.byte_plane.supply import Cancelled, Changed
from castray_desktop.workers.ray_side.byte_plane.verifying import (
    STILL_SERVED,
    compared,
    failure_of,
    file_problems,
)
from castray_desktop.workers.ray_side.hooks import read_rules, rules_path, run_hook
from castray_desktop.workers.ray_side.protocol import (
    FINAL_RECIPIENT_STATES,
    DeliveryReport,
    FileProblem,
    RecipientState,
    Seal,
    StartDelivery,
)

log = logging.getLogger("castray.byte_plane")

R = RecipientState


class Delivery(Follower):
    """The receiving side of one cast on one node."""

    def __init__(self, order: StartDelivery, place: Place, changed: Changed) -> None:
        super().__init__(order, place, changed)
        self._seal = ""
        self._paths: tuple[str, ...] = ()
        self._placed: tuple[bytes, ...] = ()  # the same, as they are
        self._removed = 0
        self._file_hash = ""
        self._skipped_bytes = 0
        self._hook = ""
        self._problems: tuple[FileProblem, ...] = ()
        self._problem_count = 0
        self._left = False
        self._forgotten = False
        self._landed: Optional[tuple[Manifest, list[FileResult], dict[bytes, bytes]]] = None
        self._thread = threading.Thread(target=self._run, name=f"castray-delivery-{self.cast}", daemon=True)

    # --- orders

    def start(self) -> None:
        self._thread.start()

    def seal(self, order: Seal) -> None:
        with self.lock:
            self._seal = order.trailer_digest
            self.condition.notify_all()

    def leave(self) -> None:
        """End it, but keep what is there for a later delivery."""
        with self.lock:
            self._left = True
        self.cancel()

    def cancel(self) -> None:
        """End it; part files go, what has landed stays."""
        with self.lock:
            self._stop = True
            self._abort_channel()
            self.condition.notify_all()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def forget(self) -> None:
        """Nobody will ask about it any more: end it if it still runs, and free what it holds."""
        with self.lock:
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
        with self.lock:
            return DeliveryReport(
                cast=self.cast,
                state=self.state,
                epoch=self.route[0],
                upstream=self._connected_to,
                stream_bytes=self.have.total,
                content_bytes=self._content_bytes,
                received_bytes=self.received_bytes + self.datagram_bytes,
                sent_bytes=self.sent_bytes,
                transport=self._transport,
                paths=self._paths,
                removed=self._removed,
                skipped_bytes=self._skipped_bytes,
                hash=self._file_hash,
                problems=self._problems,
                problem_count=self._problem_count,
                failure=self._failure,
                asked=self._meeting.asked.times,
                asked_upstream=self._meeting.asked.upstream,
                checking=self.spending.seconds(CHECKING),
                writing=self.spending.seconds(DISK),
                hook=self._hook,
                listening=self.listening,
                datagram_bytes=self.datagram_bytes,
                repaired_bytes=self.repaired_bytes,
            )

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
            failure = self.local_failure(error).failure
        except Exception as error:
            log.exception("delivery of cast %s failed on %s", self.cast, self._place.node)
            failure = Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
        if self._hashes is not None:
            self._hashes.stop()
        self._restoring.stop()
        self._finish(final, failure)
        self._keep_receipt()

    def _finish(self, final: RecipientState, failure: Optional[Failure]) -> None:
        whole = final in (R.COMPLETED, R.SKIPPED) or (failure is not None and failure.kind in STILL_SERVED)
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

    def _keep_receipt(self) -> None:
        """Note what was put where, so that it can be read back later. Nobody waits for that."""
        landed, self._landed = self._landed, None
        if landed is None:
            return
        try:
            Receipts().keep(self.cast, self._place.node, self.order.algorithms.file, items_of(*landed))
        except OSError as error:
            log.warning("cast %s on %s can't be verified later: %s", self.cast, self._place.node, error)

    def _clean_up(self, final: RecipientState) -> None:
        if self._staging is not None:
            if self._left and final is R.CANCELLED:
                self._staging.leave()
                return
            self._staging.remove()
            if not self._paths:
                self._staging.remove_made_folders()

    # --- verifying and landing

    def _verify_and_land(self) -> tuple[RecipientState, Optional[Failure]]:
        assert self.manifest is not None
        assert self._parts is not None
        assert self._staging is not None
        results = self._checked_results(self.manifest)
        extras = self._extra_finder(self.manifest, self._parts)
        whole = all(result.status is FileStatus.OK for result in results)
        landing = Landing(
            self.manifest,
            self._parts,
            results,
            self.order.on_conflict,
            self.order.algorithms.file,
            self._place.hashes,
            extras if whole else None,
        )
        landing.make_links()
        self._parts.sync()
        self.check_stop()
        try:
            landed = landing.run()
        finally:
            self._placed = tuple(landing.landed.paths)
            self._paths = tuple(display(path) for path in self._placed)
        self._landed = self.manifest, results, landing.landed.places
        self._skipped_bytes = sum(
            entry.content_bytes
            for number, entry in enumerate(self.manifest.files)
            if self._parts.is_standing(number)
        )
        if len(self.manifest.files) == 1 == len(self.manifest.entries) and results[0].status is FileStatus.OK:
            self._file_hash = f"{self.order.algorithms.file}:{results[0].hash.hex()}"
        problems = file_problems(self.manifest, results)
        if problems:
            self._problems, self._problem_count = problems[:MAX_PROBLEMS], len(problems)
            return R.FAILED, failure_of(self.manifest, problems)
        failure = self._remove_extras(extras, landed, self._parts) if extras is not None else None
        return (R.COMPLETED if landed.something_new else R.SKIPPED) if failure is None else R.FAILED, failure

    def _extra_finder(self, manifest: Manifest, parts: PartFiles) -> Optional[ExtraFinder]:
        """What finds what the source no longer has, None where all of that stays.

        Nothing goes where the source could not send all that it has, since that would look the same.
        """
        order = self.order
        if not order.remove_extra or order.totals.left_out or order.on_conflict != "overwrite":
            return None
        return ExtraFinder(manifest, parts.destination.path, order.exclude, self.check_stop, parts.note_open)

    def _remove_extras(self, finder: ExtraFinder, landed: Landed, parts: PartFiles) -> Optional[Failure]:
        """Every file of the parcel is in place: what the source no longer has goes."""
        extras = finder.remove(parts.elsewhere())
        for replaced in landed.removed:
            extras.add(replaced)
        self._removed = extras.count
        if extras.count:
            log.info("cast %s on %s: removed %d entries", self.cast, self._place.node, extras.count)
        return None if extras.trouble is None else not_removed(self._place.node, extras)

    def _checked_results(self, manifest: Manifest) -> list[FileResult]:
        """The trailer's records, once its digest has come from the source and fits."""
        assert self._hashes is not None
        mine = self._hashes.finish()
        with self.lock:
            while not self._seal and not self._stop:
                self.condition.wait()
        self.check_stop()
        if hashlib.sha256(self._raw_trailer).hexdigest() != self._seal:
            raise self.damaged("the list of hashes")
        try:
            results = decode_trailer(bytes(self._raw_trailer), len(manifest.files))
        except ValueError as error:
            raise CastRayError(FailureKind.INTERNAL, reason=str(error)) from error
        return compared(results, mine)

    def _run_hook(self, final: RecipientState) -> str:
        """What was sent is in place: run the command that comes with it, where this node allows that."""
        assert self._staging is not None
        folder = os.fsdecode(self._staging.destination)
        variables = {
            "CASTRAY_CAST": self.cast,
            "CASTRAY_NODE": self._place.node,
            "CASTRAY_STATE": final.value,
            "CASTRAY_DESTINATION": folder,
        }
        rules = read_rules(rules_path())
        return run_hook(self.order.hook, rules, variables, folder, lambda: self._stop, self._placed)
