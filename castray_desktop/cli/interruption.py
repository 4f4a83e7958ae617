"""Signals that end a command: which one came, and the exit status that it gives.

SIGINT and SIGTERM interrupt what a command does: a cast that it started is cancelled. SIGHUP says that the
terminal is gone: such a cast goes on without the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextvars import ContextVar

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""SIGINT is handled by `asyncio.Runner`."""


class Interruption:
    """Which signal ends the command."""

    def __init__(self) -> None:
        self.signal = signal.SIGINT

    @property
    def exit_status(self) -> int:
        """128 and the number of the signal."""
        return 128 + self.signal


_CURRENT: ContextVar[Interruption] = ContextVar("castray_interruption")


def has_hung_up() -> bool:
    """Whether the command ends because its terminal is gone."""
    return _CURRENT.get(Interruption()).signal == signal.SIGHUP


@contextlib.contextmanager
def interruption() -> Iterator[Interruption]:
    """Within, the signals that end the command cancel its task, so that it can clean up.

    Entered in the task of the command. A signal that is ignored stays ignored, as under `nohup`.
    """
    came, loop, task = Interruption(), asyncio.get_running_loop(), asyncio.current_task()

    def end(number: signal.Signals) -> None:
        came.signal = number
        if number == signal.SIGHUP:
            discard_output(terminals_only=True)
        if task is not None:
            task.cancel()

    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    token = _CURRENT.set(came)
    for number in handled:
        loop.add_signal_handler(number, end, number)
    try:
        yield came
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
        _CURRENT.reset(token)


def discard_output(*, terminals_only: bool = False) -> None:
    """Write no more output: its reader or terminal is gone, and each write would be an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if stream.isatty() or not terminals_only:
                os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
