"""The driver process: a child of the engine that speaks to Ray for it, and nothing else.

It reads orders from an inherited socket, one JSON message a line, and writes what comes back the same
way; stdout and stderr are its log. Ray may end a driver at any time, so it holds no state worth saving:
the engine watches it and starts another one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import logging
import os
import signal
import socket
import sys
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any, Optional, Union

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from castray_desktop.core.failures.kinds import CastRayError, Failure, FailureKind
from castray_desktop.core.protocol.nodes import agent_orders, driver_protocol, json_codec
from castray_desktop.workers.agent.node_agent import NodeAgent, actor_name
from castray_desktop.workers.driver import ray_connection
from castray_desktop.workers.driver.cluster_monitor import ClusterMonitor
from castray_desktop.workers.driver.head_probe import uses_client_server
from castray_desktop.workers.driver.ray_calls import (
    ACTOR_OPTIONS,
    RAY_ERRORS,
    MailboxServer,
    RayPeer,
    kill_actor,
    reason_of,
    result_of,
)

STOP_SECONDS = 1.5

log = logging.getLogger("castray.driver")


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
        hello: bytes = await result_of(self._actor.start.remote(self._node_id, self._certificate))
        return hello

    async def report(self) -> bytes:
        report: bytes = await result_of(self._actor.report.remote())
        return report

    async def order(self, text: bytes) -> bytes:
        try:
            answer: bytes = await result_of(self._actor.order.remote(text))
        except ray.exceptions.RayTaskError as error:
            raise OrderFailedError(reason_of(error)) from error
        return answer

    async def stop(self, keep: bool) -> None:
        await result_of(self._actor.stop.remote(keep))

    def kill(self) -> None:
        kill_actor(self._actor)


def _create_agent(order: driver_protocol.PlaceAgent, node_id: str, remote_of: Any) -> Any:
    """Create the actor; its name has the engine's id appended if another engine's agent has the
    plain name.
    """
    options: dict[str, Any] = {
        **ACTOR_OPTIONS,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
    }
    make: Any = ray.remote(NodeAgent)
    try:
        return make.options(name=actor_name(order.name), **options).remote(order, remote_of)
    except ValueError as error:  # the name is in use
        log.info("the agent of %s gets an engine-specific name: %s", order.name, error)
        return make.options(name=actor_name(order.name, order.engine), **options).remote(order, remote_of)


class LocalAgentHandle:
    """The agent of this computer if it is not a node of the cluster, with the same methods."""

    def __init__(self, order: driver_protocol.PlaceAgent) -> None:
        self._certificate = order.certificate
        self._agent = NodeAgent(order, functools.partial(RayPeer, engine=order.engine))
        self._mailbox = MailboxServer(self._agent, actor_name(order.name))

    async def start(self) -> bytes:
        hello = await self._agent.start(certificate=self._certificate)
        self._mailbox.start()
        return hello

    async def report(self) -> bytes:
        return await self._agent.report()

    async def order(self, text: bytes) -> bytes:
        try:
            return await self._agent.order(text)
        except Exception as error:
            log.exception("an order failed")
            raise OrderFailedError(reason_of(error)) from error

    async def stop(self, keep: bool) -> None:
        self._mailbox.stop()
        await self._agent.stop(keep)

    def kill(self) -> None:
        self._mailbox.kill()
        self._stopping = asyncio.ensure_future(self.stop(True))


AgentHandle = Union[ActorAgentHandle, LocalAgentHandle]


class RayDriver:
    """Places agents, forwards orders to them and their reports to the engine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._agents: dict[str, AgentHandle] = {}
        self._outside = False  # this computer is not a node of the cluster
        self._wanted: dict[str, driver_protocol.PlaceAgent] = {}
        self._creating: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._own_node = ray_connection.ClusterJoin()

    async def run(self) -> None:
        """Serve the engine until it closes the socket."""
        while True:
            line = await self._reader.readline()
            if not line:
                break
            message = json_codec.from_json(line, driver_protocol.ToDriver)
            if isinstance(message, driver_protocol.StartCluster):
                self._connect(message)
            elif isinstance(message, driver_protocol.PlaceAgent):
                self._wanted[message.name] = message
                self._spawn(self._place(message))
            elif isinstance(message, driver_protocol.RemoveAgent):
                self._remove(message)
            else:
                self._spawn(self._call(message))
        await self._stop()

    def _connect(self, order: driver_protocol.StartCluster) -> None:
        """Connect in the main thread: Ray's processes end with the thread that started them."""
        try:
            up = ray_connection.connect(
                order, self._own_node, lambda: self._send(driver_protocol.HeadAnswered())
            )
        except CastRayError as error:
            self._send(driver_protocol.ClusterFailed(error.failure))
            return
        self._outside = uses_client_server(order.target)
        self._send(up)
        look = functools.partial(ray_connection.live_nodes, order.target)
        scaled = functools.partial(ray_connection.is_autoscaled, order.target, up.address)
        self._spawn(ClusterMonitor(order.target, up, look, scaled).run(self._send))

    async def _place(self, order: driver_protocol.PlaceAgent) -> None:
        name = order.name
        if name in self._removals:  # the actor's name is free only afterwards
            await asyncio.wait([self._removals[name]])
        if self._wanted.get(name) is not order:
            return
        handle: Optional[AgentHandle] = None
        try:
            async with self._creating[name]:
                handle = await self._create(order)
                if self._wanted.get(name) is not order:  # it was removed meanwhile
                    handle.kill()
                    return
                self._agents[name] = handle
            hello = await handle.start()
        except RAY_ERRORS as error:  # any error of Ray is the reason why there is no agent
            log.exception("agent %s", name)
            if handle is not None or self._wanted.get(name) is order:
                self._lose(name, handle, error)
            return
        if self._agents.get(name) is handle:
            self._write(b'["AgentUp",{"hello":%b}]' % _body(hello))
            await self._follow(name, handle)

    async def _create(self, order: driver_protocol.PlaceAgent) -> AgentHandle:
        """Create an actor in a thread: without a head, Ray blocks until it gives up, and the loss of the head
        has to be told meanwhile.
        """
        if self._outside and not order.node_id:
            return LocalAgentHandle(order)
        create = functools.partial(ActorAgentHandle, order)
        return await asyncio.get_running_loop().run_in_executor(None, create)

    async def _follow(self, name: str, handle: AgentHandle) -> None:
        """Forward an agent's reports for as long as it lives."""
        try:
            while name in self._agents and self._agents[name] is handle:
                report = await handle.report()
                body = json.dumps(name).encode(), _body(report)
                self._write(b'["Reported",{"name":%b,"report":%b}]' % body)
        except RAY_ERRORS as error:  # an agent that can't report is lost
            self._lose(name, handle, error)

    def _lose(self, name: str, handle: Optional[AgentHandle], error: BaseException) -> None:
        """Drop a failed agent, unless a new one has its name already."""
        if self._agents.get(name) is not handle:
            return
        self._agents.pop(name, None)
        if handle is not None:
            handle.kill()  # it may still run and would keep the name
        self._send(driver_protocol.AgentLost(name, reason_of(error)))

    def _remove(self, order: driver_protocol.RemoveAgent) -> None:
        name = order.name
        self._wanted.pop(name, None)
        handle = self._agents.pop(name, None)
        if handle is not None:
            self._removals[name] = removal = self._spawn(self._end(name, handle, order.keep))
            removal.add_done_callback(lambda task: self._removed(name, task))

    def _removed(self, name: str, task: asyncio.Task[None]) -> None:
        if self._removals.get(name) is task:
            del self._removals[name]

    async def _end(self, name: str, handle: AgentHandle, keep: bool) -> None:
        try:
            await asyncio.wait_for(handle.stop(keep), STOP_SECONDS)
        except RAY_ERRORS as error:  # it is killed in any case
            log.warning("agent %s did not stop: %s", name, reason_of(error))
        handle.kill()

    async def _call(self, call: driver_protocol.AgentCall) -> None:
        handle = self._agents.get(call.agent)
        if handle is None:
            self._send(driver_protocol.AgentCallResult(call.number, error=f"no agent {call.agent}"))
            return
        try:
            answer = await handle.order(json_codec.to_json(call.order))
        except OrderFailedError as error:
            self._send(driver_protocol.AgentCallResult(call.number, error=str(error), raised=True))
            return
        except RAY_ERRORS as error:  # the engine decides what to do
            self._send(driver_protocol.AgentCallResult(call.number, error=reason_of(error)))
            return
        reply = json_codec.from_json(answer, agent_orders.OrderReply) if answer else None
        self._send(driver_protocol.AgentCallResult(call.number, reply))

    async def _stop(self) -> None:
        """Stop the agents, then leave the cluster. Bounded, since the engine would kill this process anyway.

        An engine that stops normally has cancelled its casts before. An engine that was killed may resume
        them.
        """
        stops = [asyncio.ensure_future(handle.stop(True)) for handle in self._agents.values()]
        if stops:
            await asyncio.wait(stops, timeout=STOP_SECONDS)
        for stop in stops:
            stop.cancel()
        for handle in self._agents.values():
            handle.kill()
        for task in self._tasks:
            task.cancel()
        self._own_node.end()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _send(self, message: Any) -> None:
        self._write(json_codec.to_json(message))

    def _write(self, line: bytes) -> None:
        self._writer.write(line + b"\n")


def _body(message: bytes) -> bytes:
    """The body of a message that comes as ["Name",{...}]."""
    return message[message.index(b",") + 1 : -1]


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=driver_protocol.LINE_LIMIT)
    try:
        await RayDriver(reader, writer).run()
    except ConnectionError as error:
        log.info("the engine closed the connection: %s", error)
    except Exception as error:
        log.exception("the driver failed")
        failure = Failure(FailureKind.INTERNAL, {"reason": reason_of(error)})
        writer.write(json_codec.to_json(driver_protocol.ClusterFailed(failure)) + b"\n")
    finally:
        writer.close()


def main() -> None:
    """The driver process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is handled by the engine
    connection = socket.socket(fileno=int(os.environ.pop(driver_protocol.SOCKET_VARIABLE)))
    asyncio.run(_serve(connection))
    # Interpreter shutdown would wait for Ray's threads; the engine ends Ray's processes.
    if ray.is_initialized():
        ray.shutdown()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
