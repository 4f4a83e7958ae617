"""Multicast on loopback: the data that arrives in datagrams, and the data of the relay."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from castray_desktop.core.multicast.datagrams import (
    HEADER_BYTES,
    MulticastEnd,
    MulticastState,
    group_address,
    pack_datagram_header,
    parse_datagram_header,
)
from castray_desktop.core.protocol.nodes.agent_orders import (
    JoinGroup,
    PauseCast,
    PauseDelivery,
    SendToGroup,
    SetCastLimit,
)
from castray_desktop.core.protocol.nodes.agent_reports import (
    DeliveryReport,
    MulticastReport,
    RecipientState,
    SourceReport,
)
from castray_desktop.core.protocol.nodes.cast_parcel import MulticastGroup
from castray_desktop.workers.agent.transfer.multicast import (
    multicast_receiver,
    multicast_sender,
)
from castray_desktop.workers.agent.transfer.multicast.multicast_sockets import (
    BatchReceiver,
    ReceivingSocket,
    SendingSocket,
)
from castray_desktop.workers.agent.transfer.store.receive_store import ReceiveStore
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import Cast, Lab, Node, tree

MIB = 1 << 20


R = RecipientState


def group_of(cast: Cast) -> MulticastGroup:
    address, port = group_address(cast.cast, ipv6=":" in cast.source.address)
    return MulticastGroup(address, port, cast.source.address)


def order(cast: Cast, nodes: list[Node]) -> None:
    names = tuple(node.name for node in nodes)
    cast.source.plane.carry_out(SendToGroup(cast.cast, group_of(cast), names))


def start(
    lab: Lab, count: int, path: Path, limit: int = 0, address: str = "127.0.0.1"
) -> tuple[Cast, list[Node]]:
    """A chain whose recipients all join the group. The limit is in bytes per second, of the source."""
    nodes = [lab.node(f"node_{number}", address=address) for number in range(count + 1)]
    cast = lab.cast(nodes[0], [path])
    limit_source(cast, limit)
    deliver_to_listeners(cast, nodes)
    order(cast, nodes[1:])
    return cast, nodes


def deliver_to_listeners(cast: Cast, nodes: list[Node]) -> None:
    """Each recipient fetches from the one before it, and joins the group."""
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream(), group=group_of(cast))


def limit_source(cast: Cast, limit: int) -> None:
    cast.source.plane.carry_out(SetCastLimit(cast.cast, limit))


def multicast_of(report: SourceReport) -> MulticastReport:
    assert report.multicast is not None
    return report.multicast


def await_state(cast: Cast, state: MulticastState) -> MulticastReport:
    report = cast.source.await_source(
        cast.cast, lambda report: report.multicast is not None and report.multicast.state is state
    )
    return multicast_of(report)


def await_listeners(cast: Cast, *nodes: str) -> None:
    """Wait until these receivers control the rate of the source."""
    cast.source.await_source(
        cast.cast, lambda report: report.multicast is not None and report.multicast.listeners == nodes
    )


def check(path: Path, nodes: list[Node], results: list[DeliveryReport]) -> None:
    for node, report in zip(nodes[1:], results, strict=True):
        assert report.state is R.COMPLETED, report
        copy = node.inbox / path.name
        assert tree(copy) == tree(path) if path.is_dir() else copy.read_bytes() == path.read_bytes()


def test_one_stream_serves_everybody(lab: Lab) -> None:
    path = lab.file("model.bin", 20 * MIB + 12345)
    cast, nodes = start(lab, 3, path)
    results = cast.results()
    check(path, nodes, results)
    size = path.stat().st_size
    assert size <= await_state(cast, MulticastState.DONE).sent_bytes < size + MIB
    assert cast.source.sources[cast.cast].sent_bytes < 1.1 * size
    assert all(result.datagram_bytes > 0.9 * size for result in results)
    cast.forget()


def writing_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The threads that write pieces from now on, each with the descriptive part of its name."""
    found: list[str] = []
    place = ReceiveStore.write_piece

    def noted(store: ReceiveStore, index: int, digest: bytes, view: memoryview) -> bool:
        found.append(threading.current_thread().name.split("-")[1])
        return place(store, index, digest, view)

    monkeypatch.setattr(ReceiveStore, "write_piece", noted)
    return found


