"""One recipient's delivery: download what is missing, verify, write, commit; upload all the while.

One thread does all of it, from connecting to the last rename; only what a journal records, and what is
hashed later, is read back by other threads. Orders come from other threads and wake it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Sequence
from typing import Optional

from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.manifest import FileResult, FileStatus, Manifest, decode_trailer
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_protocol import (
    FINAL_RECIPIENT_STATES,
    AnnounceTrailer,
    DeliveryReport,
    FileProblem,
    RecipientState,
    StartDelivery,
)
from castray_desktop.workers.agent.hooks import read_rules, rules_path, run_hook
from castray_desktop.workers.agent.transfer.delivery.commit import CommitResult, DeliveryCommit
from castray_desktop.workers.agent.transfer.delivery.download import DownloadSession
from castray_desktop.workers.agent.transfer.delivery.prune import Pruner, not_removed
from castray_desktop.workers.agent.transfer.delivery.receipts import Receipts, receipt_items
from castray_desktop.workers.agent.transfer.node_context import NodeContext
from castray_desktop.workers.agent.transfer.source.scanner import MAX_PROBLEMS
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles
from castray_desktop.workers.agent.transfer.store.piece_store import CastCancelledError, NotifyChanged
from castray_desktop.workers.agent.transfer.system.os_failures import file_failure
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, DISK

STILL_SERVED = (
    FailureKind.FILES_FAILED,
    FailureKind.NO_FILE_DELIVERED,
    FailureKind.CHANGED,
    FailureKind.VANISHED,
    FailureKind.READ_ERROR,
    FailureKind.NOT_READABLE,
    FailureKind.NOT_REMOVED,
)

"""A delivery that fails for one of these has good files too, and keeps serving them."""


def compare_hashes(results: Sequence[FileResult], mine: Sequence[bytes]) -> list[FileResult]:
    """The source's results, with CHANGED where the hash here differs."""
    return [
        # every piece was right: the file has changed at the source after its hash was made
        FileResult(FileStatus.CHANGED, b"")
        if result.status is FileStatus.OK and hash_ and result.hash != hash_
        else result
        for result, hash_ in zip(results, mine)
    ]


def file_problems(manifest: Manifest, results: Sequence[FileResult]) -> tuple[FileProblem, ...]:
    """Files that can't be committed, and why."""
    return tuple(
        FileProblem(display_name(entry.path), file_failure(result.status, entry.path))
        for entry, result in zip(manifest.files, results)
        if result.status is not FileStatus.OK
    )


def files_failure(manifest: Manifest, problems: Sequence[FileProblem]) -> Failure:
    """The failure of the delivery because of these files."""
    if len(manifest.entries) == 1:
        return problems[0].failure
    everything = len(problems) == len(manifest.files)
    return Failure(
        FailureKind.NO_FILE_DELIVERED if everything else FailureKind.FILES_FAILED,
        {
            "count": str(len(problems)),
            "total": str(len(manifest.files)),
            **problems[0].failure.values,
            "path": problems[0].path,
            "because": problems[0].failure.kind.value,
        },
    )


log = logging.getLogger("castray.byte_plane")

R = RecipientState


