"""Sending bursts of datagrams, on real sockets."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from castray_desktop.core.multicast.datagrams import HEADER_BYTES, MAX_BATCH_DATAGRAMS, group_address
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.multicast import multicast_sockets
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import (
    Datagram,
    ReceivingSocket,
    SendingSocket,
)

PAYLOAD = 1448


@pytest.fixture
def sockets() -> Iterator[tuple[ReceivingSocket, SendingSocket]]:
    address, port = group_address(secrets.token_hex(6), ipv6=False)
    group = MulticastGroup(address, port, "127.0.0.1")
    receiver, sender = ReceivingSocket(group, group.source), SendingSocket(group, group.source)
    with closing(receiver), closing(sender):
        receiver.coalesce(False)
        receiver.set_timeout(5)
        assert sender.payload == PAYLOAD
        yield receiver, sender


def made(number: int, last: int) -> list[Datagram]:
    """This many datagrams, all of which are full but the last."""
    return [
        (secrets.token_bytes(HEADER_BYTES), memoryview(secrets.token_bytes(size)))
        for size in [PAYLOAD] * (number - 1) + [last]
    ]


def send(sender: SendingSocket, datagrams: list[Datagram]) -> list[int]:
    """Send all of them; returns how many each call has sent."""
    counts = []
    while datagrams:
        counts.append(sender.send(datagrams))
        datagrams = datagrams[counts[-1] :]
    return counts


def received(receiver: ReceivingSocket, number: int) -> list[bytes]:
    buffer = memoryview(bytearray(2000))
    return [bytes(buffer[: receiver.receive(buffer)[0]]) for _ in range(number)]


@pytest.mark.parametrize(
    ("number", "last"),
    [(100, PAYLOAD), (100, 1), (1, 30), (1, 0), (44, PAYLOAD), (45, 9), (88, 700), (99, 1447)],
)
def test_each_datagram_is_sent_unchanged(
    sockets: tuple[ReceivingSocket, SendingSocket], number: int, last: int
) -> None:
    receiver, sender = sockets
    datagrams = made(number, last)
    assert max(send(sender, datagrams)) == min(number, MAX_BATCH_DATAGRAMS)
    assert received(receiver, number) == [head + payload for head, payload in datagrams]


class Failing:
    """A socket whose calls to send fail with these errors, one after the other, and then work."""

    def __init__(self, sock: socket.socket, *codes: int) -> None:
        self._socket = sock
        self._codes = list(codes)
        self.close = sock.close

    def sendmsg(self, *arguments: Any) -> int:
        if self._codes:
            raise OSError(code := self._codes.pop(0), os.strerror(code))
        return self._socket.sendmsg(*arguments)


@pytest.mark.parametrize(
    ("codes", "together"),
    [((errno.ENOBUFS, errno.ENOBUFS), MAX_BATCH_DATAGRAMS), ((errno.EIO, errno.ENOBUFS), 1)],
)
def test_sending_continues_after_temporary_errors(
    sockets: tuple[ReceivingSocket, SendingSocket], codes: tuple[int, ...], together: int
) -> None:
    """Any error but that of a full queue may mean that the device can't segment."""
    receiver, sender = sockets
    sender.socket = Failing(sender.socket, *codes)
    datagrams = made(60, 5)
    counts = send(sender, datagrams)
    assert counts[: len(codes)] == [0] * len(codes)
    assert max(counts) == together
    assert received(receiver, 60) == [head + payload for head, payload in datagrams]


def test_an_unreachable_network_raises(sockets: tuple[ReceivingSocket, SendingSocket]) -> None:
    _, sender = sockets
    sender.socket = Failing(sender.socket, errno.ENETUNREACH, errno.ENETUNREACH)
    datagrams = made(60, 5)
    assert sender.send(datagrams) == 0  # segmentation may be the cause
    with pytest.raises(OSError, match="unreachable"):
        sender.send(datagrams)


def test_without_recvmmsg_nothing_is_received(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast_sockets, "_recvmmsg", None)
    group = MulticastGroup("239.192.0.1", 61000, "127.0.0.1")
    with pytest.raises(OSError, match="not implemented"):
        ReceivingSocket(group, group.source)
