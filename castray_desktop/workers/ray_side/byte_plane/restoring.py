"""Reading back what a journal claims, beside the fetch, in the stream's order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from castray_desktop.core.failure import CastRayError
from castray_desktop.workers.ray_side.byte_plane.buffers import page_buffer
from castray_desktop.workers.ray_side.byte_plane.stock import Stock
from castray_desktop.workers.ray_side.byte_plane.supply import Cancelled

log = logging.getLogger("castray.byte_plane")


class Restoring:
    """One thread that checks a stock's claims. `ended` is called when it is through, with what kept it."""

    def __init__(self, stock: Stock, ended: Callable[[BaseException | None], None]) -> None:
        self._stock = stock
        self._ended = ended
        self._stop = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._stock.claims.total == 0:
            return
        name = f"castray-restoring-{self._stock.cast}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """End it, and wait until it has ended: it uses what the delivery frees."""
        self._stop = True
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._check_all()
        except (OSError, EOFError, CastRayError) as trouble:
            error = trouble
        except Cancelled:
            log.debug("cast %s ends while its journal is checked", self._stock.cast)
        self._ended(error)

    def _check_all(self) -> None:
        stock = self._stock
        buffer = page_buffer(min(stock.layout.piece_bytes, stock.layout.stream_bytes))
        good = false = 0
        for start, end in stock.claims:
            for index in stock.layout.pieces_of(start, end):
                if self._stop:
                    return
                if stock.restore(index, buffer):
                    good += 1
                else:
                    false += 1
        stock.wake()
        with stock.lock:
            stock.checked_to = stock.layout.stream_bytes
            stock.more_wanted = false > 0
        log.info("cast %s: the journal was right about %d pieces, wrong about %d", stock.cast, good, false)
