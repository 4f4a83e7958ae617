"""Failures of the API as bodies: RFC 9457, and the form that the addresses from before v1 keep.

`problem_response` chooses by the path. `/docs/problems` explains every kind.
"""

from __future__ import annotations

import html
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from castray_desktop.core.casts.json_views import Form
from castray_desktop.core.failures.kinds import CastRayError, Failure
from castray_desktop.core.failures.sentences import TEMPLATES, Explanation, explain

V1 = "/api/v1"
PROBLEM_MEDIA_TYPE = "application/problem+json"
PROBLEMS_PATH = "/docs/problems"


class ProblemForm(Form, frozen=True):
    """Why a request was not carried out (RFC 9457)."""

    type: str  # the address on this server that explains the kind
    title: str  # the kind in words
    status: int
    detail: str  # what happened
    kind: str  # for programs
    remedy: str | None  # what to do


class FirstProblemForm(Form, frozen=True):
    """The same at the addresses from before v1."""

    detail: str  # what happened and what to do
    kind: str


class Problem(NamedTuple):
    """Why a request was not carried out, before it is a body."""

    status: int
    kind: str
    detail: str
    remedy: str | None = None
    first_kind: str | None = None
    """The kind at the addresses from before v1, where it differs."""

    @classmethod
    def of_failure(cls, failure: Failure) -> Problem:
        """The problem for a failed command."""
        sentences = explain(failure)
        status = TEMPLATES[failure.kind].status.http
        return cls(status, failure.kind.value, sentences.happened, sentences.remedy or None)


BAD_HOST = Problem(
    400,
    "bad_host",
    "The Host header does not name this server.",
    "Use a loopback name, or start with --host.",
)
NO_TOKEN = Problem(
    401,
    "no_token",
    "The request has no valid token.",
    "Send the header Authorization: Bearer TOKEN, with the token in CASTRAY_HOME/api-token.",
)
READ_ONLY = Problem(
    403,
    "read_only",
    "The read-only token allows GET requests only.",
    "Use the token in CASTRAY_HOME/api-token.",
)
NO_SUCH_ADDRESS = Problem(404, "no_such_address", "Not Found.", "See /docs.", "refused")
METHOD_NOT_ALLOWED = Problem(
    405, "method_not_allowed", "Method Not Allowed.", "Use a method of the Allow header.", "refused"
)
REQUEST_TIMEOUT = Problem(
    408, "request_timeout", "The request did not arrive completely in time.", None, "refused"
)
KEY_IN_PROGRESS = Problem(
    409,
    "idempotency_key_in_progress",
    "A request with this Idempotency-Key is still in progress.",
    "Wait, then send the same request again.",
)
KEY_INTERRUPTED = Problem(
    409,
    "idempotency_key_interrupted",
    "The server ended while the first request with this Idempotency-Key was in progress, so it is not known"
    " whether the request was carried out.",
    "Look at the casts, nodes and schedules. To send the request again, use a new key.",
)
BODY_TOO_LARGE = Problem(413, "body_too_large", "The body is too large.", None, "refused")
MALFORMED = Problem(422, "malformed", "The request is malformed.")
KEY_REUSED = Problem(
    422,
    "idempotency_key_reused",
    "This Idempotency-Key was used with another request.",
    "Use a new key for each new request.",
)
HEADERS_TOO_LARGE = Problem(431, "headers_too_large", "The headers are too large.", None, "refused")
KEY_NOT_STORED = Problem(
    503,
    "idempotency_key_not_stored",
    "The Idempotency-Key can't be stored, so the request was not carried out.",
    "See api.log in the home; the disk may be full.",
)
CRASHED = Problem(500, "internal", "Something went wrong inside CastRay.", "Report it, and attach the log.")

_OWN = (
    BAD_HOST,
    NO_TOKEN,
    READ_ONLY,
    NO_SUCH_ADDRESS,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    KEY_IN_PROGRESS,
    KEY_INTERRUPTED,
    BODY_TOO_LARGE,
    MALFORMED,
    KEY_REUSED,
    HEADERS_TOO_LARGE,
    KEY_NOT_STORED,
)


def _is_first_address(path: str) -> bool:
    """Whether the path is one from before v1, where failures keep their form."""
    if path == V1 or path.startswith(f"{V1}/"):
        return False
    return path.startswith(("/api/", "/docs", "/openapi.json", "/ws"))


