"""Starting and attaching: the only place that calls `ray.init`.

The engine prepares this process's environment (see `workers.driver_process`); what is set here is
what Ray takes as arguments.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import ray

import castray_desktop
from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.ray_side import addresses, protocol
from castray_desktop.workers.ray_side.agent import NAMESPACE, shipped_environment
from castray_desktop.workers.ray_side.asking import (
    CLIENT_PREFIX,
    RAY_ERRORS,
    check_node,
    check_versions,
    head_answers,
    is_no_head,
    is_outside,
    other_ray,
    token_failure,
)
from castray_desktop.workers.ray_side.autoscaling import is_autoscaled
from castray_desktop.workers.ray_side.byte_plane import compiled

LOOPBACK = "127.0.0.1"

_NO_TOKEN = "AuthenticationError"
"""In whatever Ray says of a cluster that does not take the token, or the lack of one."""

log = logging.getLogger("castray.driver")

RAY_PORT = 6379
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""The least that Ray takes is 75 MiB; no file goes through it."""


def connect(
    order: protocol.StartCluster,
    join: Callable[[], str] = lambda: "",
    answered: Callable[[], None] = lambda: None,
) -> protocol.ClusterUp:
    """Start or attach to a cluster, blocking. Raises CastRayError with what Ray says.

    `join` makes this machine a node, where that is ordered, and returns the address to connect through, empty
    where Ray may choose. `answered` is called once the cluster's head has answered.

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
    if order.target != protocol.LOCAL_TARGET:
        options["runtime_env"] = {
            "py_modules": _shipped(Path(order.temp_dir)),
            "env_vars": shipped_environment(),
        }
    try:
        if order.target not in protocol.OWN_TARGETS:
            options.update(_prepare(order, join, answered))
        context: Any = ray.init(**options)
    except RAY_ERRORS as error:
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


def _prepare(
    order: protocol.StartCluster, join: Callable[[], str], answered: Callable[[], None]
) -> dict[str, str]:
    """What has to be so before Ray connects, which would try for long; more options for it."""
    answers, outside = head_answers(order.target), is_outside(order.target)
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
    """The failure to join, in one line; when the versions differ or the token is not there, that one."""
    if failure.kind is not FailureKind.JOIN_FAILED:
        return failure
    text, target = failure.values["reason"], failure.values["target"]
    if _NO_TOKEN in text:
        return token_failure(target).failure
    if (differing := _differing(text)) is not None:
        return other_ray(target, *differing).failure
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return Failure(failure.kind, {"target": target, "reason": lines[-1] if lines else "it has ended"})


def _failure(target: str, error: BaseException) -> CastRayError:
    if any(_NO_TOKEN in f"{type(cause).__name__} {cause}" for cause in _causes(error)):
        return token_failure(target)  # at times Ray gives the trace as text alone
    if (differing := _differing(str(error))) is not None:
        return other_ray(target, *differing)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if target in protocol.OWN_TARGETS:
        return CastRayError(FailureKind.CLUSTER_START_FAILED, reason=reason, attempts=1)
    if is_no_head(target):
        return CastRayError(FailureKind.NOT_RAY, target=target)
    return CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason.rstrip("."))


def _causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    """An error, and what it was raised because of."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
