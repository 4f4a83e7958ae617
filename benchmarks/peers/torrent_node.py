"""One node of a BitTorrent swarm; a separate program, for any Python that has only libtorrent.

    python torrent_node.py ADDRESS PORT

reads orders, one JSON object per line, and answers each with a word.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import libtorrent  # type: ignore[import-not-found]

SETTINGS = {
    "alert_mask": int(
        libtorrent.alert.category_t.status_notification | libtorrent.alert.category_t.error_notification
    ),
    # Only peers that we name ourselves, over plain TCP.
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    # Every peer sends to every other at once, without choking.
    "unchoke_slots_limit": -1,
    "connection_speed": 500,
    "smooth_connects": False,
    "tick_interval": 100,
    "unchoke_interval": 1,
    "rate_limit_ip_overhead": False,
    # Large buffers. (Deeper request queues were tried: the seeder sends more copies, and all take longer.
    # Super-seeding was tried as well: one copy from the seeder, but three times as long.)
    "send_buffer_watermark": 8 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 150,
    "max_queued_disk_bytes": 64 << 20,
    "aio_threads": 2,
    "hashing_threads": 2,
}


def say(word: str) -> None:
    print(word, flush=True)


def make(path: Path, target: str, piece: int) -> None:
    files = libtorrent.file_storage()
    libtorrent.add_files(files, str(path))
    torrent = libtorrent.create_torrent(files, piece, libtorrent.create_torrent.v1_only)
    libtorrent.set_piece_hashes(torrent, str(path.parent))
    Path(target).write_bytes(libtorrent.bencode(torrent.generate()))


def main() -> None:
    address, port = sys.argv[1:]
    session = libtorrent.session(SETTINGS | {"listen_interfaces": f"{address}:{port}"})
    handle: libtorrent.torrent_handle
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "make":
            make(Path(order["path"]), order["torrent"], order["piece"])
            say("made")
        elif order["do"] == "add":
            what = libtorrent.add_torrent_params()
            what.ti = libtorrent.torrent_info(order["torrent"])
            what.save_path = order["folder"]
            what.flags = libtorrent.torrent_flags.seed_mode if order["seed"] else 0
            handle = session.add_torrent(what)
            while handle.status().state not in (
                libtorrent.torrent_status.downloading,
                libtorrent.torrent_status.seeding,
            ):
                session.wait_for_alert(50)
                session.pop_alerts()
            say("added")
        elif order["do"] == "fetch":
            for peer in order["peers"]:
                handle.connect_peer(tuple(peer))
            while not handle.status().is_seeding:
                session.wait_for_alert(50)
                for alert in session.pop_alerts():
                    if alert.category() & libtorrent.alert.category_t.error_notification:
                        print(alert.message(), file=sys.stderr, flush=True)
            say("fetched")


if __name__ == "__main__":
    main()
