"""What differs between v1 and the addresses from before it, so that each endpoint is written once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from castray_desktop.core.casts.json_views import CastForm, Form, ResultForm, ScheduleForm
from castray_desktop.workers.http_api import responses
from castray_desktop.workers.http_api.problems import V1, documented_problems
from castray_desktop.workers.http_api.responses import json_response


@dataclass(frozen=True)
class ApiVersion:
    """A prefix of addresses, and the answers below it."""

    prefix: str
    current: bool
    """Whether the OpenAPI document has it, and statuses say what was done."""

    def router(self, tag: str) -> APIRouter:
        """A router for endpoints below the prefix."""
        return APIRouter(prefix=self.prefix, tags=[tag], include_in_schema=self.current)

    def resource(self, form: Form) -> Any:
        """The JSON of a cast, a result or a schedule. In v1 its own id is `id`.

        In v1, `cast` and `schedule` only refer to another object. A field `cast` next to nullable ones breaks
        the clients of a common generator for Python, which names a local variable like each field.
        """
        own = OWN_ID[type(form)]
        if not self.current:
            return form
        fields = msgspec.to_builtins(form)
        return {"id": fields.pop(own), **fields}

    def done(self) -> Response:
        """The answer where there is nothing to say."""
        return Response(status_code=204) if self.current else json_response(responses.DoneForm())

    def accepted(self, form: Form) -> Response:
        """The answer where something that exists begins to work again."""
        return json_response(form, 202 if self.current else 200)

    def created(self, form: Form, collection: str, name: str) -> Response:
        """The answer where something was created; `collection` and `name` are its address."""
        if not self.current:
            return json_response(form)
        response = json_response(form, 201)
        response.headers["Location"] = f"{self.prefix}/{collection}/{quote(name, safe='')}"
        return response


OWN_ID: Mapping[type[Form], str] = {CastForm: "cast", ResultForm: "cast", ScheduleForm: "schedule"}
"""The field that has the object's own id at the addresses from before v1."""

VERSION_1 = ApiVersion(V1, current=True)
FIRST_ADDRESSES = ApiVersion("/api", current=False)
"""The addresses from before v1, which stay as they were."""

_ANY_REQUEST = (400, 401, 408, 413, 422, 431, 500)


def answers(
    form: type | None,
    *problems: int,
    status: int = 200,
    many: bool = False,
    accepted: bool = False,
) -> dict[str, Any]:
    """The status, and the `responses`, of a route that answers with this form, or without a body.

    With `accepted`, the answer may also be 202 with the same form. `problems` are the statuses of failures
    beyond those that every request can have.
    """
    done: dict[str, Any] = {"description": "Created." if status == 201 else "Done."}
    if form is not None:
        reference = {"$ref": f"#/components/schemas/{form.__name__}"}
        schema = {"type": "array", "items": reference} if many else reference
        done["content"] = {"application/json": {"schema": schema}}
    also = {202: {**done, "description": "Accepted; nothing new is created."}} if accepted else {}
    if status == 201:
        done["headers"] = {"Location": {"description": "Its address.", "schema": {"type": "string"}}}
    return {
        "status_code": status,
        "responses": {status: done, **also, **documented_problems(*_ANY_REQUEST, *problems)},
    }


def changes(form: type | None, *problems: int, status: int = 200, accepted: bool = False) -> dict[str, Any]:
    """The same for a route that a read-only token may not use, and that needs the engine."""
    return answers(form, 403, 503, *problems, status=status if form else 204, accepted=accepted)
