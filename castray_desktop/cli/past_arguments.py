"""What can be written about casts that have ended, and those that start by themselves."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

from castray_desktop.cli.adding import Commands, add_command, add_json
from castray_desktop.cli.cast_arguments import add_sending
from castray_desktop.core.messages import MOST_DEMO_NODES

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)?")
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
QUIET_SECONDS = 5.0


def add_past(commands: Commands) -> None:
    """The commands about casts that have ended, and the settings."""
    history = add_command(
        commands,
        "history",
        "list the casts that have ended, the latest first",
        """
        castray history --state failed --since 7d
        castray history --text llama --csv > casts.csv
        castray history 3f2a9c01d4e5
        """,
    )
    history.add_argument("cast", nargs="?", metavar="CAST", help="tell of this one, with its deliveries")
    history.add_argument(
        "--text", default="", metavar="TEXT", help="part of a name, a node, a source or a destination"
    )
    history.add_argument(
        "--state",
        action="append",
        default=[],
        choices=("completed", "partly_failed", "failed", "cancelled"),
        help="may be given more than once",
    )
    history.add_argument("--node", default="", metavar="NODE", help="source or recipient")
    history.add_argument("--since", type=moment, default=0.0, metavar="WHEN", help="2026-11-24, or 7d ago")
    history.add_argument("--until", type=moment, default=0.0, metavar="WHEN", help="as for --since")
    history.add_argument(
        "--limit", type=_count, default=100, metavar="N", help="at most so many (100); 0: all"
    )
    forms = history.add_mutually_exclusive_group()
    add_json(forms)
    forms.add_argument("--csv", action="store_true", help="a table for other programs")
    stats = add_command(commands, "stats", "tell all casts in numbers", "castray stats --json")
    add_json(stats)
    settings = add_command(
        commands,
        "settings",
        "say the engine's settings, or change them",
        """
        castray settings
        castray settings --casts-at-once 2 --go-on no
        """,
    )
    settings.add_argument(
        "--casts-at-once", type=_count, metavar="N", help="more wait in the queue; 0: no bound"
    )
    settings.add_argument(
        "--go-on", choices=("yes", "no"), help="whether unfinished casts go on after a restart, or are paused"
    )
    settings.add_argument(
        "--history-days", type=_count, metavar="N", help="forget casts that ended longer ago; 0: never"
    )
    settings.add_argument(
        "--demo-nodes",
        type=int,
        choices=range(MOST_DEMO_NODES + 1),
        metavar="N",
        help="nodes that a local cluster has beside this computer, from its next start on;"
        f" {MOST_DEMO_NODES} at most",
    )
    settings.add_argument(
        "--stay-awake", choices=("yes", "no"), help="whether this computer stays awake while a cast runs"
    )
    add_json(settings)


def add_schedule(commands: Commands, common: argparse.ArgumentParser) -> None:
    """`castray schedule`."""
    schedule = add_command(
        commands,
        "schedule",
        "casts that start by themselves",
        """
        castray schedule add nightly data/ --to all --cron "0 3 * * *"
        castray schedule add models models/ --to @office --when-changed
        castray schedule pause nightly
        castray schedule run models
        """,
    )
    actions = schedule.add_subparsers(dest="action", required=True, metavar="ACTION")
    add_json(add_command(actions, "list", "list the schedules"))
    _add_new_schedule(actions, common)
    demo = add_command(
        actions,
        "demo",
        "keep one, switched off, that sends a small file to all nodes of the local cluster each minute",
        """
        castray schedule demo
        castray schedule resume Demonstration
        """,
    )
    add_json(demo)
    for name, tells in (
        ("remove", "forget a schedule"),
        ("pause", "switch it off"),
        ("resume", "switch it on"),
    ):
        every = "" if name == "remove" else ", or 'all'"
        _add_name(add_command(actions, name, tells), every)
    run = add_command(actions, "run", "run it now, and follow its cast", parents=(common,))
    _add_name(run)
    add_json(run)


def _add_new_schedule(actions: Commands, common: argparse.ArgumentParser) -> None:
    add = add_command(
        actions,
        "add",
        "keep a new schedule",
        """
        castray schedule add hourly data/ --to all --every 1h
        castray schedule add nightly data/ --to all --dest /backup/{node} --cron "0 3 * * *"
        castray schedule add models models/ --to node_1 --when-changed 30s
        """,
        (common,),
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("paths", nargs="+", metavar="PATH")
    when = add.add_mutually_exclusive_group(required=True)
    when.add_argument("--every", type=duration, metavar="TIME", help="from start to start: 30s, 15m, 2h, 1d")
    when.add_argument("--cron", metavar="EXPRESSION", help="five fields, in local time: '0 3 * * *'")
    when.add_argument(
        "--when-changed",
        dest="quiet",
        type=duration,
        nargs="?",
        const=QUIET_SECONDS,
        metavar="TIME",
        help="when something has changed and was quiet for so long (5s)",
    )
    add_sending(add, on_conflict="overwrite")
    add.add_argument("--paused", action="store_true", help="keep it switched off for now")
    add_json(add)


def _add_name(parser: argparse.ArgumentParser, more: str = "") -> None:
    parser.add_argument("schedule", metavar="SCHEDULE", help=f"its name, or the beginning of its id{more}")


def duration(text: str) -> float:
    """Seconds for "30s", "15m", "2h", "1d" or "1w"."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 30s, 15m, 2h or 1d")
    return seconds


def moment(text: str) -> float:
    """POSIX seconds of a local date or time, or of so long ago."""
    if (match := _DURATION.fullmatch(text.strip())) and match[2]:
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment: write 2026-11-24, '2026-11-24 18:00', or 7d for seven days ago"
        ) from None


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)
