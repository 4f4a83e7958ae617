"""Start a cluster, attach to one or join one: the only place that calls `ray.init`.

The engine prepares this process's environment (`workers.clusters.driver_process`); what is set here is
what Ray takes as arguments.

Joining is `ray start` without CPUs for tasks, as long as the driver runs. A node of an older Ray has its
files where the head has its own, at the same path: a session folder, a link to the latest session, and a
file with the cluster's address, which `ray.init()` of others would follow. They are removed at the end.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Optional

import ray

import castray_desktop
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.core.protocol.nodes.data_variables import NETWORK_VARIABLE
from castray_desktop.core.protocol.nodes.driver_protocol import CLIENT_PREFIX, OWN_TARGETS
from castray_desktop.workers.agent import network_addresses
from castray_desktop.workers.agent.node_agent import NAMESPACE, shipped_environment
from castray_desktop.workers.agent.transfer.system.digests import pack_modules
from castray_desktop.workers.driver.head_probe import (
    check_node,
    check_versions,
    head_answers,
    head_client,
    head_folders,
    is_other_grpc_server,
    token_failure,
    uses_client_server,
    version_mismatch,
)
from castray_desktop.workers.driver.ray_calls import INTERNAL_ERRORS, RAY_ERRORS

JOIN_SECONDS = 45.0
LEAVE_SECONDS = 1.0
STARTED = "Ray runtime started."
"""`ray start` prints this once the node has joined."""

RAY_PORT = 6379
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""Ray requires at least 75 MiB; no file goes through it."""

LOOPBACK = "127.0.0.1"
AUTOSCALER_SECONDS = 2

_NO_TOKEN = "AuthenticationError"
"""Ray's messages contain this if the cluster does not accept the token, or requires one."""

_V1_REPORT_KEY = b"__autoscaling_status"
_V2_ENABLED_KEY = {"key": b"__autoscaler_v2_enabled", "namespace": b"__autoscaler"}
_LATEST = "session_latest"
_ADDRESS = "ray_current_cluster"

log = logging.getLogger("castray.driver")


def connect(
    order: driver_protocol.StartCluster, own_node: ClusterJoin, answered: Callable[[], None]
) -> driver_protocol.ClusterUp:
    """Start a cluster or attach to one; blocking. Raises CastRayError with Ray's message.

    `own_node` is started if the order says that this machine joins first. `answered` is called once the
    cluster's head has answered.

    Ray blocks for minutes on a wrong address; the engine has tested the port before and ends this process in
    time.
    """
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": True,
        "configure_logging": False,
    }
    if order.target in OWN_TARGETS:
        options.update(
            address="local",
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=_ray_folder(order.temp_dir),
        )
        if order.target == driver_protocol.SHARED_TARGET:
            options["_node_ip_address"] = _open_to_others()
    else:
        if uses_client_server(order.target):
            options = {"namespace": NAMESPACE}  # the only options of Ray Client
        options["address"] = order.target
    if order.target != driver_protocol.LOCAL_TARGET:
        options["runtime_env"] = {
            "py_modules": _shipped_modules(Path(order.temp_dir)),
            "excludes": list(NOT_SHIPPED),
            "env_vars": shipped_environment(),
        }
    try:
        if order.target not in OWN_TARGETS:
            options.update(_prepare(order, own_node, answered))
        context: Any = ray.init(**options)
    except RAY_ERRORS as error:
        raise _failure(order.target, error) from error
    if uses_client_server(order.target):
        address = order.target.removeprefix(CLIENT_PREFIX)
    else:
        address = str(context.address_info["gcs_address"])
    return driver_protocol.ClusterUp(
        address=address,
        ray_version=ray.__version__,
        python_version=platform.python_version(),
        nodes=live_nodes(order.target),
        autoscaled=is_autoscaled(order.target, address),
    )


def _prepare(
    order: driver_protocol.StartCluster, own_node: ClusterJoin, answered: Callable[[], None]
) -> dict[str, str]:
    """Checks before Ray connects, which would retry for long; returns further options."""
    answers, outside = head_answers(order.target), uses_client_server(order.target)
    if answers:
        answered()
    if answers and not outside:
        check_versions(order.target)
    if order.join:
        leftovers = RayLeftovers(*head_folders(order.target), order.target)
        address = own_node.join(order.target, _ray_folder(order.temp_dir), leftovers)
        return {"_node_ip_address": address} if address else {}
    if answers and not outside:
        check_node(order.target)
    return {}


