"""Probe the head first: `ray.init` retries a hopeless address for a minute.

Also reads the head's versions, nodes and folders before Ray connects.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import Any

import ray

from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes.driver_protocol import CLIENT_PREFIX
from castray_desktop.workers.agent import network_addresses
from castray_desktop.workers.agent.transfer.peer.tls import TLS_VARIABLES, ray_certificates
from castray_desktop.workers.driver import ray_tokens
from castray_desktop.workers.driver.ray_calls import INTERNAL_ERRORS

PROBE_SECONDS = 2.0
NODE_SECONDS = 2.0
"""A node that is starting on this machine appears in the head's table within this time."""

MOST_OF_VERSION = 80
_CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_CLUSTER_INFO = "/ray.rpc.RayletDriver/ClusterInfo"
_METADATA = {"key": b"CLUSTER_METADATA", "namespace": b"cluster"}
_ALIVE = 0  # GcsNodeInfo.GcsNodeState
log = logging.getLogger("castray.driver")


def uses_client_server(target: str) -> bool:
    """Whether the cluster is reached through its client server, with this computer not being a node."""
    return target.startswith(CLIENT_PREFIX)


def head_answers(target: str) -> bool:
    """Whether the head answers; False if that is unknown.

    Raises CastRayError if Ray's client would retry for a minute without success.
    """
    if not uses_client_server(target):
        return _grpc_status(target, _CHECK_ALIVE) == "OK"
    status = _grpc_status(target.removeprefix(CLIENT_PREFIX), _CLUSTER_INFO)
    if status == "UNAUTHENTICATED":
        raise token_failure(target)
    if status == "UNIMPLEMENTED":
        raise CastRayError(FailureKind.NOT_RAY, target=target)
    return bool(status)


def is_other_grpc_server(target: str) -> bool:
    """Whether the port speaks gRPC but is not a Ray head."""
    return _grpc_status(target, _CHECK_ALIVE) == "UNIMPLEMENTED"


def check_versions(target: str) -> None:
    """Check that the cluster runs the same Ray version and Python minor version. Raises
    CastRayError(RAY_DIFFERS)."""
    try:
        told = json.loads(head_client(target).internal_kv_get(**_METADATA, timeout=PROBE_SECONDS))
        ray_version, python_version = str(told["ray_version"]), str(told["python_version"])
    except INTERNAL_ERRORS as error:
        log.info("%s does not report its versions before connecting: %s", target, error)
        return
    if ray_version != ray.__version__ or _minor(python_version) != _minor(platform.python_version()):
        raise version_mismatch(target, ray_version, python_version)


def head_folders(target: str) -> tuple[str, str]:
    """The folders of the head's files and of its session; empty if unknown."""
    try:
        head = head_client(target)
        told = [
            head.internal_kv_get(key, namespace=b"session", timeout=PROBE_SECONDS)
            for key in (b"temp_dir", b"session_dir")
        ]
        return os.fsdecode(told[0]), os.fsdecode(told[1])
    except INTERNAL_ERRORS as error:
        log.info("%s does not report its folders: %s", target, error)
        return "", ""


def check_node(target: str) -> None:
    """Check that this machine is a node of the cluster. Raises CastRayError(NOT_A_NODE)."""
    deadline = time.monotonic() + NODE_SECONDS
    while not _has_node_here(target):
        if time.monotonic() >= deadline:
            raise CastRayError(FailureKind.NOT_A_NODE, target=target, host=target.rpartition(":")[0])
        time.sleep(NODE_SECONDS / 10)


def _has_node_here(target: str) -> bool:
    """Also True if the head does not tell."""
    try:
        table = head_client(target).get_all_node_info(timeout=PROBE_SECONDS)
        nodes = [str(node.node_manager_address) for node in table.values() if node.state == _ALIVE]
    except INTERNAL_ERRORS as error:
        log.info("%s does not report its nodes before connecting: %s", target, error)
        return True
    return not nodes or network_addresses.is_any_local(nodes)


def version_mismatch(target: str, ray_version: str, python_version: str) -> CastRayError:
    """For a cluster that runs these versions, as it says."""
    return CastRayError(
        FailureKind.RAY_DIFFERS,
        target=target,
        ray=_shown(ray_version),
        python=_shown(python_version),
        own_ray=ray.__version__,
        own_python=platform.python_version(),
    )


def token_failure(target: str) -> CastRayError:
    """The failure for a cluster that requires a token."""
    origin = ray_tokens.token_origin(os.environ)
    if ray_tokens.uses_token(os.environ) and origin:
        return CastRayError(FailureKind.TOKEN_WRONG, target=target, origin=origin)
    return CastRayError(FailureKind.TOKEN_NEEDED, target=target)


def head_client(address: str) -> Any:
    """Ray's own client of a head. Its calls may raise `INTERNAL_ERRORS`."""
    raylet: Any = importlib.import_module("ray._raylet")
    return raylet.GcsClient(address=address)


def _shown(version: str) -> str:
    """As it can be shown in a terminal: a head may say anything."""
    return "".join(mark if mark.isprintable() else "?" for mark in version[:MOST_OF_VERSION])


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _grpc_status(address: str, method: str) -> str:
    """Call a method of a gRPC server and return its status; empty if there is none or gRPC is not
    installed.
    """
    try:
        grpc: Any = importlib.import_module("grpc")  # also needed by Ray's client
    except ImportError:
        return ""
    shown = ray_tokens.read_token(os.environ) if ray_tokens.uses_token(os.environ) else ""
    metadata = [("authorization", f"Bearer {shown}")] if shown else None
    with _channel(grpc, address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=PROBE_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _channel(grpc: Any, address: str) -> Any:
    """A channel as Ray itself makes it. With TLS nothing is sent before the server has shown its certificate.

    Raises CastRayError(CLUSTER_UNREACHABLE) where TLS is on and its files can't be used.
    """
    try:
        if ray_certificates(os.environ) is None:
            return grpc.insecure_channel(address)
        certificate, key, authority = (Path(os.environ[name]).read_bytes() for name in TLS_VARIABLES)
    except OSError as error:
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=address, reason=str(error)) from error
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, certificate))
