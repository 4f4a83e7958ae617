"""The reports of agents about their nodes: real folders, real sockets."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes import agent_orders, json_codec
from castray_desktop.workers.agent import node_inspection
from tests.helpers.servers.range_server import range_server


def listing(path: Path, limit: int = 1000) -> agent_orders.FolderReply:
    return node_inspection.list_folder(agent_orders.ListFolder(str(path), limit))


def test_folders_come_first_and_names_may_be_of_any_script(tmp_path: Path) -> None:
    for name in ("模型.bin", "Ärger.txt", "b.txt"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "zebra").mkdir()
    (tmp_path / "to zebra").symlink_to("zebra")
    (tmp_path / "nowhere").symlink_to("gone")
    reply = listing(tmp_path)
    assert [entry.name for entry in reply.entries] == [
        *("to zebra", "zebra", "b.txt", "nowhere", "Ärger.txt", "模型.bin")
    ]
    assert [entry.folder for entry in reply.entries] == [True, True, False, False, False, False]
    assert [entry.link for entry in reply.entries] == [True, False, False, True, False, False]
    assert [entry.bytes for entry in reply.entries] == [0, 0, 5, 0, 5, 5]
    assert reply.entries[2].modified == (tmp_path / "b.txt").stat().st_mtime
    assert (reply.path, reply.left_out, reply.failure) == (str(tmp_path), 0, None)


def test_a_listing_is_limited_and_counts_omitted_entries(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff")).touch()
    reply = listing(tmp_path, limit=10)
    assert [entry.name for entry in reply.entries] == [f"{number:02}" for number in range(10)]
    assert reply.left_out == 21
    assert listing(tmp_path).left_out == 1  # a name that is not UTF-8


def test_a_folder_that_can_not_be_listed_has_a_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kinds = []
    for name in ("gone", "file", "file/below", "x" * 300):
        failure = listing(tmp_path / name).failure
        assert failure is not None
        kinds.append(failure.kind)
    assert kinds == [
        FailureKind.NO_SUCH_FILE,
        *(FailureKind.NOT_A_FOLDER,) * 2,
        FailureKind.READ_ERROR,
    ]


def test_nothing_is_the_home() -> None:
    assert node_inspection.list_folder(agent_orders.ListFolder("")).path == str(Path.home())
    assert node_inspection.list_folder(agent_orders.ListFolder("~")).path == str(Path.home())


def test_sizes_of_paths(tmp_path: Path) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    (tmp_path / "data/deep/one").write_bytes(b"1" * 10)
    (tmp_path / "data/two.tmp").write_bytes(b"2" * 5)
    paths = (str(tmp_path / "data"), str(tmp_path / "gone"))
    whole, gone = node_inspection.measure_sizes(agent_orders.MeasureSizes(paths)).entries
    assert (whole.name, whole.folder, whole.files, whole.bytes) == ("data", True, 2, 15)
    assert gone.failure is not None
    assert gone.failure.kind is FailureKind.NO_SUCH_FILE
    assert (
        node_inspection.measure_sizes(agent_orders.MeasureSizes(paths[:1], ("*.tmp",))).entries[0].bytes == 10
    )


def test_the_size_of_a_file_on_a_web_server() -> None:
    with range_server() as server:
        server.add("/a%20b.bin", b"12345")
        paths = (server.url("/a%20b.bin?key=1"), server.url("/gone?key=secret"))
        there, gone = node_inspection.measure_sizes(agent_orders.MeasureSizes(paths)).entries
    assert (there.path, there.name, there.files, there.bytes) == (paths[0], "a b.bin", 1, 5)
    assert gone.failure is not None
    assert gone.failure.kind is FailureKind.URL_FAILED
    assert "secret" not in repr(gone.failure)


async def test_dialling_is_real() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        peers = (
            agent_orders.Peer("there", "127.0.0.1", server.getsockname()[1]),
            agent_orders.Peer("refused", "127.0.0.1", closed.getsockname()[1]),
            agent_orders.Peer("no network", "255.255.255.255", 9),
        )
        reply = await node_inspection.dial_peers(agent_orders.DialPeers(peers, 2.0), "127.0.0.1")
    there, refused, no_network = reply.results
    assert (there.node, there.reason) == ("there", "")
    assert 0 < there.seconds < 2
    assert (refused.node, refused.reason) == ("refused", "Connection refused")
    assert no_network.reason


async def test_a_port_that_stays_silent_ends_in_time() -> None:
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    fillers = []
    for _ in range(3):  # nobody accepts, so the backlog is full and the next connection waits
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(full.getsockname())
        fillers.append(filler)
    order = agent_orders.DialPeers((agent_orders.Peer("silent", "127.0.0.1", full.getsockname()[1]),), 0.05)
    (silent,) = (await node_inspection.dial_peers(order, "127.0.0.1")).results
    for sock in (full, *fillers):
        sock.close()
    assert silent.reason == "timed out"


def test_an_inspection_of_a_node(tmp_path: Path) -> None:
    found = node_inspection.inspect_node(tmp_path / "not yet", "10.0.0.1", "7000-7010", (2, 10))
    assert found.inbox_writable
    assert found.inbox_free > 0
    assert found.open_files > 0
    assert found.shared_total >= found.shared_free > 0
    assert (found.data_ports, found.kept_deliveries, found.kept_bytes) == ("7000-7010", 2, 10)
    assert json_codec.from_json(json_codec.to_json(found), agent_orders.OrderReply) == found
