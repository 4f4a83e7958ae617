"""The examples in `docs/api.md`: each request with the answer below it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from castray_desktop.core.protocol import messages as m
from tests.helpers.answering_engine import AnsweringEngine
from tests.helpers.fake_engine import finished_cast, finished_deliveries
from tests.workers.http_api.conftest import TOKEN

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "api.md"
VARIABLES = {
    "$A": "http://localhost:8001",
    "$T": f"Authorization: Bearer {TOKEN}",
    "$J": "Content-Type: application/json",
}


def examples() -> list[tuple[str, str]]:
    """Each `curl` of the document, and the line below it without its `#`."""
    lines = [line.strip() for line in DOCUMENT.read_text("utf-8").splitlines()]
    return [
        (line, lines[i + 1].removeprefix("# ")) for i, line in enumerate(lines) if line.startswith("curl ")
    ]


def request_of(command: str) -> tuple[str, str, dict[str, str], str | None]:
    """Method, address, headers and body of a `curl` with the options -H, -X and -d."""
    for name, value in VARIABLES.items():
        command = command.replace(name, value)
    method, address, headers, body = "", "", {}, None
    words = iter(shlex.split(command)[1:])
    for word in words:
        match word:
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-X":
                method = next(words)
            case "-d":
                body = next(words)
            case _:
                address = word
    return method or ("GET" if body is None else "POST"), address, headers, body


async def test_every_example_has_the_answer_that_is_shown(
    client: httpx.AsyncClient, engine: AnsweringEngine
) -> None:
    del client.headers["Authorization"]
    completed = replace(finished_cast(), state=m.CastState.COMPLETED)
    engine.answers[m.GetResult] = lambda command: m.CastResult(completed, finished_deliveries(), 80.0)
    shown = examples()
    assert len(shown) >= 12
    for command, answer in shown:
        method, address, headers, body = request_of(command)
        response = await client.request(method, address, headers=headers, content=body)
        status, _, text = answer.partition(" ")
        assert response.status_code == int(status), (command, response.text)
        expected: dict[str, Any] = json.loads(text) if text else {}
        found = response.json() if response.content else {}
        assert {name: found[name] for name in expected} == expected, command
    assert sum(isinstance(command, m.Send) for command in engine.commands) == 2
