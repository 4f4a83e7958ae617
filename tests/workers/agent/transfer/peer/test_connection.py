"""The socket options of a connection."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from castray_desktop.workers.agent.transfer.peer.connection import TCP_USER_TIMEOUT_SECONDS, PeerConnection
from castray_desktop.workers.agent.transfer.system import linux_calls

OFFERED = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")


def algorithm(sock: socket.socket) -> bytes:
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.skipif(
    not OFFERED.exists() or "bbr" not in OFFERED.read_text().split(), reason="this kernel offers no BBR"
)
def test_bbr_where_the_kernel_offers_it_also_once_connected() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sock,
    ):
        linux_calls.prefer_bbr(sock)
        assert algorithm(sock) == b"bbr"


def test_no_bbr_within_one_machine_and_an_end_for_peers_that_acknowledge_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = socket.create_connection(server.getsockname())
        default = algorithm(sock)
        PeerConnection(sock)
        assert algorithm(sock) == default
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == TCP_USER_TIMEOUT_SECONDS * 1000
        sock.close()


def test_a_kernel_that_offers_no_such_thing_is_no_failure() -> None:
    code = (
        "import socket; from castray_desktop.workers.agent.transfer.system import linux_calls\n"
        "del socket.TCP_CONGESTION, socket.TCP_USER_TIMEOUT\n"
        "sock = socket.socket(); linux_calls.prefer_bbr(sock); linux_calls.set_tcp_user_timeout(sock, 1.0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
