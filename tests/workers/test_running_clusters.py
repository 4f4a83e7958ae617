"""Nodes of Ray on this machine, in a pretended /proc."""

from __future__ import annotations

from pathlib import Path

from castray_desktop.workers.cluster.running_clusters import is_a_node, running_clusters


def test_a_node_of_ours_is_one_as_well(tmp_path: Path) -> None:
    assert not is_a_node(tmp_path)
    process = tmp_path / "7"
    process.mkdir()
    (process / "cmdline").write_bytes(b"/ray/raylet\0--gcs-address=10.0.0.1:6379\0--store=/tmp/castray-1/x\0")
    assert is_a_node(tmp_path)
    assert running_clusters(tmp_path) == ()  # nothing to attach to for others
