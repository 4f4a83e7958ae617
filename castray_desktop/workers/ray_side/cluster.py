"""Starting and attaching: the only place that calls `ray.init`.

The engine prepares this process's environment (see `workers.driver_process`); what is set here is
what Ray takes as arguments.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import ray

import castray_desktop
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.ray_side import addresses, protocol, tokens
from castray_desktop.workers.ray_side.agent import NAMESPACE, shipped_environment
from castray_desktop.workers.ray_side.autoscaling import is_autoscaled
from castray_desktop.workers.ray_side.byte_plane import compiled

CLIENT_PREFIX = "ray://"
LOOPBACK = "127.0.0.1"

log = logging.getLogger("castray.driver")

RAY_PORT = 6379
ASK_SECONDS = 2.0
NODE_SECONDS = 2.0
"""A node that is being started on this machine, or again, is in the head's table by then."""

INIT_ERRORS = (RuntimeError, ValueError, OSError, ray.exceptions.RayError)

_ALIVE = 0  # GcsNodeInfo.GcsNodeState
ASK_HEAD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
ASK_CLIENT_SERVER = "/ray.rpc.RayletDriver/ClusterInfo"
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""The least that Ray takes is 75 MiB; no file goes through it."""


def connect(
    order: protocol.StartCluster, node: str = "", answered: Callable[[], None] = lambda: None
) -> protocol.ClusterUp:
    """Start or attach to a cluster, blocking. Raises CastRayError with what Ray says.

    `node` is the address of the one to connect through, where Ray should not choose. `answered` is called
    once the cluster's head has answered.

    A wrong address would block Ray for minutes; the engine has tried the port before, and ends us in time.
    """
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": True,
        "configure_logging": False,
    }
    if order.target in protocol.OWN_TARGETS:
        options.update(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=order.temp_dir,
        )
        if order.target == protocol.SHARED_TARGET:
            options["_node_ip_address"] = _open_to_others()
    else:
        if is_outside(order.target):
            options = {"namespace": NAMESPACE}  # Ray Client knows no others
        options["address"] = order.target
        if node:
            options["_node_ip_address"] = node
    if order.target != protocol.LOCAL_TARGET:
        options["runtime_env"] = {
            "py_modules": _shipped(Path(order.temp_dir)),
            "env_vars": shipped_environment(),
        }
    try:
        if order.target not in protocol.OWN_TARGETS and _head_answers(order.target):
            answered()
            if not (node or is_outside(order.target)):
                _check_node(order.target)
        context: Any = ray.init(**options)
    except INIT_ERRORS as error:
        raise _failure(order.target, error) from error
    outside = is_outside(order.target)
    address = order.target[len(CLIENT_PREFIX) :] if outside else str(context.address_info["gcs_address"])
    return protocol.ClusterUp(
        address=address,
        ray_version=ray.__version__,
        python_version=platform.python_version(),
        nodes=live_nodes(order.target),
        autoscaled=order.target not in protocol.OWN_TARGETS and is_autoscaled("" if outside else address),
    )


def _open_to_others() -> str:
    """Where a head that others can join listens, at Ray's usual port if that is free. Raises CastRayError."""
    address = addresses.address_for_others(os.environ.get(addresses.NETWORK_VARIABLE, ""))
    reason = ""
    if not hasattr(ray._raylet, "AuthenticationMode"):
        reason = f"Ray {ray.__version__} has no tokens"
    elif not address:
        reason = "this computer has no address that others could reach"
    if reason:
        raise CastRayError(FailureKind.NOT_SHARED, reason=reason)
    if addresses.is_free(address, RAY_PORT):
        os.environ["RAY_GCS_SERVER_PORT"] = str(RAY_PORT)
    return address


def is_outside(target: str) -> bool:
    """Whether the cluster is reached through its client server, so that this computer is no node of it."""
    return target.startswith(CLIENT_PREFIX)


def _this_computer(target: str) -> protocol.RayNode:
    """This computer as a node beside those of the cluster, with the address that leads there."""
    host, _, _ = target[len(CLIENT_PREFIX) :].rpartition(":")
    address = addresses.address_towards(host.strip("[]")) or LOOPBACK
    return protocol.RayNode("", address, socket.gethostname(), mine=True)


def _shipped(temp_dir: Path) -> list[str]:
    """What travels through Ray, since the nodes need nothing of ours: the package, and what makes it fast."""
    shipped = [str(Path(castray_desktop.__file__).parent)]
    try:
        temp_dir.mkdir(mode=0o700, exist_ok=True)
        compiled_modules = compiled.pack(temp_dir)
    except OSError as error:
        log.warning("compiled modules are not shipped: %s", error)
        return shipped
    return shipped if compiled_modules is None else [*shipped, str(compiled_modules)]


