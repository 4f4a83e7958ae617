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
from castray_desktop.core.content.file_outcomes import FileCounts, FileOutcomes, file_failure, pack_outcomes
from castray_desktop.core.content.manifest import FileResult, FileStatus, Manifest, decode_trailer
from castray_desktop.core.failures.kinds import FILES_NOT_SENT, CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import AnnounceTrailer, StartDelivery
from castray_desktop.core.protocol.nodes.agent_reports import (
    FINAL_RECIPIENT_STATES,
    DeliveryReport,
    RecipientState,
)
from castray_desktop.core.protocol.nodes.cast_parcel import FileProblem
from castray_desktop.workers.agent.hooks import read_rules, rules_path, run_hook
from castray_desktop.workers.agent.transfer.delivery.audit import Receipts, receipt_items
from castray_desktop.workers.agent.transfer.delivery.commit import DeliveryCommit
from castray_desktop.workers.agent.transfer.delivery.delivery_outcomes import delivery_outcomes
from castray_desktop.workers.agent.transfer.delivery.download import DeliveryStatus, DownloadSession
from castray_desktop.workers.agent.transfer.delivery.prune import Pruner, not_removed
from castray_desktop.workers.agent.transfer.node_context import NodeContext
from castray_desktop.workers.agent.transfer.source.scanner import MAX_PROBLEMS
from castray_desktop.workers.agent.transfer.store.cancellation import CancellationToken, CastCancelledError
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles
from castray_desktop.workers.agent.transfer.store.piece_store import NotifyChanged
from castray_desktop.workers.agent.transfer.store.receive_store import DamagedListError, ReceiveStore
from castray_desktop.workers.agent.transfer.system import linux_calls
from castray_desktop.workers.agent.transfer.system.disk_watch import DiskWatch
from castray_desktop.workers.agent.transfer.system.time_breakdown import CHECKING, DISK

STILL_SERVED = FILES_NOT_SENT | {FailureKind.NOT_REMOVED}
"""A delivery that fails for one of these has good files too, and keeps serving them."""

RETRYABLE = (
    FailureKind.NO_ROOM,
    FailureKind.NOT_WRITABLE,
    FailureKind.FOLDER_SILENT,
    FailureKind.UPSTREAM_LOST,
    FailureKind.NO_WAY,
)
"""After a delivery has failed for one of these, a retry can go on with what was received. Not after an error
of the disk, nor after any failed sync: nobody knows what the disk has.
"""

LEAST_FREE = 0.05
"""Share of a file system that has to be free for keeping what was received there before it became full."""


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


