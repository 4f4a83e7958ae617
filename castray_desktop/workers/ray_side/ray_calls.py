"""Calls from agent to agent through Ray, for tunnels.

What a call returns as `bytes` Ray neither pickles nor keeps: small results travel in the answer, a chunk in
the object store of either node, from where it is copied out and freed.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

import ray

from castray_desktop.workers.ray_side.agent import NAMESPACE, actor_name
from castray_desktop.workers.ray_side.tunnel import Ticket

_RAY_ERRORS = (ray.exceptions.RayError, RuntimeError, ValueError)


class RayRemote:
    """The agent of another node. Follows `tunnel.Remote`."""

    def __init__(self, node: str, engine: str = "") -> None:
        """That of the engine with this id, where several engines have agents in the cluster."""
        try:
            self._actor: Any = _find(node, engine)
        except _RAY_ERRORS as error:
            raise ConnectionError(f"Ray does not know the agent of {node}") from error

    def open(self, tunnel: str) -> Ticket:
        """Open a tunnel with this name."""
        return _Call(self._actor.open_tunnel, tunnel)

    def put(self, tunnel: str, data: bytes) -> Ticket:
        """Bytes for the other end."""
        return _Call(self._actor.put_into_tunnel, tunnel, data)

    def get(self, tunnel: str, number: int) -> Ticket:
        """The next bytes from there."""
        return _Call(self._actor.get_from_tunnel, tunnel, number)


class _Call:
    """One call. Its result is freed once it was asked for."""

    def __init__(self, method: Any, *arguments: Any) -> None:
        try:
            self._reference: Any = method.remote(*arguments)
        except _RAY_ERRORS as error:
            raise ConnectionError(str(error)) from error

    def result(self, seconds: float) -> bytes:
        """What it returned. Raises OSError, also when it takes too long."""
        reference, self._reference = self._reference, None
        try:
            # Not `ray.get`: in older Rays one that returns, in any thread, ends the fetching for all others
            # of the process, which ask again after a second (Ray's issue 54007).
            return bytes(reference.future().result(seconds) or b"")
        except concurrent.futures.TimeoutError as error:
            raise ConnectionError(f"Ray brought nothing for {seconds:g} s") from error
        except _RAY_ERRORS as error:
            lines = str(error).strip().splitlines()
            raise ConnectionError(lines[-1] if lines else type(error).__name__) from error


def _find(node: str, engine: str) -> Any:
    """The agent under its engine's own name, else under the plain one. Raises what Ray raises."""
    try:
        return ray.get_actor(actor_name(node, engine), namespace=NAMESPACE)
    except ValueError:
        return ray.get_actor(actor_name(node), namespace=NAMESPACE)
