"""What nodes are called, over engines."""

from __future__ import annotations

from pathlib import Path

from castray_desktop.workers.cluster.name_memory import MOST_CLUSTERS, NameMemory


def test_names_are_kept_by_cluster(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    NameMemory(file).keep("a:1", {"gpu": ("gpu", "10.0.0.1")})
    NameMemory(file).keep("b:1", {"gpu": ("gpu", "10.0.0.9")})
    assert NameMemory(file).load("a:1") == {"gpu": ("gpu", "10.0.0.1")}
    assert NameMemory(file).load("c:1") == {}
    NameMemory(file).keep("a:1", {})
    assert NameMemory(file).load("a:1") == {}
    for number in range(MOST_CLUSTERS + 2):
        NameMemory(file).keep(f"h{number}:1", {"gpu": ("gpu", "10.0.0.1")})
    assert NameMemory(file).load("b:1") == {}
    assert NameMemory(file).load("h1:1") == {}
    assert NameMemory(file).load("h2:1")


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text('{"a:1": 5}')
    memory = NameMemory(file)
    assert memory.load("a:1") == {}
    memory.keep("a:1", {"gpu": ("gpu", "10.0.0.1")})
    assert memory.load("a:1")
