"""Another user with write permission replaces a folder by a link: nothing is written elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from castray_desktop.core.protocol.nodes.agent_reports import RecipientState
from castray_desktop.workers.agent.transfer.store.part_files import PartFiles
from castray_desktop.workers.agent.transfer.system import linux_calls
from tests.workers.agent.transfer.lab import Lab, Node


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder elsewhere, where nothing may change."""
    folder = tmp_path_factory.mktemp("outside")
    for name in ("sub", "parts/top/sub"):
        (folder / name).mkdir(parents=True)
    (folder / "sub" / "precious").write_text("precious")
    for path in (folder / "sub", folder):
        path.chmod(0o700)
        os.utime(path, ns=(1, 1))
    before = facts(folder)
    yield folder
    assert facts(folder) == before


def facts(folder: Path) -> dict[str, tuple[int, int, str]]:
    found = {}
    for path in (folder, *folder.rglob("*")):
        text = path.read_text() if path.is_file() else ""
        found[str(path)] = path.stat().st_mode, path.stat().st_mtime_ns, text
    return found


@pytest.fixture
def nodes(lab: Lab) -> list[Node]:
    return lab.chain(1)


@pytest.fixture
def top(lab: Lab) -> Path:
    top = lab.files / "top"
    (top / "sub").mkdir(parents=True)
    for path in (top / "sub" / "a", top / "sub" / "b"):
        path.write_text(path.name)
    (top / "sub").chmod(0o777)
    return top


class Swapper:
    """Replaces a folder by a link, once."""

    def __init__(self, place: Path, link: Path) -> None:
        self.place, self.link = place, link
        self.away = place.with_name(place.name + " was moved")

    def __call__(self) -> None:
        if not self.away.exists():
            self.place.rename(self.away)
            self.place.symlink_to(self.link)


def before_renaming(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], name: str = "", after: bool = False
) -> None:
    rename = linux_calls.rename_without_replacing

    def renamed(*args: Any) -> None:
        mine = args[0].endswith(name.encode())
        if mine and not after:
            act()
        rename(*args)
        if mine and after:
            act()

    monkeypatch.setattr(linux_calls, "rename_without_replacing", renamed)


def test_a_folder_that_is_merged_into(
    lab: Lab, nodes: list[Node], top: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub = nodes[1].inbox / "top" / "sub"
    sub.mkdir(parents=True)
    swap = Swapper(sub, outside / "sub")
    before_renaming(monkeypatch, swap, "/a")
    (result,) = lab.send(nodes, [top])
    assert result.state is RecipientState.COMPLETED
    assert sorted(path.name for path in swap.away.iterdir()) == ["a", "b"]


def test_a_file_that_is_replaced_in_it(
    lab: Lab, nodes: list[Node], top: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sub = nodes[1].inbox / "top" / "sub"
    sub.mkdir(parents=True)
    (sub / "precious").write_text("old")
    (top / "sub" / "precious").write_text("new")
    swap = Swapper(sub, outside / "sub")
    before_renaming(monkeypatch, swap, "/a")
    lab.send(nodes, [top], on_conflict="overwrite")
    assert (swap.away / "precious").read_text() == "new"


@pytest.mark.parametrize("name", ["top", "top/sub"])
def test_a_folder_that_gets_its_mode_at_the_end(
    lab: Lab, nodes: list[Node], top: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    link = outside if name == "top" else outside / "sub"
    before_renaming(monkeypatch, Swapper(nodes[1].inbox / name, link), after=True)
    (result,) = lab.send(nodes, [top])
    assert result.state is RecipientState.COMPLETED


def test_the_destination_itself(
    lab: Lab, nodes: list[Node], top: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes[1].inbox.mkdir(parents=True)
    swap = Swapper(nodes[1].inbox, outside)
    before_renaming(monkeypatch, swap)
    lab.send(nodes, [top])
    assert (swap.away / "top" / "sub" / "a").read_text() == "a"
    for path in swap.away.glob(".castray-*"):  # it could not be found by its name
        shutil.rmtree(path)


def test_the_staging_folder(
    lab: Lab, nodes: list[Node], top: Path, outside: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    make_folders = PartFiles.make_folders

    def make_and_swap(parts: PartFiles) -> None:
        make_folders(parts)
        (staging,) = nodes[1].inbox.glob(".castray-*")
        Swapper(staging, outside)()

    monkeypatch.setattr(PartFiles, "make_folders", make_and_swap)
    (result,) = lab.send(nodes, [top])
    assert result.state is RecipientState.COMPLETED
    assert (nodes[1].inbox / "top" / "sub" / "a").read_text() == "a"
    (link,) = (path for path in nodes[1].inbox.glob(".castray-*") if path.is_symlink())
    link.unlink()
    for path in nodes[1].inbox.glob(".castray-*"):
        shutil.rmtree(path)
    for record in (home / "staging").iterdir():
        record.unlink()
