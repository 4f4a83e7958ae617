"""Calls from agent to agent through Ray, for tunnels. Runs in agents: shipped to the nodes.

Ray neither pickles nor caches what a call returns as `bytes`: small results travel in the reply, a chunk
in the object store of both nodes, from where it is copied out and freed.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

import ray

from castray_desktop.workers.agent.node_agent import NAMESPACE, actor_name
from castray_desktop.workers.agent.transfer.peer.tunnel import PendingResult

_RAY_ERRORS = (ray.exceptions.RayError, RuntimeError, ValueError)


class RayPeer:
    """The agent of another node. Follows `tunnel.Remote`."""

    def __init__(self, node: str, engine: str = "") -> None:
        """`engine` selects the agent if several engines have agents in the cluster."""
        try:
            self._actor: Any = _find(node, engine)
        except _RAY_ERRORS as error:
            raise ConnectionError(f"Ray does not know the agent of {node}") from error

    def open(self, tunnel: str) -> PendingResult:
        """Open a tunnel with this name."""
        return _RayCall(self._actor.open_tunnel, tunnel)

    def put(self, tunnel: str, data: bytes) -> PendingResult:
        """Send bytes to the other end."""
        return _RayCall(self._actor.put_into_tunnel, tunnel, data)

    def get(self, tunnel: str, number: int) -> PendingResult:
        """Receive the next bytes."""
        return _RayCall(self._actor.get_from_tunnel, tunnel, number)


class _RayCall:
    """One call. Its result is freed after it was read."""

    def __init__(self, method: Any, *arguments: Any) -> None:
        try:
            self._reference: Any = method.remote(*arguments)
        except _RAY_ERRORS as error:
            raise ConnectionError(str(error)) from error

    def result(self, seconds: float) -> bytes:
        """The result. Raises OSError, also when it takes too long."""
        reference, self._reference = self._reference, None
        try:
            # Not `ray.get`: in older versions of Ray, one that returns ends the fetching for all other
            # threads of the process, which retry after a second (Ray's issue 54007).
            return bytes(reference.future().result(seconds) or b"")
        except concurrent.futures.TimeoutError as error:
            raise ConnectionError(f"Ray brought nothing for {seconds:g} s") from error
        except _RAY_ERRORS as error:
            lines = str(error).strip().splitlines()
            raise ConnectionError(lines[-1] if lines else type(error).__name__) from error


def _find(node: str, engine: str) -> Any:
    """Find the agent under its engine-specific name, else under the plain one. Raises Ray's errors."""
    try:
        return ray.get_actor(actor_name(node, engine), namespace=NAMESPACE)
    except ValueError:
        return ray.get_actor(actor_name(node), namespace=NAMESPACE)
