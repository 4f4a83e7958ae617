"""Node names survive engines."""

from __future__ import annotations

from pathlib import Path

from castray_desktop.workers.clusters.node_inventory import MAX_CLUSTERS, NodeNameStore


def test_names_are_kept_by_cluster(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    NodeNameStore(file).save("a:1", {"gpu": ("gpu", "10.0.0.1")})
    NodeNameStore(file).save("b:1", {"gpu": ("gpu", "10.0.0.9")})
    assert NodeNameStore(file).load("a:1") == {"gpu": ("gpu", "10.0.0.1")}
    assert NodeNameStore(file).load("c:1") == {}
    NodeNameStore(file).save("a:1", {})
    assert NodeNameStore(file).load("a:1") == {}
    for number in range(MAX_CLUSTERS + 2):
        NodeNameStore(file).save(f"h{number}:1", {"gpu": ("gpu", "10.0.0.1")})
    assert NodeNameStore(file).load("b:1") == {}
    assert NodeNameStore(file).load("h1:1") == {}
    assert NodeNameStore(file).load("h2:1")


def test_a_damaged_file_counts_as_empty(tmp_path: Path) -> None:
    file = tmp_path / "names.json"
    file.write_text('{"a:1": 5}')
    memory = NodeNameStore(file)
    assert memory.load("a:1") == {}
    memory.save("a:1", {"gpu": ("gpu", "10.0.0.1")})
    assert memory.load("a:1")
