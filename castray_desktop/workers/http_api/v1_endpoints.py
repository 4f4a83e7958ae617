"""The endpoints that only v1 has: pages, and requests whose form differs from that of the first addresses."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from castray_desktop.core.casts.json_views import cast_form, node_form
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.messages import CastState, CastSummary
from castray_desktop.workers.client.client_cache import ReconnectingClient
from castray_desktop.workers.http_api import request_bodies, responses
from castray_desktop.workers.http_api.api_versions import VERSION_1, answers, changes
from castray_desktop.workers.http_api.endpoints import (
    CastId,
    Moment,
    PlainText,
    ScheduleId,
    ask,
    do,
    start,
    verify,
)
from castray_desktop.workers.http_api.responses import json_response

PageLimit = Annotated[int, Query(ge=1, le=1000, description="The number of items on a page.")]
States = Annotated[list[CastState], Query(max_length=20, description="Only casts in one of these states.")]

_CURSOR = "^[0-9]{1,18}-[0-9a-zA-Z]{0,64}$"


def node_routes(engine: ReconnectingClient) -> APIRouter:
    router = VERSION_1.router("nodes")

    @router.get("/nodes", **answers(responses.NodePageForm), summary="The nodes, by name")
    async def list_nodes(
        request: Request,
        limit: PageLimit = 100,
        cursor: Annotated[
            str, Query(max_length=256, description="The `next_cursor` of the page before.")
        ] = "",
    ) -> Response:
        nodes = sorted((node for node in engine.cache.nodes.values() if node.name > cursor), key=_name)
        after = nodes[limit - 1].name if len(nodes) > limit else None
        page = responses.NodePageForm(
            tuple(map(node_form, nodes[:limit])), _link(request, cursor=after), after
        )
        return page_response(page)

    @router.post(
        "/nodes",
        **changes(responses.NodeNameForm, 404, 409, status=201),
        summary="Add a node to the local cluster",
    )
    async def create_node(body: request_bodies.NewNode) -> Response:
        command = messages.AddNode(body.name, body.on or "", body.inbox or "")
        await engine.request(command, messages.Done)
        return VERSION_1.created(responses.NodeNameForm(body.name), "nodes", body.name)

    return router


def cast_routes(engine: ReconnectingClient) -> APIRouter:
    router = VERSION_1.router("casts")

    @router.get("/casts", **answers(responses.CastPageForm), summary="The casts, the oldest first")
    async def list_casts(
        request: Request,
        state: States = [],  # noqa: B006 - it is copied
        active: Annotated[bool, Query(description="Only casts that have not ended.")] = False,
        limit: PageLimit = 100,
        cursor: Annotated[
            str | None, Query(pattern=_CURSOR, description="The `next_cursor` of the page before.")
        ] = None,
    ) -> Response:
        after = _position_of(cursor)
        found = sorted(
            (
                cast
                for cast in engine.cache.casts.values()
                if _position(cast) > after
                and (not state or cast.state in state)
                and not (active and cast.state.finished)
            ),
            key=_position,
        )
        shown = found[:limit]
        more = _cursor(shown[-1]) if len(found) > limit else None
        page = responses.CastPageForm(
            tuple(VERSION_1.resource(cast_form(cast, engine.cache.deliveries(cast.cast))) for cast in shown),
            _link(request, cursor=more),
            more,
        )
        return page_response(page)

    @router.post(
        "/casts",
        **changes(responses.StartedForm, 404, 409, status=201),
        summary="Send files",
    )
    async def create_cast(body: request_bodies.NewCast) -> Response:
        return await start(engine, VERSION_1, messages.Send(body.request()))

    @router.post(
        "/preflight",
        **changes(messages.PreflightReport, 404, 409),
        summary="Check which recipients can take the files, and send nothing",
    )
    async def preflight_cast(body: request_bodies.NewCast) -> Response:
        return await ask(engine, messages.Preflight(body.request()), messages.PreflightReport)

    @router.post(
        "/casts/{cast}/verify",
        **changes(messages.VerifyReport, 404, 409),
        summary="Read back what a cast delivered, and compare the hashes",
    )
    async def verify_cast(cast: CastId, body: request_bodies.VerificationOfCast) -> Response:
        return await verify(engine, body.nodes, cast=cast)

    @router.post(
        "/verify",
        **changes(messages.VerifyReport, 404, 409),
        summary="Read a path back on every node, and compare the hashes",
    )
    async def verify_path(body: request_bodies.VerificationOfPath) -> Response:
        return await verify(engine, body.nodes, path=body.path)

    return router


def history_routes(engine: ReconnectingClient) -> APIRouter:
    router = VERSION_1.router("history")

    @router.get("/history", **answers(responses.HistoryPageForm, 503), summary="Past casts, the latest first")
    async def list_history(
        request: Request,
        text: PlainText = "",
        state: States = [],  # noqa: B006 - it is copied
        node: PlainText = "",
        since: Moment = 0.0,
        until: Moment = 0.0,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: PageLimit = 100,
    ) -> Response:
        query = messages.HistoryQuery(text, tuple(state), node, since, until, offset, limit)
        found = await engine.request(messages.GetHistory(query), messages.HistoryPage)
        more = None
        if offset + len(found.casts) < found.total and found.casts:
            # Casts that end in the meantime would move the others to later pages.
            until = until or found.casts[0].finished
            more = _link(request, offset=offset + len(found.casts), until=until)
        page = responses.HistoryPageForm(
            tuple(VERSION_1.resource(cast_form(cast)) for cast in found.casts), found.total, more
        )
        return page_response(page)

    return router


def schedule_routes(engine: ReconnectingClient) -> APIRouter:
    router = VERSION_1.router("schedules")

    @router.post(
        "/schedules",
        **changes(responses.ScheduleIdForm, 404, 409, status=201),
        summary="Create a schedule",
    )
    async def create_schedule(body: request_bodies.NewSchedule) -> Response:
        command = messages.AddSchedule(body.schedule())
        kept = (await engine.request(command, messages.ScheduleAdded)).schedule
        return VERSION_1.created(responses.ScheduleIdForm(kept), "schedules", kept)

    @router.patch("/schedules", **changes(None), summary="Enable or disable all schedules")
    async def set_all_schedules_enabled(body: request_bodies.Switch) -> Response:
        return await do(engine, VERSION_1, messages.EnableSchedule("", body.enabled))

    @router.put("/schedules/{schedule}", **changes(None, 404, 409), summary="Replace a schedule")
    async def replace_schedule(schedule: ScheduleId, body: request_bodies.NewSchedule) -> Response:
        return await do(engine, VERSION_1, messages.ChangeSchedule(body.schedule(schedule)))

    return router


def page_response(
    page: responses.NodePageForm | responses.CastPageForm | responses.HistoryPageForm,
) -> Response:
    """A page, with the address of the next one in the header `Link` as well."""
    response = json_response(page)
    if page.next is not None:
        response.headers["Link"] = f'<{page.next}>; rel="next"'
    return response


def _link(request: Request, **values: object) -> str | None:
    """The address of this page with these parameters changed; None if one of them is None."""
    if None in values.values():
        return None
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in values]
    return f"{request.url.path}?{urlencode([*kept, *values.items()])}"


def _name(node: messages.NodeInfo) -> str:
    return node.name


def _position(cast: CastSummary) -> tuple[int, str]:
    """The place of a cast among all. It never changes, so a page after it is the same page later."""
    return int(cast.started * 1e6), cast.cast


def _cursor(cast: CastSummary) -> str:
    return "-".join(map(str, _position(cast)))


def _position_of(cursor: str | None) -> tuple[int, str]:
    started, _, cast = (cursor or "-1-").rpartition("-")
    return int(started), cast
