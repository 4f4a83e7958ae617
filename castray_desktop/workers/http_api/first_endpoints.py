"""The endpoints that only the addresses from before v1 have, which stay as they were."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from castray_desktop.core.casts.json_views import cast_form, node_form
from castray_desktop.core.protocol import messages
from castray_desktop.workers.http_api import first_request_bodies, request_bodies, responses
from castray_desktop.workers.http_api.api_versions import FIRST_ADDRESSES
from castray_desktop.workers.http_api.endpoints import Moment, PlainText, ScheduleId, ask, do, start, verify
from castray_desktop.workers.http_api.engine_view import EngineView
from castray_desktop.workers.http_api.responses import json_response


def first_routes(view: EngineView) -> APIRouter:
    router = FIRST_ADDRESSES.router("first")

    @router.get("/file-transfers/status")
    async def transfers() -> Response:
        return json_response(responses.TransfersForm(view.active(), await view.statistics()))

    @router.post("/file-transfers/manual")
    async def send(body: first_request_bodies.Transfer) -> Response:
        return await start(view, FIRST_ADDRESSES, messages.Send(body.request()))

    @router.post("/file-transfers/check")
    async def check(body: first_request_bodies.Transfer) -> Response:
        return await ask(view, messages.Preflight(body.request()), messages.PreflightReport)

    @router.post("/file-transfers/auto/toggle")
    async def toggle(body: request_bodies.Switch) -> Response:
        await view.request(messages.EnableSchedule("", body.enabled), messages.Done)
        return json_response(responses.SwitchedForm(body.enabled))

    @router.get("/nodes")
    async def nodes() -> Response:
        return json_response([node_form(node) for node in view.cache.nodes.values()])

    @router.post("/nodes")
    async def add_node(body: first_request_bodies.FirstNewNode) -> Response:
        command = messages.AddNode(body.node_id, body.on or "", body.inbox or "")
        return await do(view, FIRST_ADDRESSES, command)

    @router.get("/casts")
    async def casts() -> Response:
        cache = view.cache
        return json_response([cast_form(cast, cache.deliveries(cast.cast)) for cast in cache.casts.values()])

    @router.get("/history")
    async def history(
        text: PlainText = "",
        state: Annotated[list[messages.CastState], Query(max_length=20)] = [],  # noqa: B006 - it is copied
        node: PlainText = "",
        since: Moment = 0.0,
        until: Moment = 0.0,
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        query = messages.HistoryQuery(text, tuple(state), node, since, until, offset, limit)
        page = await view.request(messages.GetHistory(query), messages.HistoryPage)
        return json_response(responses.HistoryForm(tuple(cast_form(cast) for cast in page.casts), page.total))

    @router.post("/schedules")
    async def add_schedule(body: first_request_bodies.FlatSchedule) -> Response:
        added = await view.request(messages.AddSchedule(body.schedule()), messages.ScheduleAdded)
        return json_response(responses.ScheduleIdForm(added.schedule))

    @router.put("/schedules/{schedule}")
    async def change_schedule(schedule: ScheduleId, body: first_request_bodies.FlatSchedule) -> Response:
        return await do(view, FIRST_ADDRESSES, messages.ChangeSchedule(body.schedule(schedule)))

    @router.post("/verify")
    async def read_back(body: first_request_bodies.VerificationBody) -> Response:
        return await verify(view, body.nodes, cast=body.cast or "", path=body.path or "")

    return router
