"""What a cluster's head says before Ray connects, which would try for a minute what can't come about."""

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

from castray_desktop.core.failure import CastRayError, FailureKind
from castray_desktop.workers.ray_side import addresses, tokens
from castray_desktop.workers.ray_side.byte_plane import tls

CLIENT_PREFIX = "ray://"
ASK_SECONDS = 2.0
NODE_SECONDS = 2.0
MOST_OF_VERSION = 80
"""A node that is being started on this machine, or again, is in the head's table by then."""

RAY_ERRORS = (RuntimeError, ValueError, OSError, ray.exceptions.RayError)
"""What Ray raises where it can't connect."""

_ASK_HEAD = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_ASK_CLIENT_SERVER = "/ray.rpc.RayletDriver/ClusterInfo"
_METADATA = {"key": b"CLUSTER_METADATA", "namespace": b"cluster"}
_ALIVE = 0  # GcsNodeInfo.GcsNodeState
_INNER_ERRORS = (ImportError, AttributeError, TypeError, KeyError, *RAY_ERRORS)
"""Ray's inner parts may be others tomorrow: then Ray finds out for itself."""

log = logging.getLogger("castray.driver")


def is_outside(target: str) -> bool:
    """Whether the cluster is reached through its client server, so that this computer is no node of it."""
    return target.startswith(CLIENT_PREFIX)


def head_answers(target: str) -> bool:
    """Whether the head does what it is asked; False where we can't know.

    Raises CastRayError where Ray's client would try again for a minute.
    """
    if not is_outside(target):
        return _ask(target, _ASK_HEAD) == "OK"
    status = _ask(target[len(CLIENT_PREFIX) :], _ASK_CLIENT_SERVER)
    if status == "UNAUTHENTICATED":
        raise token_failure(target)
    if status == "UNIMPLEMENTED":
        raise CastRayError(FailureKind.NOT_RAY, target=target)
    return bool(status)


def is_no_head(target: str) -> bool:
    """Whether what listens there speaks gRPC, but for another purpose."""
    return _ask(target, _ASK_HEAD) == "UNIMPLEMENTED"


def check_versions(target: str) -> None:
    """Whether the cluster runs our own Ray and minor Python. Raises CastRayError(RAY_DIFFERS)."""
    try:
        told = json.loads(_head(target).internal_kv_get(**_METADATA, timeout=ASK_SECONDS))
        ray_version, python_version = str(told["ray_version"]), str(told["python_version"])
    except _INNER_ERRORS as error:
        log.info("%s does not tell its versions before we are connected: %s", target, error)
        return
    if ray_version != ray.__version__ or _minor(python_version) != _minor(platform.python_version()):
        raise other_ray(target, ray_version, python_version)


def head_folders(target: str) -> tuple[str, str]:
    """Where the head has its files, and those of its session; empty where it does not tell."""
    try:
        head = _head(target)
        told = [
            head.internal_kv_get(key, namespace=b"session", timeout=ASK_SECONDS)
            for key in (b"temp_dir", b"session_dir")
        ]
        return os.fsdecode(told[0]), os.fsdecode(told[1])
    except _INNER_ERRORS as error:
        log.info("%s does not tell where its files are: %s", target, error)
        return "", ""


def check_node(target: str) -> None:
    """Whether this machine is a node of the cluster. Raises CastRayError(NOT_A_NODE)."""
    deadline = time.monotonic() + NODE_SECONDS
    while not _has_node_here(target):
        if time.monotonic() >= deadline:
            raise CastRayError(FailureKind.NOT_A_NODE, target=target, host=target.rpartition(":")[0])
        time.sleep(NODE_SECONDS / 10)


def _has_node_here(target: str) -> bool:
    """True as well where the head does not tell us."""
    try:
        table = _head(target).get_all_node_info(timeout=ASK_SECONDS)
        nodes = [str(node.node_manager_address) for node in table.values() if node.state == _ALIVE]
    except _INNER_ERRORS as error:
        log.info("%s does not tell its nodes before we are connected: %s", target, error)
        return True
    return not nodes or addresses.is_one_here(nodes)


def other_ray(target: str, ray_version: str, python_version: str) -> CastRayError:
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
    """For a cluster that asks for a token."""
    origin = tokens.token_origin(os.environ)
    if tokens.uses_token(os.environ) and origin:
        return CastRayError(FailureKind.TOKEN_WRONG, target=target, origin=origin)
    return CastRayError(FailureKind.TOKEN_NEEDED, target=target)


def _head(target: str) -> Any:
    raylet: Any = importlib.import_module("ray._raylet")
    return raylet.GcsClient(address=target)


def _shown(version: str) -> str:
    """As it can be shown in a terminal: a head may say anything."""
    return "".join(mark if mark.isprintable() else "?" for mark in version[:MOST_OF_VERSION])


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _ask(address: str, method: str) -> str:
    """The status that a gRPC server gives a method; empty if it has none, or we lack gRPC."""
    try:
        grpc: Any = importlib.import_module("grpc")  # Ray's client needs it as well
    except ImportError:
        return ""
    shown = tokens.read_token(os.environ) if tokens.uses_token(os.environ) else ""
    metadata = [("authorization", f"Bearer {shown}")] if shown else None
    with _channel(grpc, address) as channel:
        try:
            channel.unary_unary(method)(b"", timeout=ASK_SECONDS, metadata=metadata)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _channel(grpc: Any, address: str) -> Any:
    """A channel as Ray itself makes it. With TLS nothing is sent before the server has shown its certificate.

    Raises CastRayError(CLUSTER_UNREACHABLE) where TLS is on and its files can't be used.
    """
    try:
        if tls.ray_certificates(os.environ) is None:
            return grpc.insecure_channel(address)
        certificate, key, authority = (Path(os.environ[name]).read_bytes() for name in tls.VARIABLES)
    except OSError as error:
        raise CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=address, reason=str(error)) from error
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(authority, key, certificate))
