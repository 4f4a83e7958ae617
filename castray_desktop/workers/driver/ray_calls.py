"""Calls of actors through Ray: the driver calls agents, and agents call each other to tunnel connections.

Ray neither pickles nor caches what a call returns as `bytes`. Small results travel in the reply, a chunk in
the object store of both nodes, from where it is copied out and freed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from typing import Any, Optional

import ray

from castray_desktop.workers.agent.node_agent import NAMESPACE, NodeAgent, actor_name
from castray_desktop.workers.agent.transfer.peer.tunnel import (
    AgentMailbox,
    MailboxCall,
    PendingResult,
    carry_out,
)

_CALL_ERRORS = (ray.exceptions.RayError, RuntimeError, ValueError)
RAY_ERRORS = (*_CALL_ERRORS, OSError, asyncio.TimeoutError)
"""Errors of a remote method arrive as RayError; the others come from connecting and from creating actors."""

INTERNAL_ERRORS = (ImportError, AttributeError, AssertionError, LookupError, TypeError, *RAY_ERRORS)
"""What Ray's internals raise, which may change between versions."""

ACTOR_OPTIONS = {"num_cpus": 0, "max_concurrency": 1000, "enable_task_events": False}
"""Without events: the head would keep those of the last 100,000 calls, and agents report often."""

RETRY_SECONDS = 1.0
NEVER_RAN = "The actor never ran"
"""Ray says so after the reason."""

log = logging.getLogger("castray.driver")


async def result_of(reference: Any) -> Any:
    """Await the result of a call. Ray Client's references are not awaitable."""
    if hasattr(reference, "__await__"):
        return await reference
    return await asyncio.shield(asyncio.wrap_future(reference.future()))  # nor can they be cancelled


def kill_actor(actor: Any) -> None:
    """End an actor; errors are logged."""
    try:
        ray.kill(actor)
    except RAY_ERRORS as error:  # it has ended already, or Ray has
        log.warning("an agent could not be killed: %s", reason_of(error))


def reason_of(error: BaseException) -> str:
    """An error in one line; one of a remote method without Ray's trace, which names its type once more."""
    if isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        error = error.cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(NEVER_RAN)] or lines
    return "{}: {}".format(type(error).__name__, telling[-1] if telling else "")


class RayPeer:
    """The agent of another node. Follows `tunnel.Remote`."""

    def __init__(self, node: str, engine: str = "") -> None:
        """`engine` selects the agent if several engines have agents in the cluster."""
        try:
            self._actor: Any = _find(node, engine)
        except _CALL_ERRORS as error:
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
        except _CALL_ERRORS as error:
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
        except _CALL_ERRORS as error:
            raise ConnectionError(reason_of(error)) from error


def _find(node: str, engine: str) -> Any:
    """Find the agent under its engine-specific name, else under the plain one. Raises Ray's errors."""
    try:
        return ray.get_actor(actor_name(node, engine), namespace=NAMESPACE)
    except ValueError:
        return ray.get_actor(actor_name(node), namespace=NAMESPACE)


class MailboxServer:
    """Carries out calls of other agents for an agent that is not in the cluster. They come through an actor.

    Without that actor, they reach the agent by sockets only.
    """

    def __init__(self, agent: NodeAgent, name: str) -> None:
        self._agent = agent
        self._name = name
        self._mailbox: Any = None
        self._serving: Optional[asyncio.Task[None]] = None
        self._replies: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Serve from now on."""
        self._serving = asyncio.ensure_future(self._serve())

    def stop(self) -> None:
        """Stop serving; the actor stays until `kill`."""
        if self._serving is not None:
            self._serving.cancel()
        for reply in self._replies:
            reply.cancel()

    def kill(self) -> None:
        """End the actor."""
        if self._mailbox is not None:
            kill_actor(self._mailbox)
            self._mailbox = None

    async def _serve(self) -> None:
        while True:
            try:
                if self._mailbox is None:
                    self._mailbox = (
                        ray.remote(AgentMailbox).options(name=self._name, **ACTOR_OPTIONS).remote()
                    )
                calls: list[MailboxCall] = await result_of(self._mailbox.next_calls.remote())
            except RAY_ERRORS as error:
                log.warning("mailbox: %s", reason_of(error))
                self._mailbox = None
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for call in calls:
                reply = asyncio.ensure_future(self._reply(call))
                self._replies.add(reply)
                reply.add_done_callback(self._replies.discard)

    async def _reply(self, call: MailboxCall) -> None:
        answer = await carry_out(self._agent, call)
        try:
            await result_of(self._mailbox.answer.remote(*answer))
        except (*RAY_ERRORS, AttributeError) as error:  # the caller times out
            log.warning("an answer could not be delivered: %s", reason_of(error))
