"""Files of the engine's home and of a node: whatever they contain, they are read or set aside."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from castray_desktop.core.casts.cast_statistics import CastTotals
from castray_desktop.core.casts.transfer_options import TransferOptions
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import HistoryQuery
from castray_desktop.core.protocol.nodes.agent_orders import VerifyFiles
from castray_desktop.workers.agent.hooks import read_rules
from castray_desktop.workers.agent.transfer.delivery.audit import FileAudit, ReceiptItem, Receipts
from castray_desktop.workers.agent.transfer.store.hash_cache import FileKey, HashCache
from castray_desktop.workers.agent.transfer.store.journal import CommitLog, Journal
from castray_desktop.workers.agent.transfer.store.staging import StagingRegistry
from castray_desktop.workers.base.settings import SettingsFile
from castray_desktop.workers.base.state_files import RecipientGroupFile
from castray_desktop.workers.casts.session.checkpoint import CastCheckpoint, CheckpointStore
from castray_desktop.workers.casts.speed_stores import DownloadMeasurement, DownloadSpeedStore, NodeSpeedStore
from castray_desktop.workers.client.single_instance import HandoverRequest, SecondInstance
from castray_desktop.workers.clusters.cluster_discovery import ClusterHistory, UsedCluster
from castray_desktop.workers.clusters.node_inventory import AddedNode, AddedNodeStore, NodeNameStore
from castray_desktop.workers.history.history_store import HistoryStore, PastCast
from castray_desktop.workers.schedules.schedule_runner import ScheduleState, load_states
from tests.fuzz.examples import example
from tests.fuzz.fuzz_target import FuzzTarget, Parse, json_sample
from tests.fuzz.mutation import InputFormat
from tests.helpers.samples import delivery_order

CAST = "0123456789ab"


def _state_file(
    name: str, reads: str, samples: Callable[[], Sequence[bytes]], read: Callable[[Path], object]
) -> FuzzTarget:
    """A file that `read` must read, whatever it contains."""

    def prepare(folder: Path, _: ExitStack) -> Parse:
        path = folder / f"{CAST}.json"

        def parse(data: bytes) -> None:
            for left in folder.iterdir():
                left.unlink()
            path.write_bytes(data)
            path.chmod(0o600)
            read(path)
            aside = [left for left in folder.iterdir() if left.name.startswith("damaged-")]
            if aside:
                assert data in [left.read_bytes() for left in aside]  # nothing of the user's is lost

        return parse

    return FuzzTarget(name, reads, (), samples, prepare, InputFormat.JSON)


def _one(value: object) -> Callable[[], Sequence[bytes]]:
    return lambda: [msgspec.json.encode(value)]


def _read_added_nodes(path: Path) -> None:
    store = AddedNodeStore(path)
    msgspec.json.encode(store.load())
    store.save_node(AddedNode("node_1"))
    assert "node_1" in [node.name for node in store.load()]


def _read_names(path: Path) -> None:
    store = NodeNameStore(path)
    msgspec.json.encode(store.load("local"))
    store.save("other", {"node": ("id", "address")})
    assert store.load("other") == {"node": ("id", "address")}


def _read_speeds(path: Path) -> None:
    store = NodeSpeedStore(path, lambda: 1e9)
    node = messages.NodeInfo("node_1", messages.NodeState.ONLINE, address="10.0.0.1")
    store.speeds((node,))
    store.record((), {})


def _read_download_speeds(path: Path) -> None:
    store = DownloadSpeedStore(path, lambda: 1e9)
    node = messages.NodeInfo("node_1", messages.NodeState.ONLINE, address="10.0.0.1")
    store.speeds("local", "example.org", (node,))
    store.record("local", "example.org", (node,), {"node_1": 1e8})


def _read_checkpoints(path: Path) -> None:
    for record in CheckpointStore(path.parent).load():
        msgspec.json.encode(record)


def _read_schedules(path: Path) -> None:
    msgspec.json.encode(load_states(path, lambda schedule: None))


def _schedule_samples() -> Sequence[bytes]:
    return [msgspec.json.encode([example(ScheduleState)] * 2)]


def _checkpoint_samples() -> Sequence[bytes]:
    record = example(CastCheckpoint)
    return [msgspec.json.encode(msgspec.structs.replace(record, cast=CAST))]


# --- a node's files ----------------------------------------------------------------------------------

HEADER = {"manifest": "00" * 32, "piece": "blake2b-128", "file": "sha256", "piece_bytes": "1000"}


def _journal(folder: Path, stack: ExitStack) -> Parse:
    fd = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, fd)
    path = folder / "journal"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        journal = Journal.reopen(b"journal", fd, HEADER)
        if journal is None:
            raise ValueError("another parcel's")
        try:
            before = list(journal.records())
            journal.append(5, bytes(16))
            assert list(journal.records()) == [*before, (5, bytes(16))]
        finally:
            journal.close()

    return parse


def _journal_samples() -> Sequence[bytes]:
    head = b"CastRay journal 1\n" + json.dumps(HEADER, sort_keys=True).encode() + b"\n"
    return [head + b"".join(struct.pack("<Q16s", at, bytes([at]) * 16) for at in range(9))]


def _commit_log(folder: Path, stack: ExitStack) -> Parse:
    fd = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, fd)

    def parse(data: bytes) -> None:
        (folder / "landing").write_bytes(data)
        log = CommitLog(b"landing", fd)
        try:
            for path, step in log.steps().items():
                assert isinstance(path, bytes)
                assert isinstance(step.target, bytes)
        finally:
            log.close()

    return parse


def _receipts(folder: Path, stack: ExitStack) -> Parse:
    path = Receipts()._path(CAST, "node_1")
    path.parent.mkdir(parents=True)

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        receipt = Receipts().find(CAST, "node_1")
        if receipt is None:
            raise ValueError("not a receipt")
        for item in receipt.items:
            assert item.size >= 0
            assert b"\0" not in item.path
            with contextlib.suppress(OSError):
                os.lstat(item.path)
        audit = FileAudit(VerifyFiles("job", cast=CAST), "node_1", lambda urgent: None, 0.0)
        audit._read_all = lambda algorithm: None  # type: ignore[method-assign]  # reads no files of this machine
        audit._run()
        assert audit.pop_report() is not None

    return parse


def _receipt_samples() -> Sequence[bytes]:
    order = delivery_order(CAST, TransferOptions())
    items = [
        ReceiptItem(b"top/a", b"/in/top/a", 5, bytes(32)),
        ReceiptItem(b"\xff", b"/in/\xff", 0, b"\1" * 32),
    ]
    receipts = Receipts()
    receipts.save(order, "node_1", items)
    path = receipts._path(CAST, "node_1")
    data = path.read_bytes()
    path.unlink()
    return [data]


def _registry(folder: Path, stack: ExitStack) -> Parse:
    registry = StagingRegistry("engine")
    registry.folder.mkdir(parents=True)
    record = registry.path(CAST, "node_1")

    def parse(data: bytes) -> None:
        record.write_bytes(data)
        for _, place in (*registry.abandoned((CAST,)), *registry.abandoned()):
            assert b"\0" not in place
        registry.abandoned_delivery(CAST, "node_1")

    return parse


def _registry_samples() -> Sequence[bytes]:
    record = {"host": "h", "boot": "b", "namespace": "n", "pid": 7, "start": "1", "folder": b"/in/x".hex()}
    from castray_desktop.workers.agent.transfer.system.linux_calls import machine_identity

    here = dict(zip(("host", "boot", "namespace"), machine_identity(), strict=True))
    more = {"engine": "engine", "cast": CAST}
    return [json_sample({**record, **more}), json_sample({**record, **here, **more, "pid": 2**22})]


def _hooks(folder: Path, stack: ExitStack) -> Parse:
    path = folder / "node.json"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        rules = read_rules(path)
        assert 1 <= rules.seconds < 1e9

    return parse


def _hash_cache(folder: Path, stack: ExitStack) -> Parse:
    key = FileKey(1, 2, 3, 4, 5)
    path = folder / "hashes.sqlite"

    def parse(data: bytes) -> None:
        path.write_bytes(data)
        cache = HashCache(folder)
        found = cache.find("sha256", [key])
        assert all(len(hash_) == 32 for hash_ in found.values())
        cache.save("sha256", {key: bytes(32)})
        cache.close()

    return parse


def _hash_cache_samples() -> Sequence[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        HashCache(Path(folder)).save("sha256", {FileKey(1, 2, 3, 4, 5): bytes(32)})
        return [(Path(folder) / "hashes.sqlite").read_bytes()]


# --- history -----------------------------------------------------------------------------------------


def _past_cast() -> PastCast:
    past = example(PastCast)
    summary = msgspec.structs.replace(past.result.summary, cast=CAST, finished=1e9)
    return msgspec.structs.replace(past, result=msgspec.structs.replace(past.result, summary=summary))


def _history_row(column: str) -> FuzzTarget:
    def prepare(folder: Path, stack: ExitStack) -> Parse:
        store = HistoryStore(folder / "history.sqlite")
        stack.callback(store.close)
        store.add_cast(_past_cast(), CastTotals(), {})
        database = store._database

        def parse(data: bytes) -> None:
            database.execute(f"UPDATE details SET {column} = ?", (data,))
            database.execute("DELETE FROM unreadable")
            store._unreadable = 0
            page = store.page(HistoryQuery())
            msgspec.msgpack.encode(page)
            msgspec.msgpack.encode(store.find_cast(CAST))

        return parse

    def samples() -> Sequence[bytes]:
        past = _past_cast()
        parts = {
            "request": past.request,
            "summary": past.result.summary,
            "deliveries": past.result.deliveries,
        }
        return [msgspec.msgpack.encode(parts[column])]

    reads = f"the {column} of a past cast"
    return FuzzTarget(f"history-{column}", reads, (CastRayError,), samples, prepare, InputFormat.MSGPACK)


def _handover(folder: Path, stack: ExitStack) -> Parse:
    def parse(data: bytes) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(data[:60000])
            theirs.shutdown(socket.SHUT_WR)
            second = SecondInstance(ours)
            while second.read_request() is None:
                pass

    return parse


TARGETS = (
    _state_file(
        "settings", "engine.json", _one(example(messages.EngineSettings)), lambda path: SettingsFile(path)
    ),
    _state_file(
        "groups",
        "groups.json",
        _one({"a": ("node_1", "node_2"), "b": ()}),
        lambda path: RecipientGroupFile(path).save_group("c", ("x",)),
    ),
    _state_file(
        "added-nodes",
        "nodes.json",
        _one([AddedNode("node_5", "/in"), AddedNode("node_6")]),
        _read_added_nodes,
    ),
    _state_file(
        "node-names", "names.json", _one({"local": {"a": ("id", "10.0.0.1")}, "x:1": {}}), _read_names
    ),
    _state_file(
        "node-speeds",
        "speeds.json",
        _one({"speeds": {"node_1 10.0.0.1": [1000, 1e9], "b": [5, 7.5]}}),
        _read_speeds,
    ),
    _state_file(
        "download-speeds",
        "downloads.json",
        _one({"downloads": [example(DownloadMeasurement)] * 2}),
        _read_download_speeds,
    ),
    _state_file(
        "used-clusters",
        "clusters.json",
        _one([example(UsedCluster)]),
        lambda path: msgspec.json.encode(ClusterHistory(path).remembered),
    ),
    _state_file("schedules", "schedules.json", _schedule_samples, _read_schedules),
    _state_file("checkpoints", "files of unfinished casts", _checkpoint_samples, _read_checkpoints),
    FuzzTarget("journal", "a delivery's journal", (ValueError,), _journal_samples, _journal),
    FuzzTarget(
        "commit-log",
        "which entries were committed",
        (),
        lambda: [b"move 746f70 612f62\nstand 61 \ndrop 62 \nopen 63 0755\n"],
        _commit_log,
    ),
    FuzzTarget(
        "receipts",
        "receipts of deliveries",
        (ValueError, CastRayError),  # the latter for one of a later version
        _receipt_samples,
        _receipts,
        InputFormat.JSON,
    ),
    FuzzTarget(
        "staging-registry", "records of staging folders", (), _registry_samples, _registry, InputFormat.JSON
    ),
    FuzzTarget(
        "hook-rules",
        "node.json, which allows hooks",
        (),
        lambda: [b'{"hooks": ["touch", "/bin/true"], "hook_seconds": 5}', b'{"hooks": true}'],
        _hooks,
        InputFormat.JSON,
    ),
    FuzzTarget("hash-cache", "the database of known hashes", (), _hash_cache_samples, _hash_cache),
    _history_row("request"),
    _history_row("summary"),
    _history_row("deliveries"),
    FuzzTarget(
        "second-start",
        "what a second start hands to the window",
        (ValueError,),
        lambda: [msgspec.json.encode(example(HandoverRequest)) + b"\n"],
        _handover,
        InputFormat.JSON,
    ),
)
