"""The manual page documents everything that the command line accepts; its words are those of the window."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

from castray_desktop.cli.command_line import command_parser
from castray_desktop.cli.commands import COMMANDS
from castray_desktop.core.failures.sentences import TEMPLATES

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "castray.1"
WINDOW = ROOT / "castray_desktop" / "ui"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers(inner)


def spoken(path: Path) -> Iterator[str]:
    """The texts of a module of the window that are translated."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = getattr(getattr(call, "func", None), "attr", getattr(getattr(call, "func", None), "id", ""))
        if isinstance(call, ast.Call) and name in ("tr", "translate"):
            for argument in call.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value


def test_people_read_of_speeds_and_not_of_rates() -> None:
    """One word for one thing; fields of JSON and the like keep their names."""
    texts = [parser.format_help() for parser in parsers(command_parser())]
    texts += [text for path in WINDOW.rglob("*.py") for text in spoken(path)]
    texts += [text for template in TEMPLATES.values() for text in template[1:] if isinstance(text, str)]
    assert len(texts) > 1000
    rate = re.compile(r"(?<![{_])\brates?\b(?![}_])", re.IGNORECASE)
    assert [text for text in texts if rate.search(text)] == []


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