def test_the_receiving_thread_writes_contents(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    found = writing_threads(monkeypatch)
    path = lab.file("model.bin", 24 * MIB)
    cast, nodes = start(lab, 1, path)
    check(path, nodes, cast.results())
    assert found.count("multicast") > 12
    assert found.count("delivery") >= 2  # the lists
    cast.forget()


def test_slow_writes_are_left_to_the_other_thread(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast_receiver, "WAITING_SHARE", 0.0)  # each is too slow
    found = writing_threads(monkeypatch)
    path = lab.file("model.bin", 24 * MIB)
    cast, nodes = start(lab, 1, path)
    check(path, nodes, cast.results())
    assert found.count("multicast") <= 2 * multicast_receiver.SLOW_WRITES
    cast.forget()


def test_a_slow_disk_does_not_keep_others_from_receiving(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its node says that it is behind, takes what it can, and gets the rest from the relay."""
    write = ReceiveStore.write_piece

    def slow(store: ReceiveStore, index: int, digest: bytes, view: memoryview) -> bool:
        if store._context.node == "node_2":
            time.sleep(0.03)  # 35 MB/s
        return write(store, index, digest, view)

    monkeypatch.setattr(ReceiveStore, "write_piece", slow)
    path = lab.file("model.bin", 40 * MIB)
    cast, nodes = start(lab, 2, path)
    results = cast.results()
    check(path, nodes, results)
    assert all(result.datagram_bytes > 0.25 * path.stat().st_size for result in results)
    cast.forget()


def test_the_kernel_knows_when_a_datagram_came(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    group = group_of(lab.cast(lab.node("node_0"), [lab.file("a", 1)]))
    ear, mouth = ReceivingSocket(group, group.source), SendingSocket(group, group.source)
    buffer = memoryview(bytearray(100))
    datagram = bytes(HEADER_BYTES), memoryview(bytes(76))
    ear.set_timeout(5)
    try:
        ear.latest_age()  # from some moment after that on it keeps this
        waited: float | None = 0.0
        deadline = time.monotonic() + 5
        while waited is not None and waited < 0.02 and time.monotonic() < deadline:
            sent = time.monotonic()
            mouth.send([datagram])
            assert select.select([ear.socket], [], [], 5)[0]
            time.sleep(0.03)
            ear.receive(buffer)
            waited = ear.latest_age()
            assert waited is not None
        assert 0.02 < waited < time.monotonic() - sent + 0.02
        clock = time.time
        monkeypatch.setattr(time, "time", lambda: clock() + 5)  # another thread sets it
        assert ear.latest_age() is None
        later = ear.latest_age()
        assert later is not None
        assert later > 5
    finally:
        ear.close()
        mouth.close()


def test_a_listener_knows_how_much_it_has_not_taken(lab: Lab) -> None:
    group = group_of(lab.cast(lab.node("node_0"), [lab.file("a", 1)]))
    ear, mouth = ReceivingSocket(group, group.source), SendingSocket(group, group.source)
    burst, buffer = [(bytes(HEADER_BYTES), memoryview(bytes(1448)))] * 44, memoryview(bytearray(MIB))
    ear.set_timeout(5)
    try:
        assert ear.buffer_usage() == 0
        for _ in range(10):
            mouth.send(burst)
        assert select.select([ear.socket], [], [], 5)[0]
        ten = ear.buffer_usage()
        assert 0.2 * 44 * 14_720 / ear.buffer_size < ten < 1
        for _ in range(10 * ear.buffer_size // (44 * 1472)):
            mouth.send(burst)
        assert ear.buffer_usage() > 0.9
        with contextlib.suppress(BlockingIOError):
            while True:
                ear.receive(buffer, wait=False)
        assert ear.buffer_usage() == 0
    finally:
        ear.close()
        mouth.close()


def test_a_listener_that_always_says_that_it_is_behind_gets_everything(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReceivingSocket, "buffer_usage", lambda sock: 1.0)
    path = lab.file("model.bin", 2 * MIB)
    cast, nodes = start(lab, 2, path)
    check(path, nodes, cast.results())
    cast.forget()


def test_a_network_without_groups(lab: Lab) -> None:
    """The loopback has no route to groups of IPv6."""
    path = lab.file("model.bin", 3 * MIB)
    cast, nodes = start(lab, 2, path, address="::1")
    check(path, nodes, cast.results())
    report = await_state(cast, MulticastState.STOPPED)
    assert report.end is MulticastEnd.NO_NETWORK
    assert report.reason
    cast.forget()


def test_a_kernel_that_neither_segments_nor_coalesces(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setattr(SendingSocket, "can_segment", lambda sock: False)
    monkeypatch.setattr(ReceivingSocket, "coalesce", lambda sock, yes: None)
    path = lab.file("model.bin", 8 * MIB + 77)
    cast, nodes = start(lab, 2, path, limit=30 * MIB)
    results = cast.results()
    check(path, nodes, results)
    assert all(result.datagram_bytes > 0.5 * path.stat().st_size for result in results)
    cast.forget()


def test_folders_and_small_files(lab: Lab) -> None:
    folder = lab.files / "tree"
    for number in range(300):
        file = folder / f"{number % 7}" / f"{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(secrets.token_bytes(number * 37))
    (folder / "empty").touch()
    (folder / "link").symlink_to("0/7.txt")
    (folder / "large").write_bytes(secrets.token_bytes(3 * MIB))
    cast, nodes = start(lab, 2, folder)
    results = cast.results()
    check(folder, nodes, results)
    assert all(result.datagram_bytes > 3 * MIB for result in results)
    cast.forget()


def test_a_late_receiver_gets_the_rest_from_the_group(lab: Lab) -> None:
    path = lab.file("model.bin", 24 * MIB)
    cast, nodes = start(lab, 1, path, limit=12 * MIB)
    nodes[1].await_delivery(cast.cast, lambda report: report.stream_bytes > 6 * MIB)
    limit_source(cast, MIB)  # much is left when the other one listens
    late = lab.node("late")
    nodes.append(late)
    cast.deliver(late, nodes[1].upstream(), group=group_of(cast))
    order(cast, nodes[1:])
    await_listeners(cast, "late", "node_1")
    limit_source(cast, 12 * MIB)
    results = cast.results()
    check(path, nodes, results)
    assert 8 * MIB < results[1].datagram_bytes < 20 * MIB
    cast.forget()


def test_a_receiver_that_left_joins_again_on_order(lab: Lab) -> None:
    path = lab.file("model.bin", 16 * MIB)
    cast, nodes = start(lab, 2, path, limit=8 * MIB)
    nodes[1].await_delivery(cast.cast, lambda report: report.datagram_bytes > MIB)
    listener = nodes[1].plane._deliveries[cast.cast].session.membership.receiver()
    assert listener is not None
    limit_source(cast, MIB)  # much is left when it listens again
    listener.stop("it can't follow")
    nodes[1].await_delivery(cast.cast, lambda report: not report.listening)
    await_listeners(cast, "node_2")
    had = nodes[1].deliveries[cast.cast].datagram_bytes
    nodes[1].plane.carry_out(JoinGroup(cast.cast, group_of(cast)))
    await_listeners(cast, "node_1", "node_2")
    limit_source(cast, 8 * MIB)
    results = cast.results()
    check(path, nodes, results)
    assert results[0].datagram_bytes > had + 4 * MIB
    cast.forget()


def test_a_relay_becomes_a_stream_and_a_relay_again(lab: Lab) -> None:
    path = lab.file("model.bin", 24 * MIB)
    nodes = lab.chain(2)
    cast = lab.cast(nodes[0], [path])
    limit_source(cast, 8 * MIB)
    for above, node in itertools.pairwise(nodes):
        cast.deliver(node, above.upstream())
    nodes[1].await_delivery(cast.cast, lambda report: report.stream_bytes > 2 * MIB)
    for node in nodes[1:]:
        node.plane.carry_out(JoinGroup(cast.cast, group_of(cast)))
    order(cast, nodes[1:])
    for node in nodes[1:]:
        node.await_delivery(cast.cast, lambda report: report.datagram_bytes > 4 * MIB)
    cast.source.plane.carry_out(SendToGroup(cast.cast, None))
    assert await_state(cast, MulticastState.STOPPED).end is MulticastEnd.ORDERED
    for node in nodes[1:]:
        node.plane.carry_out(JoinGroup(cast.cast, None))
    limit_source(cast, 0)
    results = cast.results()
    check(path, nodes, results)
    assert all(4 * MIB < result.datagram_bytes < 20 * MIB for result in results)
    assert not any(result.listening for result in results)
    cast.forget()


def test_a_pause_is_no_silence(lab: Lab) -> None:
    path = lab.file("model.bin", 16 * MIB)
    cast, nodes = start(lab, 2, path, limit=8 * MIB)
    for node in nodes[1:]:
        node.await_delivery(cast.cast, lambda report: report.datagram_bytes > 2 * MIB)
    for node in nodes:
        node.plane.carry_out(PauseCast(cast.cast, True, 1))
    nodes[0].plane.carry_out(PauseCast(cast.cast, True, 2))  # it reports
    sent = multicast_of(nodes[0].sources[cast.cast]).sent_bytes
    time.sleep(1.5)  # longer than the tolerated silence
    nodes[0].plane.carry_out(PauseCast(cast.cast, True, 3))
    assert multicast_of(nodes[0].sources[cast.cast]).sent_bytes <= sent + MIB
    for node in nodes:
        node.plane.carry_out(PauseCast(cast.cast, False, 4))
    results = cast.results()
    check(path, nodes, results)
    assert all(result.datagram_bytes > 12 * MIB for result in results)
    cast.forget()


def test_a_limit_holds_for_the_stream(lab: Lab) -> None:
    path = lab.file("model.bin", 4 * MIB)
    nodes = lab.chain(2)
    cast = lab.cast(nodes[0], [path])
    limit_source(cast, 4 * MIB)
    deliver_to_listeners(cast, nodes)
    began = time.monotonic()
    order(cast, nodes[1:])
    check(path, nodes, cast.results())
    assert time.monotonic() - began > 0.8
    cast.forget()


def test_a_cancelled_cast_leaves_nothing(lab: Lab) -> None:
    path = lab.file("model.bin", 16 * MIB)
    cast, nodes = start(lab, 2, path, limit=8 * MIB)
    for node in nodes[1:]:
        node.await_delivery(cast.cast, lambda report: report.datagram_bytes > 2 * MIB)
    cast.cancel(*nodes)
    assert [node.await_end(cast.cast).state for node in nodes[1:]] == [R.CANCELLED] * 2
    await_state(cast, MulticastState.STOPPED)
    assert not any((node.inbox / "model.bin").exists() for node in nodes[1:])
    cast.forget()


def test_identical_files_are_not_sent(lab: Lab) -> None:
    path = lab.file("model.bin", 12 * MIB)
    nodes = lab.chain(2)
    for node in nodes[1:]:
        node.inbox.mkdir(parents=True)
        (node.inbox / "model.bin").write_bytes(path.read_bytes())
    cast = lab.cast(nodes[0], [path])
    limit_source(cast, 4 * MIB)
    deliver_to_listeners(cast, nodes)
    order(cast, nodes[1:])
    results = cast.results()
    assert [result.state for result in results] == [R.SKIPPED] * 2
    assert nodes[0].sources[cast.cast].sent_bytes < 2 * MIB
    cast.forget()


def test_a_delivery_goes_on_after_its_agent_was_killed(lab: Lab) -> None:
    path = lab.file("model.bin", 16 * MIB)
    cast, nodes = start(lab, 2, path, limit=8 * MIB)
    nodes[2].await_delivery(cast.cast, lambda report: report.datagram_bytes > 4 * MIB)
    limit_source(cast, MIB)  # much is left when it listens again
    nodes[2].plane.close(keep=True)
    await_listeners(cast, "node_1")
    again = lab.node("node_2")
    nodes[2] = cast.recipients[1] = again
    cast.recipients.pop()
    cast.deliver(again, nodes[1].upstream(), group=group_of(cast))
    await_listeners(cast, "node_1", "node_2")
    limit_source(cast, 8 * MIB)
    results = cast.results()
    check(path, nodes, results)
    assert 2 * MIB < results[1].datagram_bytes < 12 * MIB
    assert results[1].received_bytes < 15 * MIB
    cast.forget()


def test_a_node_that_serves_no_pieces_passes_digests_on(lab: Lab) -> None:
    """The first hop does not receive the stream and is slow: nodes below it need only its digests."""
    path = lab.file("model.bin", 16 * MIB)
    nodes = lab.chain(2)
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream())
    cast.deliver(nodes[2], nodes[1].upstream(), group=group_of(cast))
    order(cast, nodes[2:])
    results = cast.results()
    check(path, nodes, results)
    assert results[0].datagram_bytes == 0
    assert results[1].datagram_bytes > 15 * MIB
    cast.forget()


@contextlib.contextmanager
def forger(group: MulticastGroup, listens: bool) -> Iterator[Callable[[], int]]:
    """A stranger who floods the group with its own datagrams, with the tags of others if it `listens`."""
    ended, sent = threading.Event(), itertools.count()

    def work() -> None:
        ear, mouth = ReceivingSocket(group, group.source), SendingSocket(group, group.source)
        ear.set_timeout(0.05)
        buffer = memoryview(bytearray(1 << 16))
        while not ended.is_set():
            try:
                where = ear.receive(buffer)[2]
            except BlockingIOError:
                continue
            if where == mouth.socket.getsockname():  # it receives its own datagrams
                continue
            head = parse_datagram_header(buffer, 0)
            if not listens:
                head = head._replace(tag=secrets.token_bytes(8))
            for ahead in range(4):
                place = head.offset + ahead * head.size * 11
                forged = head._replace(sequence=head.sequence + ahead * 11, offset=place)
                payload = memoryview(secrets.token_bytes(head.size))
                mouth.send([(pack_datagram_header(*forged), payload)])
                next(sent)
        ear.close()
        mouth.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield lambda: next(sent)
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("listens", [False, True])
def test_forged_datagrams_change_no_file(lab: Lab, listens: bool) -> None:
    path = lab.file("model.bin", 24 * MIB)
    nodes = lab.chain(2)
    cast = lab.cast(nodes[0], [path])
    limit_source(cast, 30 * MIB)
    deliver_to_listeners(cast, nodes)
    with forger(group_of(cast), listens) as sent:
        order(cast, nodes[1:])
        results = cast.results()
        assert sent() > 100
    check(path, nodes, results)
    cast.forget()


def test_a_report_by_somebody_else_is_not_heard(lab: Lab) -> None:
    path = lab.file("model.bin", 4 * MIB)
    cast, nodes = start(lab, 1, path, limit=2 * MIB)
    group = group_of(cast)
    ear = ReceivingSocket(group, group.source)
    ear.set_timeout(5)
    _, _, where = ear.receive(memoryview(bytearray(1 << 16)))
    ear.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for size in (0, 1, 61, 69, 500):
            sock.sendto(secrets.token_bytes(size), where)
    check(path, nodes, cast.results())
    assert await_state(cast, MulticastState.DONE).listeners in ((), ("node_1",))
    cast.forget()


def test_a_flood_of_reports_does_not_stop_the_stream(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the source reads, there is one more meaningless datagram."""
    receive = SendingSocket.receive
    flood = itertools.count()

    def flooded(sock: SendingSocket, seconds: float) -> bytes:
        return receive(sock, 0.0) or str(next(flood)).encode()

    monkeypatch.setattr(SendingSocket, "receive", flooded)
    path = lab.file("model.bin", 4 * MIB)
    cast, nodes = start(lab, 1, path)
    check(path, nodes, cast.results())
    assert next(flood) > 100
    assert await_state(cast, MulticastState.DONE).sent_bytes >= 4 * MIB
    cast.forget()


def test_it_stops_where_it_stays_at_the_minimum_rate(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast_sender, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(multicast_sender, "MIN_RATE", float("inf"))
    path = lab.file("model.bin", 24 * MIB)
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream(), group=group_of(cast))
    order(cast, nodes[1:])
    results = cast.results()
    check(path, nodes, results)
    assert await_state(cast, MulticastState.STOPPED).end is MulticastEnd.TOO_SLOW
    cast.forget()


class Lossy:
    """Drops whole receive calls, with all of their datagrams."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, lose: Callable[[int], bool]) -> None:
        self.calls = itertools.count()
        self.lost = 0
        one, batch = ReceivingSocket.receive, BatchReceiver.receive

        def receive_one(
            sock: ReceivingSocket, buffer: memoryview, wait: bool = True
        ) -> tuple[int, int, tuple[str, int]]:
            while True:
                came = one(sock, buffer, wait)
                if not lose(next(self.calls)):
                    return came
                self.lost += 1

        def receive_batch(batches: BatchReceiver, sock: socket.socket, wait: bool) -> list[int]:
            while True:
                came = batch(batches, sock, wait)
                if not lose(next(self.calls)):
                    return came
                self.lost += 1

        monkeypatch.setattr(ReceivingSocket, "receive", receive_one)
        monkeypatch.setattr(BatchReceiver, "receive", receive_batch)


def test_what_is_lost_comes_from_the_relay(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lossy = Lossy(monkeypatch, lambda call: call % 11 == 3)
    path = lab.file("model.bin", 40 * MIB + 12345)
    cast, nodes = start(lab, 3, path, limit=60 * MIB)
    results = cast.results()
    check(path, nodes, results)
    assert lossy.lost > 10
    for result in results:
        assert result.datagram_bytes > 0.7 * path.stat().st_size
        assert 0 < result.repaired_bytes < 0.3 * path.stat().st_size
    cast.forget()


def test_a_receiver_that_loses_nearly_everything_for_a_moment_stays(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender starts too fast, and has slowed down since."""
    began: list[float] = []

    def lose(call: int) -> bool:
        began.append(time.monotonic())
        return 0.3 < began[-1] - began[0] < 0.5

    Lossy(monkeypatch, lose)
    path = lab.file("model.bin", 16 * MIB)
    cast, nodes = start(lab, 1, path, limit=8 * MIB)
    nodes[1].await_delivery(cast.cast, lambda report: report.datagram_bytes > 4 * MIB)
    check(path, nodes, cast.results())
    cast.forget()


def test_nothing_arrives_and_the_relay_does_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    Lossy(monkeypatch, lambda call: True)
    path = lab.file("model.bin", 3 * MIB)
    cast, nodes = start(lab, 2, path)
    results = cast.results()
    check(path, nodes, results)
    assert all(result.datagram_bytes == 0 for result in results)
    report = cast.source.await_source(
        cast.cast, lambda report: multicast_of(report).state is MulticastState.STOPPED
    )
    assert multicast_of(report).end is MulticastEnd.NOTHING_ARRIVES
    cast.forget()


def test_a_paused_recipient_takes_nothing_and_then_the_rest(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lab.file("model.bin", 16 * MIB)
    cast, nodes = start(lab, 2, path, limit=8 * MIB)
    nodes[1].await_delivery(cast.cast, lambda report: report.datagram_bytes > 2 * MIB)
    nodes[1].plane.carry_out(PauseDelivery(cast.cast, 2))
    nodes[1].await_delivery(cast.cast, lambda report: not report.listening)
    limit_source(cast, MIB)  # much is left when it goes on
    await_listeners(cast, "node_2")
    cast.set_upstream(nodes[2], nodes[0].upstream(), 3)
    paused, kept_alive = nodes[1].plane._deliveries[cast.cast], threading.Event()
    monkeypatch.setattr(paused.store.pieces, "flush_progress", kept_alive.set)
    assert kept_alive.wait(PATIENCE)  # its connection alone is no reason to receive
    assert not paused.session.membership.is_receiving
    monkeypatch.undo()
    had = nodes[1].deliveries[cast.cast].datagram_bytes
    limit_source(cast, 8 * MIB)
    cast.set_upstream(nodes[1], nodes[0].upstream(), 4)
    await_listeners(cast, "node_1", "node_2")
    results = cast.results()
    check(path, nodes, results)
    assert had < 6 * MIB
    assert had + 4 * MIB < results[0].datagram_bytes < 15 * MIB
    cast.forget()
