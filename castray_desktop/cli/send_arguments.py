"""The options of everything that sends, and the request that they make."""

from __future__ import annotations

import argparse
import os

from castray_desktop.cli.arguments import WHO, split_names
from castray_desktop.core.casts.json_views import options_from_json
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import SendRequest


def add_send_arguments(parser: argparse.ArgumentParser, on_conflict: str = "skip") -> None:
    """Add the options that `send_request` reads; `on_conflict` is the default of `--on-conflict`."""
    parser.add_argument("--to", required=True, metavar="WHO", help=WHO)
    parser.add_argument("--from", dest="source", metavar="NODE", help="the source (this computer)")
    parser.add_argument(
        "--dest", default="", metavar="DIR", help="absolute path on the recipients, may hold {node} (inboxes)"
    )
    parser.add_argument(
        "--on-conflict",
        choices=("skip", "rename", "overwrite"),
        default=on_conflict,
        help="where a file of that name exists: leave an identical one and give a different one a free"
        f" name, always take a free name, or replace it ({on_conflict})",
    )
    parser.add_argument(
        "--delete",
        dest="remove_extra",
        action="store_true",
        help="with --on-conflict overwrite: remove what the sent folders no longer have, once all of it"
        " arrived; --dry-run lists it",
    )
    parser.add_argument(
        "--links",
        choices=("auto", "keep", "follow"),
        default="auto",
        help="send symbolic links as links, or what they point to; auto sends what those point to that are"
        " named themselves or lead out of what is sent, and the others as links (auto)",
    )
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave these out")
    parser.add_argument("--limit", metavar="RATE", help="of every hop: 10MB/s, 800kB/s, 100Mbit/s")
    parser.add_argument(
        "--transport",
        choices=("auto", "direct", "ray", "udp"),
        default="auto",
        help="the way from node to node: the fastest that gets through; sockets alone; through Ray alone; or"
        " one stream of UDP multicast for all recipients, with the relay for what it does not bring (auto)",
    )
    parser.add_argument(
        "--await-offline",
        action="store_true",
        help="recipients that are offline get theirs when they come back, for as long as the engine runs",
    )
    parser.add_argument(
        "--hook",
        default="",
        metavar="COMMAND",
        help="run this on each recipient once its files are there, where that node allows it",
    )


def send_request(options: argparse.Namespace) -> SendRequest:
    """The request for these paths and options. Raises CastRayError for wrong values."""
    paths = tuple(os.path.abspath(path) for path in options.paths)
    recipients = split_names(options.to)
    transfer_options = options_from_json(vars(options))
    transfer_options.check()
    if not recipients:
        raise CastRayError(FailureKind.NO_RECIPIENTS)
    if options.dest and not options.dest.startswith("/"):
        raise CastRayError(FailureKind.BAD_DESTINATION, destination=options.dest)
    if options.source is None:  # the engine checks them too, but only once a cluster has started
        from castray_desktop.workers.client.local_files import check_path  # imports much of the agent

        for path in paths:
            if (failure := check_path(path, options.links)) is not None:
                raise CastRayError.of(failure)
    return SendRequest(
        paths=paths,
        recipients=recipients,
        source=options.source or messages.THIS_COMPUTER,
        leave_out=True,
        options=transfer_options,
    )
