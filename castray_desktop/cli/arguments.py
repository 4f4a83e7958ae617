"""What can be written on the command line."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Iterator

import castray_desktop
from castray_desktop.cli.adding import Commands, Parser, add_cluster, add_command, add_json
from castray_desktop.core.names import display

COMMANDS = (
    "send",
    "nodes",
    "node",
    "casts",
    "add",
    "pause",
    "resume",
    "cancel",
    "retry",
    "again",
    "drop",
    "move",
    "limit",
    "verify",
    "history",
    "stats",
    "settings",
    "schedule",
    "cluster",
    "doctor",
    "engine",
    "serve",
    "completion",
    "desktop",
    "help",
    "version",
)

EXIT_DELIVERED = 0
EXIT_NOT_DELIVERED = 1
EXIT_BAD_USAGE = 2
EXIT_NO_CLUSTER = 3
EXIT_INTERRUPTED = 130

_EPILOGUE = """\
examples:
  castray                                          open the window
  castray model.safetensors                        open it with this file in the send list
  castray send model.safetensors --to all          send it to the inbox of every node
  castray send data/ --to node_1,node_2 --dest /data/{node}
  castray pause all                                stop every byte, and go on with: castray resume all
  castray schedule add nightly data/ --to all --cron "0 3 * * *"
  castray nodes                                    list the nodes

castray COMMAND --help tells more, with examples.

exit status:
  0  everything was delivered      2  bad usage or bad input
  1  something was not             3  no cluster                130  interrupted
"""


_USAGE = "castray [FILE...]\n       castray COMMAND [OPTIONS]"

MOST_ALIKE = 3


def is_window_start(arguments: list[str]) -> bool:
    """Whether these arguments open the window: anything but a command, `--help` or `--version`."""
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in ("-h", "--help", "--version"):
            return False
        elif argument == "--cluster":
            skip = True
        elif not argument.startswith("-"):
            return argument not in COMMANDS
    return True


def window_parser() -> argparse.ArgumentParser:
    """The parser for starting the window."""
    parser = Parser(prog="castray", usage=_USAGE, add_help=False)
    add_cluster(parser)
    parser.add_argument("files", nargs="*", metavar="FILE")
    return parser


def parse_window(arguments: list[str]) -> argparse.Namespace:
    """Parse a start of the window.

    Ends the process with a usage line on stderr and status 2 when that fails, or when a word is no path that
    exists: then it may have been meant as a command.
    """
    refuse_bad_text(arguments)
    parser = window_parser()
    options, unknown = parser.parse_known_args(arguments)
    for word in options.files:
        if not os.path.lexists(word):
            alike = _alike(word)
            hint = f" Did you mean: {', '.join(alike)}?" if alike else " See: castray help"
            parser.error(f"{word} is neither a command nor a file or folder that exists.{hint}")
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def command_names(parser: argparse.ArgumentParser, above: str = "") -> Iterator[str]:
    """Every command that can be written: "send", "engine status"."""
    inner = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for action in inner:
        for name, deeper in action.choices.items():
            yield from command_names(deeper, f"{above} {name}".strip())
    if not inner:
        yield above


def _alike(word: str) -> tuple[str, ...]:
    """Commands that are written much like this word, with the command that they belong to."""
    by_last_word: dict[str, list[str]] = {}
    for name in command_names(command_parser()):
        by_last_word.setdefault(name.rpartition(" ")[2], []).append(name)
        by_last_word.setdefault(name.partition(" ")[0], [])
    close = difflib.get_close_matches(word, by_last_word)
    return tuple(name for found in close for name in by_last_word[found] or [found])[:MOST_ALIKE]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command. Ends the process with a usage line on stderr and status 2 when that fails."""
    refuse_bad_text(arguments)
    return command_parser().parse_args(arguments)


def refuse_bad_text(arguments: list[str]) -> None:
    """End the process with a sentence and status 2 for an argument that is no valid text.

    Paths travel as text between the processes; a name within a folder may be any bytes.
    """
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            print(
                f"castray: {display(argument)} is a name that is not UTF-8, and can't be given here. "
                "Rename it, or send the folder that it lies in.",
                file=sys.stderr,
            )
            sys.exit(EXIT_BAD_USAGE)


