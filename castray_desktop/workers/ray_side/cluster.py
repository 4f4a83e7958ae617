"""Starting and attaching: the only place that calls `ray.init`.

The engine prepares this process's environment (see `workers.driver_process`); what is set here is
what Ray takes as arguments.
"""

from __future__ import annotations

import logging
import platform
import re
from pathlib import Path
from typing import Any, Optional

import ray

import castray_desktop
from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.ray_side import protocol
from castray_desktop.workers.ray_side.agent import NAMESPACE, shipped_environment
from castray_desktop.workers.ray_side.byte_plane import compiled

log = logging.getLogger("castray.driver")

OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""The least that Ray takes is 75 MiB; no file goes through it."""


def connect(order: protocol.StartCluster) -> protocol.ClusterUp:
    """Start or attach to a cluster, blocking. Raises CastRayError with what Ray says.

    A wrong address would block Ray for minutes; the engine has tried the port before, and ends us in time.
    """
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": True,
        "configure_logging": False,
    }
    if order.target == protocol.LOCAL_TARGET:
        options.update(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=order.temp_dir,
        )
    else:
        options["address"] = order.target
        options["runtime_env"] = {
            "py_modules": _shipped(Path(order.temp_dir)),
            "env_vars": shipped_environment(),
        }
    try:
        context: Any = ray.init(**options)
    except (RuntimeError, ConnectionError, ValueError, OSError, ray.exceptions.RayError) as error:
        raise _failure(order.target, error) from error
    return protocol.ClusterUp(
        address=context.address_info["gcs_address"],
        ray_version=ray.__version__,
        python_version=platform.python_version(),
        nodes=live_nodes(),
    )


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


def live_nodes() -> tuple[protocol.RayNode, ...]:
    """The nodes that Ray holds for alive, the head first."""
    own = ray.get_runtime_context().get_node_id()
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
                labels={str(key): str(value) for key, value in facts.get("Labels", {}).items()},
            )
        )
    return tuple(sorted(nodes, key=lambda node: (not node.head, node.hostname, node.address)))


def _differing(text: str) -> Optional[tuple[str, str]]:
    """The cluster's Ray and Python in what Ray says about versions that don't fit."""
    if not text.startswith("Version mismatch"):
        return None
    versions = re.search(r"Ray: (\S+)\s+Python: (\S+)", text)
    return (versions.group(1), versions.group(2)) if versions else None


def _failure(target: str, error: BaseException) -> CastRayError:
    if (differing := _differing(str(error))) is not None:
        ray_version, python_version = differing
        return CastRayError(
            FailureKind.RAY_DIFFERS,
            target=target,
            ray=ray_version,
            python=python_version,
            own_ray=ray.__version__,
            own_python=platform.python_version(),
        )
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if target == protocol.LOCAL_TARGET:
        return CastRayError(FailureKind.CLUSTER_START_FAILED, reason=reason, attempts=1)
    return CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason)
