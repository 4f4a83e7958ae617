"""Response bodies of the API that are not failures."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from starlette.responses import Response

from castray_desktop.core.casts.json_views import (
    CastForm,
    ClusterForm,
    Form,
    NodeForm,
)


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


class StartedForm(Form, frozen=True):
    """A cast was started."""

    cast: str


class NodeNameForm(Form, frozen=True):
    """A node was added."""

    node: str


class ScheduleIdForm(Form, frozen=True):
    """A schedule was kept."""

    schedule: str


class AddedForm(Form, frozen=True):
    """Who receives a cast as well, and who can't, with the reason."""

    recipients: tuple[str, ...]
    problems: dict[str, str]


class DoneForm(Form, frozen=True):
    """It was done."""

    done: bool = True


class CastPageForm(Form, frozen=True):
    """Some of the casts, the oldest first."""

    items: tuple[CastForm, ...]
    next: str | None  # the address of the next page
    next_cursor: str | None  # the `cursor` of the next page


class NodePageForm(Form, frozen=True):
    """Some of the nodes, by name."""

    items: tuple[NodeForm, ...]
    next: str | None  # the address of the next page
    next_cursor: str | None  # the `cursor` of the next page


class HistoryPageForm(Form, frozen=True):
    """Some of the ended casts that match, the latest first."""

    items: tuple[CastForm, ...]
    total: int  # that match
    next: str | None  # the address of the next page


class HealthForm(Form, frozen=True):
    """Whether the API can serve requests."""

    status: Literal["ok", "no_engine"]


def json_response(form: Any, status: int = 200) -> Response:
    """Encode a form as JSON."""
    return Response(msgspec.json.encode(form), status, media_type="application/json")
