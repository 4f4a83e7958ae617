"""`castray casts`: list the casts of the running engine."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from castray_desktop.cli.arguments import EXIT_DELIVERED, Commands, add_command, add_json_option
from castray_desktop.cli.output.cast_text import format_state
from castray_desktop.cli.output.terminal import add_row, new_table, print_json, print_table
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import cast_form, form_to_json
from castray_desktop.core.casts.states import cast_name
from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.messages import CastSummary


def add_parsers(commands: Commands) -> None:
    """Add `casts`."""
    parser = add_command(
        commands,
        "casts",
        "list the casts",
        "castray casts --json",
        handler=list_casts,
        uses_cluster=True,
    )
    add_json_option(parser)


async def list_casts(options: argparse.Namespace) -> int:
    """Print the casts of the running engine; none where no engine runs."""
    try:
        async with Session(start=False) as session:
            welcome = session.client.welcome
    except CastRayError as error:
        if error.failure.kind is not FailureKind.ENGINE_UNREACHABLE:
            raise
        welcome = None  # no engine, so no casts
    casts = welcome.casts if welcome else ()
    deliveries = welcome.deliveries if welcome else {}
    if options.json:
        print_json([form_to_json(cast_form(cast, deliveries.get(cast.cast, ()))) for cast in casts])
    else:
        print_casts(casts)
    return EXIT_DELIVERED


def print_casts(casts: Sequence[CastSummary]) -> None:
    """Print the casts as a table."""
    if not casts:
        print("No casts.")
        return
    table = new_table("Cast", "Name", "State", "Size", "Done", "Recipients")
    for cast in casts:
        add_row(
            table,
            cast.cast,
            cast_name(cast),
            format_state(cast.state),
            format_bytes(cast.bytes),
            f"{100 * cast.done_bytes // cast.bytes} %" if cast.bytes else "",
            f"{cast.verified}/{len(cast.recipients)}",
        )
    print_table(table)
