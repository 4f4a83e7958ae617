"""Failures during a transfer: the right bytes in the end, or a named reason and nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from castray_desktop.core.content.quantities import format_bytes
from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_orders import CheckDestination, ForgetCast
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState, SourceState
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms, TopEntry
from castray_desktop.core.protocol.nodes.handshake import Handshake, PeerHello, PeerRole, node_digest
from castray_desktop.core.protocol.nodes.peer_frames import FrameType, frame
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.source import cast_source
from castray_desktop.workers.agent.transfer.store import piece_store
from tests.helpers.patience import PATIENCE
from tests.workers.agent.transfer.lab import BEST, Lab, await_true, tree
from tests.workers.agent.transfer.proxy import Proxy

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)
FINE = Algorithms(BEST.piece, BEST.file, 64 << 10)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- damage ---------------------------------------------------------------------------------------


def test_a_turned_bit_costs_one_piece_and_nothing_else(lab: Lab) -> None:
    nodes = lab.chain(2)
    path = lab.file("a.bin", 4 * MIB)
    cast = lab.cast(nodes[0], [path])
    with Proxy(nodes[0].upstream(), flip_at=(2 * MIB + 77,)) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        cast.deliver(nodes[2], nodes[1].upstream())
        first, second = cast.results()
    assert first.state is second.state is RecipientState.COMPLETED
    assert first.received_bytes == first.stream_bytes + MIB
    assert second.received_bytes == second.stream_bytes
    assert (nodes[2].inbox / "a.bin").read_bytes() == path.read_bytes()
    assert proxy.connections == 1


def test_a_turned_bit_in_the_list_of_files(lab: Lab) -> None:
    nodes = lab.chain(1)
    folder = lab.files / "many"
    folder.mkdir()
    for number in range(400):
        (folder / f"a rather long name of a file {number}").write_bytes(b"x" * number)
    cast = lab.cast(nodes[0], [folder], algorithms=Algorithms(BEST.piece, BEST.file, 4096))
    with Proxy(nodes[0].upstream(), flip_at=(6000,)) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED, result
    assert tree(nodes[1].inbox / "many") == tree(folder)


def test_a_piece_that_is_damaged_twice_fails_by_name(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", MIB)])
    flips = tuple(range(5000, 3 * MIB, 1000))
    with Proxy(nodes[0].upstream(), flip_at=flips) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        (result,) = cast.results()
    assert result.failure is not None
    assert result.failure.kind in (FailureKind.DAMAGED, FailureKind.UPSTREAM_LOST)
    assert not nodes[1].inbox.exists()


# --- strangers ------------------------------------------------------------------------------------


def test_a_wrong_secret_gets_nothing(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", MIB)])
    cast.deliver(nodes[1], nodes[0].upstream(), secret=secrets.token_hex(32))
    (result,) = cast.results()
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UPSTREAM_LOST
    assert result.failure.values["upstream"] == "node_0"
    assert "secret" in result.failure.values["reason"]
    assert result.received_bytes == 0


def test_a_replayed_handshake_gets_nothing(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", MIB)])
    with Proxy(nodes[0].upstream()) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        cast.results()
        recorded = bytes(proxy.up)
    with socket.create_connection(("127.0.0.1", nodes[0].port)) as sock:
        sock.sendall(recorded)
        answer = read_all(sock)
    assert len(answer) < 300
    assert answer[70:71] == bytes((FrameType.REFUSAL,))


def read_all(sock: socket.socket) -> bytes:
    sock.settimeout(PATIENCE)
    found = b""
    try:
        while data := sock.recv(4096):
            found += data
    except ConnectionResetError:
        pass
    return found


hellos = st.binary(min_size=1, max_size=115).map(lambda body: frame(FrameType.HELLO, body))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(min_size=6, max_size=400), hellos))
def test_any_bytes_on_the_data_port_get_a_clean_refusal(lab: Lab, data: bytes) -> None:
    node = lab.nodes[0] if lab.nodes else lab.node("only")
    with socket.create_connection(("127.0.0.1", node.port)) as sock:
        with contextlib.suppress(OSError):  # it may have been closed already
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        assert len(read_all(sock)) < 200


def test_a_stranger_who_says_nothing_is_let_go(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from castray_desktop.workers.agent.transfer.peer import accept

    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 0.2)
    node = lab.node("a")
    with socket.create_connection(("127.0.0.1", node.port)) as sock:
        assert read_all(sock) == b""


def test_a_peer_that_asks_for_nonsense_is_let_go(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 100)])
    with socket.create_connection(("127.0.0.1", nodes[0].port)) as sock:
        greeting = PeerHello(PeerRole.FETCH, node_digest("b"), cast.cast, 1)
        handshake = Handshake.dial(bytes(32), greeting, bytes.fromhex(cast.secret))
        sock.sendall(handshake.hello())
        while handshake.bytes_needed:
            sock.sendall(handshake.receive(sock.recv(handshake.bytes_needed)))
        sock.sendall(frame(FrameType.REQUEST, bytes(15) + b"\xff"))
        assert read_all(sock) == b""


# --- the source's files ----------------------------------------------------------------------------


@pytest.fixture
def short_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source reads only 2 MiB ahead of its recipients."""
    monkeypatch.setattr(cast_source, "READ_AHEAD_BYTES", 2 * MIB)


