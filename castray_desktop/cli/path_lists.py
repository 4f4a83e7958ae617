"""Paths and patterns that a command reads from files or from standard input."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from castray_desktop.core.failures.kinds import CastRayError, FailureKind

STDIN = "-"


def add_paths_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the positional argument PATH, and the options for a list of paths instead."""
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="files, folders, or addresses (https://…, s3://…)"
    )
    parser.add_argument(
        "--files-from",
        action="append",
        default=[],
        metavar="FILE",
        help="read more paths from FILE, one per line; - is standard input",
    )
    parser.add_argument(
        "-0",
        "--null",
        action="store_true",
        help="paths in --files-from end with NUL, as printed by find -print0",
    )
    parser.set_defaults(check=_check_paths(parser))


def add_exclude_from_option(parser: argparse.ArgumentParser) -> None:
    """Add `--exclude-from`."""
    parser.add_argument(
        "--exclude-from",
        action="append",
        default=[],
        metavar="FILE",
        help="read --exclude patterns from FILE, one per line; blank lines and lines that begin with # are"
        " ignored; - is standard input",
    )


def _check_paths(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], None]:
    """What argparse can't check itself: a function that raises UsageError for the parsed options."""

    def check(options: argparse.Namespace) -> None:
        if not options.paths and not options.files_from:
            parser.error("the following arguments are required: PATH or --files-from")
        if options.null and not options.files_from:
            parser.error("-0 requires --files-from")
        if [*options.files_from, *options.exclude_from].count(STDIN) > 1:
            parser.error("standard input (-) can be read only once")

    return check


async def read_path_lists(options: argparse.Namespace) -> None:
    """Add what the files of the options name to `paths` and `exclude`. Raises CastRayError."""
    for name in options.files_from:
        options.paths = [*options.paths, *parse_paths(await _read(name), null=options.null)]
    for name in options.exclude_from:
        options.exclude = [*options.exclude, *parse_patterns(await _read(name), name)]


def parse_paths(content: bytes, *, null: bool = False) -> Iterator[str]:
    """The paths of a list. Empty ones are ignored; all others are taken as they are."""
    for part in content.split(b"\0" if null else b"\n"):
        path = part if null else part.removesuffix(b"\r")
        if path:
            yield os.fsdecode(path)


def parse_patterns(content: bytes, name: str) -> Iterator[str]:
    """The patterns of a file as of .gitignore: no blank lines, comments and spaces at the end.

    A backslash makes a `#` or `!` at the beginning part of the pattern. Raises CastRayError(BAD_PATTERN) for
    a line that begins with `!`: what is left out can't be taken in again.
    """
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        pattern = line.rstrip()
        if not pattern or pattern.startswith("#"):
            continue
        if pattern.startswith("!"):
            raise CastRayError(FailureKind.BAD_PATTERN, path=name, line=number, pattern=pattern)
        yield pattern[1:] if pattern.startswith(("\\#", "\\!")) else pattern


async def _read(name: str) -> bytes:
    """The content of a file, or of standard input. Raises CastRayError."""

    def read() -> bytes:
        return sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()

    try:
        return await _in_daemon_thread(read)
    except FileNotFoundError as error:
        raise CastRayError(FailureKind.NO_SUCH_FILE, path=name) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise CastRayError(FailureKind.LIST_NOT_READ, path=name, reason=reason) from error


async def _in_daemon_thread(read: Callable[[], bytes]) -> bytes:
    """The result of `read`, which may wait for a person or a pipe: an interrupt does not wait for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(result: bytes, error: OSError | None) -> None:
        if not done.done():
            done.set_result(result) if error is None else done.set_exception(error)

    def run() -> None:
        result, failed = b"", None
        try:
            result = read()
        except OSError as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name="read list", daemon=True).start()
    return await done