def encode_problem(path: str, problem: Problem) -> tuple[str, bytes]:
    """The media type and the body of a failed request for `path`."""
    if _is_first_address(path):
        text = Explanation(problem.detail, problem.remedy or "").text
        form: Form = FirstProblemForm(text, problem.first_kind or problem.kind)
        return "application/json", msgspec.json.encode(form)
    form = ProblemForm(
        type=f"{PROBLEMS_PATH}#{problem.kind}",
        title=_title(problem.kind),
        status=problem.status,
        detail=problem.detail,
        kind=problem.kind,
        remedy=problem.remedy,
    )
    return PROBLEM_MEDIA_TYPE, msgspec.json.encode(form)


def problem_response(path: str, problem: Problem) -> Response:
    """The answer to a failed request for `path`."""
    media_type, body = encode_problem(path, problem)
    response = Response(body, problem.status)
    response.headers["Content-Type"] = media_type  # JSON has no charset parameter
    return response


def _title(kind: str) -> str:
    return kind.replace("_", " ").capitalize()


# --- what the framework calls


async def failed(request: Request, error: Exception) -> Response:
    """The answer for a failed command."""
    assert isinstance(error, CastRayError)
    return problem_response(request.url.path, Problem.of_failure(error.failure))


async def malformed(request: Request, error: Exception) -> Response:
    """The answer for an invalid request, one sentence for each error."""
    assert isinstance(error, RequestValidationError)
    text = " ".join(_complaint(one) for one in error.errors())
    return problem_response(request.url.path, MALFORMED._replace(detail=text))


async def refused(request: Request, error: Exception) -> Response:
    """The answer for an unknown path or method, or a refusal of the framework."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    match error.status_code:
        case 404:
            response = problem_response(path, NO_SUCH_ADDRESS)
        case 405:
            response = problem_response(path, METHOD_NOT_ALLOWED)
            response.headers["Allow"] = ", ".join(_methods(request))
        case status:
            response = problem_response(path, Problem(status, "refused", f"{error.detail}."))
    for name, value in (error.headers or {}).items():
        response.headers.setdefault(name, value)
    return response


async def crashed(request: Request, _error: Exception) -> Response:
    """The answer where the API itself fails; the server logs why."""
    return problem_response(request.url.path, CRASHED)


def _methods(request: Request) -> list[str]:
    """The methods of the path; the framework only knows those of the first route."""
    routes = (route for route in request.app.state.all_routes if route.path_regex.match(request.url.path))
    return sorted({method for route in routes for method in route.methods})


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
        case "string_pattern_mismatch" if error["ctx"]["pattern"] == "^/":
            return f"{where}: an absolute path has to be given, one that begins with a slash."
        case "value_error":
            return f"{where}: {str(error['ctx']['error']).rstrip('.')}."
    return f"{where}: {str(error['msg'])[:1].lower()}{str(error['msg'])[1:].rstrip('.')}."


# --- what the documents say

DESCRIPTIONS = {
    400: "The request is invalid, or names another host.",
    401: "The token is missing or wrong.",
    403: "The token is read-only.",
    404: "What the request names does not exist.",
    408: "The request did not arrive completely in time.",
    409: "The current state does not allow this.",
    413: "The body is larger than 1 MiB.",
    422: "The request is malformed.",
    431: "The headers are larger than 64 KiB.",
    500: "An internal error occurred.",
    503: "The engine or the cluster is not available.",
}

_CONTENT = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemForm"}}}


def documented_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses as the `responses` of a route."""
    return {status: {"description": DESCRIPTIONS[status], "content": _CONTENT} for status in sorted(statuses)}


def problems_page() -> str:
    """An HTML page with every kind of problem."""
    known = [
        (kind.value, template.status.http, template.happened, template.remedy)
        for kind, template in TEMPLATES.items()
    ]
    known += [(one.kind, one.status, one.detail, one.remedy or "") for one in _OWN]
    rows = "\n".join(
        f'<tr id="{kind}"><td><code>{kind}</code><td>{status} {HTTPStatus(status).phrase}'
        f"<td>{html.escape(happened)}<td>{html.escape(remedy)}"
        for kind, status, happened, remedy in sorted(known)
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>CastRay: problems</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}td,th{text-align:left;vertical-align:top;"
        "padding:.3em 1em .3em 0}tr:target{background:#fe9}</style>\n<h1>Problems</h1>\n"
        "<p>The <code>kind</code> of each problem that the API can report, with its status.\n"
        f"<table><tr><th>kind<th>status<th>detail<th>remedy\n{rows}\n</table></html>\n"
    )
