"""Parsing of Ray's reports about clusters. Starts no processes."""

from __future__ import annotations

import importlib
import json

import pytest

from castray_desktop.workers.driver.ray_connection import has_node_types, is_autoscaled

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


@pytest.mark.parametrize(
    ("kinds", "head", "autoscaled"),
    [
        (("", "worker"), "10.0.0.1:6379", True),
        (("", ""), "10.0.0.1:6379", False),  # it is only an observer
        ((), "ray://10.0.0.1:10001", True),  # reached from outside
    ],
)
def test_what_the_second_autoscaler_has_started(
    kinds: tuple[str, ...], head: str, autoscaled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    kv = importlib.import_module("ray.experimental.internal_kv")
    messages = importlib.import_module("ray.core.generated.autoscaler_pb2")
    reply = messages.GetClusterStatusReply()
    for kind in kinds:
        reply.cluster_resource_state.node_states.add(ray_node_type_name=kind)

    class Head:
        def __init__(self, address: str) -> None:
            assert address == head

        def get_cluster_status(self, timeout_s: int) -> bytes:
            serialized: bytes = reply.SerializeToString()
            return serialized

    monkeypatch.setattr(importlib.import_module("ray._raylet"), "GcsClient", Head)
    monkeypatch.setattr(kv, "_internal_kv_get", lambda key, namespace: b"1")
    assert is_autoscaled(head, head) is autoscaled


def test_nothing_is_known_where_ray_is_not_connected() -> None:
    assert is_autoscaled("10.0.0.1:6379", "10.0.0.1:6379") is False
