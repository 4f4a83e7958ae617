"""Whether something still listens where it has listened before: noticed within a second or two.

Ray notices a raylet that was killed after some seconds, and a machine whose cable was pulled after a
quarter of a minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum

from castray_desktop.workers.ray_side import protocol

KNOCK_SECONDS = 1.0
SILENCES = 2
"""A node that has answered before and does not so many times in a row is gone."""

MOST_AT_ONCE = 50


class Answer(enum.Enum):
    """What became of a knock."""

    THERE = "there"
    REFUSED = "refused"  # the machine is there, and nothing listens
    SILENT = "silent"


async def knock(host: str, port: int, seconds: float = KNOCK_SECONDS) -> Answer:
    """Connect, and say goodbye at once."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host.strip("[]"), port), seconds)
    except ConnectionRefusedError:
        return Answer.REFUSED
    except (OSError, asyncio.TimeoutError):
        return Answer.SILENT
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Answer.THERE


class NodeKnocks:
    """Knocks at the raylets of nodes; fifty at a time, each of them in its turn."""

    def __init__(self) -> None:
        self._answered: set[str] = set()  # ids of nodes that can be reached from here
        self._silences: dict[str, int] = {}
        self._gone: set[str] = set()
        self._next = 0

    async def present(self, nodes: tuple[protocol.RayNode, ...]) -> tuple[protocol.RayNode, ...]:
        """Those without the ones that have gone. A node that has never answered counts as there."""
        ids = {node.node_id for node in nodes}
        self._answered &= ids
        self._gone &= ids
        turn = [node for node in nodes if node.port]
        if len(turn) > MOST_AT_ONCE:
            turn = (turn[self._next :] + turn)[:MOST_AT_ONCE]
            self._next = (self._next + MOST_AT_ONCE) % len(nodes)
        answers = await asyncio.gather(*(knock(node.address, node.port) for node in turn))
        for node, answer in zip(turn, answers):
            self._heard(node.node_id, answer)
        return tuple(node for node in nodes if node.node_id not in self._gone)

    def _heard(self, node: str, answer: Answer) -> None:
        if answer is Answer.THERE:
            self._answered.add(node)
            self._gone.discard(node)
            self._silences.pop(node, None)
        elif node in self._answered:
            silences = self._silences[node] = self._silences.get(node, 0) + 1
            if answer is Answer.REFUSED or silences >= SILENCES:
                self._gone.add(node)
