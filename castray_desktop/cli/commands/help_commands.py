"""`castray help` and `castray version`."""

from __future__ import annotations

import argparse

import castray_desktop
from castray_desktop.cli.arguments import EXIT_DELIVERED, Commands, add_command


def add_parsers(commands: Commands) -> None:
    """Add `help` and `version`."""
    topics = add_command(
        commands, "help", "tell the commands, or all about one", "castray help send", handler=show_help
    )
    topics.add_argument("topic", nargs="*", metavar="COMMAND")
    add_command(commands, "version", "tell the version", "castray version", handler=show_version)


async def show_help(options: argparse.Namespace) -> int:
    """Print the help of the program or of a command, and end the process."""
    from castray_desktop.cli.command_line import command_parser

    command_parser().parse_args([*options.topic, "--help"])
    return EXIT_DELIVERED


async def show_version(_options: argparse.Namespace) -> int:
    """Print the version."""
    print(f"castray {castray_desktop.__version__}")
    return EXIT_DELIVERED
