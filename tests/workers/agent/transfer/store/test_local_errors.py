"""An error of a recipient's own disk fails its delivery by name at once: the upstream is not at fault."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from castray_desktop.core.failures.kinds import FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.node_context import PeerTiming
from castray_desktop.workers.agent.transfer.store import piece_store
from castray_desktop.workers.agent.transfer.store.file_hashes import FileHashes
from castray_desktop.workers.agent.transfer.store.journal import Journal
from tests.workers.agent.transfer.lab import Lab
from tests.workers.agent.transfer.proxy import Proxy

MIB = 1 << 20


def broken(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def break_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second file on."""
    note, notes = Journal.append, itertools.count()

    def noted(journal: Journal, first: int, digests: Sequence[bytes]) -> None:
        if next(notes) > 9:
            broken()
        note(journal, first, digests)

    monkeypatch.setattr(Journal, "append", noted)


def break_reading_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that the hasher reads in its own thread."""
    monkeypatch.setattr(FileHashes, "_read_back", broken)


def break_comparing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Existing files can't be read beyond their beginning."""
    read = piece_store.read_some

    def reads(fd: int, offset: int, view: memoryview) -> int:
        if offset > MIB and "/inbox/" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            broken()
        return read(fd, offset, view)

    monkeypatch.setattr(piece_store, "read_some", reads)


@pytest.mark.parametrize("local", [False, True], ids=["tcp", "local"])
@pytest.mark.parametrize("fault", [break_journal, break_reading_back, break_comparing])
def test_a_disk_error_while_files_are_compared_fails_by_name(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None], local: bool
) -> None:
    source = lab.node("source", local)
    node = lab.node("node", local, PeerTiming(lost_after=60.0, grace=60.0))
    folder = lab.files / "folder"
    folder.mkdir()
    for name in ("a", "b", "c", "d"):
        (folder / name).write_bytes(os.urandom(8 * MIB))
    node.inbox.mkdir(parents=True)
    shutil.copytree(folder, node.inbox / "folder")
    for name, paths in (("a", (3,)), ("b", (1, 5)), ("c", (2, 6)), ("d", (7,))):
        change(node.inbox / "folder" / name, paths)
    cast = lab.cast(source, [folder])
    with Proxy(source.upstream()) as proxy:
        fault(monkeypatch)
        cast.deliver(node, source.upstream() if local else proxy.upstream, on_conflict="overwrite")
        result = node.await_end(cast.cast)
        assert proxy.connections <= 1
    assert result.state is RecipientState.FAILED
    assert result.failure is not None
    assert result.failure.kind in (FailureKind.WRITE_ERROR, FailureKind.READ_BACK_FAILED)
    assert result.failure.values["reason"] == "Input/output error"
    assert result.failure.values["path"].startswith(str(node.inbox))


def change(path: Path, paths: tuple[int, ...]) -> None:
    with path.open("r+b") as file:
        for at in paths:
            file.seek(at * MIB + 12345)
            file.write(b"changed here")


def test_an_upstream_that_is_heard_and_brings_nothing_is_lost(lab: Lab) -> None:
    """A new connection does not extend the timeout: only verified bytes do."""
    source = lab.node("source")
    node = lab.node("node", timing=PeerTiming(lost_after=0.4, grace=0.4))
    cast = lab.cast(source, [lab.file("a.bin", 8 * MIB)])
    with AlwaysCut(source.upstream()) as proxy:
        cast.deliver(node, proxy.upstream)
        result = node.await_end(cast.cast)
        assert proxy.connections < 20
    assert result.failure is not None
    assert result.failure.kind is FailureKind.UPSTREAM_LOST


class AlwaysCut(Proxy):
    """Forwards the handshake and the beginning of a first piece, each time."""

    cuts = False

    def _tamper(self, data: bytearray) -> bytes:
        if self.cuts:
            self.cuts = False
            raise OSError("cut")
        self.cuts = len(data) > 4000
        return bytes(data[:3000])
