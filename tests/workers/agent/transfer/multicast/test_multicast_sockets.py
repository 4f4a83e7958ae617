"""Passing the datagrams of a piece to the kernel, on real sockets."""

from __future__ import annotations

import ctypes
import errno
import secrets
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from castray_desktop.core.multicast.datagrams import HEADER_BYTES, group_address
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.multicast import multicast_sockets
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import (
    BatchSender,
    ReceivingSocket,
    SendingSocket,
)
from castray_desktop.workers.agent.transfer.system.file_io import page_buffer

MOST = 100


@pytest.fixture
def sockets() -> Iterator[tuple[ReceivingSocket, SendingSocket]]:
    address, port = group_address(secrets.token_hex(6), ipv6=False)
    group = MulticastGroup(address, port, "127.0.0.1")
    receiver, sender_socket = ReceivingSocket(group, group.source), SendingSocket(group, group.source)
    with closing(receiver), closing(sender_socket):
        receiver.coalesce(False)
        receiver.set_timeout(5)
        yield receiver, sender_socket


@pytest.fixture
def made(
    sockets: tuple[ReceivingSocket, SendingSocket],
) -> tuple[BatchSender, Callable[[int], list[bytes]]]:
    """A sending and a receiving function for that many datagrams."""
    receiver, sender_socket = sockets
    return make(sender_socket), receiver_of(receiver)


HEADS, PAYLOADS = page_buffer(MOST * HEADER_BYTES), page_buffer(MOST * 1448)


def make(sender_socket: SendingSocket) -> BatchSender:
    assert sender_socket.payload == 1448
    HEADS[:], PAYLOADS[:] = secrets.token_bytes(len(HEADS)), secrets.token_bytes(len(PAYLOADS))
    return BatchSender(sender_socket, HEADS, PAYLOADS)


def receiver_of(receiver: ReceivingSocket) -> Callable[[int], list[bytes]]:
    buffer = memoryview(bytearray(2000))
    return lambda number: [bytes(buffer[: receiver.receive(buffer)[0]]) for _ in range(number)]


def expected(first: int, after: int, number: int, last: int) -> list[bytes]:
    def one(at: int) -> bytes:
        length = last if at == number - 1 else 1448
        head, payload = at * HEADER_BYTES, at * 1448
        return bytes(HEADS[head : head + HEADER_BYTES]) + bytes(PAYLOADS[payload : payload + length])

    return [one(at) for at in range(first, after)]


def send(sender: BatchSender, first: int, after: int) -> None:
    while first < after:
        first += sender.send(first, after)


@pytest.mark.parametrize(
    ("first", "after", "number", "last"),
    [
        (0, MOST, MOST, 1448),
        (0, MOST, MOST, 1),
        (0, 1, 1, 30),
        (0, 44, 45, 9),
        (0, 45, 45, 9),
        (17, 99, MOST, 1447),
        (87, 88, 88, 1448),
        (43, 89, 89, 700),
    ],
)
def test_each_datagram_is_sent_unchanged(
    made: tuple[BatchSender, Callable[[int], list[bytes]]], first: int, after: int, number: int, last: int
) -> None:
    sender, receive = made
    sender.set_datagrams(number, last)
    send(sender, first, after)
    assert receive(after - first) == expected(first, after, number, last)


def test_the_next_piece_may_have_other_lengths(
    made: tuple[BatchSender, Callable[[int], list[bytes]]],
) -> None:
    sender, receive = made
    for number, last in ((50, 3), (70, 1000), (50, 1448), (20, 1), (70, 4)):
        sender.set_datagrams(number, last)
        send(sender, 0, number)
        assert receive(number) == expected(0, number, number, last)


def test_segmentation_is_enabled_with_the_first_piece(sockets: tuple[ReceivingSocket, SendingSocket]) -> None:
    """A device without segmentation may refuse even datagrams that need none, if it is requested."""
    receiver, sender_socket = sockets
    sender = make(sender_socket)
    sender.set_datagrams(60, 5)
    assert sender_socket.socket.getsockopt(17, 103) == 0
    send(sender, 0, 60)
    assert sender_socket.socket.getsockopt(17, 103) == HEADER_BYTES + 1448
    assert receiver_of(receiver)(60) == expected(0, 60, 60, 5)


class Failing:
    """A system call that fails with these errors, one after the other, and then works."""

    def __init__(self, *codes: int) -> None:
        self._codes = list(codes)
        self._works = multicast_sockets._sendmmsg

    def __call__(self, *arguments: int) -> int:
        if self._codes:
            ctypes.set_errno(self._codes.pop(0))
            return -1
        assert self._works is not None
        return int(self._works(*arguments))


@pytest.mark.parametrize(
    "codes", [(errno.ENOBUFS, errno.ENOBUFS), (errno.EINTR,), (errno.EIO, errno.ENOBUFS)]
)
def test_sending_continues_after_temporary_errors(
    sockets: tuple[ReceivingSocket, SendingSocket],
    monkeypatch: pytest.MonkeyPatch,
    codes: tuple[int, ...],
) -> None:
    receiver, sender_socket = sockets
    sender = make(sender_socket)
    monkeypatch.setattr(multicast_sockets, "_sendmmsg", Failing(*codes))
    sender.set_datagrams(60, 5)
    assert [sender.send(0, 60) for _ in codes] == [0] * len(codes)
    send(sender, 0, 60)
    assert receiver_of(receiver)(60) == expected(0, 60, 60, 5)
    sender.set_datagrams(MOST, 1448)
    send(sender, 0, MOST)
    assert receiver_of(receiver)(MOST) == expected(0, MOST, MOST, 1448)


def test_an_unreachable_network_raises(
    sockets: tuple[ReceivingSocket, SendingSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = make(sockets[1])
    monkeypatch.setattr(multicast_sockets, "_sendmmsg", Failing(errno.ENETUNREACH, errno.ENETUNREACH))
    sender.set_datagrams(60, 5)
    assert sender.send(0, 60) == 0  # segmentation may be the cause
    with pytest.raises(OSError, match="unreachable"):
        sender.send(0, 60)


def test_without_the_batch_calls_there_is_no_multicast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast_sockets, "_recvmmsg", None)
    group = MulticastGroup("239.192.0.1", 61000, "127.0.0.1")
    for kind in (ReceivingSocket, SendingSocket):
        with pytest.raises(OSError, match="not implemented"):
            kind(group, group.source)
