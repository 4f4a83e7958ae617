"""Generate the manual page, docs/castray.1, from the command line's parser: python -m tools.manual"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from castray_desktop.cli.arguments import EXAMPLES
from castray_desktop.cli.command_line import command_parser

PAGE = Path(__file__).resolve().parent.parent / "docs" / "castray.1"

SUMMARY = "copy files to many machines of a Ray cluster at once"

ENVIRONMENT = {
    "CASTRAY_HOME": "settings, history, token and logs (the platform's own data folder)",
    "CASTRAY_CLUSTER": "the cluster to use if --cluster is not given",
    "CASTRAY_DRIVER_PYTHON": "an interpreter with the cluster's version of Ray",
    "CASTRAY_DATA_PORTS": "LOW-HIGH or one port: the ports for data connections",
    "CASTRAY_DATA_NETWORK": "the network for data connections, as CIDR",
    "CASTRAY_MULTICAST_HOPS": "the number of multicast hops (1)",
    "CASTRAY_LOCAL_COPY": "0: no shortcuts between nodes on one machine",
}

FILES = {
    "$CASTRAY_HOME/api-token": "the token that clients of the HTTP API must send",
    "$CASTRAY_HOME/api-read-only-token": "the token for clients that only read",
    "~/.config/castray/node.json": "on a recipient: the hooks that its owner allows",
}


def manual() -> str:
    """The page in roff."""
    parser = command_parser()
    lines = [
        '.TH CASTRAY 1 "" "CastRay Desktop" "CastRay Desktop"',
        ".SH NAME",
        f"castray \\- {SUMMARY}",
        ".SH SYNOPSIS",
        ".B castray",
        "[\\fIFILE\\fR...]",
        ".br",
        ".B castray",
        "\\fICOMMAND\\fR [\\fIOPTIONS\\fR]",
        ".SH DESCRIPTION",
        "Without a command it opens the window, with FILEs in its list.",
        ".SH OPTIONS",
        *_list({"-h, --help": "show help for castray or for a command"}),
        *_options(parser),
        ".SH COMMANDS",
    ]
    for command in commands(parser):
        lines += [f'.SS "{_text(command.prog)}"', *_paragraph(command.description or "")]
        lines += [".PP", f"\\fB{_text(command.prog)}\\fR{_text(arguments(command))}", *_options(command)]
        if examples(command):
            lines += [".PP", "Examples:", *_verbatim(examples(command))]
    lines += [".SH ENVIRONMENT", *_list(ENVIRONMENT), ".SH FILES", *_list(FILES)]
    lines += [
        ".SH EXAMPLES",
        *_verbatim(examples(parser)),
        ".SH EXIT STATUS",
        *_verbatim(exit_statuses(parser)),
    ]
    return "\n".join(lines) + "\n"


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The commands that act themselves."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                deeper = list(commands(inner))
                if not deeper or examples(inner):
                    yield inner
                yield from deeper


def arguments(command: argparse.ArgumentParser) -> str:
    """The usage of a command without its name, on one line."""
    words = " ".join(command.format_usage().removeprefix("usage: ").split())
    return words.removeprefix(command.prog)


def visible_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The arguments and options of a parser that help shows, without `--help` and commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction | argparse._HelpAction):
            continue
        if action.help != argparse.SUPPRESS:
            yield action


def help_text(action: argparse.Action) -> str:
    """What an argument or option means."""
    return (action.help or "").replace("%%", "%")


def value_name(action: argparse.Action) -> str:
    """The value of an argument or option as help shows it; empty if it takes none."""
    if action.nargs == 0:
        return ""
    return (
        "|".join(map(str, action.choices))
        if action.choices is not None
        else str(action.metavar or action.dest)
    )


def examples(parser: argparse.ArgumentParser) -> str:
    """The examples of a parser, indented."""
    return (parser.epilog or "").partition(EXAMPLES)[2].partition("\n\n")[0]


def exit_statuses(parser: argparse.ArgumentParser) -> str:
    """The exit statuses that the epilog of the whole parser lists."""
    return (parser.epilog or "").partition("exit status:\n")[2]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    lines = []
    for action in visible_actions(parser):
        name = ", ".join(action.option_strings)
        title = " ".join(part for part in (name and f"\\fB{_text(name)}\\fR", _value(action)) if part)
        lines += [".TP", title, *_paragraph(help_text(action))]
    return lines


def _value(action: argparse.Action) -> str:
    value = _text(value_name(action))
    return value if action.choices is not None or not value else f"\\fI{value}\\fR"


def _list(things: dict[str, str]) -> list[str]:
    return [
        line for name, tells in things.items() for line in (".TP", f"\\fB{_text(name)}\\fR", _text(tells))
    ]


def _paragraph(text: str) -> list[str]:
    return [_text(text)] if text else []


def _verbatim(text: str) -> list[str]:
    return [".PP", ".RS 2", ".EX", *map(_text, text.strip("\n").splitlines()), ".EE", ".RE"]


def _text(text: str) -> str:
    """Text for a separate line, escaped so that roff does not read it as a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def main() -> None:
    """Write it."""
    PAGE.write_text(manual())


if __name__ == "__main__":
    main()
