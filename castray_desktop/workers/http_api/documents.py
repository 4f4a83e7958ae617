"""The API's documents: its OpenAPI description and a page to read it, all of it from here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from starlette.responses import FileResponse, Response

from castray_desktop.workers.http_api.answers import schemas

_FILES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "LICENSE": "text/plain",
    "castray-256.png": "image/png",
}


def add_documents(app: FastAPI) -> None:
    """Have `app` answer `/openapi.json` and `/docs`."""
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

    for name, kind in _FILES.items():
        app.add_api_route(f"/docs/{name}", _serve_file(name, kind), include_in_schema=False)


def _serve_file(name: str, kind: str) -> Any:
    async def serve() -> FileResponse:
        return FileResponse(_resource(name), media_type=kind)

    return serve


def _describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
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
                "description": "The line in `$CASTRAY_HOME/api-token`.",
            }
        }
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema


def _resource(name: str) -> Path:
    package = Path(__file__).resolve().parent.parent.parent
    for root in (package / "resources", package.parent / "resources"):
        for path in (root / "swagger-ui" / name, root / name):
            if path.is_file():
                return path
    raise FileNotFoundError(name)
