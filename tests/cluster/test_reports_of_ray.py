"""What Ray says about clusters, read right. Nothing is started."""

from __future__ import annotations

import json

import pytest

from castray_desktop.workers.ray_side.cluster import has_node_types

pytestmark = pytest.mark.ray


@pytest.mark.parametrize(
    ("active", "mapping", "autoscaled"),
    [
        ({}, {"10.0.0.1": "ray.head.default"}, True),
        ({"ray.head.default": 1, "cpu": 2}, {}, True),
        ({"node_2f61": 1}, {"10.0.0.1": "node_2f61"}, False),
        ({}, {}, False),
    ],
)
def test_reports_of_autoscalers(active: dict[str, int], mapping: dict[str, str], autoscaled: bool) -> None:
    report = {"autoscaler_report": {"active_nodes": active, "node_type_mapping": mapping}}
    assert has_node_types(json.dumps(report).encode()) is autoscaled


@pytest.mark.parametrize("report", [b"", b"{", b"[]", b"{}", b'{"autoscaler_report": null}'])
def test_what_is_no_report(report: bytes) -> None:
    assert not has_node_types(report)