def shrink(path: Path) -> None:
    os.truncate(path, 20 * MIB)


def shrink_below_what_was_sent(path: Path) -> None:
    os.truncate(path, 100)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        for at in range(0, 40, 2):
            file.seek(at * MIB)
            file.write(os.urandom(1000))


def overwrite_in_place(path: Path) -> None:
    """Like `rsync --inplace -t` and `cp -p`: the file looks unchanged."""
    before = path.stat()
    overwrite(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def overwrite_the_rest_in_place(path: Path) -> None:
    """The same, but only in the unread part: all pieces and hashes agree."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(30 * MIB)
        file.write(os.urandom(MIB))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = [
    *(shrink, shrink_below_what_was_sent, grow, overwrite),
    *(overwrite_in_place, overwrite_the_rest_in_place),
]


@pytest.mark.usefixtures("short_lead")
@pytest.mark.parametrize("local", [False, True], ids=["tcp", "local"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_fails_by_name_and_the_rest_arrives(
    lab: Lab, change: object, local: bool
) -> None:
    nodes = lab.chain(2, local)
    folder = lab.files / "folder"
    folder.mkdir()
    (folder / "a good").write_bytes(os.urandom(1000))
    (folder / "big").write_bytes(os.urandom(40 * MIB))
    (folder / "z good").write_bytes(os.urandom(MIB))
    cast = lab.cast(nodes[0], [folder])
    with Proxy(nodes[0].upstream(), hold_at=3 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream if not local else nodes[0].upstream())
        if local:
            nodes[0].await_source(cast.cast, lambda report: report.sent_bytes > 0)
        else:
            assert proxy.held.wait(20)
        change(folder / "big")  # type: ignore[operator]
        proxy.release()
        cast.deliver(nodes[2], nodes[1].upstream())
        results = cast.results()
        report = cast.finish_source()
    for node, result in zip(nodes[1:], results, strict=False):
        if local and result.state is RecipientState.COMPLETED:
            continue  # it had been copied before it changed
        assert result.state is RecipientState.FAILED, result
        assert result.failure is not None
        assert result.failure.kind is FailureKind.FILES_FAILED
        assert result.failure.values["count"] == "1"
        assert result.problems[0].path == "folder/big"
        assert result.problems[0].failure.kind is FailureKind.CHANGED
        assert names(node.inbox / "folder") == ["a good", "z good"]
        assert (node.inbox / "folder" / "z good").read_bytes() == (folder / "z good").read_bytes()
        assert report.problem_count == 1
        assert report.problems[0].failure.values["path"] == str(folder / "big")
    cast.forget()


@pytest.mark.usefixtures("short_lead")
def test_a_file_that_is_only_touched_arrives(lab: Lab) -> None:
    """Its mode, another name and its time are not contents."""
    nodes = lab.chain(1)
    path = lab.file("a.bin", 40 * MIB)
    cast = lab.cast(nodes[0], [path])
    with Proxy(nodes[0].upstream(), hold_at=3 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        assert proxy.held.wait(20)
        path.chmod(0o600)
        path.with_name("other name").hardlink_to(path)
        proxy.release()
        (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert (nodes[1].inbox / "a.bin").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("size", [1000, 3 * MIB])
def test_what_was_overwritten_after_the_scan_arrives_as_it_is_by_now(lab: Lab, size: int) -> None:
    nodes, path = lab.chain(1), lab.file("a.bin", size)
    cast_id, report = lab.prepare(nodes[0], [path])
    before = path.stat()
    path.write_bytes(os.urandom(size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    cast = serve(lab, nodes[0], cast_id, report.totals)
    cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert (nodes[1].inbox / "a.bin").read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("short_lead")
def test_a_single_file_that_changes_fails_with_its_own_reason(lab: Lab) -> None:
    nodes = lab.chain(1)
    path = lab.file("a.bin", 40 * MIB)
    cast = lab.cast(nodes[0], [path])
    with Proxy(nodes[0].upstream(), hold_at=3 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        assert proxy.held.wait(20)
        grow(path)
        proxy.release()
        (result,) = cast.results()
    assert result.failure is not None
    assert result.failure.kind is FailureKind.CHANGED
    assert result.failure.values["path"] == "a.bin"
    assert result.paths == ()
    cast.forget()
    assert not nodes[1].inbox.exists()


def test_a_file_that_vanishes_after_the_scan(lab: Lab) -> None:
    nodes = lab.chain(1)
    folder = lab.files / "folder"
    folder.mkdir()
    for name in ("gone", "kept", "replaced"):
        (folder / name).write_bytes(os.urandom(1000))
    (folder / "empty gone").touch()
    cast_id, report = lab.prepare(nodes[0], [folder])
    (folder / "gone").unlink()
    (folder / "empty gone").unlink()
    (folder / "replaced").unlink()
    (folder / "replaced").symlink_to("/etc/passwd")
    cast = serve(lab, nodes[0], cast_id, report.totals)
    cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = cast.results()
    kinds = {problem.path: problem.failure.kind for problem in result.problems}
    assert kinds == {
        "folder/gone": FailureKind.VANISHED,
        "folder/empty gone": FailureKind.VANISHED,
        "folder/replaced": FailureKind.CHANGED,
    }
    assert names(nodes[1].inbox / "folder") == ["kept"]
    cast.forget()


def test_files_that_vanish_after_they_were_read(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trailer is complete already, so the recipients detect it by the hash."""
    monkeypatch.setattr(piece_store, "RECENT_BYTES", 0)
    nodes = lab.chain(1)
    folder = lab.files / "folder"
    folder.mkdir()
    for number in range(3):
        (folder / str(number)).write_bytes(os.urandom(1000))
    cast = lab.cast(nodes[0], [folder])
    assert cast.finish_source().state is SourceState.HASHED
    nodes[0].plane._sources[cast.cast].pieces._recent.clear()
    (folder / "1").unlink()
    (folder / "2").write_bytes(b"x" * 1000)
    cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = cast.results()
    assert [problem.path for problem in result.problems] == ["folder/1", "folder/2"]
    assert {problem.failure.kind for problem in result.problems} == {FailureKind.CHANGED}
    assert names(nodes[1].inbox / "folder") == ["0"]
    cast.forget()


def serve(lab: Lab, node: object, cast: str, totals: object) -> object:
    from castray_desktop.core.protocol.nodes.agent_orders import ServeSource
    from tests.workers.agent.transfer.lab import Cast

    secret = secrets.token_hex(32)
    node.plane.carry_out(ServeSource(cast, secret, 1, BEST))  # type: ignore[attr-defined]
    return Cast(node, cast, secret, totals, BEST)  # type: ignore[arg-type]


def test_what_cannot_be_sent_fails_the_preparation(lab: Lab) -> None:
    node = lab.node("a")
    os.mkfifo(lab.files / "pipe")
    (lab.files / "x").mkdir()
    for paths, kind in (
        ([lab.files / "missing"], FailureKind.NO_SUCH_FILE),
        ([lab.files / "pipe"], FailureKind.NOT_SENDABLE),
        ([Path("/dev/null")], FailureKind.NOT_SENDABLE),
        ([Path("/")], FailureKind.NOT_SENDABLE),
        ([lab.file("x/../same", 1), lab.files / "x" / "same"], FailureKind.SAME_NAME_TWICE),
        ([], FailureKind.NOTHING_TO_SEND),
    ):
        _, report = lab.prepare(node, paths)
        assert report.state is SourceState.FAILED
        assert report.failure is not None
        assert report.failure.kind is kind


def test_what_cannot_be_sent_inside_a_folder_is_left_out_by_name(lab: Lab) -> None:
    nodes = lab.chain(1)
    folder = lab.files / "folder"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "good").write_text("x")
    cast = lab.cast(nodes[0], [folder])
    cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = cast.results()
    report = cast.finish_source()
    assert result.state is RecipientState.COMPLETED
    assert [(problem.path, problem.failure.kind) for problem in report.problems] == [
        ("folder/pipe", FailureKind.NOT_SENDABLE)
    ]
    assert report.problems[0].failure.values["what"] == "a named pipe"
    assert names(nodes[1].inbox / "folder") == ["good"]


