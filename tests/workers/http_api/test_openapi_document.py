"""The API conforms to its OpenAPI document for any request."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from castray_desktop.workers.http_api.access_control import AllowedHosts
from castray_desktop.workers.http_api.api_app import ApiApp
from tests.helpers.answering_engine import AnsweringEngine
from tests.workers.http_api.conftest import TOKEN

HEADERS = {"Authorization": f"Bearer {TOKEN}", "Host": "localhost"}

_app = ApiApp(AnsweringEngine(), TOKEN, AllowedHosts("127.0.0.1")).app
schema = schemathesis.openapi.from_asgi("/openapi.json", _app, headers=HEADERS)


@pytest.mark.timeout(120)
@schema.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_answers_as_documented(case: schemathesis.Case) -> None:
    # Relations between two fields are described in words, not in the schema.
    case.call_and_validate(headers=HEADERS, excluded_checks=[positive_data_acceptance])