def live_nodes(target: str) -> tuple[protocol.RayNode, ...]:
    """The nodes that Ray holds for alive, the head first; this computer last where it is none of them."""
    outside = is_outside(target)
    own = None if outside else ray.get_runtime_context().get_node_id()
    nodes: list[protocol.RayNode] = []
    table: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for facts in table:
        if not facts["Alive"]:
            continue
        resources = facts["Resources"]
        nodes.append(
            protocol.RayNode(
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
    """The cluster's Ray and Python in what Ray says about versions that don't fit."""
    versions = re.search(r"Version mismatch[^\n]*\s+Ray: (\d[\w.+]*)\s+Python: (\d[\w.+]*)", text)
    return (versions.group(1), versions.group(2)) if versions else None


def explained(failure: Failure) -> Failure:
    """The failure to join, in one line; when the versions differ, that one."""
    if failure.kind is not FailureKind.JOIN_FAILED:
        return failure
    text, target = failure.values["reason"], failure.values["target"]
    if (differing := _differing(text)) is not None:
        return _other_ray(target, *differing).failure
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Failure(failure.kind, {"target": target, "reason": lines[-1] if lines else "it has ended"})


def _other_ray(target: str, ray_version: str, python_version: str) -> CastRayError:
    return CastRayError(
        FailureKind.RAY_DIFFERS,
        target=target,
        ray=ray_version,
        python=python_version,
        own_ray=ray.__version__,
        own_python=platform.python_version(),
    )


def _token_failure(target: str) -> CastRayError:
    origin = tokens.token_origin(os.environ)
    if tokens.uses_token(os.environ) and origin:
        return CastRayError(FailureKind.TOKEN_WRONG, target=target, origin=origin)
    return CastRayError(FailureKind.TOKEN_NEEDED, target=target)


def _head_answers(target: str) -> bool:
    """Whether the head does what it is asked; False where we can't know.

    Raises CastRayError where Ray's client would try again for a minute.
    """
    if not is_outside(target):
        return _ask(target, ASK_HEAD) == "OK"
    status = _ask(target[len(CLIENT_PREFIX) :], ASK_CLIENT_SERVER)
    if status == "UNAUTHENTICATED":
        raise _token_failure(target)
    if status == "UNIMPLEMENTED":
        raise CastRayError(FailureKind.NOT_RAY, target=target)
    return bool(status)


def _check_node(target: str) -> None:
    """Ray would look for its node on this machine for a minute. Raises CastRayError(NOT_A_NODE)."""
    deadline = time.monotonic() + NODE_SECONDS
    while not _has_node_here(target):
        if time.monotonic() >= deadline:
            raise CastRayError(FailureKind.NOT_A_NODE, target=target, host=target.rpartition(":")[0])
        time.sleep(NODE_SECONDS / 10)


def _has_node_here(target: str) -> bool:
    """Whether a node of the cluster is on this machine; true as well where its head does not tell us."""
    try:
        raylet: Any = importlib.import_module("ray._raylet")
        table = raylet.GcsClient(address=target).get_all_node_info(timeout=ASK_SECONDS)
        nodes = [str(node.node_manager_address) for node in table.values() if node.state == _ALIVE]
    except (ImportError, AttributeError, TypeError, *INIT_ERRORS) as error:  # Ray's inner parts may change
        log.info("%s does not tell its nodes before we are connected: %s", target, error)
        return True
    return not nodes or addresses.is_one_here(nodes)


def _ask(address: str, method: str) -> str:
    """The status that a gRPC server gives a method; empty if it has none, or we lack gRPC."""
    try:
        grpc: Any = importlib.import_module("grpc")  # Ray's client needs it as well
    except ImportError:
        return ""
    shown = tokens.read_token(os.environ) if tokens.uses_token(os.environ) else ""
    metadata = [("authorization", f"Bearer {shown}")] if shown else None
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=ASK_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _failure(target: str, error: BaseException) -> CastRayError:
    if any("AuthenticationError" in f"{type(cause).__name__} {cause}" for cause in _causes(error)):
        return _token_failure(target)  # at times Ray gives the trace as text alone
    if (differing := _differing(str(error))) is not None:
        return _other_ray(target, *differing)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if target in protocol.OWN_TARGETS:
        return CastRayError(FailureKind.CLUSTER_START_FAILED, reason=reason, attempts=1)
    if _ask(target, ASK_HEAD) == "UNIMPLEMENTED":  # it has another purpose
        return CastRayError(FailureKind.NOT_RAY, target=target)
    return CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason.rstrip("."))


def _causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    """An error, and what it was raised because of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