def test_links_can_be_followed(lab: Lab) -> None:
    nodes = lab.chain(1)
    folder = lab.files / "folder"
    folder.mkdir()
    (lab.files / "blob").write_text("contents")
    (folder / "link").symlink_to("../blob")
    (folder / "loop").symlink_to(".")
    cast_id, report = lab.prepare(nodes[0], [folder], links="follow")
    cast = serve(lab, nodes[0], cast_id, report.totals)
    cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = cast.results()
    assert result.state is RecipientState.COMPLETED
    assert not (nodes[1].inbox / "folder" / "link").is_symlink()
    assert (nodes[1].inbox / "folder" / "link").read_text() == "contents"
    assert report.problem_count == 1


# --- the recipient's disk -------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(folder: Path, size: str, options: str = "") -> Iterator[Path]:
    """A tmpfs of its own. Needs root; skipped for others."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("only root can mount a small disk")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def ask(node: object, dest: Path | str, needed: int = 1, files: int = 1) -> object:
    order = CheckDestination("c", str(dest), (TopEntry("a"),), needed, files)
    return node.plane.preflight(order)  # type: ignore[attr-defined]


def test_no_room_is_known_before_the_first_byte(lab: Lab) -> None:
    nodes = lab.chain(2)
    path = lab.file("a.bin", 5 * MIB)
    with small_disk(lab.folder / "small", "2m") as disk:
        reply = ask(nodes[1], disk / "new" / "{node}", 5 * MIB)
        assert reply.failure is not None  # type: ignore[attr-defined]
        assert reply.failure.kind is FailureKind.NO_ROOM  # type: ignore[attr-defined]
        assert reply.failure.values["free"].endswith("B")  # type: ignore[attr-defined]
        cast = lab.cast(nodes[0], [path])
        cast.deliver(nodes[1], nodes[0].upstream(), disk / "new")
        cast.deliver(nodes[2], nodes[0].upstream())
        first, second = cast.results()
        assert first.failure is not None
        assert first.failure.kind is FailureKind.NO_ROOM
        assert second.state is RecipientState.COMPLETED
        assert names(disk) == []


def test_room_that_ends_on_the_way(lab: Lab) -> None:
    nodes = lab.chain(1)
    paths = [lab.file("a.bin", 4 * MIB), lab.file("b.bin", 2 * MIB)]
    with small_disk(lab.folder / "small", "8m") as disk:
        cast = lab.cast(nodes[0], paths)
        with Proxy(nodes[0].upstream(), hold_at=2 * MIB) as proxy:
            cast.deliver(nodes[1], proxy.upstream, disk / "{node}")
            assert proxy.held.wait(20)
            (disk / "filler").write_bytes(bytes(int(5.5 * MIB)))
            proxy.release()
            (result,) = cast.results()
        assert result.failure is not None
        assert result.failure.kind is FailureKind.NO_ROOM
        rest = 6 * MIB - result.content_bytes  # of both files, not of the first one alone
        assert result.failure.values["needed"] == format_bytes(rest)
        assert result.failure.values["path"].endswith(f"small/{nodes[1].name}/a.bin")
        assert names(disk) == ["filler"]


def test_a_second_cast_does_not_count_on_promised_room(lab: Lab) -> None:
    nodes = lab.chain(1)
    path = lab.file("a.bin", 6 * MIB)
    with small_disk(lab.folder / "small", "8m") as disk:
        cast = lab.cast(nodes[0], [path])
        with Proxy(nodes[0].upstream(), hold_at=100) as proxy:
            cast.deliver(nodes[1], proxy.upstream, disk)
            assert proxy.held.wait(20)
            assert ask(nodes[1], disk, 3 * MIB).failure is not None  # type: ignore[attr-defined]
            cast.cancel(nodes[1])
        nodes[1].await_end(cast.cast)
        await_true(lambda: ask(nodes[1], disk, 3 * MIB).failure is None)  # type: ignore[attr-defined]


def test_too_many_files_for_a_disk(lab: Lab) -> None:
    node = lab.node("a")
    with small_disk(lab.folder / "small", "2m", ",nr_inodes=50") as disk:
        reply = ask(node, disk, 1, 100)
        assert reply.failure.kind is FailureKind.NO_ROOM  # type: ignore[attr-defined]
        assert "files" in reply.failure.values["needed"]  # type: ignore[attr-defined]


def test_a_read_only_disk(lab: Lab) -> None:
    nodes = lab.chain(1)
    with small_disk(lab.folder / "small", "2m", ",ro") as disk:
        assert ask(nodes[1], disk / "x").failure.kind is FailureKind.NOT_WRITABLE  # type: ignore[attr-defined]
        (result,) = lab.send(nodes, [lab.file("a", 1)], disk / "x")
        assert result.failure is not None
        assert result.failure.kind is FailureKind.NOT_WRITABLE
        assert result.failure.values["reason"] == "Read-only file system"


def test_a_disk_that_does_not_count_its_room(lab: Lab) -> None:
    """Memory without a limit, and a destination that is no disk, which the first write reports."""
    nodes = lab.chain(1)
    path = lab.file("a.bin", 2 * MIB)
    with small_disk(lab.folder / "small", "0") as disk:
        assert ask(nodes[1], disk, 2 * MIB).failure is None  # type: ignore[attr-defined]
        (result,) = lab.send(nodes, [path], disk)
        assert result.state is RecipientState.COMPLETED, result
        assert (disk / "a.bin").read_bytes() == path.read_bytes()
    (result,) = lab.send(nodes, [path], Path("/proc/castray"))
    assert result.failure is not None
    assert result.failure.kind in (FailureKind.WRITE_ERROR, FailureKind.NOT_WRITABLE)
    assert result.failure.values["reason"] in ("No such file or directory", "Permission denied")


def test_a_destination_that_is_no_folder(lab: Lab) -> None:
    nodes = lab.chain(1)
    blocker = lab.file("blocker", 1)
    assert ask(nodes[1], blocker / "x").failure.kind is FailureKind.NOT_A_FOLDER  # type: ignore[attr-defined]
    assert ask(nodes[1], "relative").failure.kind is FailureKind.BAD_DESTINATION  # type: ignore[attr-defined]
    (result,) = lab.send(nodes, [lab.file("a", 1)], blocker)
    assert result.failure is not None
    assert result.failure.kind is FailureKind.NOT_A_FOLDER


def test_what_a_preflight_says(lab: Lab) -> None:
    one, two = lab.node("one"), lab.node("two")
    dest = lab.folder / "shared"
    first, second = ask(one, dest), ask(two, dest)
    assert first.storage == second.storage  # type: ignore[attr-defined]
    assert first.destination == str(dest)  # type: ignore[attr-defined]
    assert first.free_bytes > 0  # type: ignore[attr-defined]
    assert ask(one, f"{dest}/{{node}}").storage != ask(two, f"{dest}/{{node}}").storage  # type: ignore[attr-defined]
    assert not dest.exists()


def test_nodes_of_one_machine_say_that_they_share_a_disk_and_what_is_there(lab: Lab) -> None:
    one, two = (lab.node(name).plane for name in ("one", "two"))
    (lab.folder / "in" / "tree").mkdir(parents=True)
    (lab.folder / "in" / "tree" / "a").write_bytes(b"x" * 700)
    top = (TopEntry("tree", folder=True), TopEntry("missing"))
    first = one.preflight(CheckDestination("c", str(lab.folder / "in"), top, 1000, 2, count_present=True))
    second = two.preflight(CheckDestination("c", str(lab.folder / "other"), top, 1000, 2, count_present=True))
    assert first.disk == second.disk != ""
    assert first.storage != second.storage
    assert (first.present_bytes, second.present_bytes) == (700, 0)
    most = one.preflight(CheckDestination("c", str(lab.folder / "in"), top, 600, 2, count_present=True))
    assert most.present_bytes == 600


def test_what_is_there_by_name_is_no_reason_to_refuse(lab: Lab) -> None:
    plane = lab.node("one").plane
    (lab.folder / "in").mkdir()
    free = os.statvfs(lab.folder).f_bavail * os.statvfs(lab.folder).f_frsize
    with (lab.folder / "in" / "a").open("wb") as file:
        file.truncate(2 * free)  # without content it needs no space
    order = CheckDestination("c", str(lab.folder / "in"), (TopEntry("a"),), 2 * free, 2)
    assert plane.preflight(order).failure is None
    failure = plane.preflight(dataclasses.replace(order, top=(TopEntry("b"),))).failure
    assert failure is not None
    assert failure.kind is FailureKind.NO_ROOM


# --- the connection -------------------------------------------------------------------------------


def test_a_cut_line_goes_on_where_it_was(lab: Lab) -> None:
    nodes = lab.chain(1)
    path = lab.file("a.bin", 8 * MIB)
    cast = lab.cast(nodes[0], [path])
    with Proxy(nodes[0].upstream(), cut_at=4 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        (result,) = cast.results()
        assert proxy.connections == 2
    assert result.state is RecipientState.COMPLETED
    assert result.received_bytes == result.stream_bytes
    assert (nodes[1].inbox / "a.bin").read_bytes() == path.read_bytes()


def test_another_upstream_takes_over_without_sending_anything_twice(lab: Lab) -> None:
    nodes = lab.chain(2)
    path = lab.file("a.bin", 12 * MIB)
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream())
    with Proxy(nodes[1].upstream(), hold_at=5 * MIB) as proxy:
        cast.deliver(nodes[2], proxy.upstream)
        assert proxy.held.wait(20)
        had = nodes[2].await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
        cast.set_upstream(nodes[2], nodes[0].upstream(), epoch=2)
        cast.set_upstream(nodes[2], proxy.upstream, epoch=1)
        _, result = cast.results()
    assert had.stream_bytes < result.stream_bytes
    assert result.state is RecipientState.COMPLETED
    assert result.upstream == "node_0"
    assert result.epoch == 2
    assert result.received_bytes == result.stream_bytes
    assert (nodes[2].inbox / "a.bin").read_bytes() == path.read_bytes()


def test_a_dead_upstream_is_reported_and_another_one_still_helps(lab: Lab) -> None:
    nodes = lab.chain(2)
    patient = lab.node("patient", timing=PeerTiming(lost_after=0.3, grace=20))
    path = lab.file("a.bin", 6 * MIB)
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream())
    proxy = Proxy(nodes[1].upstream(), hold_at=3 * MIB)
    cast.deliver(patient, proxy.upstream)
    assert proxy.held.wait(20)
    proxy.close()
    lost = patient.await_delivery(cast.cast, lambda report: report.failure is not None)
    assert lost.state is RecipientState.CONNECTING
    assert lost.failure is not None
    assert lost.failure.kind is FailureKind.UPSTREAM_LOST
    cast.set_upstream(patient, nodes[0].upstream(), epoch=2)
    result = cast.results()[-1]
    assert result.state is RecipientState.COMPLETED
    assert result.failure is None


def test_an_upstream_that_never_comes_is_given_up(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 10)])
    with socket.create_server(("127.0.0.1", 0)) as closed:
        upstream = nodes[0].upstream()
        nowhere = type(upstream)("gone", "127.0.0.1", closed.getsockname()[1])
    cast.deliver(nodes[1], nowhere)
    result = nodes[1].await_end(cast.cast)
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UPSTREAM_LOST
    assert result.failure.values["upstream"] == "gone"
    assert not nodes[1].inbox.exists()


def test_a_relay_that_fails_tells_those_below(lab: Lab) -> None:
    nodes = lab.chain(2)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 4 * MIB)])
    with Proxy(nodes[0].upstream(), hold_at=2 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        cast.deliver(nodes[2], nodes[1].upstream())
        nodes[2].await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
        cast.cancel(nodes[1])
        assert nodes[1].await_end(cast.cast).state is RecipientState.CANCELLED
        cast.set_upstream(nodes[2], nodes[0].upstream(), epoch=2)
        assert cast.results()[-1].state is RecipientState.COMPLETED


# --- cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("local", [False, True], ids=["tcp", "local"])
def test_a_cancel_in_the_middle_leaves_nothing(lab: Lab, local: bool) -> None:
    nodes = lab.chain(2, local)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 40 * MIB)])
    with Proxy(nodes[0].upstream(), hold_at=2 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream, lab.folder / "out" / "deep" / "{node}")
        cast.deliver(nodes[2], nodes[1].upstream())
        nodes[2].await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
        assert list((lab.folder / "out").rglob("parts"))
        cast.cancel(*nodes)
        results = [node.await_end(cast.cast) for node in nodes[1:]]
    assert {result.state for result in results} == {RecipientState.CANCELLED}
    assert nodes[0].await_source(cast.cast, lambda r: r.state is SourceState.CANCELLED)
    assert not (lab.folder / "out").exists()
    assert not nodes[2].inbox.exists()
    cast.cancel(*nodes)
    cast.forget()


def test_a_cast_that_is_forgotten_on_the_way_leaves_nothing(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 8 * MIB)])
    with Proxy(nodes[0].upstream(), hold_at=2 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        nodes[1].await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
        cast.forget()
        await_true(lambda: not nodes[1].inbox.exists())


def test_a_failed_delivery_can_be_tried_again(lab: Lab) -> None:
    nodes = lab.chain(1)
    path = lab.file("a.bin", MIB)
    blocker = lab.file("blocker", 1)
    cast = lab.cast(nodes[0], [path])
    cast.deliver(nodes[1], nodes[0].upstream(), blocker)
    assert nodes[1].await_end(cast.cast).state is RecipientState.FAILED
    blocker.unlink()
    cast.deliver(nodes[1], nodes[0].upstream(), blocker)
    nodes[1].await_delivery(cast.cast, lambda report: report.state is not RecipientState.FAILED)
    assert cast.results()[0].state is RecipientState.COMPLETED
    assert (blocker / "a.bin").read_bytes() == path.read_bytes()
    cast.forget()


@pytest.mark.parametrize(
    "algorithms",
    [Algorithms("md5", BEST.file), Algorithms(BEST.piece, "crc"), Algorithms(piece_bytes=1 << 40)],
)
def test_what_a_node_cannot_compute_is_refused(lab: Lab, algorithms: Algorithms) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 1)], algorithms)
    report = nodes[0].await_source(cast.cast, lambda report: report.state is SourceState.FAILED)
    cast.deliver(nodes[1], nodes[0].upstream())
    result = nodes[1].await_end(cast.cast)
    for failure in (report.failure, result.failure):
        assert failure is not None
        assert failure.kind is FailureKind.INTERNAL


def test_the_data_port_can_be_kept_to_a_range(lab: Lab) -> None:
    port = lab.node("a").port
    with pytest.raises(OSError, match="in use"):
        lab.node("b", ports=(port, port))
    assert lab.node("c", ports=(port, port + 20)).port in range(port + 1, port + 21)


def test_orders_for_unknown_casts_do_nothing(lab: Lab) -> None:
    node = lab.node("a")
    known = lab.cast(node, [lab.file("a", 1)])
    known.cast = "unknown"
    known.cancel(node)
    known.set_upstream(node, node.upstream(), 5)
    node.plane.carry_out(ForgetCast("unknown"))
    known.recipients.append(node)
    known.cast = "unknown"
    node.plane.drain_reports()


def test_closing_in_the_middle_leaves_nothing(lab: Lab) -> None:
    nodes = lab.chain(1)
    cast = lab.cast(nodes[0], [lab.file("a.bin", 8 * MIB)])
    with Proxy(nodes[0].upstream(), hold_at=2 * MIB) as proxy:
        cast.deliver(nodes[1], proxy.upstream)
        nodes[1].await_delivery(cast.cast, lambda report: report.stream_bytes > 0)
        nodes[1].plane.close()
    assert not nodes[1].inbox.exists()


def test_without_an_upstream_a_recipient_waits_for_orders_and_serves(lab: Lab) -> None:
    nodes = [lab.node(f"node_{number}", timing=PeerTiming(lost_after=0.1, grace=0.1)) for number in range(3)]
    source, first, second = nodes
    cast = lab.cast(source, [lab.file("a", 4 * MIB)])
    cast.deliver(first, source.upstream())
    first.await_delivery(cast.cast, lambda report: report.stream_bytes == cast.totals.stream_bytes)
    cast.deliver(second, None)
    cast.set_upstream(first, None, 5)
    assert not second.ends_within(cast.cast, 0.5)
    assert second.deliveries[cast.cast].state is RecipientState.CONNECTING
    cast.set_upstream(second, first.upstream(), 6)
    assert [report.state for report in cast.results()] == [RecipientState.COMPLETED] * 2


def test_an_upstream_can_be_taken_away_and_given_back(lab: Lab) -> None:
    source, first = (lab.node(f"node_{number}", timing=PeerTiming(0.1, 0.1)) for number in range(2))
    cast = lab.cast(source, [lab.file("a", 4 * MIB)])
    with Proxy(source.upstream(), hold_at=2 * MIB) as proxy:
        cast.deliver(first, proxy.upstream)
        assert proxy.held.wait(20)
        cast.set_upstream(first, None, 2)
        proxy.close()
        assert not first.ends_within(cast.cast, 0.5)
        cast.set_upstream(first, source.upstream(), 3)
        assert [report.state for report in cast.results()] == [RecipientState.COMPLETED]


def test_links_that_would_lead_nowhere_are_counted(lab: Lab) -> None:
    top = lab.files / "top"
    (top / "deep").mkdir(parents=True)
    (top / "file").touch()
    targets = ("../file", "../../outside", "/etc/hostname", "missing", "folder/x", "..")
    for number, target in enumerate(targets):
        (top / "deep" / str(number)).symlink_to(target)
    (top / "deep" / "folder").symlink_to("/etc")
    _, report = lab.prepare(lab.node("node_0"), [top])
    assert report.totals is not None
    assert report.totals.broken_links == 4