class Delivery(DownloadSession):
    """The receiving side of one cast on one node."""

    def __init__(self, order: StartDelivery, context: NodeContext, changed: NotifyChanged) -> None:
        super().__init__(order, context, changed)
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

    def set_trailer_digest(self, order: AnnounceTrailer) -> None:
        with self.lock:
            self._seal = order.trailer_digest
            self.condition.notify_all()

    def stop_and_keep(self) -> None:
        """End it, but keep its data for a later delivery."""
        with self.lock:
            self._left = True
        self.cancel()

    def cancel(self) -> None:
        """End it; part files are removed, committed files stay."""
        with self.lock:
            self._stop = True
            self._abort_channel()
            self.condition.notify_all()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def forget(self) -> None:
        """It is not needed any more: end it if it still runs, and free its resources."""
        with self.lock:
            self._forgotten = True
            ended = self.state in FINAL_RECIPIENT_STATES
        if ended:
            self.release()
        else:
            self.cancel()

    def release(self) -> None:
        """Free its resources."""
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
                asked=self._meeting.reverse_request.times,
                asked_upstream=self._meeting.reverse_request.upstream,
                checking=self.time_breakdown.seconds(CHECKING),
                writing=self.time_breakdown.seconds(DISK),
                hook=self._hook,
                listening=self.receives_multicast,
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
        except CastCancelledError:
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
        except OSError as error:  # the result has to be reported anyway
            log.warning("cast %s on %s: staging could not be removed: %s", self.cast, self._place.node, error)
        self._place.reservations.release(self.cast)
        if failure is not None and final is not R.CANCELLED:
            log.warning(
                "cast %s failed on %s: %s %s", self.cast, self._place.node, failure.kind, failure.values
            )
        self._go(final, failure)
        if self._forgotten:
            self.release()

    def _keep_receipt(self) -> None:
        """Save a receipt of the committed files, so that they can be verified later. Nothing waits
        for that.
        """
        landed, self._landed = self._landed, None
        if landed is None:
            return
        try:
            Receipts().save(self.cast, self._place.node, self.order.algorithms.file, receipt_items(*landed))
        except OSError as error:
            log.warning("cast %s on %s can't be verified later: %s", self.cast, self._place.node, error)

    def _clean_up(self, final: RecipientState) -> None:
        if self._staging is not None:
            if self._left and final is R.CANCELLED:
                self._staging.keep()
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
        landing = DeliveryCommit(
            self.manifest,
            self._parts,
            results,
            self.order.on_conflict,
            self.order.algorithms.file,
            self._place.hash_cache,
            extras if whole else None,
        )
        landing.make_links()
        self._parts.sync()
        self.check_stop()
        try:
            landed = landing.run()
        finally:
            self._placed = tuple(landing.result.paths)
            self._paths = tuple(display_name(path) for path in self._placed)
        self._landed = self.manifest, results, landing.result.paths_by_entry
        self._skipped_bytes = sum(
            entry.content_bytes
            for number, entry in enumerate(self.manifest.files)
            if self._parts.is_existing(number)
        )
        if len(self.manifest.files) == 1 == len(self.manifest.entries) and results[0].status is FileStatus.OK:
            self._file_hash = f"{self.order.algorithms.file}:{results[0].hash.hex()}"
        problems = file_problems(self.manifest, results)
        if problems:
            self._problems, self._problem_count = problems[:MAX_PROBLEMS], len(problems)
            return R.FAILED, files_failure(self.manifest, problems)
        failure = self._remove_extras(extras, landed, self._parts) if extras is not None else None
        return (R.COMPLETED if landed.has_new_files else R.SKIPPED) if failure is None else R.FAILED, failure

    def _extra_finder(self, manifest: Manifest, parts: PartFiles) -> Optional[Pruner]:
        """What finds what the source no longer has, None where all of that stays.

        Nothing is pruned if the source could not send everything, since that would look the same.
        """
        order = self.order
        if not order.remove_extra or order.totals.left_out or order.on_conflict != "overwrite":
            return None
        return Pruner(manifest, parts.destination.path, order.exclude, self.check_stop, parts.note_open)

    def _remove_extras(self, finder: Pruner, landed: CommitResult, parts: PartFiles) -> Optional[Failure]:
        """Every file is committed: prune what the source no longer has."""
        extras = finder.remove(parts.renamed_paths())
        for replaced in landed.removed:
            extras.add(replaced)
        self._removed = extras.count
        if extras.count:
            log.info("cast %s on %s: pruned %d entries", self.cast, self._place.node, extras.count)
        return None if extras.first_error is None else not_removed(self._place.node, extras)

    def _checked_results(self, manifest: Manifest) -> list[FileResult]:
        """The trailer's records, once its digest has arrived from the source and matches."""
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
        return compare_hashes(results, mine)

    def _run_hook(self, final: RecipientState) -> str:
        """The delivery is committed: run its hook, if this node allows that."""
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
