"""What commands share: parsers, types of arguments, the options of everything that sends, exit statuses."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from itertools import filterfalse, takewhile
from typing import Any, NoReturn, TypeAlias

from castray_desktop.cli.output.terminal import ColorChoice, OutputStyle, print_error_object
from castray_desktop.cli.path_lists import add_exclude_from_option
from castray_desktop.core.casts.json_views import options_from_json
from castray_desktop.core.casts.transfer_options import Encryption, Layout
from castray_desktop.core.content.urls import is_url
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import SendRequest

EXIT_DELIVERED = 0
EXIT_NOT_DELIVERED = 1
EXIT_BAD_USAGE = 2
EXIT_HUNG_UP = 129
EXIT_INTERRUPTED = 130

BAD_USAGE = "bad_usage"
"""The kind of the failure in JSON when the arguments are wrong."""

Commands: TypeAlias = "argparse._SubParsersAction[Any]"
Handler: TypeAlias = Callable[[argparse.Namespace], Coroutine[None, None, int]]
"""Runs a parsed command and returns its exit status. Raises CastRayError."""

WHO = "'all', or a comma-separated list of node names, addresses, Ray node id prefixes or @groups"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)?")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


class UsageError(Exception):
    """The arguments are wrong. The text says why; `usage` is the line that shows the right ones."""

    def __init__(self, message: str, prog: str, usage: str) -> None:
        super().__init__(message)
        self.prog = prog
        self.usage = usage


class Parser(argparse.ArgumentParser):
    """Accepts no abbreviated options: an abbreviation in a script may become ambiguous in a later version.

    The parsers of its commands are of the same class. Wrong arguments raise UsageError.
    """

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **(values | {"allow_abbrev": False}))

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(message, self.prog, self.format_usage())


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether `--json` is among the options, whatever else is wrong with them."""
    return "--json" in takewhile(lambda word: word != "--", arguments)


@contextlib.contextmanager
def usage_errors_reported(arguments: Sequence[str]) -> Iterator[None]:
    """At a UsageError, end the process with a usage line on stderr and status 2.

    With `--json` the error is printed on stdout, too.
    """
    try:
        yield
    except UsageError as error:
        if wants_json(arguments):
            print_error_object(BAD_USAGE, str(error), f"See: {error.prog} --help")
        sys.stderr.write(f"{error.usage}{error.prog}: error: {error}\n")
        sys.exit(EXIT_BAD_USAGE)


