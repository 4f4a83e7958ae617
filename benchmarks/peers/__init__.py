"""The relay and the tools it is compared with, one module each; see `benchmarks.peers.common.Peer`."""

from __future__ import annotations

from benchmarks.peers import bittorrent, cp, ray_store, relay, rsync, rsync_cubic, scp, uftp
from benchmarks.peers.common import Peer

RELAY = relay.NAME

PEERS: dict[str, Peer] = {
    "relay": relay,
    "rsync": rsync,
    "rsync-cubic": rsync_cubic,
    "uftp": uftp,
    "bittorrent": bittorrent,
    "ray": ray_store,
    "scp": scp,
    "cp": cp,
}
"""By their names on the command line."""
