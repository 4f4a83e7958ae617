"""Who gets a lock that two threads want."""

from __future__ import annotations

import threading
import time

from castray_desktop.workers.ray_side.byte_plane.yielding_lock import YieldingLock


def test_it_is_taken_once() -> None:
    lock = YieldingLock()
    assert lock.take()
    assert lock.locked()
    assert not lock.take()
    lock.release()
    with lock:
        assert not lock.take()
    assert not lock.locked()


def test_whoever_waits_comes_next() -> None:
    lock = YieldingLock()
    assert lock.take()
    got, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        with lock:
            got.set()
            go_on.wait(10)

    waiting = threading.Thread(target=wait)
    waiting.start()
    deadline = time.monotonic() + 10
    while not lock.is_awaited and time.monotonic() < deadline:
        time.sleep(0.001)
    assert lock.is_awaited
    assert not got.is_set()
    lock.release()
    assert not lock.take()  # it waits, or has it
    assert got.wait(10)
    assert not lock.is_awaited
    go_on.set()
    waiting.join(10)
    assert lock.take()
    lock.release()
