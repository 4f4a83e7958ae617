"""Files and folders along chains of real sockets arrive byte for byte."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from castray_desktop.core.content.manifest import Manifest, decode_manifest
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.core.protocol.nodes.cast_parcel import Algorithms
from castray_desktop.workers.agent.transfer.system.digests import FILE_HASHES, PIECE_DIGESTS, file_hasher
from tests.workers.agent.transfer.lab import Lab, tree

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("local", [False, True], ids=["tcp", "local"])
@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB])
def test_a_file_arrives_at_three_nodes(lab: Lab, size: int, local: bool) -> None:
    nodes = lab.chain(3, local)
    path = lab.file("模型.bin", size)
    results = lab.send(nodes, [path])
    for node, result in zip(nodes[1:], results, strict=False):
        copy = node.inbox / "模型.bin"
        assert result.state is RecipientState.COMPLETED, result
        assert copy.read_bytes() == path.read_bytes()
        assert result.paths == (str(copy),)
        expected = file_hasher(FILE_HASHES[0])()
        expected.update(path.read_bytes())
        assert result.hash == f"{FILE_HASHES[0]}:{expected.digest().hex()}"
        assert result.content_bytes == size
        assert result.received_bytes == result.stream_bytes
        assert result.transport == ("local" if local else "direct")
        assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns


@pytest.mark.parametrize("recipients", [1, 2, 4])
def test_the_source_sends_each_byte_once(lab: Lab, recipients: int) -> None:
    nodes = lab.chain(recipients)
    lab.send(nodes, [lab.file("a.bin", 3 * MIB)])
    (report,) = nodes[0].sources.values()
    assert report.totals is not None
    assert report.sent_bytes == report.totals.stream_bytes


@pytest.mark.parametrize("piece", PIECE_DIGESTS)
@pytest.mark.parametrize("file", FILE_HASHES)
def test_every_algorithm(lab: Lab, piece: str, file: str) -> None:
    nodes = lab.chain(2)
    path = lab.file("a.bin", MIB + 7)
    results = lab.send(nodes, [path], algorithms=Algorithms(piece, file, 64 << 10))
    assert {result.state for result in results} == {RecipientState.COMPLETED}
    if file == "sha256":
        assert results[0].hash == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def make_folder(lab: Lab) -> Path:
    folder = lab.files / "数据集"
    (folder / "空文件夹").mkdir(parents=True)
    (folder / "deep" / "更深").mkdir(parents=True)
    for number in range(300):
        (folder / "deep" / f"文件 {number}.txt").write_bytes(os.urandom(number * 17))
    (folder / "deep" / "更深" / "big.bin").write_bytes(os.urandom(2 * MIB + 5))
    (folder / "empty").touch()
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "read-only").write_text("x")
    (folder / "read-only").chmod(0o444)
    (folder / "link").symlink_to("deep/更深")
    (folder / "broken").symlink_to("/nowhere/at all")
    (Path(os.fsdecode(os.fsencode(folder) + b"/not utf-8 \xff"))).write_bytes(b"y")
    os.utime(folder / "run.sh", ns=(10**18 + 1, 10**18 + 1))
    (folder / "deep").chmod(0o750)
    os.utime(folder / "deep", ns=(10**18, 10**18))
    return folder


@pytest.mark.parametrize("local", [False, True], ids=["tcp", "local"])
def test_a_folder_arrives_whole(lab: Lab, local: bool) -> None:
    nodes = lab.chain(3, local)
    folder = make_folder(lab)
    results = lab.send(nodes, [folder])
    for node, result in zip(nodes[1:], results, strict=False):
        assert result.state is RecipientState.COMPLETED, result
        assert tree(node.inbox / "数据集") == tree(folder)
        assert (node.inbox / "数据集").stat().st_mtime_ns == folder.stat().st_mtime_ns
        assert result.hash == ""


def test_several_things_at_once(lab: Lab) -> None:
    nodes = lab.chain(2)
    folder, file = make_folder(lab), lab.file("b.bin", 10)
    results = lab.send(nodes, [folder, file], exclude=("文件*",))
    for node, result in zip(nodes[1:], results, strict=False):
        assert result.paths == (str(node.inbox / "数据集"), str(node.inbox / "b.bin"))
        assert not list((node.inbox / "数据集" / "deep").glob("文件*"))
        assert (node.inbox / "数据集" / "deep" / "更深" / "big.bin").stat().st_size == 2 * MIB + 5


def test_an_empty_folder(lab: Lab) -> None:
    nodes = lab.chain(2)
    (lab.files / "nothing").mkdir()
    results = lab.send(nodes, [lab.files / "nothing"])
    assert [result.state for result in results] == [RecipientState.COMPLETED] * 2
    assert (nodes[2].inbox / "nothing").is_dir()


def test_a_link_alone_travels_as_a_link(lab: Lab) -> None:
    nodes = lab.chain(1)
    (lab.files / "link").symlink_to("elsewhere")
    (result,) = lab.send(nodes, [lab.files / "link"])
    assert result.state is RecipientState.COMPLETED
    assert str((nodes[1].inbox / "link").readlink()) == "elsewhere"


def test_several_casts_at_once(lab: Lab) -> None:
    nodes = lab.chain(2)
    paths = [lab.file(f"{number}.bin", MIB + number) for number in range(5)]
    casts = [lab.cast(nodes[0], [path]) for path in paths]
    for cast in casts:
        cast.deliver(nodes[1], nodes[0].upstream())
        cast.deliver(nodes[2], nodes[1].upstream())
    for path, cast in zip(paths, casts, strict=False):
        assert {result.state for result in cast.results()} == {RecipientState.COMPLETED}
        assert (nodes[2].inbox / path.name).read_bytes() == path.read_bytes()


def test_a_late_recipient_gets_it_from_one_that_has_committed(lab: Lab) -> None:
    nodes = lab.chain(2)
    folder = make_folder(lab)
    cast = lab.cast(nodes[0], [folder])
    cast.deliver(nodes[1], nodes[0].upstream())
    cast.results()
    nodes[0].plane.close()
    cast.deliver(nodes[2], nodes[1].upstream())
    cast.finish_source()
    assert nodes[2].await_end(cast.cast).state is RecipientState.COMPLETED
    assert tree(nodes[2].inbox / "数据集") == tree(folder)


def test_the_list_of_files_is_passed_on_before_it_is_understood(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a long list takes time, which must not add up along the chain."""
    nodes = lab.chain(3)
    all_are_at_it = threading.Barrier(3)

    def together(raw: bytes) -> Manifest:
        all_are_at_it.wait(20)
        return decode_manifest(raw)

    monkeypatch.setattr(
        "castray_desktop.workers.agent.transfer.store.receive_store.decode_manifest", together
    )
    folder = make_folder(lab)
    assert {result.state for result in lab.send(nodes, [folder])} == {RecipientState.COMPLETED}
    assert tree(nodes[3].inbox / folder.name) == tree(folder)