def add_command(
    commands: Commands,
    name: str,
    summary: str,
    examples: str,
    *,
    handler: Handler,
    uses_cluster: bool = False,
) -> argparse.ArgumentParser:
    """Add a command; the caller adds its arguments, all but `--json`, which every command gets.

    `--cluster` is listed if the command `uses_cluster`; all other commands accept it too, so that a script
    can pass it to each of them.
    """
    parser = _add_parser(commands, name, summary, examples)
    if uses_cluster:
        add_cluster_option(parser, argparse.SUPPRESS)  # keeps a value that is given before the command
    else:
        parser.add_argument("--cluster", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(handler=handler)
    add_output_options(parser, listed=False)
    return parser


def add_command_group(commands: Commands, name: str, summary: str, examples: str) -> Commands:
    """Add a command that has commands of its own; returns what these are added to."""
    parser = _add_parser(commands, name, summary, examples)
    parser.add_argument("--cluster", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser.add_subparsers(dest="action", required=True, metavar="ACTION")


def _add_parser(commands: Commands, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """Add a parser with its summary as the description and the examples below its options."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=_epilog(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


EXAMPLES = "examples:\n"
EVERYWHERE = "\nevery command also takes -q, -v, --no-progress and --color; see: castray --help"


def _epilog(examples: str) -> str:
    """The end of a command's help: examples, and where the options are that every command has."""
    lines = textwrap.dedent(examples).strip("\n")
    return EXAMPLES + textwrap.indent(lines, "  ") + "\n" + EVERYWHERE


def add_output_options(parser: argparse.ArgumentParser, *, listed: bool) -> None:
    """Add the options that every command has, before or after its name; `listed`: with their help."""
    options = (
        parser.add_argument(
            "-q", "--quiet", action="store_true", help="print only requested data, warnings and errors"
        ),
        parser.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            help="also print details of each delivery, and the engine's log on standard error",
        ),
        parser.add_argument(
            "--no-progress",
            dest="progress",
            action="store_false",
            help="print no progress, only the result",
        ),
        parser.add_argument(
            "--color",
            choices=[choice.value for choice in ColorChoice],
            default=ColorChoice.AUTO.value,
            help="when to use colours: on a terminal, always or never (auto); NO_COLOR and CLICOLOR_FORCE are"
            " respected",
        ),
    )
    if not listed:
        for option in options:
            option.help = option.default = argparse.SUPPRESS  # keeps a value that is given before the command


def style_of(options: argparse.Namespace) -> OutputStyle:
    """The output style that the options of a command ask for."""
    return OutputStyle(options.quiet, options.verbose, options.progress, ColorChoice(options.color))


def add_cluster_option(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add `--cluster`; the default is the environment's cluster."""
    parser.add_argument(
        "--cluster",
        metavar="WHICH",
        default=default or os.environ.get("CASTRAY_CLUSTER"),
        help=(
            "local, auto, HOST:PORT or ray://HOST:PORT (default: the cluster in use, or the one of"
            " this machine)"
        ),
    )


def add_json_option(parser: argparse._ActionsContainer) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def add_detach_option(parser: argparse._ActionsContainer) -> None:
    """Add `--detach`."""
    parser.add_argument(
        "--detach",
        action="store_true",
        help=(
            "print the id of the cast and exit; the engine continues it; see castray follow and castray wait"
        ),
    )


def add_cast_argument(parser: argparse.ArgumentParser, *, or_all: bool = False) -> None:
    """Add the positional argument CAST."""
    meaning = "its id, or the beginning of its id"
    parser.add_argument("cast", metavar="CAST", help=f"{meaning}, or 'all'" if or_all else meaning)


def split_names(text: str) -> tuple[str, ...]:
    """The names between the commas of `text`."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def count(text: str) -> int:
    """The type of an argument that is a number from 0 up."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def duration(text: str) -> float:
    """The type of an argument such as "30s", "15m", "2h", "1d" or "1w": seconds."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time: use 30s, 15m, 2h or 1d")
    return seconds


def moment(text: str) -> float:
    """The type of an argument that is a local date or time, or a duration before now: POSIX seconds."""
    if (match := _DURATION.fullmatch(text.strip())) and match[2]:
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date: use 2026-11-24, '2026-11-24 18:00', or 7d for seven days ago"
        ) from None


def add_send_arguments(parser: argparse.ArgumentParser, on_conflict: str = "skip") -> None:
    """Add the options that `send_request` reads; `on_conflict` is the default of `--on-conflict`."""
    parser.add_argument("--to", required=True, metavar="WHO", help=WHO)
    parser.add_argument(
        "--from",
        dest="source",
        metavar="NODE",
        help="send from this node: paths are absolute paths there, addresses are downloaded there (this"
        " computer; for addresses, the fastest node)",
    )
    parser.add_argument(
        "--dest",
        default="",
        metavar="DIR",
        help="absolute path on the recipients, can contain {node} (the inbox of each node)",
    )
    parser.add_argument(
        "--on-conflict",
        choices=("skip", "rename", "overwrite"),
        default=on_conflict,
        help="if a file with the same name exists: keep identical files and rename different ones, always"
        f" rename, or replace it ({on_conflict})",
    )
    parser.add_argument(
        "--delete",
        dest="remove_extra",
        action="store_true",
        help="with --on-conflict overwrite: remove files that the sent folders no longer have, after"
        " everything has arrived; --dry-run lists them",
    )
    parser.add_argument(
        "--links",
        choices=("auto", "keep", "follow"),
        default="auto",
        help="send symbolic links as links (keep) or send their targets (follow); auto follows links"
        " that are named explicitly or point outside the sent folders (auto)",
    )
    parser.add_argument(
        "--include", action="append", default=[], metavar="GLOB", help="send only matching files"
    )
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="GLOB", help="exclude matching files and folders"
    )
    add_exclude_from_option(parser)
    parser.add_argument(
        "--layout",
        choices=[choice.value for choice in Layout],
        default=Layout.PLAIN.value,
        help="for hf:// addresses: a folder with the files of the repository, or the cache of"
        " huggingface_hub, so that --dest DIR is its cache_dir or HF_HUB_CACHE (plain)",
    )
    parser.add_argument(
        "--limit", metavar="SPEED", help="maximum speed of each hop: 10M, 10MB/s, 10MiB/s, 100Mbit/s"
    )
    parser.add_argument(
        "--transport",
        choices=("auto", "direct", "ray", "udp"),
        default="auto",
        help="the transport between nodes: the fastest available; direct connections only; through"
        " Ray only; or one unencrypted UDP multicast stream for all recipients, with the relay"
        " for the rest (auto)",
    )
    parser.add_argument(
        "--encrypt",
        choices=[choice.value for choice in Encryption],
        default=Encryption.AUTO.value,
        help="encryption between machines: where both support it, unless the settings say otherwise;"
        " always (nothing is sent to machines that don't support it); or never (auto)",
    )
    parser.add_argument(
        "--await-offline",
        action="store_true",
        help="deliver to offline recipients when they are back online, as long as the engine runs",
    )
    parser.add_argument(
        "--hook",
        default="",
        metavar="COMMAND",
        help="run this command on each recipient after its delivery, if the node's owner allows it",
    )


def send_request(options: argparse.Namespace) -> SendRequest:
    """The request for these paths and options. Raises CastRayError for wrong values."""
    if "" in options.paths:
        raise CastRayError(FailureKind.NO_SUCH_FILE, path="''")
    given: list[str] = options.paths
    own_folder = options.source is None or _is_this_computer(options.source)
    paths = tuple(os.path.abspath(path) if own_folder and not is_url(path) else path for path in given)
    if not paths:
        raise CastRayError(FailureKind.NOTHING_TO_SEND)
    recipients = split_names(options.to)
    transfer_options = options_from_json(vars(options))
    transfer_options.check(paths)
    if not recipients:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    if options.dest and not options.dest.startswith("/"):
        raise CastRayError(FailureKind.BAD_DESTINATION, destination=options.dest)
    if options.source is None:  # the engine checks them too, but only once a cluster has started
        from castray_desktop.workers.agent.transfer.source.scanner import check_paths  # not for all commands

        check_paths(filterfalse(is_url, paths), options.links)
    request = SendRequest(
        paths=paths,
        recipients=recipients,
        source=options.source or messages.default_source(paths),
        leave_out=True,
        options=transfer_options,
    )
    request.check_paths()  # before a cluster starts for it
    return request


def _is_this_computer(node: str) -> bool:
    # Few commands need this module.
    from castray_desktop.workers.clusters.node_inventory import is_this_computer

    return is_this_computer(node)
