"""The API answers generated requests as its OpenAPI document says. Run by `test_openapi_document.py`.

They can also run alone: `./castray test -p schemathesis tests/workers/http_api/documented_requests.py`. Each
operation has its edge cases, about 2,900 in all, and a few drawn requests, ten with `CASTRAY_TEST_ALL=1`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from castray_desktop.workers.http_api.access_control import AllowedHosts
from castray_desktop.workers.http_api.api_app import ApiApp
from castray_desktop.workers.http_api.idempotency_keys import KEEP_SECONDS, IdempotencyKeys
from tests.helpers.answering_engine import AnsweringEngine
from tests.helpers.extent import TEST_ALL
from tests.workers.http_api.conftest import READ_ONLY_TOKEN, TOKEN

# Each request comes a day after the one before: generated requests often have the same Idempotency-Key.
_days = itertools.count()
_keys = IdempotencyKeys(wall=lambda: next(_days) * KEEP_SECONDS * 2)
_api = ApiApp(
    AnsweringEngine(),
    TOKEN,
    AllowedHosts("127.0.0.1"),
    read_only_token=READ_ONLY_TOKEN,
    keys=_keys,
)


@pytest.fixture(scope="module", autouse=True)
def _close_keys() -> Iterator[None]:
    yield
    _keys.close()


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", "Host": "localhost"}


schema = schemathesis.openapi.from_asgi("/openapi.json", _api.app, headers=headers(TOKEN))
without_coverage = schemathesis.openapi.from_asgi(
    "/openapi.json",
    _api.app,
    headers=headers(TOKEN),
    config=SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": False}}}),
)
few = settings(max_examples=10 if TEST_ALL else 2, deadline=None, suppress_health_check=list(HealthCheck))


# With one more parameter, each operation has an id of its own.
@pytest.mark.timeout(120)
@pytest.mark.parametrize("token", [TOKEN], ids=["owner"])
@schema.parametrize()
@few
def test_it_answers_as_documented(case: schemathesis.Case, token: str) -> None:
    case.call_and_validate(headers=headers(token))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("token", [READ_ONLY_TOKEN, "wrong"], ids=["reader", "stranger"])
@without_coverage.parametrize()
@settings(few, max_examples=1)
def test_it_refuses_as_documented(case: schemathesis.Case, token: str) -> None:
    case.call_and_validate(headers=headers(token))
