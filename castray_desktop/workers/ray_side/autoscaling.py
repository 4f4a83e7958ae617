"""Whether a cluster grows and shrinks by itself, as far as Ray lets us know.

Ray's first autoscaler writes a report into the head's table; of the second one, the head knows what kinds of
nodes it has started. Either may run where nothing is scaled: it only watches then.
"""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterable
from typing import Any

import ray

ASK_SECONDS = 2
_REPORT = b"__autoscaling_status"
_SECOND = {"key": b"__autoscaler_v2_enabled", "namespace": b"__autoscaler"}
_ERRORS = (ImportError, AttributeError, AssertionError, TypeError, ValueError, RuntimeError, OSError)

log = logging.getLogger("castray.driver")


def is_autoscaled(head: str) -> bool:
    """Whether the connected cluster takes nodes away on which nothing runs. Blocking.

    `head` is its address, empty where we don't reach it; of the second autoscaler, the worst is assumed then.
    """
    try:
        kv: Any = importlib.import_module("ray.experimental.internal_kv")
        if kv._internal_kv_get(**_SECOND) == b"1":
            return not head or any(_kinds_of_nodes(head))
        return has_node_types(kv._internal_kv_get(_REPORT) or b"")
    except (*_ERRORS, ray.exceptions.RayError) as error:
        log.info("Ray does not tell whether the cluster is autoscaled: %s", error)
        return False


def _kinds_of_nodes(head: str) -> Iterable[str]:
    """What the second autoscaler calls the nodes that it has started; nothing of others."""
    raylet: Any = importlib.import_module("ray._raylet")
    messages: Any = importlib.import_module("ray.core.generated.autoscaler_pb2")
    reply = messages.GetClusterStatusReply()
    reply.ParseFromString(raylet.GcsClient(address=head).get_cluster_status(timeout_s=ASK_SECONDS))
    return [str(node.ray_node_type_name) for node in reply.cluster_resource_state.node_states]


def has_node_types(report: bytes) -> bool:
    """Whether the first autoscaler's report speaks of kinds of nodes that it may start.

    One that only watches gives every node a kind of its own, `node_` with an id.
    """
    try:
        said = json.loads(report)["autoscaler_report"]
        kinds = [*said["active_nodes"], *said["node_type_mapping"].values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return any(not kind.startswith("node_") for kind in kinds)
