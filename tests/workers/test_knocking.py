"""Knocking at real ports, and at those of a list of nodes."""

from __future__ import annotations

import asyncio

import pytest

from castray_desktop.workers.ray_side import knocking, protocol
from castray_desktop.workers.ray_side.knocking import Answer, NodeKnocks, knock


def node(number: int) -> protocol.RayNode:
    return protocol.RayNode(f"id-{number}", f"10.0.0.{number}", f"host-{number}", port=6000)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Answer]:
    """What becomes of knocks by address; `THERE` where nothing is said."""
    known: dict[str, Answer] = {}

    async def knock(host: str, port: int) -> Answer:
        known.setdefault(host, Answer.THERE)
        return known[host]

    monkeypatch.setattr(knocking, "knock", knock)
    return known


async def test_real_ports() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await knock("127.0.0.1", port) is Answer.THERE
    server.close()
    await server.wait_closed()
    assert await knock("127.0.0.1", port) is Answer.REFUSED
    assert await knock("no such host", port) is Answer.SILENT


async def test_a_refusal_is_believed_at_once(answers: dict[str, Answer]) -> None:
    nodes, knocks = (node(1), node(2)), NodeKnocks()
    assert await knocks.present(nodes) == nodes
    answers["10.0.0.2"] = Answer.REFUSED
    assert await knocks.present(nodes) == (node(1),)
    answers["10.0.0.2"] = Answer.THERE
    assert await knocks.present(nodes) == nodes


async def test_silence_is_believed_the_second_time(answers: dict[str, Answer]) -> None:
    nodes, knocks = (node(1),), NodeKnocks()
    await knocks.present(nodes)
    answers["10.0.0.1"] = Answer.SILENT
    assert await knocks.present(nodes) == nodes
    answers["10.0.0.1"] = Answer.THERE
    assert await knocks.present(nodes) == nodes
    answers["10.0.0.1"] = Answer.SILENT
    assert await knocks.present(nodes) == nodes
    assert await knocks.present(nodes) == ()


async def test_who_never_answered_is_not_judged(answers: dict[str, Answer]) -> None:
    answers["10.0.0.1"] = Answer.REFUSED
    knocks = NodeKnocks()
    for _ in range(3):
        assert await knocks.present((node(1),)) == (node(1),)


async def test_of_many_nodes_each_has_its_turn(answers: dict[str, Answer]) -> None:
    nodes, knocks = tuple(node(number) for number in range(120)), NodeKnocks()
    await knocks.present(nodes)
    assert len(answers) == knocking.MOST_AT_ONCE
    for _ in range(3):
        await knocks.present(nodes)
    assert len(answers) == 120
