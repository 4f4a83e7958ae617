"""Start or attach to a cluster: the only place that calls `ray.init`; its nodes, and whether it autoscales.

The engine prepares this process's environment (`workers.clusters.driver_process`); what is set here is
what Ray takes as arguments.

Ray's first autoscaler writes a report into the head's table; for the second one, the head knows the types
of the nodes it has started. Either may run where nothing is scaled.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Optional

import ray

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_protocol
from castray_desktop.workers.agent import network_addresses
from castray_desktop.workers.agent.node_agent import NAMESPACE, shipped_environment
from castray_desktop.workers.agent.transfer.system import compiled_modules as compiled
from castray_desktop.workers.driver.head_probe import (
    CLIENT_PREFIX,
    RAY_ERRORS,
    check_node,
    check_versions,
    head_answers,
    is_other_grpc_server,
    token_failure,
    uses_client_server,
    version_mismatch,
)

AUTOSCALER_SECONDS = 2

_V1_REPORT_KEY = b"__autoscaling_status"

_V2_ENABLED_KEY = {"key": b"__autoscaler_v2_enabled", "namespace": b"__autoscaler"}

_ERRORS = (ImportError, AttributeError, AssertionError, TypeError, ValueError, RuntimeError, OSError)

log = logging.getLogger("castray.driver")


def is_autoscaled(head: str) -> bool:
    """Whether the connected cluster removes idle nodes. Blocking.

    `head` is its address, empty if it is not reachable directly; the second autoscaler is assumed to be
    active then.
    """
    try:
        kv: Any = importlib.import_module("ray.experimental.internal_kv")
        if kv._internal_kv_get(**_V2_ENABLED_KEY) == b"1":
            return not head or any(_started_node_types(head))
        return has_node_types(kv._internal_kv_get(_V1_REPORT_KEY) or b"")
    except (*_ERRORS, ray.exceptions.RayError) as error:
        log.info("Ray does not tell whether the cluster is autoscaled: %s", error)
        return False


def _started_node_types(head: str) -> Iterable[str]:
    """Node types that the second autoscaler has started."""
    raylet: Any = importlib.import_module("ray._raylet")
    messages: Any = importlib.import_module("ray.core.generated.autoscaler_pb2")
    reply = messages.GetClusterStatusReply()
    reply.ParseFromString(raylet.GcsClient(address=head).get_cluster_status(timeout_s=AUTOSCALER_SECONDS))
    return [str(node.ray_node_type_name) for node in reply.cluster_resource_state.node_states]


def has_node_types(report: bytes) -> bool:
    """Whether the first autoscaler's report names node types that it may start.

    An autoscaler that only monitors gives every node a type of its own, `node_` with an id.
    """
    try:
        said = json.loads(report)["autoscaler_report"]
        kinds = [*said["active_nodes"], *said["node_type_mapping"].values()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return any(not kind.startswith("node_") for kind in kinds)


LOOPBACK = "127.0.0.1"

_NO_TOKEN = "AuthenticationError"

"""In whatever Ray says of a cluster that does not take the token, or the lack of one."""


RAY_PORT = 6379

OBJECT_STORE_BYTES = 80 * 1024 * 1024

"""Ray requires at least 75 MiB; no file goes through it."""


def connect(
    order: agent_protocol.StartCluster,
    join: Callable[[], str] = lambda: "",
    answered: Callable[[], None] = lambda: None,
) -> agent_protocol.ClusterUp:
    """Start a cluster or attach to one; blocking. Raises CastRayError with Ray's message.

    `join` makes this machine a node if wanted and returns the address to connect through (empty: Ray
    chooses). `answered` is called once the cluster's head has answered.

    Ray blocks for minutes on a wrong address; the engine has tested the port before and ends this process in
    time.
    """
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": True,
        "configure_logging": False,
    }
    if order.target in agent_protocol.OWN_TARGETS:
        options.update(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=order.temp_dir,
        )
        if order.target == agent_protocol.SHARED_TARGET:
            options["_node_ip_address"] = _open_to_others()
    else:
        if uses_client_server(order.target):
            options = {"namespace": NAMESPACE}  # the only options of Ray Client
        options["address"] = order.target
    if order.target != agent_protocol.LOCAL_TARGET:
        options["runtime_env"] = {
            "py_modules": _shipped_modules(Path(order.temp_dir)),
            "env_vars": shipped_environment(),
        }
    try:
        if order.target not in agent_protocol.OWN_TARGETS:
            options.update(_prepare(order, join, answered))
        context: Any = ray.init(**options)
    except RAY_ERRORS as error:
        raise _failure(order.target, error) from error
    outside = uses_client_server(order.target)
    address = order.target[len(CLIENT_PREFIX) :] if outside else str(context.address_info["gcs_address"])
    return agent_protocol.ClusterUp(
        address=address,
        ray_version=ray.__version__,
        python_version=platform.python_version(),
        nodes=live_nodes(order.target),
        autoscaled=order.target not in agent_protocol.OWN_TARGETS
        and is_autoscaled("" if outside else address),
    )


def _prepare(
    order: agent_protocol.StartCluster, join: Callable[[], str], answered: Callable[[], None]
) -> dict[str, str]:
    """Checks before Ray connects, which would retry for long; returns further options."""
    answers, outside = head_answers(order.target), uses_client_server(order.target)
    if answers:
        answered()
    if answers and not outside:
        check_versions(order.target)
    if order.join:
        node = join()
        return {"_node_ip_address": node} if node else {}
    if answers and not outside:
        check_node(order.target)
    return {}


def _open_to_others() -> str:
    """The address of a head that other machines can join, at Ray's default port if that is free. Raises
    CastRayError."""
    address = network_addresses.address_for_others(os.environ.get(network_addresses.NETWORK_VARIABLE, ""))
    reason = ""
    if not hasattr(ray._raylet, "AuthenticationMode"):
        reason = f"Ray {ray.__version__} has no tokens"
    elif not address:
        reason = "this computer has no address that others could reach"
    if reason:
        raise CastRayError(FailureKind.NOT_SHARED, reason=reason)
    if network_addresses.is_port_free(address, RAY_PORT):
        os.environ["RAY_GCS_SERVER_PORT"] = str(RAY_PORT)
    return address


def _this_computer(target: str) -> agent_protocol.RayNode:
    """This computer as a node beside those of the cluster, with the address that reaches it."""
    host, _, _ = target[len(CLIENT_PREFIX) :].rpartition(":")
    address = network_addresses.address_towards(host.strip("[]")) or LOOPBACK
    return agent_protocol.RayNode("", address, socket.gethostname(), mine=True)


def _shipped_modules(temp_dir: Path) -> list[str]:
    """The modules shipped through Ray: the package and compiled modules. The nodes need no installation."""
    shipped = [str(Path(castray_desktop.__file__).parent)]
    try:
        temp_dir.mkdir(mode=0o700, exist_ok=True)
        compiled_modules = compiled.pack_modules(temp_dir)
    except OSError as error:
        log.warning("compiled modules are not shipped: %s", error)
        return shipped
    return shipped if compiled_modules is None else [*shipped, str(compiled_modules)]


def live_nodes(target: str) -> tuple[agent_protocol.RayNode, ...]:
    """The nodes that Ray considers alive, the head first; this computer last if it is not one of them."""
    outside = uses_client_server(target)
    own = None if outside else ray.get_runtime_context().get_node_id()
    nodes: list[agent_protocol.RayNode] = []
    table: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for facts in table:
        if not facts["Alive"]:
            continue
        resources = facts["Resources"]
        nodes.append(
            agent_protocol.RayNode(
                node_id=facts["NodeID"],
                address=facts["NodeManagerAddress"],
                hostname=facts["NodeManagerHostname"],
                head="node:__internal_head__" in resources,
                mine=facts["NodeID"] == own,
                cpus=float(resources.get("CPU", 0.0)),
                gpus=float(resources.get("GPU", 0.0)),
                memory=int(resources.get("memory", 0)),
                port=int(facts.get("NodeManagerPort", 0)),
                labels={str(key): str(value) for key, value in facts.get("Labels", {}).items()},
            )
        )
    ordered = sorted(nodes, key=lambda node: (not node.head, node.hostname, node.address))
    return (*ordered, _this_computer(target)) if outside else tuple(ordered)


def _differing(text: str) -> Optional[tuple[str, str]]:
    """Parse the cluster's Ray and Python versions from Ray's message about a mismatch."""
    versions = re.search(r"Version mismatch[^\n]*\s+Ray: (\d[\w.+]*)\s+Python: (\d[\w.+]*)", text)
    return (versions.group(1), versions.group(2)) if versions else None


def explain_join_failure(failure: Failure) -> Failure:
    """The failure to connect, in one line; RAY_DIFFERS if the versions differ."""
    if failure.kind is not FailureKind.JOIN_FAILED:
        return failure
    text, target = failure.values["reason"], failure.values["target"]
    if _NO_TOKEN in text:
        return token_failure(target).failure
    if (differing := _differing(text)) is not None:
        return version_mismatch(target, *differing).failure
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Failure(failure.kind, {"target": target, "reason": lines[-1] if lines else "it has ended"})


def _failure(target: str, error: BaseException) -> CastRayError:
    if any(_NO_TOKEN in f"{type(cause).__name__} {cause}" for cause in _causes(error)):
        return token_failure(target)  # Ray sometimes gives the trace as text only
    if (differing := _differing(str(error))) is not None:
        return version_mismatch(target, *differing)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if target in agent_protocol.OWN_TARGETS:
        return CastRayError(FailureKind.CLUSTER_START_FAILED, reason=reason, attempts=1)
    if is_other_grpc_server(target):
        return CastRayError(FailureKind.NOT_RAY, target=target)
    return CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason.rstrip("."))


def _causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    """An error and the chain of its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
