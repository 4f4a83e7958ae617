"""Added nodes are restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from castray_desktop.workers.clusters.node_inventory import AddedNode, AddedNodeStore

ONE, OTHER = AddedNode("one", "/data/one"), AddedNode("other")


def test_what_was_added_is_there_after_a_restart_in_the_same_order(tmp_path: Path) -> None:
    nodes = AddedNodeStore(tmp_path / "nodes.json")
    assert nodes.load() == ()
    nodes.save_node(ONE)
    nodes.save_node(OTHER)
    nodes.save_node(AddedNode("one", "/elsewhere"))
    again = AddedNodeStore(tmp_path / "nodes.json")
    assert again.load() == (OTHER, AddedNode("one", "/elsewhere"))
    again.remove_node("other")
    again.remove_node("nobody")
    assert [node.name for node in nodes.load()] == ["one"]
    assert (tmp_path / "nodes.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "{}", '[{"inbox": 1}]'])
def test_a_damaged_file_is_set_aside_with_a_sentence(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "nodes.json"
    file.write_text(text)
    nodes = AddedNodeStore(file)
    assert nodes.load() == ()
    nodes.save_node(ONE)
    assert nodes.load() == (ONE,)
    (aside,) = tmp_path.glob("damaged-*-nodes.json")
    assert aside.read_text() == text
    assert f"set aside as {aside}" in caplog.text
