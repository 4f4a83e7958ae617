"""`castray limit`: set or print the limit of what every node passes on."""

from __future__ import annotations

import argparse

from castray_desktop.cli.arguments import EXIT_DELIVERED, Commands, add_command
from castray_desktop.cli.output.cast_text import print_limit
from castray_desktop.cli.output.terminal import print_json
from castray_desktop.cli.session import Session
from castray_desktop.core.content.quantities import parse_limit
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol import messages


def add_parsers(commands: Commands) -> None:
    """Add `limit`."""
    parser = add_command(
        commands,
        "limit",
        "limit the upload speed of every node, until it is changed",
        """
        castray limit 100MB/s
        castray limit off
        castray limit 10MB/s --cast 3f2a
        """,
        handler=limit,
    )
    parser.add_argument(
        "rate",
        metavar="SPEED",
        nargs="?",
        help="10M, 10MB/s, 10MiB/s, 100Mbit/s or off; without it, print the limit",
    )
    parser.add_argument("--cast", default="", metavar="CAST", help="only for this cast, while it runs")


async def limit(options: argparse.Namespace) -> int:
    """Set or print the limit, over all casts or of one."""
    rate = None if options.rate is None else parse_limit(options.rate)
    async with Session(start=not options.cast) as session:
        if rate is not None:
            await session.client.request(messages.SetLimit(rate, options.cast), messages.Done)
        elif options.cast:
            if (cast := session.cache.find(options.cast)) is None:
                raise CastRayError(FailureKind.CAST_UNKNOWN, cast=options.cast)
            rate = cast.options.limit
        else:
            rate = (await session.client.request(messages.GetStatus(), messages.EngineStatus)).limit
    if options.json:
        print_json({"limit": rate or None, "cast": options.cast or None})
    else:
        print_limit(rate, options.cast)
    return EXIT_DELIVERED
