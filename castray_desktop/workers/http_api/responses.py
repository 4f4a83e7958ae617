"""Response bodies of the API, and their schemas in its OpenAPI document."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from castray_desktop.core.casts.json_views import (
    CastForm,
    ClusterForm,
    DeliveryForm,
    FilesForm,
    Form,
    NodeForm,
    ResultForm,
    ScheduleForm,
)
from castray_desktop.core.failures.check_sentences import explain_check, without_secrets
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.failures.sentences import TEMPLATES, sentence
from castray_desktop.core.protocol import messages


class ProblemForm(Form, frozen=True):
    """Why a request was not carried out."""

    detail: str  # what happened and what to do
    kind: str  # for programs


class TotalsForm(Form, frozen=True):
    """The engine in numbers."""

    nodes: int
    nodes_online: int
    casts: int  # that the engine knows
    casts_active: int
    received_rate: float
    upload_rate: float


class StatusForm(Form, frozen=True):
    """`GET /api/status`."""

    state: str  # "running", or "away" while there is no engine
    version: str
    cluster: ClusterForm
    nodes: tuple[NodeForm, ...]
    totals: TotalsForm


class TransfersForm(Form, frozen=True):
    """`GET /api/file-transfers/status`."""

    active: tuple[CastForm, ...]
    statistics: messages.StatisticsReport | None  # null where the engine can't tell


class StartedForm(Form, frozen=True):
    """A cast was started."""

    cast: str


class ScheduleIdForm(Form, frozen=True):
    """A schedule was kept."""

    schedule: str


class SwitchedForm(Form, frozen=True):
    """All schedules were switched on or off."""

    enabled: bool


class AddedForm(Form, frozen=True):
    """Who receives a cast as well, and who can't, with the reason."""

    recipients: tuple[str, ...]
    problems: dict[str, str]


class DoneForm(Form, frozen=True):
    """It was done."""

    done: bool = True


class CheckForm(Form, frozen=True):
    """One thing that was looked at."""

    kind: str
    state: messages.CheckState
    node: str | None
    text: str
    remedy: str | None


class HistoryForm(Form, frozen=True):
    """Some of the ended casts that fit, the latest first, and how many fit."""

    casts: tuple[CastForm, ...]
    total: int


def check_form(check: messages.Check) -> CheckForm:
    """A check as text, without secrets."""
    finding = explain_check(check)
    remedy = without_secrets(finding.remedy) if finding.remedy else None
    return CheckForm(check.kind, check.state, check.node or None, without_secrets(finding.found), remedy)


DOCUMENTED = (
    ProblemForm,
    StatusForm,
    TransfersForm,
    StartedForm,
    ScheduleIdForm,
    SwitchedForm,
    AddedForm,
    DoneForm,
    HistoryForm,
    FilesForm,
    CheckForm,
    messages.FolderListing,
    CastForm,
    NodeForm,
    DeliveryForm,
    ResultForm,
    ScheduleForm,
    messages.StatisticsReport,
    messages.RateHistory,
    messages.EngineSettings,
    messages.VerifyReport,
    messages.PreflightReport,
)


def json_response(form: Any, status: int = 200) -> Response:
    """Encode a form as JSON."""
    return Response(msgspec.json.encode(form), status, media_type="application/json")


def documented(form: type, *, many: bool = False) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that answers with this form."""
    reference = {"$ref": f"#/components/schemas/{form.__name__}"}
    schema = {"type": "array", "items": reference} if many else reference
    return {200: {"description": "Done.", "content": {"application/json": {"schema": schema}}}}


_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/ProblemForm"}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The request makes no sense, or names another host.", "content": _PROBLEM},
    401: {"description": "No token, or a wrong one.", "content": _PROBLEM},
    404: {"description": "There is no such thing.", "content": _PROBLEM},
    408: {"description": "The request did not come to its end in time.", "content": _PROBLEM},
    409: {"description": "Not as things are now.", "content": _PROBLEM},
    413: {"description": "The body is larger than 1 MiB.", "content": _PROBLEM},
    422: {"description": "The request is malformed.", "content": _PROBLEM},
    500: {"description": "Something went wrong inside.", "content": _PROBLEM},
    503: {"description": "There is no engine or no cluster now.", "content": _PROBLEM},
}


def schemas() -> dict[str, Any]:
    """The JSON schemas of all answers."""
    _, components = msgspec.json.schema_components(DOCUMENTED, ref_template="#/components/schemas/{name}")
    return components


async def failed(_request: Request, error: Exception) -> Response:
    """The answer for a failed command."""
    assert isinstance(error, CastRayError)
    failure = error.failure
    return json_response(
        ProblemForm(sentence(failure), failure.kind.value), TEMPLATES[failure.kind].status.http
    )


async def malformed(_request: Request, error: Exception) -> Response:
    """The answer for an invalid request, one sentence for each error."""
    assert isinstance(error, RequestValidationError)
    text = " ".join(_complaint(one) for one in error.errors())
    return json_response(ProblemForm(text, "malformed"), 422)


async def refused(request: Request, error: Exception) -> Response:
    """The answer for an unknown path or method."""
    assert isinstance(error, HTTPException)
    response = json_response(ProblemForm(f"{error.detail}.", "refused"), error.status_code)
    response.headers.update(error.headers or {})
    if error.status_code == 405:
        response.headers["Allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """The methods of the path; the framework only knows those of the first route."""
    paths = request.app.openapi()["paths"]
    fitting = [methods for path, methods in paths.items() if compile_path(path)[0].match(request.url.path)]
    return sorted({method.upper() for methods in fitting for method in methods})


def _complaint(error: dict[str, Any]) -> str:
    # In a union, the place also names the type of each choice, such as "list[constrained-str]".
    place = [str(part) for part in error["loc"][1:] if "constrained-" not in str(part)]
    where = ".".join(place) or "The body"
    match error["type"]:
        case "missing":
            return f"{where} has to be given."
        case "extra_forbidden":
            return f"{where} is not known here."
        case "json_invalid":
            return "The body is not valid JSON."
        case "string_pattern_mismatch" if "http" in error["ctx"]["pattern"].lower():
            return f"{where}: an absolute path has to be given, or an address that begins with https://."
        case "string_pattern_mismatch":
            return f"{where}: an absolute path has to be given, one that begins with a slash."
        case "value_error":
            return f"{where}: {str(error['ctx']['error']).rstrip('.')}."
    return f"{where}: {str(error['msg'])[:1].lower()}{str(error['msg'])[1:]}."