def command_parser() -> argparse.ArgumentParser:
    """Everything that can be written, for parsing, for completion and for the manual."""
    # The window starts without them.
    from castray_desktop.cli import cast_arguments, past_arguments

    parser = Parser(
        prog="castray",
        usage=_USAGE,
        description="Put files on many machines of a Ray cluster at once.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"castray {castray_desktop.__version__}")
    add_cluster(parser)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands", prog="castray"
    )
    common = Parser(add_help=False)
    add_cluster(common, argparse.SUPPRESS)  # what was given before the command stays
    cast_arguments.add_send(commands, common)
    _add_nodes(commands, common)
    cast_arguments.add_casts(commands, common)
    past_arguments.add_past(commands)
    past_arguments.add_schedule(commands, common)
    _add_cluster_commands(commands)
    _add_doctor(commands, common)
    _add_engine(commands, common)
    _add_serve(commands, common)
    _add_desktop(commands)
    about = add_command(commands, "help", "tell the commands, or all about one", "castray help send")
    about.add_argument("topic", nargs="*", metavar="COMMAND")
    add_command(commands, "version", "tell the version", "castray version")
    return parser


def names(text: str) -> tuple[str, ...]:
    """What stands between the commas."""
    return tuple(who.strip() for who in text.split(",") if who.strip())


def _add_nodes(commands: Commands, common: argparse.ArgumentParser) -> None:
    nodes = add_command(
        commands,
        "nodes",
        "list the nodes",
        """
        castray nodes
        castray nodes --cluster 10.0.0.5:6379 --json
        """,
        (common,),
    )
    add_json(nodes)
    node = add_command(
        commands,
        "node",
        "add or remove a node of the local cluster",
        """
        castray node add node_4 --inbox /data/node_4
        castray node remove node_4
        """,
    )
    actions = node.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = add_command(actions, "add", "add a node", parents=(common,))
    add.add_argument("name", metavar="NAME")
    add.add_argument("--on", default="", metavar="NODE", help="the Ray node that it is placed on")
    add.add_argument("--inbox", default="", metavar="DIR", help="where it writes (~/CastRay/NAME)")
    remove = add_command(actions, "remove", "remove a node that was added", parents=(common,))
    remove.add_argument("name", metavar="NAME")


def _add_doctor(commands: Commands, common: argparse.ArgumentParser) -> None:
    doctor = add_command(
        commands,
        "doctor",
        "look at everything that casts need, and say what to do",
        """
        castray doctor
        castray doctor --cluster 10.0.0.1:6379 --json
        """,
        (common,),
    )
    add_json(doctor)


def _add_cluster_commands(commands: Commands) -> None:
    cluster = add_command(commands, "cluster", "prepare for a cluster, share one or join one")
    actions = cluster.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = add_command(actions, "prepare", "make a driver for a cluster that runs another Ray")
    prepare.add_argument("target", metavar="HOST:PORT")
    join = add_command(actions, "join", "make this computer a node of a cluster, without CPUs for its tasks")
    join.add_argument("target", metavar="HOST:PORT")
    share = add_command(actions, "share", "start a cluster that other machines can join, and say how")
    share.add_argument(
        "--new-token",
        action="store_true",
        help="stop the shared cluster first and give it another token: all machines have to join again",
    )
    add_json(share)


def _add_engine(commands: Commands, common: argparse.ArgumentParser) -> None:
    engine = add_command(
        commands,
        "engine",
        "start, stop or ask the background engine",
        """
        castray engine start --cluster auto
        castray engine status --json
        castray engine stop
        """,
    )
    actions = engine.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_command(actions, "start", "start it with its cluster, and keep it", parents=(common,))
    add_command(actions, "stop", "end it and what it started")
    status = add_command(actions, "status", "say what it does")
    add_json(status)


def _add_serve(commands: Commands, common: argparse.ArgumentParser) -> None:
    serve = add_command(
        commands,
        "serve",
        "serve the HTTP API and its WebSocket until it is interrupted",
        """
        castray serve
        castray serve --port 9000 --cluster auto
        curl -H "Authorization: Bearer $(cat ~/.local/share/castray/api-token)" http://127.0.0.1:8001/api/status
        """,
        (common,),
    )
    serve.add_argument(
        "--host", default="127.0.0.1", metavar="H", help="the address to listen at (127.0.0.1: this machine)"
    )
    serve.add_argument("--port", type=_port, default=8001, metavar="P", help="8001; 0: any that is free")
    completion = add_command(
        commands,
        "completion",
        "print what makes a shell complete these commands",
        """
        castray completion bash > ~/.local/share/bash-completion/completions/castray
        castray completion zsh > ~/.zfunc/_castray        # in a folder of $fpath
        castray completion fish > ~/.config/fish/completions/castray.fish
        """,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def _add_desktop(commands: Commands) -> None:
    desktop = add_command(
        commands,
        "desktop",
        "put CastRay into the desktop's menu and its file managers",
        """
        castray desktop install       into the menu, and into Files, Nemo, Caja, Dolphin and Thunar
        castray desktop remove        take all of that away again
        """,
    )
    actions = desktop.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_json(add_command(actions, "install", "write the entries into your own folders"))
    add_json(add_command(actions, "remove", "remove what install has written, and nothing else"))


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: a number from 0 to 65535")
    return int(text)
