"""Verify what the journal of an earlier delivery recorded, while the rest is downloaded."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.workers.agent.transfer.store.cancellation import CastCancelledError
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

log = logging.getLogger("castray.byte_plane")


class ResumeVerifier:
    """A thread that verifies journaled pieces. `ended` is called when it has finished, with the
    error if any.
    """

    def __init__(self, store: ReceiveStore, ended: Callable[[BaseException | None], None]) -> None:
        self._store = store
        self._ended = ended
        self._stop = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._store.needed.journaled.total == 0:
            return
        name = f"castray-resume-{self._store.pieces.cast}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Stop it and wait: it uses what the delivery frees."""
        self._stop = True
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._check_all()
        except (OSError, EOFError, CastRayError) as trouble:
            error = trouble
        except CastCancelledError:
            log.debug("cast %s ends while its journal is checked", self._store.pieces.cast)
        self._ended(error)

    def _check_all(self) -> None:
        store = self._store
        buffer = page_buffer(min(store.pieces.layout.piece_bytes, store.pieces.layout.stream_bytes))
        good = false = 0
        for start, end in store.needed.journaled:
            for index in store.pieces.layout.pieces_of(start, end):
                if self._stop:
                    return
                if store.verify_journaled(index, buffer):
                    good += 1
                else:
                    false += 1
        store.pieces.notify_waiting()
        with store.pieces.lock:
            store.needed.verified_to = store.pieces.layout.stream_bytes
            store.needed.has_more = false > 0
        log.info("cast %s: journal verified: %d pieces right, %d wrong", store.pieces.cast, good, false)
