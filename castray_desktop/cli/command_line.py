"""The parsers of the command line: which words open the window, and which are a command."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Collection, Iterator, Sequence

import castray_desktop
from castray_desktop.cli.arguments import (
    BAD_USAGE,
    EXIT_BAD_USAGE,
    Parser,
    add_cluster_option,
    add_json_option,
    add_output_options,
    usage_errors_reported,
    wants_json,
)
from castray_desktop.cli.commands import COMMAND_GROUPS, COMMANDS
from castray_desktop.cli.output.terminal import print_error
from castray_desktop.core.content.file_names import display_name
from castray_desktop.core.content.urls import is_url

_EPILOGUE = """\
examples:
  castray                                          open the window
  castray model.safetensors                        open it with this file in the list
  castray hf://org/name                            open it with this address in the list
  castray send model.safetensors --to all          send it to the inbox of every node
  castray send data/ --to node_1,node_2 --dest /data/{node}
  castray pause all                                pause everything; continue with: castray resume all
  castray schedule add nightly data/ --to all --cron "0 3 * * *"
  castray nodes                                    list the nodes

See castray COMMAND --help for details and examples. Each command takes --json.

exit status:
  0  everything was delivered      2  bad usage or bad input
  1  something was not delivered   3  no cluster
  130, 143, 129  interrupted: Ctrl+C, SIGTERM, a closed terminal
"""

_USAGE = "castray [FILE...]\n       castray COMMAND [OPTIONS]"

MAX_SUGGESTIONS = 3


def is_window_start(arguments: list[str]) -> bool:
    """Whether these arguments open the window: anything but a command, `--help` or `--version`."""
    return not _asks_about_program(arguments) and _first_word(arguments) not in COMMANDS


def parse_window_start(arguments: list[str]) -> argparse.Namespace:
    """Parse arguments that open the window: the cluster, and files and addresses.

    End the process with a usage line on stderr and status 2 if that fails, or if a word is neither an address
    nor a path that exists, since it may be a misspelled command.
    """
    _refuse_undecodable(arguments)
    parser = Parser(prog="castray", usage=_USAGE, add_help=False)
    add_cluster_option(parser)
    parser.add_argument("files", nargs="*", metavar="FILE")
    with usage_errors_reported(arguments):
        options, unknown = parser.parse_known_args(arguments)
        for word in options.files:
            if not is_url(word) and not os.path.lexists(word):
                similar = _similar_commands(word)
                hint = f" Did you mean: {', '.join(similar)}?" if similar else " See: castray help"
                parser.error(f"{word} is neither a command nor a file or folder that exists.{hint}")
        if unknown:
            parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def parse_command(arguments: list[str]) -> argparse.Namespace:
    """Parse a command; `handler` of the result runs it.

    End the process with a usage line on stderr and status 2 if that fails.
    """
    _refuse_undecodable(arguments)
    word = _first_word(arguments)
    known = word in COMMANDS and not _asks_about_program(arguments)
    with usage_errors_reported(arguments):
        options = command_parser([word] if known else COMMANDS).parse_args(arguments)
        if (check := getattr(options, "check", None)) is not None:
            check(options)
    return options


class ProgramParser(Parser):
    """The parser of the program: its help lists the commands in groups."""

    def format_help(self) -> str:
        """The help: usage, commands by group, options, examples."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        listed = {
            item.dest: item
            for action in self._actions
            if isinstance(action, argparse._SubParsersAction)
            for item in action._choices_actions
        }
        for title, names in COMMAND_GROUPS.items():
            formatter.start_section(title)
            formatter.add_arguments([listed[name] for name in names if name in listed])
            formatter.end_section()
        formatter.start_section("options")
        formatter.add_arguments([action for action in self._actions if action.option_strings])
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()


def command_parser(names: Collection[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands; for help, completion and the manual: of all commands.

    Only the modules of these commands are imported.
    """
    parser = ProgramParser(
        prog="castray",
        usage=_USAGE,
        description="Copy files to many machines of a Ray cluster at once.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"castray {castray_desktop.__version__}")
    add_cluster_option(parser)
    add_output_options(parser, listed=True)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog="castray", parser_class=Parser
    )
    for module in dict.fromkeys(COMMANDS[name] for name in names):
        importlib.import_module(f"castray_desktop.cli.commands.{module}").add_parsers(commands)
    _complete(parser)
    return parser


def _complete(parser: argparse.ArgumentParser) -> None:
    """Add `--json` to each command that does not have it yet, as the last of its options."""
    if parser.get_default("handler") is not None and parser.get_default("json") is None:
        add_json_option(parser)
    for inner in inner_parsers(parser).values():
        _complete(inner)


def inner_parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The commands of a group of commands, or of the program, by name; none for another command."""
    groups = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return next((dict(group.choices) for group in groups), {})


def command_help(topic: Sequence[str], *, as_json: bool = False) -> str:
    """The help of a command, or of the program for no words.

    End the process with a usage line on stderr and status 2 if there is no such command.
    """
    parser = command_parser()
    with usage_errors_reported(["--json"] if as_json else []):
        for word in topic:
            inner = inner_parsers(parser)
            if word not in inner:
                parser.error(f"there is no command {' '.join(topic)}")
            parser = inner[word]
    return parser.format_help()


def command_names(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[str]:
    """Every command of the parser: "send", "engine status"."""
    commands = inner_parsers(parser)
    for name, inner in commands.items():
        yield from command_names(inner, f"{prefix} {name}".strip())
    if not commands:
        yield prefix


def _words(arguments: list[str]) -> Iterator[str]:
    """The arguments without the values of `--cluster` and `--color`."""
    values = iter(arguments)
    for argument in values:
        yield argument
        if argument in ("--cluster", "--color"):
            next(values, None)


def _first_word(arguments: list[str]) -> str:
    """The first argument that is no option."""
    return next((word for word in _words(arguments) if not word.startswith("-")), "")


def _asks_about_program(arguments: list[str]) -> bool:
    """Whether `--help` or `--version` precedes the first word."""
    for word in _words(arguments):
        if word in ("-h", "--help", "--version"):
            return True
        if not word.startswith("-"):
            break
    return False


def _similar_commands(word: str) -> tuple[str, ...]:
    """Commands that are spelled like this word, each with the group that it belongs to."""
    by_last_word: dict[str, list[str]] = {}
    for name in command_names(command_parser()):
        by_last_word.setdefault(name.rpartition(" ")[2], []).append(name)
        by_last_word.setdefault(name.partition(" ")[0], [])
    close = difflib.get_close_matches(word, by_last_word)
    return tuple(name for found in close for name in by_last_word[found] or [found])[:MAX_SUGGESTIONS]


def _refuse_undecodable(arguments: list[str]) -> None:
    """End the process with a sentence and status 2 if an argument is not valid text.

    Paths travel as text between the processes; names inside a sent folder may be any bytes.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            print_error(
                BAD_USAGE,
                f"{display_name(argument)} is a name that is not UTF-8, and can't be given here.",
                "Rename it, or send the folder that contains it.",
                as_json=wants_json(arguments),
            )
            sys.exit(EXIT_BAD_USAGE)
