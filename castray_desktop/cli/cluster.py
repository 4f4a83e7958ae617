"""Commands about a cluster as a whole."""

from __future__ import annotations

import argparse

from castray_desktop.cli import text
from castray_desktop.cli.arguments import EXIT_DELIVERED
from castray_desktop.cli.session import Session
from castray_desktop.core import messages

ENCRYPTED = (
    "Connections are encrypted (RAY_USE_TLS=1): each machine needs a certificate of the same authority"
    " in RAY_TLS_SERVER_CERT, RAY_TLS_SERVER_KEY and RAY_TLS_CA_CERT."
)
NOT_ENCRYPTED = (
    "Connections are not encrypted: the token and the secret of each cast cross the network in clear, and"
    " whoever can read along there can use them."
    " Share only in a network that you trust, or set RAY_USE_TLS=1."
)


async def prepare(options: argparse.Namespace) -> int:
    """Have a driver made for a cluster that runs another Ray, and say what it runs on."""
    async with Session() as session:
        await session.use(messages.PrepareDriver(options.target))
        status = session.cluster
    print(f"{options.target} can be used: Ray {status.ray_version} on Python {status.python_version}.")
    return EXIT_DELIVERED


async def join(options: argparse.Namespace) -> int:
    """Make this computer a node of a cluster, for as long as the engine runs."""
    async with Session() as session:
        await session.use(messages.JoinCluster(options.target))
        await session.client.request(messages.KeepEngine(True), messages.Done)
        session.keep = True
        print(
            f"This computer is one of {len(session.nodes)} nodes of {options.target}."
            " Leave it with: castray engine stop"
        )
    return EXIT_DELIVERED


async def share(options: argparse.Namespace) -> int:
    """Start a cluster that other machines can join, keep it, and say what they have to run."""
    async with Session() as session:
        if options.new_token:
            await session.client.request(messages.RenewShareToken(), messages.Done)
        await session.use(messages.UseCluster("shared"))
        shared = await session.client.request(messages.ShareCluster(), messages.ShareInfo)
        await session.client.request(messages.KeepEngine(True), messages.Done)
        session.keep = True
    if options.json:
        text.print_json({"command": shared.command, "address": shared.address, "encrypted": shared.encrypted})
    else:
        print(f"On another machine that has the same Ray, run:\n\n    {shared.command}\n")
        print("Whoever knows this command can run programs on all nodes, so keep it secret.")
        print(ENCRYPTED if shared.encrypted else NOT_ENCRYPTED)
        print("See who has joined with: castray nodes    End it with: castray engine stop")
    return EXIT_DELIVERED