def _ray_folder(temp_dir: str) -> str:
    """The folder for Ray's files. Ray opens it to all users, so it lies in one for this user alone."""
    return os.path.join(temp_dir, driver_protocol.RAY_FOLDER)


def _open_to_others() -> str:
    """The address of a head that other machines can join, at Ray's default port if that is free. Raises
    CastRayError."""
    address = network_addresses.address_for_others(os.environ.get(NETWORK_VARIABLE, ""))
    reason = ""
    if not hasattr(ray._raylet, "AuthenticationMode"):
        reason = f"Ray {ray.__version__} does not support tokens"
    elif not address:
        reason = "this computer has no address that other machines can reach"
    if reason:
        raise CastRayError(FailureKind.NOT_SHARED, reason=reason)
    if network_addresses.is_port_free(address, RAY_PORT):
        os.environ["RAY_GCS_SERVER_PORT"] = str(RAY_PORT)
    return address


def _this_computer(target: str) -> driver_protocol.RayNode:
    """This computer as a node beside those of the cluster, with the address that reaches it."""
    host, _, _ = target.removeprefix(CLIENT_PREFIX).rpartition(":")
    address = network_addresses.address_towards(host.strip("[]")) or LOOPBACK
    return driver_protocol.RayNode("", address, socket.gethostname(), mine=True)


_NOT_ON_NODES = (
    "base",
    "casts",
    "client",
    "clusters",
    "diagnostics",
    "engine",
    "history",
    "http_api",
    "schedules",
    "sources",
)
"""Folders of `workers` that run on this computer alone."""

NOT_SHIPPED = (
    *("__pycache__", "/ui", "/cli", "/python", "/resources"),
    *(f"/workers/{folder}" for folder in _NOT_ON_NODES),
)
"""What agents don't need of the package, in the syntax of .gitignore; most of the size of a wheel."""


def _shipped_modules(temp_dir: Path) -> list[str]:
    """The modules shipped through Ray: the package and compiled modules. The nodes need no installation."""
    shipped = [str(Path(castray_desktop.__file__).parent)]
    try:
        temp_dir.mkdir(mode=0o700, exist_ok=True)
        compiled_modules = pack_modules(temp_dir)
    except OSError as error:
        log.warning("compiled modules are not shipped: %s", error)
        return shipped
    return shipped if compiled_modules is None else [*shipped, str(compiled_modules)]


