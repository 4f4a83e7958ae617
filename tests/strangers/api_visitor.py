"""Requests to `castray serve` with its token and without it; prints every answer, as a client sees it.

python -m tests.strangers.api_visitor ADDRESS TOKEN_FILE FILE DESTINATION
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import httpx
from websockets.asyncio.client import connect

PATHS = (
    "/api/status",
    "/api/file-transfers/status",
    "/api/nodes",
    "/api/casts",
    "/api/history",
    "/api/statistics",
    "/api/rates",
    "/api/schedules",
    "/api/settings",
    "/api/doctor",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/no",
)


def say(*values: object) -> None:
    sys.stdout.write(" ".join(map(str, values)) + "\n")


async def visit(address: str, token: str, file: str, destination: str) -> None:
    """Ask for everything, and send a file."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=address, timeout=60.0) as client:
        for path in PATHS:
            refused = await client.get(path, headers={"Authorization": "Bearer wrong"})
            assert refused.status_code == 401, path
            answer = await client.get(path, headers=headers)
            say(path, answer.status_code, dict(answer.headers), answer.text)
        refused = await client.get("/api/status", headers=headers | {"Host": "elsewhere.example"})
        assert refused.status_code == 400
        body = {"file_path": file, "recipients": "all", "dest": destination}
        where = address.replace("http", "ws") + "/ws"
        async with connect(where, additional_headers=headers, max_size=None) as socket:
            say(await socket.recv())
            sent = await client.post("/api/file-transfers/manual", headers=headers, json=body)
            say(sent.text)
            while (event := json.loads(await asyncio.wait_for(socket.recv(), 60)))["type"] != "CastResult":
                say(event)
            say(event)
            assert event["summary"]["state"] == "completed", event
        bad = await client.post(
            "/api/file-transfers/manual", headers=headers, json=body | {"file_path": "/no"}
        )
        say(bad.status_code, bad.text)


if __name__ == "__main__":
    _, where, token_file, *rest = sys.argv
    asyncio.run(visit(where, Path(token_file).read_text().strip(), *rest))
