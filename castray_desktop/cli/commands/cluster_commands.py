"""`castray cluster`: prepare a driver for a cluster, join one, or share one."""

from __future__ import annotations

import argparse

from castray_desktop.cli.arguments import (
    EXIT_DELIVERED,
    Commands,
    add_command,
    add_command_group,
)
from castray_desktop.cli.output.terminal import format_count, print_json, say
from castray_desktop.cli.session import Session
from castray_desktop.core.casts.json_views import cluster_form, form_to_json
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.nodes.driver_protocol import SHARED_TARGET

ENCRYPTED = (
    "Connections are encrypted (RAY_USE_TLS=1). Each machine needs a certificate from the same"
    " authority in RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT."
)
NOT_ENCRYPTED = (
    "Ray's connections are not encrypted: the token and the secret of each cast cross the network"
    " unencrypted, and anyone who can read the traffic can use them. Share only on a network that you"
    " trust, or set RAY_USE_TLS=1."
)


def add_parsers(commands: Commands) -> None:
    """Add `cluster`."""
    actions = add_command_group(
        commands,
        "cluster",
        "prepare for, share or join a cluster",
        """
        castray cluster share
        castray cluster join 10.0.0.1:6379
        castray cluster prepare 10.0.0.1:6379
        """,
    )
    for name, summary, handler in (
        ("prepare", "prepare a driver for a cluster with another version of Ray", prepare),
        ("join", "join a cluster as a node that runs no tasks", join),
    ):
        example = f"castray cluster {name} 10.0.0.1:6379"
        parser = add_command(actions, name, summary, example, handler=handler)
        parser.add_argument("target", metavar="HOST:PORT")
    share_parser = add_command(
        actions,
        "share",
        "start a cluster that other machines can join, and print how",
        """
        castray cluster share
        castray cluster share --new-token
        """,
        handler=share,
    )
    share_parser.add_argument(
        "--new-token",
        action="store_true",
        help="stop the shared cluster and create a new token; all machines have to join again",
    )


async def prepare(options: argparse.Namespace) -> int:
    """Install a driver for a cluster that runs another Ray, and print its versions."""
    async with Session() as session:
        await session.use(messages.PrepareDriver(options.target))
        status = session.cache.cluster
    if options.json:
        print_json({"event": "prepared", "cluster": form_to_json(cluster_form(status))})
    else:
        say(f"{options.target} can be used: Ray {status.ray_version} on Python {status.python_version}.")
    return EXIT_DELIVERED


async def join(options: argparse.Namespace) -> int:
    """Make this computer a node of a cluster, for as long as the engine runs."""
    async with Session() as session:
        await session.use(messages.JoinCluster(options.target))
        await session.client.request(messages.KeepEngine(True), messages.Done)
        session.keep = True
        status, nodes = session.cache.cluster, format_count(len(session.cache.nodes), "node")
    if options.json:
        print_json({"event": "joined", "cluster": form_to_json(cluster_form(status))})
    else:
        say(
            f"This computer is a node of {options.target}, which has {nodes}."
            " Leave it with: castray engine stop"
        )
    return EXIT_DELIVERED


async def share(options: argparse.Namespace) -> int:
    """Start a cluster that other machines can join, keep it, and print the command for them."""
    async with Session() as session:
        if options.new_token:
            await session.client.request(messages.RenewShareToken(), messages.Done)
        await session.use(messages.UseCluster(SHARED_TARGET))
        shared = await session.client.request(messages.ShareCluster(), messages.ShareInfo)
        await session.client.request(messages.KeepEngine(True), messages.Done)
        session.keep = True
    if options.json:
        print_json({"command": shared.command, "address": shared.address, "encrypted": shared.encrypted})
    else:
        print(f"On another machine with the same version of Ray, run:\n\n    {shared.command}\n")
        print("Anyone with this command can run programs on all nodes. Keep it secret.")
        print(ENCRYPTED if shared.encrypted else NOT_ENCRYPTED)
        print("See who has joined with: castray nodes    Stop it with: castray engine stop")
    return EXIT_DELIVERED
