"""What can be written on the command line."""

from __future__ import annotations

import argparse
import os
import sys

import castray_desktop
from castray_desktop.core.names import display

COMMANDS = ("send", "nodes", "node", "casts", "add", "cancel", "limit", "cluster", "engine")

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
  castray nodes                                    list the nodes

exit status:
  0  everything was delivered      2  bad usage or bad input
  1  something was not             3  no cluster                130  interrupted
"""


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
    parser = argparse.ArgumentParser(prog="castray", add_help=False)
    _add_cluster(parser)
    parser.add_argument("files", nargs="*", metavar="FILE")
    return parser


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command. Ends the process with a usage line on stderr and status 2 when that fails."""
    refuse_bad_text(arguments)
    return _command_parser().parse_args(arguments)


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


def _command_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="castray",
        usage="castray [FILE...]\n       castray COMMAND [OPTIONS]",
        description="Put files on many machines of a Ray cluster at once.",
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"castray {castray_desktop.__version__}")
    _add_cluster(parser)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands", prog="castray"
    )
    common = argparse.ArgumentParser(add_help=False)
    _add_cluster(common, argparse.SUPPRESS)  # what was given before the command stays
    _add_send(commands, common)
    nodes = commands.add_parser("nodes", parents=[common], help="list the nodes")
    _add_json(nodes)
    _add_node(commands, common)
    casts = commands.add_parser("casts", parents=[common], help="list the casts")
    _add_json(casts)
    add = commands.add_parser("add", help="have more nodes receive a cast that runs")
    add.add_argument("cast", metavar="CAST", help="its id, or the beginning of it")
    add.add_argument("--to", required=True, metavar="WHO", help="as for send")
    _add_json(add)
    cancel = commands.add_parser("cancel", help="end a cast")
    cancel.add_argument("cast", metavar="CAST", help="its id, or the beginning of it")
    limit = commands.add_parser("limit", help="limit what every node passes on, now and from now on")
    limit.add_argument(
        "rate", metavar="RATE", nargs="?", help="10MB/s, 800kB/s, 100Mbit/s or off; left out: say the limit"
    )
    limit.add_argument(
        "--cast", default="", metavar="CAST", help="of this cast alone, for as long as it runs"
    )
    _add_json(limit)
    _add_cluster_commands(commands)
    _add_engine(commands, common)
    return parser


def _add_send(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    send = commands.add_parser("send", parents=[common], help="send files and folders")
    send.add_argument("paths", nargs="+", metavar="PATH")
    send.add_argument(
        "--to",
        required=True,
        metavar="WHO",
        help="'all', or node names, addresses or Ray node id prefixes, with commas between",
    )
    send.add_argument("--from", dest="source", metavar="NODE", help="the source (this computer)")
    send.add_argument(
        "--dest", default="", metavar="DIR", help="absolute path on the recipients, may hold {node} (inboxes)"
    )
    send.add_argument(
        "--on-conflict",
        choices=("skip", "rename", "overwrite"),
        default="skip",
        help="where a file of that name exists: leave an identical one and give a different one a free"
        " name, always take a free name, or replace it (skip)",
    )
    send.add_argument(
        "--links",
        choices=("keep", "follow"),
        default="keep",
        help="send symbolic links as links, or what they point to (keep)",
    )
    send.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave these out")
    send.add_argument("--limit", metavar="RATE", help="of every hop: 10MB/s, 800kB/s, 100Mbit/s")
    send.add_argument(
        "--transport",
        choices=("auto", "direct", "ray"),
        default="auto",
        help="the way from node to node: sockets, and through Ray where none gets through, or one of them"
        " alone (auto)",
    )
    send.add_argument("--dry-run", action="store_true", help="say what would happen, send nothing")
    _add_json(send)


def _add_node(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    node = commands.add_parser("node", help="add or remove a node of the local cluster")
    actions = node.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", parents=[common], help="add a node")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--inbox", default="", metavar="DIR", help="where it writes (~/CastRay/NAME)")
    remove = actions.add_parser("remove", help="remove a node that was added")
    remove.add_argument("name", metavar="NAME")


def _add_cluster_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    cluster = commands.add_parser("cluster", help="prepare for a cluster, share one or join one")
    actions = cluster.add_subparsers(dest="action", required=True, metavar="ACTION")
    prepare = actions.add_parser("prepare", help="make a driver for a cluster that runs another Ray")
    prepare.add_argument("target", metavar="HOST:PORT")


def _add_engine(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    engine = commands.add_parser("engine", help="start, stop or ask the background engine")
    actions = engine.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("start", parents=[common], help="start it with its cluster, and keep it")
    actions.add_parser("stop", help="end it and what it started")
    status = actions.add_parser("status", help="what it does")
    _add_json(status)


def _add_cluster(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--cluster",
        metavar="WHICH",
        default=default or os.environ.get("CASTRAY_CLUSTER"),
        help="local, auto or HOST:PORT (the running engine's, else local)",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="machine-readable output")
