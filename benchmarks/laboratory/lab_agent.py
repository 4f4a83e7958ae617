"""A node's agent in its own process, without Ray: orders on standard input, reports on standard output.

    python -m benchmarks.laboratory.lab_agent

The lines are those between engine and driver (`core.protocol.nodes.agent_orders`): first `PlaceAgent`,
answered by `AgentUp`, then `AgentCall` after `AgentCall`. The agent stops when its input ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import sys
from typing import Any

from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol, json_codec
from castray_desktop.workers.agent.node_agent import NodeAgent

log = logging.getLogger("castray.lab")


class Line:
    """The output of this process. Other prints go to standard error."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)

    def send(self, message: Any) -> None:
        self._file.write(json_codec.to_json(message) + b"\n")


async def carry_out(agent: NodeAgent, call: driver_protocol.AgentCall, line: Line) -> None:
    """Execute one order and write its answer."""
    try:
        answer = await agent.order(json_codec.to_json(call.order))
    except Exception as error:  # like Ray, return any exception
        log.exception("%s", type(call.order).__name__)
        line.send(
            driver_protocol.AgentCallResult(
                call.number, error=f"{type(error).__name__}: {error}", raised=True
            )
        )
        return
    reply = json_codec.from_json(answer, agent_orders.OrderReply) if answer else None
    line.send(driver_protocol.AgentCallResult(call.number, reply))


async def follow(agent: NodeAgent, name: str, line: Line) -> None:
    """Forward the agent's reports."""
    while True:
        report = json_codec.from_json(await agent.report(), agent_reports.AgentReport | None)
        line.send(driver_protocol.Reported(name, report))


async def serve() -> None:
    """Run the agent until the input ends."""
    reader = asyncio.StreamReader(limit=driver_protocol.LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer
    )
    line = Line()
    place = json_codec.from_json(await reader.readline(), driver_protocol.ToDriver)
    agent = NodeAgent(dataclasses.replace(place, certificate=None))
    hello = await agent.start(certificate=place.certificate)
    line.send(driver_protocol.AgentUp(json_codec.from_json(hello, agent_reports.AgentHello | None)))
    following = asyncio.create_task(follow(agent, place.name, line))
    calls: set[asyncio.Task[None]] = set()
    while text := await reader.readline():
        call = asyncio.create_task(
            carry_out(agent, json_codec.from_json(text, driver_protocol.ToDriver), line)
        )
        calls.add(call)
        call.add_done_callback(calls.discard)
    following.cancel()
    await agent.stop()


def main() -> None:
    """The agent's process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve())


if __name__ == "__main__":
    main()
