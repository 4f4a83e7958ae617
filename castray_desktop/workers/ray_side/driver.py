"""The driver: a child of the engine that speaks with Ray for it, and nothing else.

It reads orders from an inherited socket, one JSON message a line, and writes what comes back the same
way; stdout and stderr are its log. Ray ends a driver as it pleases, so nothing here is worth keeping:
the engine watches it, ends it and starts another one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.ray_side import cluster, protocol
from castray_desktop.workers.ray_side.agent import NodeAgent, actor_name
from castray_desktop.workers.ray_side.membership import Membership
from castray_desktop.workers.ray_side.ray_calls import RayRemote
from castray_desktop.workers.ray_side.watching import ClusterWatch

STOP_SECONDS = 1.5

# Whatever an agent's method raises arrives as a RayError; the others come from placing it.
_RAY_ERRORS = (ray.exceptions.RayError, RuntimeError, ValueError, OSError, asyncio.TimeoutError)

log = logging.getLogger("castray.driver")


class Driver:
    """Places agents, forwards orders to them and their reports back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._agents: dict[str, Any] = {}
        self._wanted: dict[str, protocol.PlaceAgent] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._membership = Membership()

    async def run(self) -> None:
        """Serve the engine until it closes the socket."""
        while True:
            line = await self._reader.readline()
            if not line:
                break
            message = protocol.from_json(line, protocol.ToDriver)
            if isinstance(message, protocol.StartCluster):
                self._connect(message)
            elif isinstance(message, protocol.PlaceAgent):
                self._wanted[message.name] = message
                self._spawn(self._place(message))
            elif isinstance(message, protocol.RemoveAgent):
                self._take_away(message.name)
            else:
                self._spawn(self._call(message))
        await self._stop()

    def _connect(self, order: protocol.StartCluster) -> None:
        """Connect in this very thread: Ray's processes end with the thread that started them."""
        try:
            node = self._membership.join(order.target, order.temp_dir) if order.join else ""
            up = cluster.connect(order, node)
        except CastRayError as error:
            self._send(protocol.ClusterFailed(cluster.explained(error.failure)))
            return
        self._send(up)
        self._spawn(ClusterWatch(order.target, up, cluster.live_nodes).run(self._send))

    async def _place(self, order: protocol.PlaceAgent) -> None:
        name = order.name
        if name in self._removals:  # the name is free only afterwards
            await asyncio.wait([self._removals[name]])
        if self._wanted.get(name) is not order:
            return
        handle: Any = None
        try:
            handle = self._agents[name] = self._create(order)
            hello: bytes = await handle.start.remote(order.node_id)
        except _RAY_ERRORS as error:  # whatever Ray raises, it is the reason why there is no agent
            log.exception("agent %s", name)
            self._lose(name, handle, error)
            return
        if self._agents.get(name) is handle:
            self._write(b'["AgentUp",{"hello":' + _body(hello) + b"}]")
            await self._follow(name, handle)

    def _create(self, order: protocol.PlaceAgent) -> Any:
        node_id = order.node_id or ray.get_runtime_context().get_node_id()
        options: dict[str, Any] = {
            "name": actor_name(order.name),
            "num_cpus": 0,
            "max_concurrency": 1000,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
        }
        return ray.remote(NodeAgent).options(**options).remote(order, RayRemote)

    async def _follow(self, name: str, handle: Any) -> None:
        """Forward an agent's reports for as long as it lives."""
        try:
            while name in self._agents and self._agents[name] is handle:
                report: bytes = await handle.report.remote()
                self._write(
                    b'["Reported",{"name":' + protocol.text_json(name) + b',"report":' + _body(report) + b"}]"
                )
        except _RAY_ERRORS as error:  # likewise: an agent that can't report is lost
            self._lose(name, handle, error)

    def _lose(self, name: str, handle: Any, error: BaseException) -> None:
        """Part with an agent that failed, unless another one has its name already."""
        if self._agents.get(name) is not handle:
            return
        self._agents.pop(name, None)
        if handle is not None:
            _kill(handle)  # it may live on, and would keep the name
        self._send(protocol.AgentLost(name, _reason(error)))

    def _take_away(self, name: str) -> None:
        self._wanted.pop(name, None)
        handle = self._agents.pop(name, None)
        if handle is not None:
            self._removals[name] = removal = self._spawn(self._end(name, handle))
            removal.add_done_callback(lambda task: self._removed(name, task))

    def _removed(self, name: str, task: asyncio.Task[None]) -> None:
        if self._removals.get(name) is task:
            del self._removals[name]

    async def _end(self, name: str, handle: Any) -> None:
        try:
            await asyncio.wait_for(asyncio.wrap_future(handle.stop.remote().future()), STOP_SECONDS)
        except _RAY_ERRORS as error:  # it is ended in any case
            log.warning("agent %s did not stop: %s", name, _reason(error))
        _kill(handle)

    async def _call(self, call: protocol.Call) -> None:
        handle = self._agents.get(call.agent)
        if handle is None:
            self._send(protocol.Returned(call.number, error=f"no agent {call.agent}"))
            return
        try:
            answer = await handle.order.remote(protocol.to_json(call.order))
        except ray.exceptions.RayTaskError as error:
            self._send(protocol.Returned(call.number, error=_reason(error), raised=True))
            return
        except _RAY_ERRORS as error:  # the engine decides what it means
            self._send(protocol.Returned(call.number, error=_reason(error)))
            return
        reply = protocol.from_json(answer, protocol.Answers) if answer else None
        self._send(protocol.Returned(call.number, reply))

    async def _stop(self) -> None:
        """Let the agents end, then leave the cluster. Bounded: the engine would end us anyway.

        An engine that stops in order has cancelled its casts before. One that was killed may go on with them.
        """
        stops = [handle.stop.remote(True).future() for handle in self._agents.values()]
        if stops:
            await asyncio.wait([asyncio.wrap_future(stop) for stop in stops], timeout=STOP_SECONDS)
        for handle in self._agents.values():
            _kill(handle)
        for task in self._tasks:
            task.cancel()
        self._membership.leave()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _send(self, message: Any) -> None:
        self._write(protocol.to_json(message))

    def _write(self, line: bytes) -> None:
        self._writer.write(line + b"\n")


def _kill(handle: Any) -> None:
    try:
        ray.kill(handle)
    except _RAY_ERRORS as error:  # it has gone already, or Ray has
        log.warning("an agent could not be ended: %s", _reason(error))


def _body(message: bytes) -> bytes:
    """The body of a message that comes as ["Name",{...}]."""
    return message[message.index(b",") + 1 : -1]


def _reason(error: BaseException) -> str:
    """One line of what went wrong; Ray appends the trace of the remote side."""
    lines = str(error).strip().splitlines()
    return "{}: {}".format(type(error).__name__, lines[-1] if lines else "")


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=protocol.LINE_LIMIT)
    try:
        await Driver(reader, writer).run()
    except ConnectionError as error:
        log.info("the engine has gone: %s", error)
    except Exception as error:
        log.exception("the driver failed")
        failure = Failure(FailureKind.INTERNAL, {"reason": _reason(error)})
        writer.write(protocol.to_json(protocol.ClusterFailed(failure)) + b"\n")
    finally:
        writer.close()


def main() -> None:
    """The driver process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is the engine's business
    connection = socket.socket(fileno=int(os.environ.pop(protocol.SOCKET_VARIABLE)))
    asyncio.run(_serve(connection))
    # Interpreter shut-down would wait for Ray's threads; the engine ends what Ray has started.
    if ray.is_initialized():
        ray.shutdown()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
