"""A slow client loses progress, a lost client its connection, and no client a result."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import (
    CastChanged,
    CastResult,
    CastState,
    ClusterChanged,
    ClusterStatus,
    DeliveriesChanged,
    DeliveryState,
    Event,
    Throughput,
)
from castray_desktop.workers.engine import client_connections
from castray_desktop.workers.engine.client_connections import (
    MAX_HELLO_BYTES,
    MAX_SILENT_CLIENTS,
    ClientConnection,
    ClientConnections,
)
from tests.helpers.engine_home import EngineHome
from tests.helpers.patience import PATIENCE
from tests.helpers.samples import make_cast, make_delivery

SENDING = CastChanged(make_cast(cast="c"))
ENDED = CastChanged(make_cast(cast="c", state=CastState.COMPLETED))
RECEIVING = DeliveriesChanged("c", (make_delivery("node_1"),))
COMPLETED = DeliveriesChanged("c", (make_delivery("node_1", DeliveryState.COMPLETED),))
RESULT = CastResult(make_cast(cast="c", state=CastState.COMPLETED), (), 1.0)
STATUS = ClusterChanged(ClusterStatus())
FLOW = Throughput(1.0, 2.0, 3.0, ())


@dataclass
class FakeTransport:
    unread: int = 0
    aborted: bool = False

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


@dataclass
class FakeWriter:
    """The part of a StreamWriter that a client uses."""

    transport: FakeTransport = field(default_factory=FakeTransport)
    frames: list[bytes] = field(default_factory=list)

    def write(self, frame: bytes) -> None:
        self.frames.append(frame)

    def is_closing(self) -> bool:
        return self.transport.aborted


def make_client(unread: int = 0) -> tuple[ClientConnection, FakeWriter]:
    writer = FakeWriter(FakeTransport(unread))
    return ClientConnection(writer, "test"), writer  # type: ignore[arg-type]


def got(writer: FakeWriter) -> list[Event]:
    return [messages.decode_from_engine(frame[4:]) for frame in writer.frames]  # type: ignore[misc]


def test_all_clients_get_all_events() -> None:
    clients = ClientConnections()
    (one, one_writer), (other, other_writer) = make_client(), make_client()
    clients.add_client(one)
    clients.add_client(other)
    events: list[Event] = [SENDING, RECEIVING, FLOW, RESULT]
    for event in events:
        clients.publish(event)
    assert got(one_writer) == got(other_writer) == events


def test_a_removed_client_gets_no_events() -> None:
    clients = ClientConnections()
    client, writer = make_client()
    clients.add_client(client)
    assert len(clients) == 1
    clients.remove_client(client)
    clients.publish(STATUS)
    assert (len(clients), writer.frames) == (0, [])


def test_a_slow_client_loses_progress_and_nothing_else() -> None:
    clients = ClientConnections()
    slow, writer = make_client(client_connections.SLOW_BYTES + 1)
    clients.add_client(slow)
    for event in (SENDING, RECEIVING, FLOW, ENDED, COMPLETED, RESULT, STATUS):
        clients.publish(event)
    assert got(writer) == [ENDED, COMPLETED, RESULT, STATUS]
    writer.transport.unread = 0
    clients.publish(SENDING)
    assert got(writer)[-1] == SENDING


def test_a_lost_client_is_cut_off_once() -> None:
    clients = ClientConnections()
    lost, writer = make_client(client_connections.DISCONNECT_BYTES + 1)
    clients.add_client(lost)
    clients.publish(RESULT)
    clients.publish(RESULT)
    assert writer.transport.aborted
    assert writer.frames == []


def test_deliveries_go_to_those_who_watch() -> None:
    clients = ClientConnections()
    client, writer = make_client()
    clients.add_client(client)
    client.watch(("other",))
    clients.publish(RECEIVING)
    clients.publish(SENDING)
    assert got(writer) == [SENDING]
    client.watch(("c",))
    clients.publish(RECEIVING)
    client.watch(())
    clients.publish(COMPLETED)
    client.watch(None)
    clients.publish(COMPLETED)
    assert got(writer) == [SENDING, RECEIVING, COMPLETED]


def test_an_event_that_can_not_be_encoded_disconnects_no_client(caplog: pytest.LogCaptureFixture) -> None:
    clients = ClientConnections()
    client, writer = make_client()
    clients.add_client(client)
    clients.publish(CastChanged(make_cast("\udcff.bin")))
    clients.publish(STATUS)
    assert got(writer) == [STATUS]
    assert "CastChanged" in caplog.text


@pytest.fixture
async def unread() -> AsyncIterator[asyncio.StreamWriter]:
    """A connection that is not read, with more data than the kernel buffers."""
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    writer.write(b"x" * 4_000_000)
    yield writer
    theirs.close()


async def test_close_does_not_wait_for_a_blocked_client(
    unread: asyncio.StreamWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connections, "CLOSE_SECONDS", 0.01)
    clients = ClientConnections()
    clients.add_client(ClientConnection(unread, "stopped"))
    async with asyncio.timeout(PATIENCE):
        await clients.close()
    assert unread.transport.is_closing()


async def test_connections_without_a_hello_are_limited(
    engine_home: EngineHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is closed for a new one; those that have said hello stay."""
    monkeypatch.setattr(client_connections, "HELLO_SECONDS", 600.0)
    client = await engine_home.connect()
    path = str(engine_home.paths.socket)
    silent = [await asyncio.open_unix_connection(path) for _ in range(MAX_SILENT_CLIENTS + 5)]
    for reader, _ in silent[:5]:
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
    await (await engine_home.connect()).close()
    async with asyncio.timeout(PATIENCE):
        assert await silent[5][0].read() == b""  # a visit has needed its place
    assert not any(reader.at_eof() for reader, _ in silent[6:])
    assert await client.request(messages.GetStatus(), messages.EngineStatus)
    for _, writer in silent:
        writer.close()
    await client.close()


@pytest.mark.parametrize("length", [MAX_HELLO_BYTES + 1, messages.MAX_FRAME_BYTES, 0xFFFFFFFF])
async def test_a_hello_is_short(engine_home: EngineHome, length: int) -> None:
    """Nothing is kept for a stranger that announces a long one."""
    assert await engine_home.speak(length.to_bytes(4, "big")) == b""
