"""Runs a parsed command and turns its end into an exit status."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import signal
from collections.abc import Coroutine, Iterator

from castray_desktop.cli.arguments import EXIT_HUNG_UP, EXIT_INTERRUPTED, EXIT_NOT_DELIVERED, style_of
from castray_desktop.cli.interruption import discard_output, interruption
from castray_desktop.cli.output.terminal import escape_unprintable, print_failure, use_output_style
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.failures.sentences import TEMPLATES
from castray_desktop.workers.base.paths import find_paths
from castray_desktop.workers.base.state_files import PrivateLogFile

log = logging.getLogger("castray.command")


def run_command(options: argparse.Namespace) -> int:
    """Run the handler of a parsed command; returns the exit status.

    An error is one sentence on stderr; with `--json` also an object on stdout.
    """
    escape_unprintable()
    with use_output_style(style_of(options)):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        with asyncio.Runner() as runner:
            return runner.run(_interruptible(options.handler(options)))
    except CastRayError as error:
        print_failure(error.failure, as_json=options.json)
        return TEMPLATES[error.failure.kind].status.exit
    except (KeyboardInterrupt, asyncio.CancelledError):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        discard_output()
        return EXIT_NOT_DELIVERED
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EIO:  # the terminal is gone
            discard_output()
            return EXIT_HUNG_UP
        with _log_file():
            log.exception("castray %s", options.command)
        reason = f"{type(error).__name__}: {error}"
        print_failure(Failure(FailureKind.INTERNAL, {"reason": reason}), as_json=options.json)
        return EXIT_NOT_DELIVERED


@contextlib.contextmanager
def _log_file() -> Iterator[None]:
    """Log to a file while entered: the terminal gets one sentence, a bug report needs the traceback."""
    handler: logging.Handler = logging.NullHandler()
    with contextlib.suppress(OSError, RuntimeError):
        handler = PrivateLogFile(find_paths().log / "command.log")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log.propagate = False
    log.addHandler(handler)
    yield
    log.removeHandler(handler)
    handler.close()


async def _interruptible(command: Coroutine[None, None, int]) -> int:
    """Run a command so that SIGTERM and SIGHUP end it with its cleanup, as Ctrl+C does."""
    with interruption() as ended_by:
        try:
            return await command
        except asyncio.CancelledError:
            if ended_by.signal == signal.SIGINT:  # the runner raises KeyboardInterrupt
                raise
            return ended_by.exit_status
