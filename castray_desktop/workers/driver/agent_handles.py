"""Calls to agents through Ray.

The driver calls agents by handles: actors on the cluster's nodes, and one agent in the driver's own process.
Agents call each other as `RayPeer`, for tunnels: Ray neither pickles nor caches what a call returns as
`bytes`. Small results travel in the reply, a chunk in the object store of both nodes, from where it is
copied out and freed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import functools
import logging
from typing import Any, Optional, Union

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from castray_desktop.core.protocol.nodes import driver_protocol
from castray_desktop.workers.agent.node_agent import NAMESPACE, NodeAgent, actor_name
from castray_desktop.workers.agent.transfer.peer.tunnel import (
    AgentMailbox,
    MailboxCall,
    PendingResult,
    carry_out,
)

_CALL_ERRORS = (ray.exceptions.RayError, RuntimeError, ValueError)
RAY_ERRORS = (*_CALL_ERRORS, OSError, asyncio.TimeoutError)
"""Errors of an agent's method arrive as RayError; the others come from creating the actor."""

ACTOR_OPTIONS = {"max_concurrency": 1000, "enable_task_events": False}
"""Without events: the head would keep those of the last 100,000 calls, and agents report often."""

TAKE_PAUSE_SECONDS = 1.0
NEVER_RAN = "The actor never ran"
"""Ray says so after the reason."""

log = logging.getLogger("castray.driver")


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
            lines = str(error).strip().splitlines()
            raise ConnectionError(lines[-1] if lines else type(error).__name__) from error


def _find(node: str, engine: str) -> Any:
    """Find the agent under its engine-specific name, else under the plain one. Raises Ray's errors."""
    try:
        return ray.get_actor(actor_name(node, engine), namespace=NAMESPACE)
    except ValueError:
        return ray.get_actor(actor_name(node), namespace=NAMESPACE)


class OrderFailedError(Exception):
    """The agent runs but could not carry out an order."""


class ActorAgentHandle:
    """An agent on a node of the cluster, with the methods of `NodeAgent`; each may raise one of `RAY_ERRORS`.

    `order` raises OrderFailedError for errors of the agent itself.
    """

    def __init__(self, order: driver_protocol.PlaceAgent) -> None:
        self._node_id = order.node_id or ray.get_runtime_context().get_node_id()
        self._certificate = order.certificate
        remote_of = functools.partial(RayPeer, engine=order.engine)
        # Ray keeps the arguments of constructors in the head's store, but not those of calls.
        self._actor = _create_agent(dataclasses.replace(order, certificate=None), self._node_id, remote_of)

    async def start(self) -> bytes:
        hello: bytes = await _result(self._actor.start.remote(self._node_id, self._certificate))
        return hello

    async def report(self) -> bytes:
        report: bytes = await _result(self._actor.report.remote())
        return report

    async def order(self, text: bytes) -> bytes:
        try:
            answer: bytes = await _result(self._actor.order.remote(text))
        except ray.exceptions.RayTaskError as error:
            raise OrderFailedError(reason_of(error)) from error
        return answer

    async def stop(self, keep: bool = False) -> None:
        await _result(self._actor.stop.remote(keep))

    def kill(self) -> None:
        _kill(self._actor)


class LocalAgentHandle:
    """The agent of this computer if it is not a node of the cluster, with the same methods.

    Calls of other agents come through a mailbox actor.
    """

    def __init__(self, order: driver_protocol.PlaceAgent) -> None:
        self._name = actor_name(order.name)
        self._certificate = order.certificate
        self._agent = NodeAgent(order, functools.partial(RayPeer, engine=order.engine))
        self._mailbox: Any = None
        self._serving: Optional[asyncio.Task[None]] = None
        self._replies: set[asyncio.Task[None]] = set()

    async def start(self) -> bytes:
        hello = await self._agent.start(certificate=self._certificate)
        self._serving = asyncio.ensure_future(self._serve())
        return hello

    async def report(self) -> bytes:
        return await self._agent.report()

    async def order(self, text: bytes) -> bytes:
        try:
            return await self._agent.order(text)
        except Exception as error:
            log.exception("an order failed")
            raise OrderFailedError(reason_of(error)) from error

    async def stop(self, keep: bool = False) -> None:
        if self._serving is not None:
            self._serving.cancel()
        for reply in self._replies:
            reply.cancel()
        await self._agent.stop(keep)

    def kill(self) -> None:
        if self._mailbox is not None:
            _kill(self._mailbox)
            self._mailbox = None
        self._stopping = asyncio.ensure_future(self.stop(True))

    async def _serve(self) -> None:
        """Carry out calls of other agents. Without a mailbox, they reach this agent by sockets only."""
        while True:
            try:
                if self._mailbox is None:
                    options = {"name": self._name, "num_cpus": 0, **ACTOR_OPTIONS}
                    self._mailbox = ray.remote(AgentMailbox).options(**options).remote()
                calls: list[MailboxCall] = await _result(self._mailbox.next_calls.remote())
            except RAY_ERRORS as error:
                log.warning("mailbox: %s", reason_of(error))
                self._mailbox = None
                await asyncio.sleep(TAKE_PAUSE_SECONDS)
                continue
            for call in calls:
                reply = asyncio.ensure_future(self._reply(call))
                self._replies.add(reply)
                reply.add_done_callback(self._replies.discard)

    async def _reply(self, call: MailboxCall) -> None:
        answer = await carry_out(self._agent, call)
        try:
            await _result(self._mailbox.answer.remote(*answer))
        except (*RAY_ERRORS, AttributeError) as error:  # the caller times out
            log.warning("an answer could not be delivered: %s", reason_of(error))


AgentHandle = Union[ActorAgentHandle, LocalAgentHandle]


def reason_of(error: BaseException) -> str:
    """An error in one line; Ray appends the trace of the remote side."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(NEVER_RAN)] or lines
    return "{}: {}".format(type(error).__name__, telling[-1] if telling else "")


def _create_agent(order: driver_protocol.PlaceAgent, node_id: str, remote_of: Any) -> Any:
    """Create the actor; its name has the engine's id appended if another engine's agent has the
    plain name.
    """
    options: dict[str, Any] = {
        "num_cpus": 0,
        **ACTOR_OPTIONS,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
    }
    make: Any = ray.remote(NodeAgent)
    try:
        return make.options(name=actor_name(order.name), **options).remote(order, remote_of)
    except ValueError as error:  # the name is in use
        log.info("the agent of %s gets an engine-specific name: %s", order.name, error)
        return make.options(name=actor_name(order.name, order.engine), **options).remote(order, remote_of)


async def _result(reference: Any) -> Any:
    """Await the result of a call. Ray Client's references are not awaitable."""
    if hasattr(reference, "__await__"):
        return await reference
    return await asyncio.shield(asyncio.wrap_future(reference.future()))  # nor can they be cancelled


def _kill(actor: Any) -> None:
    try:
        ray.kill(actor)
    except RAY_ERRORS as error:  # it has ended already, or Ray has
        log.warning("an agent could not be killed: %s", reason_of(error))
