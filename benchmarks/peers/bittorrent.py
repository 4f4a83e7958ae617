"""BitTorrent: a libtorrent swarm, with a seeder and a peer in each host, all connected to each other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from benchmarks.laboratory.lab import Host, Lab
from benchmarks.peers.common import LIMIT_SECONDS, Workshop

NAME = "BitTorrent"
RUNS_WITH = (
    "libtorrent, a process each, all connected to all over plain TCP, no choking, no encryption, "
    "large buffers; the seeder's hashes are made before the clock"
)
PORT = 6881
PIECES = 1024
"""The approximate number of pieces that the size allows with pieces of 256 KiB to 4 MiB."""
NODE = Path(__file__).with_name("torrent_node.py")
INTERPRETER = "CASTRAY_LIBTORRENT_PYTHON"


@cache
def interpreter() -> str:
    """A Python that has libtorrent, or empty. Debian's libtorrent works only with Debian's Python."""
    for python in (os.environ.get(INTERPRETER), sys.executable, "/usr/bin/python3"):
        look = [python or "", "-c", "import libtorrent"]
        if python and subprocess.run(look, capture_output=True, check=False).returncode == 0:
            return python
    return ""


def available() -> str:
    if interpreter():
        return ""
    return f"apt-get install python3-libtorrent, or libtorrent for pip in the Python that {INTERPRETER} names"


def piece_size(size: int) -> int:
    """A power of two."""
    piece = 256 << 10
    while piece < 4 << 20 and size // piece > PIECES:
        piece *= 2
    return piece


def run(lab: Lab, source: Path, hosts: Sequence[Host], destinations: Sequence[Path]) -> float:
    size = sum(path.stat().st_size for path in [source, *source.rglob("*")] if path.is_file())
    with Workshop(lab) as work:
        torrent = str(work.folder / "it.torrent")
        nodes = [work.talk(host, [interpreter(), NODE, host.address, str(PORT)]) for host in hosts]
        for node in nodes:
            node.expect("ready")
        nodes[0].say(do="make", path=str(source), torrent=torrent, piece=piece_size(size))
        nodes[0].expect("made", LIMIT_SECONDS)
        for node, folder in zip(nodes, [source.parent, *destinations], strict=True):
            node.say(do="add", torrent=torrent, folder=str(folder), seed=node is nodes[0])
            node.expect("added")
        began = time.monotonic()
        for number, node in enumerate(
            nodes[1:], 1
        ):  # each node dials the ones before it, so that no pair dials twice
            node.say(do="fetch", peers=[[host.address, PORT] for host in hosts[:number]])
        for node in nodes[1:]:
            node.expect("fetched", LIMIT_SECONDS)
        return time.monotonic() - began
