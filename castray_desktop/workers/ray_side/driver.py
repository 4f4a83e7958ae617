"""The driver: a child of the engine that speaks with Ray for it, and nothing else.

It reads orders from an inherited socket, one JSON message a line, and writes what comes back the same
way; stdout and stderr are its log. Ray ends a driver as it pleases, so nothing here is worth keeping:
the engine watches it, ends it and starts another one.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from typing import Any, Optional

import ray

from castray_desktop.core.failure import CastRayError, Failure, FailureKind
from castray_desktop.workers.ray_side import cluster, protocol
from castray_desktop.workers.ray_side.asking import head_folders, is_outside
from castray_desktop.workers.ray_side.autoscaling import is_autoscaled
from castray_desktop.workers.ray_side.handles import (
    RAY_ERRORS,
    ActorHandle,
    AgentHandle,
    OrderFailed,
    OwnHandle,
    reason_of,
)
from castray_desktop.workers.ray_side.membership import Membership
from castray_desktop.workers.ray_side.traces import Traces
from castray_desktop.workers.ray_side.watching import ClusterWatch

STOP_SECONDS = 1.5

log = logging.getLogger("castray.driver")


class Driver:
    """Places agents, forwards orders to them and their reports back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._agents: dict[str, AgentHandle] = {}
        self._outside = False  # this computer is no node of the cluster
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
            up = cluster.connect(
                order, lambda: self._join(order), lambda: self._send(protocol.HeadAnswered())
            )
        except CastRayError as error:
            self._send(protocol.ClusterFailed(cluster.explained(error.failure)))
            return
        self._outside = is_outside(order.target)
        self._send(up)
        look = functools.partial(cluster.live_nodes, order.target)
        scaled = functools.partial(is_autoscaled, "" if self._outside else up.address)
        self._spawn(ClusterWatch(order.target, up, look, scaled).run(self._send))

    def _join(self, order: protocol.StartCluster) -> str:
        traces = Traces(*head_folders(order.target), order.target)
        return self._membership.join(order.target, order.temp_dir, traces)

    async def _place(self, order: protocol.PlaceAgent) -> None:
        name = order.name
        if name in self._removals:  # the name is free only afterwards
            await asyncio.wait([self._removals[name]])
        if self._wanted.get(name) is not order:
            return
        handle: Optional[AgentHandle] = None
        try:
            handle = self._agents[name] = self._create(order)
            hello = await handle.start()
        except RAY_ERRORS as error:  # whatever Ray raises, it is the reason why there is no agent
            log.exception("agent %s", name)
            self._lose(name, handle, error)
            return
        if self._agents.get(name) is handle:
            self._write(b'["AgentUp",{"hello":' + _body(hello) + b"}]")
            await self._follow(name, handle)

    def _create(self, order: protocol.PlaceAgent) -> AgentHandle:
        outside = self._outside and not order.node_id
        return OwnHandle(order) if outside else ActorHandle(order)

    async def _follow(self, name: str, handle: AgentHandle) -> None:
        """Forward an agent's reports for as long as it lives."""
        try:
            while name in self._agents and self._agents[name] is handle:
                report = await handle.report()
                self._write(
                    b'["Reported",{"name":' + protocol.text_json(name) + b',"report":' + _body(report) + b"}]"
                )
        except RAY_ERRORS as error:  # likewise: an agent that can't report is lost
            self._lose(name, handle, error)

    def _lose(self, name: str, handle: Optional[AgentHandle], error: BaseException) -> None:
        """Part with an agent that failed, unless another one has its name already."""
        if self._agents.get(name) is not handle:
            return
        self._agents.pop(name, None)
        if handle is not None:
            handle.kill()  # it may live on, and would keep the name
        self._send(protocol.AgentLost(name, reason_of(error)))

    def _take_away(self, name: str) -> None:
        self._wanted.pop(name, None)
        handle = self._agents.pop(name, None)
        if handle is not None:
            self._removals[name] = removal = self._spawn(self._end(name, handle))
            removal.add_done_callback(lambda task: self._removed(name, task))

    def _removed(self, name: str, task: asyncio.Task[None]) -> None:
        if self._removals.get(name) is task:
            del self._removals[name]

    async def _end(self, name: str, handle: AgentHandle) -> None:
        try:
            await asyncio.wait_for(handle.stop(), STOP_SECONDS)
        except RAY_ERRORS as error:  # it is ended in any case
            log.warning("agent %s did not stop: %s", name, reason_of(error))
        handle.kill()

    async def _call(self, call: protocol.Call) -> None:
        handle = self._agents.get(call.agent)
        if handle is None:
            self._send(protocol.Returned(call.number, error=f"no agent {call.agent}"))
            return
        try:
            answer = await handle.order(protocol.to_json(call.order))
        except OrderFailed as error:
            self._send(protocol.Returned(call.number, error=str(error), raised=True))
            return
        except RAY_ERRORS as error:  # the engine decides what it means
            self._send(protocol.Returned(call.number, error=reason_of(error)))
            return
        reply = protocol.from_json(answer, protocol.Answers) if answer else None
        self._send(protocol.Returned(call.number, reply))

    async def _stop(self) -> None:
        """Let the agents end, then leave the cluster. Bounded: the engine would end us anyway.

        An engine that stops in order has cancelled its casts before. One that was killed may go on with them.
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


def _body(message: bytes) -> bytes:
    """The body of a message that comes as ["Name",{...}]."""
    return message[message.index(b",") + 1 : -1]


async def _serve(connection: socket.socket) -> None:
    reader, writer = await asyncio.open_unix_connection(sock=connection, limit=protocol.LINE_LIMIT)
    try:
        await Driver(reader, writer).run()
    except ConnectionError as error:
        log.info("the engine has gone: %s", error)
    except Exception as error:
        log.exception("the driver failed")
        failure = Failure(FailureKind.INTERNAL, {"reason": reason_of(error)})
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
