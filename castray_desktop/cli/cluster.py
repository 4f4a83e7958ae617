"""Commands about a cluster as a whole."""

from __future__ import annotations

import argparse

from castray_desktop.cli.arguments import EXIT_DELIVERED
from castray_desktop.cli.session import Session
from castray_desktop.core import messages


async def prepare(options: argparse.Namespace) -> int:
    """Have a driver made for a cluster that runs another Ray, and say what it runs on."""
    async with Session() as session:
        await session.use(messages.PrepareDriver(options.target))
        status = session.cluster
    print(f"{options.target} can be used: Ray {status.ray_version} on Python {status.python_version}.")
    return EXIT_DELIVERED
