"""The OpenAPI document of v1, with the WebSocket and its events, and the page that shows it."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, HTMLResponse, Response

from castray_desktop.core.casts.json_views import (
    CastForm,
    CheckForm,
    FilesForm,
    NodeForm,
    ResultForm,
    ScheduleForm,
)
from castray_desktop.core.protocol import messages
from castray_desktop.workers.base.installation import resources_folder
from castray_desktop.workers.http_api import idempotency, responses
from castray_desktop.workers.http_api.access_control import SUBPROTOCOL, TOKEN_SUBPROTOCOL
from castray_desktop.workers.http_api.api_versions import OWN_ID
from castray_desktop.workers.http_api.problems import PROBLEMS_PATH, V1, ProblemForm, problems_page

_FILES = {
    "swagger-ui/swagger-ui-bundle.js": "text/javascript",
    "swagger-ui/swagger-ui.css": "text/css",
    "swagger-ui/LICENSE": "text/plain",
    "castray-256.png": "image/png",
}

EVENT_PATHS = (f"{V1}/events", "/ws")
"""The WebSocket: in v1, and its first address."""

DESCRIPTION = f"""\
Copy files to many machines of a Ray cluster at once.

Every request needs the token in `$CASTRAY_HOME/api-token`, except `/healthz`.
`castray serve --read-only-token` makes a second token, with which GET requests and the WebSocket are allowed.

Failures are `application/problem+json` ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)). Their `kind` is
for programs; `{PROBLEMS_PATH}` explains each. A method that an address does not have is answered with 405.

The WebSocket `{V1}/events` sends the engine's events as JSON, the complete state first. The token comes in
the header, or as the subprotocol `{TOKEN_SUBPROTOCOL}TOKEN` beside `{SUBPROTOCOL}`. Each message is an
`Event`, one of the objects below; `x-websocket` in this document has the details.
"""

_FORMS = (
    ProblemForm,
    CastForm,
    FilesForm,
    NodeForm,
    ResultForm,
    ScheduleForm,
    responses.StatusForm,
    responses.StartedForm,
    responses.NodeNameForm,
    responses.ScheduleIdForm,
    responses.AddedForm,
    CheckForm,
    responses.CastPageForm,
    responses.NodePageForm,
    responses.HistoryPageForm,
    responses.HealthForm,
)
_REPLIES = (
    messages.FolderListing,
    messages.StatisticsReport,
    messages.RateHistory,
    messages.EngineSettings,
    messages.VerifyReport,
    messages.PreflightReport,
)
_REFERENCE = "#/components/schemas/{name}"


def add_documents(app: FastAPI) -> None:
    """Add `/openapi.json` and the pages below `/docs` to `app`."""
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="CastRay",
            swagger_js_url="/docs/swagger-ui-bundle.js",
            swagger_css_url="/docs/swagger-ui.css",
            swagger_favicon_url="/docs/castray-256.png",
            swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": False},
        )

    @app.get(PROBLEMS_PATH, include_in_schema=False)
    async def problems() -> Response:
        return HTMLResponse(problems_page())

    for name, kind in _FILES.items():
        app.add_api_route(f"/docs/{Path(name).name}", _serve_file(name, kind), include_in_schema=False)


def _serve_file(name: str, kind: str) -> Any:
    async def serve() -> FileResponse:
        return FileResponse(resources_folder() / name, media_type=kind)

    return serve


def _describe(app: FastAPI) -> dict[str, Any]:
    """Create the OpenAPI document."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(schemas())
        components["schemas"].pop("HTTPValidationError", None)
        components["schemas"].pop("ValidationError", None)
        components["securitySchemes"] = {
            "token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The line in `$CASTRAY_HOME/api-token`; for reading also that in"
                " `api-read-only-token`.",
            }
        }
        for path, methods in document["paths"].items():
            if path.startswith(V1) and "post" in methods:
                methods["post"].setdefault("parameters", []).append(_IDEMPOTENCY_KEY)
        document["security"] = [{"token": []}]
        document["x-websocket"] = _websocket()
        app.openapi_schema = document
    return app.openapi_schema


_IDEMPOTENCY_KEY = {
    "name": idempotency.HEADER,
    "in": "header",
    "required": False,
    "description": "Any text that is new for each new request, such as a UUID. For a day, a repeated request"
    " with the same key gets the first answer, and nothing is done twice.",
    "schema": {
        "type": "string",
        "minLength": 1,
        "maxLength": idempotency.MAX_KEY_LENGTH,
        "pattern": "^[!-~]+$",
    },
}


def _websocket() -> dict[str, Any]:
    return {
        path: {
            "summary": "The engine's events as JSON, the complete state first",
            "description": "The server sends a `Welcome`, then an event for each change. When the engine is"
            " replaced, another `Welcome` follows. What a client sends is ignored. A client with too many"
            " unread messages is disconnected with code 1013; it should connect again.",
            "security": [{"token": []}],
            "subprotocols": [SUBPROTOCOL, f"{TOKEN_SUBPROTOCOL}TOKEN"],
            "closeCodes": {
                "1008": "The token is missing or wrong, or the host name is not one of this server.",
                "1012": "The server ends.",
                "1013": "The client is too slow.",
            },
            "messages": {"$ref": "#/components/schemas/Event"},
        }
        for path in EVENT_PATHS
    }


def schemas() -> dict[str, Any]:
    """The JSON schemas of all answers and events, by name."""
    _, forms = msgspec.json.schema_components(_FORMS, ref_template=_REFERENCE)
    events = typing.get_args(messages.Event)
    references, known = msgspec.json.schema_components((*_REPLIES, *events), ref_template=_REFERENCE)
    options = known.pop("TransferOptions")["properties"]
    for schema in known.values():
        if "properties" in schema:
            _complete(schema, options)
    known["Failure"]["properties"]["text"] = {"type": "string"}
    known["Failure"]["required"] = list(known["Failure"]["properties"])
    known["Event"] = {
        "title": "Event",
        "description": "A message of the WebSocket.",
        "oneOf": list(references[len(_REPLIES) :]),
        "discriminator": {
            "propertyName": "type",
            "mapping": {event.__name__: _REFERENCE.format(name=event.__name__) for event in events},
        },
    }
    for form, own in OWN_ID.items():
        schema = forms[form.__name__]
        schema["properties"] = {"id": schema["properties"].pop(own), **schema["properties"]}
        schema["required"] = list(schema["properties"])
    return known | forms


def _complete(schema: dict[str, Any], options: dict[str, Any]) -> None:
    """Describe a message as `message_to_json` writes it: all fields, and options among the others."""
    properties: dict[str, Any] = {}
    for name, kind in schema["properties"].items():
        if kind.get("$ref", "").endswith("/TransferOptions"):
            properties |= options
        else:
            properties[name] = kind
    schema["properties"] = {name: _without_default(kind) for name, kind in properties.items()}
    schema["required"] = list(properties)


def _without_default(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != "default"}
