"""Symbolic links: named links are followed, links to the outside are resolved, inner links stay links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.content.manifest import EntryKind
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.source.scanner import Scanner, ScanResult
from tests.workers.agent.transfer.lab import Lab

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20


def model_cache(folder: Path) -> Path:
    """The layout of a model by the Hugging Face hub; returns the snapshot of a revision."""
    repository = folder / "hub" / "models--acme--tiny"
    for name in ("blobs", "refs", "snapshots/0a1b"):
        (repository / name).mkdir(parents=True)
    (repository / "refs" / "main").write_text("0a1b")
    snapshot = repository / "snapshots" / "0a1b"
    for name, size in (("config.json", 300), ("model.safetensors", 2 * MIB + 5), ("tokenizer.json", 900)):
        (repository / "blobs" / f"sha-{name}").write_bytes(os.urandom(size))
        (snapshot / name).symlink_to(f"../../blobs/sha-{name}")
    (snapshot / "onnx").mkdir()
    (snapshot / "onnx" / "config.json").symlink_to("../../../blobs/sha-config.json")
    return snapshot


def contents(folder: Path) -> dict[str, bytes]:
    """The contents of every file below a folder, following links."""
    found = {}
    for above, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(above) / name
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def scan(paths: list[Path], links: str = "auto", exclude: tuple[str, ...] = ()) -> ScanResult:
    return Scanner(links, NamePatterns(exclude), lambda: None).run(map(str, paths))


def kept(found: ScanResult) -> dict[str, str]:
    """The entries that are sent as links, and their targets at the recipients."""
    return {
        os.fsdecode(entry.path): os.fsdecode(entry.target)
        for entry in found.entries
        if entry.kind is EntryKind.SYMLINK
    }


def test_a_snapshot_of_a_model_arrives_usable(lab: Lab) -> None:
    nodes, snapshot = lab.chain(2), model_cache(lab.files)
    results = lab.send(nodes, [snapshot], links="auto")
    for node, result in zip(nodes[1:], results, strict=True):
        assert result.state is RecipientState.COMPLETED
        assert contents(node.inbox / "0a1b") == contents(snapshot)
        assert not any(path.is_symlink() for path in (node.inbox / "0a1b").rglob("*"))
        assert (
            result.content_bytes == 2 * MIB + 5 + 300 + 900
        )  # config.json once, although two links lead to it


def test_one_file_of_it_arrives_as_that_file(lab: Lab) -> None:
    nodes, path = lab.chain(1), model_cache(lab.files) / "model.safetensors"
    (result,) = lab.send(nodes, [path], links="auto")
    assert result.state is RecipientState.COMPLETED
    there = nodes[1].inbox / "model.safetensors"
    assert not there.is_symlink()
    assert there.read_bytes() == path.read_bytes()


def test_the_whole_cache_keeps_its_links(lab: Lab) -> None:
    nodes, repository = lab.chain(1), model_cache(lab.files).parents[1]
    (result,) = lab.send(nodes, [repository], links="auto")
    there = nodes[1].inbox / repository.name
    assert (there / "snapshots/0a1b/config.json").readlink() == Path("../../blobs/sha-config.json")
    assert contents(there) == contents(repository)
    assert result.content_bytes == 2 * MIB + 5 + 300 + 900 + 4


def test_a_cache_whose_blobs_are_left_out_has_files_instead_of_links(lab: Lab) -> None:
    nodes, repository = lab.chain(1), model_cache(lab.files).parents[1]
    lab_cast = lab.cast(nodes[0], [repository], exclude=("blobs",), links="auto")
    lab_cast.deliver(nodes[1], nodes[0].upstream())
    (result,) = lab_cast.results()
    assert result.state is RecipientState.COMPLETED
    assert lab_cast.totals.followed_links == 4
    there = nodes[1].inbox / repository.name / "snapshots" / "0a1b"
    assert contents(there) == contents(repository / "snapshots" / "0a1b")


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_sending_over_dead_links_replaces_them(lab: Lab, on_conflict: str) -> None:
    nodes, snapshot = lab.chain(1), model_cache(lab.files)
    lab.send(nodes, [snapshot], links="keep")
    there = nodes[1].inbox / "0a1b"
    assert not (there / "config.json").exists()
    (there / "mine").symlink_to("nowhere")
    (result,) = lab.send(nodes, [snapshot], links="auto", on_conflict=on_conflict)
    assert result.state is RecipientState.COMPLETED
    (there / "mine").unlink()
    assert contents(there) == contents(snapshot)
    again = lab.send(nodes, [snapshot], links="auto", on_conflict=on_conflict)
    assert [report.state for report in again] == [RecipientState.SKIPPED]


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_a_folder_and_a_named_file_replace_dead_links(lab: Lab, on_conflict: str) -> None:
    nodes, snapshot = lab.chain(1), model_cache(lab.files)
    nodes[1].inbox.mkdir(parents=True)
    for name in ("0a1b", "tokenizer.json"):
        (nodes[1].inbox / name).symlink_to("../gone")
    lab.send(nodes, [snapshot, snapshot / "tokenizer.json"], links="auto", on_conflict=on_conflict)
    assert contents(nodes[1].inbox / "0a1b") == contents(snapshot)
    assert (nodes[1].inbox / "tokenizer.json").read_bytes() == (snapshot / "tokenizer.json").read_bytes()
    assert sorted(path.name for path in nodes[1].inbox.iterdir()) == ["0a1b", "tokenizer.json"]


def test_a_live_link_of_the_same_name_stays(lab: Lab) -> None:
    nodes, path = lab.chain(1), lab.file("a", 100)
    nodes[1].inbox.mkdir(parents=True)
    (nodes[1].inbox / "other").write_text("mine")
    (nodes[1].inbox / "a").symlink_to("other")
    lab.send(nodes, [path], links="auto")
    assert (nodes[1].inbox / "a").readlink() == Path("other")
    assert (nodes[1].inbox / "a (2)").read_bytes() == path.read_bytes()


def test_counts_of_links(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "file").write_text("x")
    (tmp_path / "outside").write_text("y")
    (top / "inside").symlink_to("file")
    (top / "out").symlink_to("../outside")
    (top / "out too").symlink_to(tmp_path / "outside")
    (top / "dead").symlink_to("missing")
    (top / "dead outside").symlink_to("../missing")
    found = scan([top])
    assert kept(found) == {
        "top/inside": "file",
        "top/dead": "missing",
        "top/dead outside": "../missing",
    }
    totals = found.totals
    assert (totals.followed_links, totals.kept_links, totals.broken_links) == (2, 3, 2)
    assert totals.broken_names == ("top/dead", "top/dead outside")
    assert totals.content_bytes == 2  # "outside" once


def test_links_within_the_parcel_stay_links_however_they_are_written(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "file").write_text("x")
    (top / "a" / "b" / "up").symlink_to("../file")
    (top / "a" / "b" / "absolute").symlink_to(top / "a" / "file")
    (top / "a" / "b" / "around").symlink_to("../../../top/a/file")
    (top / "a" / "b" / "above").symlink_to("..")
    (top / "a" / "by link").symlink_to("b/up")
    (top / "whole").symlink_to(".")
    assert kept(scan([top])) == {
        "top/a/b/up": "../file",
        "top/a/b/absolute": "../file",
        "top/a/b/around": "../file",
        "top/a/b/above": "..",
        "top/a/by link": "b/up",
        "top/whole": ".",
    }


def test_links_from_one_chosen_folder_to_another(tmp_path: Path) -> None:
    for name in ("p/one", "q/two", "p/two"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "p/one/other").symlink_to("../two/file")
    beside = scan([tmp_path / "p/one", tmp_path / "p/two"])
    assert kept(beside) == {"one/other": "../two/file"}
    elsewhere = scan([tmp_path / "p/one", tmp_path / "q/two"])  # another folder with that name
    assert kept(elsewhere) == {}
    assert elsewhere.followed == {b"one/other": os.fsencode(tmp_path / "p/two/file")}


def test_a_folder_behind_a_link_is_sent_with_the_links_in_it(tmp_path: Path) -> None:
    top, outside = tmp_path / "top", tmp_path / "outside"
    top.mkdir()
    (outside / "deep").mkdir(parents=True)
    (outside / "data").write_text("x")
    (outside / "deep" / "near").symlink_to("../data")
    (outside / "deep" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_text("y")
    (top / "link").symlink_to("../outside")
    (top / "through").symlink_to("link/data")
    (top / "twice").symlink_to("../outside")
    found = scan([top])
    assert kept(found) == {
        "top/link/deep/near": "../data",
        "top/through": "link/data",
        "top/twice/deep/near": "../data",
    }
    assert (found.files, found.size) == (2, 2)
    assert found.local_path(b"top/link/deep/far") == os.fsencode(tmp_path / "elsewhere")
    assert found.local_path(b"top/link/data") == os.fsencode(outside / "data")
    assert found.named(b"top/link/data") == os.fsencode(top / "link" / "data")


def test_a_link_to_a_folder_that_the_parcel_lies_in_is_not_followed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "root").symlink_to("/")
    (top / "above").symlink_to("..")
    assert kept(scan([top])) == {"top/above": "..", "top/root": "/"}


def test_a_named_link_that_leads_nowhere_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "dead").symlink_to("missing")
    (tmp_path / "loop").symlink_to("loop")
    for name, target in (("dead", "missing"), ("loop", "loop")):
        with pytest.raises(CastRayError) as caught:
            scan([tmp_path / name])
        assert caught.value.failure.kind is FailureKind.DANGLING_LINK
        assert caught.value.failure.values == {"path": str(tmp_path / name), "target": target}
    assert kept(scan([tmp_path / "dead"], "keep")) == {"dead": "missing"}


def test_a_named_link_to_a_folder_is_that_folder(lab: Lab) -> None:
    nodes, snapshot = lab.chain(1), model_cache(lab.files)
    (lab.files / "latest").symlink_to(snapshot)
    (result,) = lab.send(nodes, [lab.files / "latest"], links="auto")
    assert result.paths == (str(nodes[1].inbox / "latest"),)
    assert contents(nodes[1].inbox / "latest") == contents(snapshot)


def test_keep_and_follow_links(tmp_path: Path) -> None:
    snapshot = model_cache(tmp_path)
    assert len(kept(scan([snapshot], "keep"))) == 4
    (snapshot / "same").symlink_to("config.json")
    (snapshot / "dead").symlink_to("missing")
    found = scan([snapshot], "follow")
    assert kept(found) == {}
    assert found.size == 2 * MIB + 5 + 3 * 300 + 900  # separate files
    assert [(item.path, item.failure.kind) for item in found.problems] == [
        ("0a1b/dead", FailureKind.DANGLING_LINK)
    ]


def test_folders_behind_links_can_be_left_out(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("x")
    (top / "link").symlink_to("../outside")
    assert [entry.path for entry in scan([top], exclude=("link/",)).entries] == [b"top"]
    with pytest.raises(CastRayError) as caught:
        scan([top / "link"], exclude=("link/",))
    assert caught.value.failure.kind is FailureKind.NOTHING_TO_SEND


def test_folders_without_anything_that_is_sent_are_left_out(tmp_path: Path) -> None:
    top = tmp_path / "top"
    for name in ("a.bin", "a.txt", "deep/b.bin", "deep/none/c.txt", "none/d.txt", "old/e.bin"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"x")
    (top / "empty").mkdir()
    patterns = NamePatterns(("old/",), ("*.bin",))
    found = Scanner("auto", patterns, lambda: None).run([str(top)])
    assert [entry.path for entry in found.entries] == [b"top", b"top/a.bin", b"top/deep", b"top/deep/b.bin"]
    assert len(found.others) == 2
    assert not found.reusable
    with pytest.raises(CastRayError, match="nothing_to_send"):
        Scanner("auto", NamePatterns((), ("*.iso",)), lambda: None).run([str(top), str(top / "a.txt")])
