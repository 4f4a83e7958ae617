"""rsync: one process for each recipient, in parallel, to an rsync daemon on each (no ssh: no encryption)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.peers.common import Workshop, missing

NAME = "rsync"
RUNS_WITH = "rsync -a SOURCE rsync://RECIPIENT/in/, one process each, to daemons without encryption"
PORT = 8730

CONFIG = """
use chroot = no
uid = {user}
gid = {group}
reverse lookup = no
[in]
path = {folder}
read only = no
"""


def available() -> str:
    return missing(("rsync", "rsync"))


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    first, *recipients = hosts
    with Workshop(lab) as work:
        for number, (host, folder) in enumerate(zip(recipients, destinations, strict=True)):
            config = work.folder / f"{number}.conf"
            config.write_text(
                CONFIG.format(user=folder.stat().st_uid, group=folder.stat().st_gid, folder=folder)
            )
            place = (f"--config={config}", f"--address={host.address}", f"--port={PORT}")
            work.daemon(host, ["rsync", "--daemon", "--no-detach", *place], PORT)
        return work.together(
            (first, ["rsync", "-a", source, f"rsync://{host.address}:{PORT}/in/"]) for host in recipients
        )