class Delivery:
    """Receives one cast on one node: owns a store, a session that fills it, and commits it at the end."""

    def __init__(self, order: StartDelivery, context: NodeContext, changed: NotifyChanged) -> None:
        self.cast = order.cast
        self._order = order
        self._context = context
        self._cancellation = CancellationToken()
        self.store = ReceiveStore(order, context, changed, self._cancellation)
        self._status = DeliveryStatus(self.store.pieces.lock, self.store.pieces.report_state)
        self.session = DownloadSession(order, context, self.store, self._status)
        self._trailer_digest = ""
        self._placed: tuple[bytes, ...] = ()  # final paths of the top-level entries
        self._removed = 0
        self._file_hash = ""
        self._skipped_bytes = 0
        self._hook = ""
        self._problems: tuple[FileProblem, ...] = ()
        self._problem_count = 0
        self._results: tuple[FileResult, ...] = ()
        self._counts: Optional[FileCounts] = None
        self._outcomes = ""
        self._keeps_staging = self._keeps_for_retry = False
        self._lost_writes = False  # the disk may not have what it was given
        self._forgotten = False
        self.is_kept = False
        """Whether what it has received is kept for a retry, although it has ended."""
        self._lost_disk: Optional[Failure] = None  # its thread hangs, but the delivery has ended
        self._disk = DiskWatch(self.store.paths_to_watch, self._lose_disk)
        self._committed: Optional[tuple[Manifest, list[FileResult], dict[bytes, bytes]]] = None
        self._thread = threading.Thread(target=self._run, name=f"castray-delivery-{self.cast}", daemon=True)

    @property
    def state(self) -> RecipientState:
        return self._status.state

    # --- orders

    def start(self) -> None:
        self._thread.start()

    def set_trailer_digest(self, order: AnnounceTrailer) -> None:
        with self.store.pieces.lock:
            self._trailer_digest = order.trailer_digest
            self.store.pieces.condition.notify_all()

    def stop_and_keep(self, for_retry: bool = False) -> None:
        """End it, but keep its data for a later delivery of the cast, or for a retry."""
        with self.store.pieces.lock:
            self._keeps_staging, self._keeps_for_retry = True, for_retry
        self.cancel()

    def cancel(self) -> None:
        """End it; part files are removed, committed files stay."""
        self._cancellation.cancel()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def forget(self, keep_parts: bool = False) -> None:
        """It is not needed any more: end it if it still runs, and free its resources.

        With `keep_parts`, a running one keeps its data for a retry, unless it is being cancelled: the engine
        has given it up, such as after the loss of its source.
        """
        with self.store.pieces.lock:
            self._forgotten = True
            ended = self._status.state in FINAL_RECIPIENT_STATES
            if keep_parts and self._order.keep_failed and not ended and not self._cancellation.cancelled:
                self._keeps_staging = self._keeps_for_retry = True
        if ended:
            self.release()
        else:
            self.cancel()

    def release(self) -> None:
        """Free its resources. Where its disk does not answer, its thread does that if it ever returns."""
        if self._lost_disk is not None and self._thread.is_alive():
            return
        self.store.end("the cast is over")

    def watch_disk(self) -> None:
        """To be called every other second: end it if its disk does not answer. Returns at once."""
        if self.state not in FINAL_RECIPIENT_STATES:
            self._disk.check((self.state, self.store.pieces.have.total))

    def _lose_disk(self, path: bytes) -> None:
        failure = Failure(FailureKind.FOLDER_SILENT, {"node": self._context.node, "path": display_name(path)})
        with self.store.pieces.lock:
            if self._status.state in FINAL_RECIPIENT_STATES:
                return
            self._lost_disk = failure
        log.warning("cast %s on %s: %s does not respond", self.cast, self._context.node, os.fsdecode(path))
        self._cancellation.fail(CastRayError.of(failure))
        self.store.pieces.end(f"{self._context.node} could not store it")
        self._status.enter(R.FAILED, failure)

    def report(self) -> DeliveryReport:
        with self.store.pieces.lock:
            asked = self.session.dialer.reverse_request
            return DeliveryReport(
                cast=self.cast,
                state=self._status.state,
                epoch=self.session.route.epoch,
                upstream=self.session.connected_to,
                stream_bytes=self.store.pieces.have.total,
                content_bytes=self.store.content_bytes,
                received_bytes=self.store.received_bytes + self.store.datagram_bytes,
                sent_bytes=self.store.pieces.sent_bytes,
                transport=self.session.transport,
                encrypted=self._encrypted,
                paths=tuple(map(display_name, self._placed)),
                removed=self._removed,
                skipped_bytes=self._skipped_bytes,
                hash=self._file_hash,
                problems=self._problems,
                problem_count=self._problem_count,
                failure=self._status.failure,
                asked=asked.times,
                asked_upstream=asked.upstream,
                checking=self.store.time_breakdown.seconds(CHECKING),
                writing=self.store.time_breakdown.seconds(DISK),
                hook=self._hook,
                listening=self.session.membership.is_receiving,
                datagram_bytes=self.store.datagram_bytes,
                repaired_bytes=self.store.repaired_bytes,
                counts=self._counts,
                outcomes=self._outcomes,
            )

    def checked_trailer(self) -> bytes:
        """The trailer, if it was found to be right; else nothing."""
        return bytes(self.store.pieces.raw_trailer) if self._results else b""

    def outcomes(self) -> str:
        """What has become of each file so far, packed; empty before the list of files is there."""
        found = None if self._outcomes else self._find_outcomes()
        return self._outcomes if found is None else pack_outcomes(found)

    def _find_outcomes(self) -> Optional[FileOutcomes]:
        manifest, parts = self.store.pieces.manifest, self.store.parts
        if manifest is None or parts is None:
            return None
        with self.store.pieces.lock:
            have = self.store.pieces.have.copy()
        return delivery_outcomes(manifest, parts, have, self.store.pieces.layout, self._results)

    # --- the thread

    def _run(self) -> None:
        final, failure = R.FAILED, None
        try:
            self._status.enter(R.CONNECTING)
            self.store.open()
            self.session.run()
            self._cancellation.check()
            self._status.enter(R.VERIFYING)
            final, failure = self._verify_and_commit()
            if self._order.options.hook and failure is None:
                self._hook = self._run_hook(final)
        except CastCancelledError:
            final, failure = R.CANCELLED, Failure(FailureKind.CANCELLED)
        except DamagedListError as error:
            failure = self._damaged(str(error))
        except CastRayError as error:
            failure = error.failure
        except OSError as error:
            failure = self.store.local_failure(error).failure
            self._lost_writes = isinstance(error, linux_calls.SyncError)
        except Exception as error:
            log.exception("delivery of cast %s failed on %s", self.cast, self._context.node)
            failure = Failure(FailureKind.INTERNAL, {"reason": f"{type(error).__name__}: {error}"})
        if failure is not None and failure.kind is FailureKind.WRITE_ERROR:
            self._lost_writes = True  # also where the engine was told before that the disk is silent
        if self.store.hashes is not None:
            self.store.hashes.stop()
        self._finish(final, failure)
        self._save_receipt()

    def _finish(self, final: RecipientState, failure: Optional[Failure]) -> None:
        if self._lost_disk is not None:  # the engine was told
            final, failure = R.FAILED, self._lost_disk
        whole = final in (R.COMPLETED, R.SKIPPED) or (failure is not None and failure.kind in STILL_SERVED)
        if not whole:
            self.store.end(
                "the cast was cancelled"
                if final is R.CANCELLED
                else f"{self._context.node} could not store it"
            )
        self.session.dialer.close()
        try:
            self._clean_up(final, failure)
        except OSError as error:  # the result has to be reported anyway
            log.warning(
                "cast %s on %s: staging could not be removed: %s", self.cast, self._context.node, error
            )
        self._context.reservations.release(self.cast)
        if (found := self._find_outcomes()) is not None:
            self._counts, self._outcomes = found.counts, pack_outcomes(found)
        if failure is not None and final is not R.CANCELLED:
            log.warning(
                "cast %s failed on %s: %s %s", self.cast, self._context.node, failure.kind, failure.values
            )
        self._status.enter(final, failure)
        if self._forgotten:
            self.release()

    def _damaged(self, path: str) -> Failure:
        upstream = self.session.route.upstream
        return Failure(
            FailureKind.DAMAGED,
            {"path": path, "node": self._context.node, "upstream": upstream.node if upstream else ""},
        )

    @property
    def _encrypted(self) -> Optional[bool]:
        """As in `DeliveryReport`; multicast is not encrypted."""
        return False if self.store.datagram_bytes else self.session.encrypted

    def _save_receipt(self) -> None:
        """Save a receipt of the committed files, so that they can be verified later. Nothing waits
        for that.
        """
        committed, self._committed = self._committed, None
        if committed is None:
            return
        try:
            items = receipt_items(*committed)
            Receipts().save(self._order, self._context.node, items, self._encrypted)
        except OSError as error:
            log.warning("cast %s on %s can't be verified later: %s", self.cast, self._context.node, error)

    def _clean_up(self, final: RecipientState, failure: Optional[Failure]) -> None:
        staging = self.store.staging
        if staging is None:
            return
        if self._keeps_staging and final is R.CANCELLED:
            staging.keep(self._keeps_for_retry)
            self.is_kept = self._keeps_for_retry
        elif failure is not None and self._helps_a_retry(final, failure, staging.destination):
            staging.keep(for_retry=True)
            self.is_kept = True
        else:
            staging.remove()
            if not self._placed:
                staging.remove_made_folders()

    def _helps_a_retry(self, final: RecipientState, failure: Failure, destination: bytes) -> bool:
        """Whether a retry can use what a failed delivery has received.

        What is kept never keeps a disk full.
        """
        if final is not R.FAILED or not self._order.keep_failed or failure.kind not in RETRYABLE:
            return False
        if self._lost_writes or not self.store.pieces.have.total:
            return False
        if failure.kind is not FailureKind.NO_ROOM:
            return True
        found = os.statvfs(destination)
        return found.f_bavail >= found.f_blocks * LEAST_FREE

    # --- verify and commit

    def _verify_and_commit(self) -> tuple[RecipientState, Optional[Failure]]:
        manifest, parts = self.store.pieces.manifest, self.store.parts
        assert manifest is not None
        assert parts is not None
        results = self._checked_results(manifest)
        self._results = tuple(results)
        problems = file_problems(manifest, results)
        pruner = None if problems else self._new_pruner(manifest, parts)
        commit = DeliveryCommit(
            manifest,
            parts,
            results,
            self._order.options.on_conflict,
            self._order.algorithms.file,
            self._context.hash_cache,
            pruner,
        )
        commit.make_links()
        parts.sync()
        self._cancellation.check()
        try:
            commit.run()
        finally:
            self._placed = tuple(commit.paths)
        self._committed = manifest, results, parts.committed
        self._skipped_bytes = sum(
            entry.content_bytes for number, entry in enumerate(manifest.files) if parts.is_existing(number)
        )
        if problems:
            self._problems, self._problem_count = problems[:MAX_PROBLEMS], len(problems)
            return R.FAILED, files_failure(manifest, problems)
        if len(manifest.files) == 1 == len(manifest.entries):
            self._file_hash = f"{self._order.algorithms.file}:{results[0].hash.hex()}"
        failure = self._prune(pruner, commit, parts) if pruner is not None else None
        if failure is not None:
            return R.FAILED, failure
        return (R.COMPLETED if parts.something_moved else R.SKIPPED), None

    def _new_pruner(self, manifest: Manifest, parts: PartFiles) -> Optional[Pruner]:
        """The pruner of what the source no longer has; None if all of that stays.

        Nothing is pruned if the source could not send everything, since that would look the same.
        """
        order = self._order
        if not order.prune or order.totals.left_out or order.options.on_conflict != "overwrite":
            return None
        return Pruner(
            manifest,
            parts.destination.path,
            order.options.patterns,
            self._cancellation.check,
            parts.note_open,
        )

    def _prune(self, pruner: Pruner, commit: DeliveryCommit, parts: PartFiles) -> Optional[Failure]:
        """Every file is committed: prune what the source no longer has."""
        pruned = pruner.remove(parts.renamed_paths())
        for replaced in commit.removed:
            pruned.add(replaced)
        self._removed = pruned.count
        if pruned.count:
            log.info("cast %s on %s: pruned %d entries", self.cast, self._context.node, pruned.count)
        return None if pruned.first_error is None else not_removed(self._context.node, pruned)

    def _checked_results(self, manifest: Manifest) -> list[FileResult]:
        """The trailer's records, once its digest has arrived from the source and matches."""
        assert self.store.hashes is not None
        mine = self.store.hashes.finish()
        with self.store.pieces.lock:
            while not self._trailer_digest and not self._cancellation.requested:
                self.store.pieces.condition.wait()
        self._cancellation.check()
        trailer = bytes(self.store.pieces.raw_trailer)
        if hashlib.sha256(trailer).hexdigest() != self._trailer_digest:
            raise DamagedListError("the list of hashes")
        try:
            results = decode_trailer(trailer, len(manifest.files))
        except ValueError as error:
            raise CastRayError(FailureKind.INTERNAL, reason=str(error)) from error
        return compare_hashes(results, mine)

    def _run_hook(self, final: RecipientState) -> str:
        """The delivery is committed: run its hook, if this node allows that."""
        assert self.store.staging is not None
        folder = os.fsdecode(self.store.staging.destination)
        variables = {
            "CASTRAY_CAST": self.cast,
            "CASTRAY_NODE": self._context.node,
            "CASTRAY_STATE": final.value,
            "CASTRAY_DESTINATION": folder,
        }
        rules = read_rules(rules_path())
        return run_hook(
            self._order.options.hook,
            rules,
            variables,
            folder,
            lambda: self._cancellation.cancelled,
            self._placed,
        )