def live_nodes(target: str) -> tuple[driver_protocol.RayNode, ...]:
    """The nodes that Ray considers alive, the head first; this computer last if it is not one of them."""
    outside = uses_client_server(target)
    own = None if outside else ray.get_runtime_context().get_node_id()
    nodes: list[driver_protocol.RayNode] = []
    table: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    for facts in table:
        if not facts["Alive"]:
            continue
        resources = facts["Resources"]
        nodes.append(
            driver_protocol.RayNode(
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


def join_failure(target: str, text: str) -> CastRayError:
    """The failure of `ray start` that printed this text."""
    if _NO_TOKEN in text:
        return token_failure(target)
    if (differing := _differing(text)) is not None:
        return version_mismatch(target, *differing)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return CastRayError(
        FailureKind.JOIN_FAILED, target=target, reason=lines[-1] if lines else "it has stopped"
    )


def _failure(target: str, error: BaseException) -> CastRayError:
    if any(_NO_TOKEN in f"{type(cause).__name__} {cause}" for cause in _causes(error)):
        return token_failure(target)  # Ray sometimes gives the trace as text only
    if (differing := _differing(str(error))) is not None:
        return version_mismatch(target, *differing)
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if target in OWN_TARGETS:
        return CastRayError(FailureKind.CLUSTER_START_FAILED, reason=reason, attempts=1)
    if is_other_grpc_server(target):
        return CastRayError(FailureKind.NOT_RAY, target=target)
    return CastRayError(FailureKind.CLUSTER_UNREACHABLE, target=target, reason=reason.rstrip("."))


def _causes(error: Optional[BaseException]) -> Iterator[BaseException]:
    """An error and the chain of its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def is_autoscaled(target: str, head: str) -> bool:
    """Whether the connected cluster, with its head at this address, removes idle nodes. Blocking.

    Ray's first autoscaler writes a report into the head's table; for the second one, the head knows the
    types of the nodes it has started, and Ray Client can't ask it. Either may run where nothing is scaled.
    """
    if target in OWN_TARGETS:
        return False
    try:
        kv: Any = importlib.import_module("ray.experimental.internal_kv")
        if kv._internal_kv_get(**_V2_ENABLED_KEY) == b"1":
            return uses_client_server(target) or any(_started_node_types(head))
        return has_node_types(kv._internal_kv_get(_V1_REPORT_KEY) or b"")
    except INTERNAL_ERRORS as error:
        log.info("Ray does not report whether the cluster is autoscaled: %s", error)
        return False


def _started_node_types(head: str) -> Iterable[str]:
    """Node types that the second autoscaler has started."""
    messages: Any = importlib.import_module("ray.core.generated.autoscaler_pb2")
    reply = messages.GetClusterStatusReply()
    reply.ParseFromString(head_client(head).get_cluster_status(timeout_s=AUTOSCALER_SECONDS))
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


class ClusterJoin:
    """The Ray node started on this machine. `end` stops it; if this process is killed, the engine's sweep
    does."""

    def __init__(self) -> None:
        self._process: Optional[subprocess.Popen[str]] = None
        self._reader: Optional[threading.Thread] = None
        self._leftovers: Optional[RayLeftovers] = None
        self._lines: list[str] = []
        self._news = threading.Event()

    def join(self, target: str, temp_dir: str, leftovers: Optional[RayLeftovers] = None) -> str:
        """Start the node and wait until it has joined; returns its address, empty if Ray chose it.

        `leftovers` are removed when the node ends.

        Raises CastRayError, see `join_failure`.
        """
        address = network_addresses.address_towards(
            network_addresses.without_brackets(target.rpartition(":")[0])
        )
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={target}"]
        command += ["--num-cpus=0", "--num-gpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # Older versions of Ray ignore the folder for a node and use the head's: see `RayLeftovers`.
        command += [f"--temp-dir={temp_dir}", "--disable-usage-stats", "--log-color=false", "--block"]
        command += [f"--node-ip-address={address}"] if address else []
        self._leftovers = leftovers
        os.makedirs(temp_dir, mode=0o700, exist_ok=True)
        environment = dict(os.environ, RAY_TMPDIR=temp_dir, RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S="0")
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise join_failure(target, str(error)) from error
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), name="ray start", daemon=True
        )
        self._reader.start()
        answered = self._news.wait(JOIN_SECONDS)
        if not any(STARTED in line for line in self._lines):
            self.end()
            raise join_failure(target, "\n".join(self._lines) if answered else "it took too long")
        return address

    def end(self) -> None:
        """Stop the node, if there is one. Bounded: processes that do not end in time are swept by
        the engine.
        """
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            log.warning("the Ray node of this machine has not stopped yet")
        if self._reader is not None:
            self._reader.join(LEAVE_SECONDS)
        if self._leftovers is not None:
            self._leftovers.remove()

    def _read(self, output: Any) -> None:
        """Copy its output to the log and to the waiting task. Ends with it."""
        with output:
            for line in output:
                log.info("ray start: %s", line.rstrip())
                if not self._news.is_set():
                    self._lines.append(line.rstrip())
                    if STARTED in line:
                        self._news.set()
        self._news.set()


class RayLeftovers:
    """Created before the node starts; `remove` is called after its end. Files that existed before
    are kept.
    """

    def __init__(self, folder: str, session: str, address: str) -> None:
        """`folder` and `session` are the head's (empty if unknown); `address` is its own."""
        self._folder, self._session, self._address = folder, session, address
        self._had_folder, self._had_session = os.path.lexists(folder), os.path.lexists(session)
        self._latest = _target(os.path.join(folder, _LATEST))
        self._before = _text(os.path.join(folder, _ADDRESS))

    def remove(self) -> None:
        """Does nothing if the head is on this machine or shares the folder."""
        if not self._session or self._had_session:
            return
        shutil.rmtree(self._session, ignore_errors=True)
        latest, address = os.path.join(self._folder, _LATEST), os.path.join(self._folder, _ADDRESS)
        with contextlib.suppress(OSError):
            if _target(latest) == self._session:
                os.unlink(latest)
                if self._latest is not None:
                    os.symlink(self._latest, latest)
        with contextlib.suppress(OSError):
            if _text(address) == self._address:
                if self._before is None:
                    os.unlink(address)
                else:
                    with open(address, "w") as file:
                        file.write(self._before)
        if not self._had_folder:
            with contextlib.suppress(OSError):  # another process has put something there
                os.rmdir(self._folder)


def _target(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _text(path: str) -> Optional[str]:
    try:
        with open(path) as file:
            return file.read().strip()
    except (OSError, ValueError):
        return None
