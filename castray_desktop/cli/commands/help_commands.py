"""`castray help` and `castray version`."""

from __future__ import annotations

import argparse

import castray_desktop
from castray_desktop.cli.arguments import EXIT_DELIVERED, Commands, add_command
from castray_desktop.cli.output.terminal import print_json
from castray_desktop.core.casts.json_views import JSON_SCHEMA
from castray_desktop.core.protocol.messages import PROTOCOL_VERSION


def add_parsers(commands: Commands) -> None:
    """Add `help` and `version`."""
    topics = add_command(
        commands, "help", "list the commands, or show help for one", "castray help send", handler=show_help
    )
    topics.add_argument("topic", nargs="*", metavar="COMMAND")
    add_command(
        commands,
        "version",
        "print the version",
        "castray version\ncastray version --json",
        handler=show_version,
    )


async def show_help(options: argparse.Namespace) -> int:
    """Print the help of the program or of a command."""
    from castray_desktop.cli.command_line import command_help

    text = command_help(options.topic, as_json=options.json)
    if options.json:
        print_json({"command": " ".join(options.topic) or None, "text": text})
    else:
        print(text, end="")
    return EXIT_DELIVERED


async def show_version(options: argparse.Namespace) -> int:
    """Print the version, for scripts with the number of the JSON's form and of the engine's protocol."""
    if options.json:
        version = castray_desktop.__version__
        print_json({"schema": JSON_SCHEMA, "version": version, "protocol": PROTOCOL_VERSION})
    else:
        print(f"castray {castray_desktop.__version__}")
    return EXIT_DELIVERED
