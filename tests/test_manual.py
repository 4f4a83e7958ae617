"""The manual page documents everything that the command line accepts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from castray_desktop.cli.command_line import command_parser
from castray_desktop.cli.commands import COMMANDS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "castray.1"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def test_the_manual_names_every_command_and_option() -> None:
    """If this fails: python -m tools.manual"""
    page = PAGE.read_text().replace("\\-", "-")
    missing = [parser.prog for parser in parsers(command_parser()) if parser.prog not in page]
    for parser in parsers(command_parser()):
        for action in parser._actions:
            missing += [option for option in action.option_strings if option not in page]
    assert missing == []


def test_the_window_knows_every_command() -> None:
    """A word that is not in that list counts as a file to open."""
    (commands,) = (
        action for action in command_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    assert set(commands.choices) == set(COMMANDS)
