"""`castray settings`: print the engine's settings, or change them."""

from __future__ import annotations

import argparse

import msgspec

from castray_desktop.cli.arguments import EXIT_DELIVERED, Commands, add_command, count
from castray_desktop.cli.output.terminal import format_count, print_json
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import message_to_json
from castray_desktop.core.casts.transfer_options import Encryption
from castray_desktop.core.content.quantities import format_rate
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import MOST_DEMO_NODES, EngineSettings


def add_parsers(commands: Commands) -> None:
    """Add `settings`."""
    parser = add_command(
        commands,
        "settings",
        "show or change the settings of the engine",
        """
        castray settings
        castray settings --casts-at-once 2 --go-on no
        """,
        handler=settings,
    )
    parser.add_argument(
        "--casts-at-once",
        type=count,
        metavar="N",
        help="maximum number of simultaneous casts, others are queued; 0: no limit",
    )
    parser.add_argument(
        "--go-on", choices=("yes", "no"), help="continue unfinished casts after a restart; no: pause them"
    )
    parser.add_argument(
        "--history-days",
        type=count,
        metavar="N",
        help="delete casts that ended longer ago from the history; 0: never",
    )
    parser.add_argument(
        "--demo-nodes",
        type=int,
        choices=range(MOST_DEMO_NODES + 1),
        metavar="N",
        help=f"demo nodes of a local cluster, from its next start; at most {MOST_DEMO_NODES}",
    )
    parser.add_argument(
        "--stay-awake", choices=("yes", "no"), help="keep this computer awake while a cast is running"
    )
    parser.add_argument(
        "--encrypt",
        choices=[choice.value for choice in Encryption],
        help="encryption between machines for casts that don't specify it",
    )


async def settings(options: argparse.Namespace) -> int:
    """Print the engine's settings, after changing those that are given."""
    async with Session() as session:
        known = (await session.client.request(messages.GetSettings(), messages.SettingsChanged)).settings
        wanted = msgspec.structs.replace(known, **_changes(options))
        if wanted != known:
            await session.client.request(messages.ChangeSettings(wanted), messages.Done)
    if options.json:
        print_json(message_to_json(wanted))
    else:
        print_settings(wanted)
    return EXIT_DELIVERED


def _changes(options: argparse.Namespace) -> dict[str, object]:
    """The given settings, by the names of their fields."""
    given = {
        "casts_at_once": options.casts_at_once,
        "go_on": None if options.go_on is None else options.go_on == "yes",
        "history_days": options.history_days,
        "demo_nodes": options.demo_nodes,
        "stay_awake": None if options.stay_awake is None else options.stay_awake == "yes",
        "encrypt": None if options.encrypt is None else Encryption(options.encrypt),
    }
    return {name: value for name, value in given.items() if value is not None}


_ENCRYPTION = {
    Encryption.AUTO: "where both support it",
    Encryption.ALWAYS: "always",
    Encryption.NEVER: "never",
}


def print_settings(settings: EngineSettings) -> None:
    """Print the settings in a few lines."""
    limit = format_rate(settings.limit) if settings.limit else "none"
    print(f"Limit of every node over all casts: {limit}.")
    print(f"Simultaneous casts: {settings.casts_at_once or 'no limit'}.")
    print(f"After a restart, unfinished casts {'continue' if settings.go_on else 'are paused'}.")
    print(f"Encryption between machines: {_ENCRYPTION[settings.encrypt]}.")
    kept = f"for {format_count(settings.history_days, 'day')}" if settings.history_days else "forever"
    print(f"The history is kept {kept}.")
    print(f"A local cluster starts with {format_count(settings.demo_nodes, 'demo node')}.")
    sleep = "stays awake" if settings.stay_awake else "may go to sleep"
    print(f"While a cast is running, this computer {sleep}.")
