"""What the commands of the command line are made with."""

from __future__ import annotations

import argparse
import os
import textwrap
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[Any]"


class Parser(argparse.ArgumentParser):
    """Takes options by their whole names alone: what a script abbreviates may mean another one tomorrow.

    The parsers of its commands are of the same kind.
    """

    def __init__(self, *args: Any, **values: Any) -> None:
        super().__init__(*args, **(values | {"allow_abbrev": False}))


def add_command(
    commands: Commands,
    name: str,
    tells: str,
    examples: str = "",
    parents: tuple[argparse.ArgumentParser, ...] = (),
) -> argparse.ArgumentParser:
    """A command, with what it does as its description and examples below its options."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        parents=parents,
        help=tells,
        description=tells[0].upper() + tells[1:] + ".",
        epilog=examples and "examples:\n" + textwrap.indent(textwrap.dedent(examples).strip("\n"), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if not parents:  # ids, names and the engine are found without it, and yet it can be given everywhere
        parser.add_argument("--cluster", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def add_cluster(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--cluster",
        metavar="WHICH",
        default=default or os.environ.get("CASTRAY_CLUSTER"),
        help="local, auto, HOST:PORT or ray://HOST:PORT (the one in use, else this machine's)",
    )


def add_json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable output")
