"""What can be written to send, and about casts that run."""

from __future__ import annotations

import argparse

from castray_desktop.cli.adding import Commands, add_command, add_json

WHO = "'all', or node names, addresses, Ray node id prefixes or @groups, with commas between"


def add_send(commands: Commands, common: argparse.ArgumentParser) -> None:
    """`castray send`."""
    send = add_command(
        commands,
        "send",
        "send files and folders",
        """
        castray send model.safetensors --to all
        castray send data/ --to node_1,node_2 --dest /data/{node} --on-conflict overwrite
        castray send logs/ --from node_3 --to @office --exclude '*.tmp' --limit 100Mbit/s
        castray send model.safetensors --to all --dry-run
        castray send model.safetensors --to node_1 --json
        """,
        (common,),
    )
    send.add_argument("paths", nargs="+", metavar="PATH")
    add_sending(send)
    send.add_argument("--dry-run", action="store_true", help="say what would happen, send nothing")
    add_json(send)


def add_sending(parser: argparse.ArgumentParser, on_conflict: str = "skip") -> None:
    """What every kind of sending can be told; `on_conflict` holds where nothing is said."""
    parser.add_argument("--to", required=True, metavar="WHO", help=WHO)
    parser.add_argument("--from", dest="source", metavar="NODE", help="the source (this computer)")
    parser.add_argument(
        "--dest", default="", metavar="DIR", help="absolute path on the recipients, may hold {node} (inboxes)"
    )
    parser.add_argument(
        "--on-conflict",
        choices=("skip", "rename", "overwrite"),
        default=on_conflict,
        help="where a file of that name exists: leave an identical one and give a different one a free"
        f" name, always take a free name, or replace it ({on_conflict})",
    )
    parser.add_argument(
        "--delete",
        action="store_true",
        help="with --on-conflict overwrite: remove what the sent folders no longer have, once all of it"
        " arrived; --dry-run lists it",
    )
    parser.add_argument(
        "--links",
        choices=("auto", "keep", "follow"),
        default="auto",
        help="send symbolic links as links, or what they point to; auto sends what those point to that are"
        " named themselves or lead out of what is sent, and the others as links (auto)",
    )
    parser.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave these out")
    parser.add_argument("--limit", metavar="RATE", help="of every hop: 10MB/s, 800kB/s, 100Mbit/s")
    parser.add_argument(
        "--transport",
        choices=("auto", "direct", "ray", "udp"),
        default="auto",
        help="the way from node to node: the fastest that gets through; sockets alone; through Ray alone; or"
        " one stream of UDP multicast for all recipients, with the relay for what it does not bring (auto)",
    )
    parser.add_argument(
        "--await-offline",
        action="store_true",
        help="recipients that are offline get theirs when they come back, for as long as the engine runs",
    )
    parser.add_argument(
        "--hook",
        default="",
        metavar="COMMAND",
        help="run this on each recipient once its files are there, where that node allows it",
    )


ONE_OR_ALL = "its id, or the beginning of it, or 'all'"


def add_casts(commands: Commands, common: argparse.ArgumentParser) -> None:
    """The commands about casts that run."""
    casts = add_command(commands, "casts", "list the casts", "castray casts --json", (common,))
    add_json(casts)
    add = add_command(
        commands, "add", "have more nodes receive a cast that runs", "castray add 3f2a --to node_4"
    )
    _add_cast(add)
    add.add_argument("--to", required=True, metavar="WHO", help=WHO)
    add_json(add)
    for name, tells in (
        ("pause", "stop every byte of a cast, or to some of its recipients, until that is resumed"),
        ("resume", "go on where it was with a cast, or with some of its recipients"),
    ):
        examples = f"castray {name} 3f2a\ncastray {name} all\ncastray {name} 3f2a --node node_2"
        command = add_command(commands, name, tells, examples)
        _add_cast(command, ONE_OR_ALL)
        command.add_argument(
            "--node", default="", metavar="NODE[,NODE...]", help="only these recipients; the others go on"
        )
    _add_cast(
        add_command(commands, "cancel", "end a cast", "castray cancel 3f2a\ncastray cancel all"), ONE_OR_ALL
    )
    retry = add_command(
        commands,
        "retry",
        "send what a cast sent to those that did not get it",
        "castray retry 3f2a\ncastray retry 3f2a --to node_2",
        (common,),
    )
    _add_cast(retry)
    retry.add_argument("--to", default="", metavar="WHO", help="some of those that did not get it (all)")
    add_json(retry)
    again = add_command(
        commands,
        "again",
        "send what a cast sent to all of its recipients again",
        "castray again 3f2a",
        (common,),
    )
    _add_cast(again)
    add_json(again)
    drop = add_command(commands, "drop", "end a cast for some of its recipients", "castray drop 3f2a node_2")
    _add_cast(drop)
    drop.add_argument("nodes", metavar="NODE[,NODE...]")
    move = add_command(commands, "move", "change a cast's place in the queue", "castray move 3f2a 1")
    _add_cast(move)
    move.add_argument("place", type=_place, metavar="PLACE", help="1: the next to start")
    _add_limit(commands)
    _add_verify(commands, common)


def _add_limit(commands: Commands) -> None:
    limit = add_command(
        commands,
        "limit",
        "limit what every node passes on, now and from now on",
        """
        castray limit 100MB/s
        castray limit off
        castray limit 10MB/s --cast 3f2a
        """,
    )
    limit.add_argument(
        "rate", metavar="RATE", nargs="?", help="10MB/s, 800kB/s, 100Mbit/s or off; left out: say the limit"
    )
    limit.add_argument(
        "--cast", default="", metavar="CAST", help="of this cast alone, for as long as it runs"
    )
    add_json(limit)


def _add_verify(commands: Commands, common: argparse.ArgumentParser) -> None:
    verify = add_command(
        commands,
        "verify",
        "read files back on every node and compare their hashes",
        """
        castray verify /data/model.safetensors
        castray verify '/data/{node}/model' --to node_1,node_2
        castray verify --cast 3f2a
        """,
        (common,),
    )
    what = verify.add_mutually_exclusive_group(required=True)
    what.add_argument("path", nargs="?", metavar="PATH", help="the same path on every node; may hold {node}")
    what.add_argument("--cast", metavar="CAST", help="what this cast delivered, against what was sent")
    verify.add_argument("--to", default="all", metavar="WHO", help=f"{WHO} (all)")
    add_json(verify)


def _add_cast(parser: argparse.ArgumentParser, tells: str = "its id, or the beginning of it") -> None:
    parser.add_argument("cast", metavar="CAST", help=tells)


def _place(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no place: 1 is the next to start")
    return int(text)
