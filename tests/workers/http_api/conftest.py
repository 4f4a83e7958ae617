from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from castray_desktop.workers.http_api.access_control import AllowedHosts
from castray_desktop.workers.http_api.api_app import ApiApp
from tests.helpers.answering_engine import AnsweringEngine

TOKEN = "a-token-for-tests-alone"
READ_ONLY_TOKEN = "a-token-that-may-only-read"


@pytest.fixture
def engine() -> AnsweringEngine:
    return AnsweringEngine()


@pytest.fixture
def api(engine: AnsweringEngine) -> ApiApp:
    return ApiApp(engine, TOKEN, AllowedHosts("127.0.0.1"), read_only_token=READ_ONLY_TOKEN)


@pytest.fixture
async def client(api: ApiApp) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(api.app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://localhost:8001", headers=headers
    ) as it:
        yield it
