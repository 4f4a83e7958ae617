"""Files with several names: their bytes are sent once, and they are one file at a recipient too."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from castray_desktop.core.content.file_names import NamePatterns
from castray_desktop.core.content.manifest import EntryKind
from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.source.scanner import Scanner
from tests.workers.agent.transfer.lab import Lab, tree

pytestmark = pytest.mark.timeout(60)
MIB = 1 << 20


def make_tree(lab: Lab) -> Path:
    top = lab.files / "top"
    (top / "deep").mkdir(parents=True)
    (top / "deep" / "large").write_bytes(os.urandom(3 * MIB))
    (top / "deep" / "small").write_bytes(b"small")
    (top / "deep" / "small").chmod(0o640)
    (top / "empty").touch()
    for first, other in (("deep/large", "z large"), ("deep/small", "a small"), ("empty", "deep/empty")):
        (top / other).hardlink_to(top / first)
    (top / "deep" / "outside").hardlink_to(lab.file("outside", 7))
    return top


def groups(folder: Path) -> set[frozenset[str]]:
    """The names of each file."""
    found: dict[int, set[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file():
            found.setdefault(path.stat().st_ino, set()).add(str(path.relative_to(folder)))
    return {frozenset(names) for names in found.values()}


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite", "rename"])
def test_they_are_sent_once_and_are_one_file_there(lab: Lab, on_conflict: str) -> None:
    nodes, top = lab.chain(2), make_tree(lab)
    results = lab.send(nodes, [top], on_conflict=on_conflict)
    for node, result in zip(nodes[1:], results, strict=True):
        assert result.state is RecipientState.COMPLETED
        assert 3 * MIB < result.content_bytes < 3 * MIB + 100
        assert tree(node.inbox / "top") == tree(top)
        assert groups(node.inbox / "top") == groups(top)


def test_names_that_are_chosen_themselves(lab: Lab) -> None:
    first, second = lab.file("b", 100), lab.files / "a"
    second.hardlink_to(first)
    nodes = lab.chain(1)
    (result,) = lab.send(nodes, [first, second])
    assert result.state is RecipientState.COMPLETED
    assert [Path(path).name for path in result.paths] == ["b", "a"]
    assert groups(nodes[1].inbox) == {frozenset({"a", "b"})}


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_a_second_cast_sends_nothing(lab: Lab, on_conflict: str) -> None:
    nodes, top = lab.chain(1), make_tree(lab)
    lab.send(nodes, [top])
    (result,) = lab.send(nodes, [top], on_conflict=on_conflict)
    assert result.state is RecipientState.SKIPPED
    assert tree(nodes[1].inbox / "top") == tree(top)
    assert groups(nodes[1].inbox / "top") == groups(top)


@pytest.mark.parametrize("on_conflict", ["skip", "overwrite"])
def test_a_name_that_is_taken_by_another_file(lab: Lab, on_conflict: str) -> None:
    nodes, top = lab.chain(1), make_tree(lab)
    there = nodes[1].inbox / "top"
    (there / "deep").mkdir(parents=True)
    (there / "z large").write_bytes(b"mine")
    (there / "deep" / "small").write_bytes(b"SMALL")
    lab.send(nodes, [top], on_conflict=on_conflict)
    if on_conflict == "overwrite":
        assert groups(there) == groups(top)
        return
    assert (there / "z large").read_bytes() == b"mine"
    assert (there / "deep" / "small").read_bytes() == b"SMALL"
    assert frozenset({"deep/large", "z large (2)"}) in groups(there)
    assert frozenset({"deep/small (2)", "a small"}) in groups(there)
    assert (there / "a small").read_bytes() == b"small"


def test_where_there_are_no_such_names_they_are_copies(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes, top = lab.chain(1), make_tree(lab)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    lab.send(nodes, [top])
    assert tree(nodes[1].inbox / "top") == tree(top)
    assert all(len(names) == 1 for names in groups(nodes[1].inbox / "top"))


def test_if_the_first_name_is_left_out_the_next_one_is_sent(lab: Lab) -> None:
    top = make_tree(lab)
    scan = Scanner("keep", NamePatterns(("a small",)), lambda: None).run([str(top)])
    kinds = {entry.path: entry.kind for entry in scan.entries}
    assert kinds[b"top/deep/small"] is EntryKind.FILE
    assert kinds[b"top/z large"] is EntryKind.HARDLINK
