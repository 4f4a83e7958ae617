"""The endpoints of the API."""

from __future__ import annotations

import secrets
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from castray_desktop.core.casts.json_views import (
    CastForm,
    FilesForm,
    NodeForm,
    ResultForm,
    ScheduleForm,
    cast_form,
    files_form,
    message_to_json,
    node_form,
    result_form,
    schedule_form,
)
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.workers.http_api import request_bodies, responses
from castray_desktop.workers.http_api.engine_view import EngineView
from castray_desktop.workers.http_api.responses import documented, json_response

CastId = Annotated[str, Path(max_length=64, description="A cast's id, or the beginning of it.")]
ScheduleId = Annotated[str, Path(max_length=64)]
NodeName = Annotated[str, Path(max_length=256)]
PlainText = Annotated[str, Query(max_length=1024)]
Moment = Annotated[float, Query(ge=0, le=1e11, allow_inf_nan=False, description="POSIX seconds.")]

_DONE = documented(responses.DoneForm)
_STARTED = documented(responses.StartedForm)


async def _done(view: EngineView, command: messages.Command) -> Response:
    await view.request(command, messages.Done)
    return json_response(responses.DoneForm())


async def _started(view: EngineView, command: messages.Command) -> Response:
    return json_response(responses.StartedForm((await view.request(command, messages.Accepted)).cast))


async def _reply(view: EngineView, command: messages.Command, expect: type[messages.Message]) -> Response:
    return json_response(message_to_json(await view.request(command, expect)))


async def _result(view: EngineView, command: messages.GetResult | messages.GetPastCast) -> Response:
    return json_response(result_form(await view.request(command, messages.CastResult)))


def transfer_routes(view: EngineView) -> APIRouter:
    """What the first CastRay had, under the same paths."""
    router = APIRouter(tags=["transfers"])

    @router.get("/api/status", responses=documented(responses.StatusForm), summary="Cluster, nodes, totals")
    async def status() -> Response:
        return Response(view.status(), media_type="application/json")

    @router.get(
        "/api/file-transfers/status",
        responses=documented(responses.TransfersForm),
        summary="Active casts, their deliveries, statistics",
    )
    async def transfers() -> Response:
        return json_response(responses.TransfersForm(view.active(), await view.statistics()))

    @router.post("/api/file-transfers/manual", responses=_STARTED, summary="Send files")
    async def send(body: request_bodies.Transfer) -> Response:
        return await _started(view, messages.Send(body.request()))

    @router.post(
        "/api/file-transfers/check",
        responses=documented(messages.PreflightReport),
        summary="Ask every recipient whether it could take this, and send nothing",
    )
    async def check(body: request_bodies.Transfer) -> Response:
        return await _reply(view, messages.Preflight(body.request()), messages.PreflightReport)

    @router.post(
        "/api/file-transfers/auto/toggle",
        responses=documented(responses.SwitchedForm),
        summary="Switch all schedules on or off",
    )
    async def toggle(body: request_bodies.Switch) -> Response:
        await view.request(messages.EnableSchedule("", body.enabled), messages.Done)
        return json_response(responses.SwitchedForm(body.enabled))

    return router


def node_routes(view: EngineView) -> APIRouter:
    router = APIRouter(prefix="/api/nodes", tags=["nodes"])

    @router.get("", responses=documented(NodeForm, many=True), summary="The nodes")
    async def nodes() -> Response:
        return json_response([node_form(node) for node in view.cache.nodes.values()])

    @router.post("", responses=_DONE, summary="Add a node to the local cluster")
    async def add(body: request_bodies.NewNode) -> Response:
        command = messages.AddNode(body.node_id, body.on or "", body.inbox or "")
        return await _done(view, command)

    @router.get(
        "/{node_id}/files",
        responses=documented(messages.FolderListing),
        summary="What lies in a node's folder",
    )
    async def files(node_id: NodeName, path: Annotated[str, Query(max_length=4096)] = "") -> Response:
        return await _reply(view, messages.Browse(node_id, path), messages.FolderListing)

    @router.delete("/{node_id}", responses=_DONE, summary="Remove a node that was added")
    async def remove(node_id: NodeName) -> Response:
        return await _done(view, messages.RemoveNode(node_id))

    return router


def cast_routes(view: EngineView) -> APIRouter:
    router = APIRouter(prefix="/api/casts", tags=["casts"])

    @router.get("", responses=documented(CastForm, many=True), summary="The casts, oldest first")
    async def casts() -> Response:
        cache = view.cache
        return json_response([cast_form(cast, cache.deliveries(cast.cast)) for cast in cache.casts.values()])

    @router.get("/{cast}", responses=documented(CastForm), summary="A cast with its current state")
    async def one(cast: CastId) -> Response:
        summary = view.cache.find(cast)
        if summary is None:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return json_response(cast_form(summary, view.cache.deliveries(summary.cast)))

    @router.get(
        "/{cast}/result",
        responses=documented(ResultForm),
        summary="How a cast ended; waits for its end",
    )
    async def result(cast: CastId) -> Response:
        return await _result(view, messages.GetResult(cast))

    @router.get(
        "/{cast}/files",
        responses=documented(FilesForm),
        summary="What became of the files of a cast, also while it is running",
    )
    async def files(
        cast: CastId,
        text: PlainText = "",
        state: Annotated[list[messages.FileState], Query(max_length=20)] = [],  # noqa: B006 - it is copied
        node: Annotated[list[Annotated[str, Query(max_length=256)]], Query(max_length=1000)] = [],  # noqa: B006
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        query = messages.FileQuery(text, tuple(state), tuple(node), offset=offset, limit=limit)
        page = await view.request(messages.GetFiles(cast, query), messages.FilesPage)
        return json_response(files_form(page))

    @router.post("/{cast}/pause", responses=_DONE, summary="Stop every byte until it is resumed")
    async def pause(cast: CastId) -> Response:
        return await _done(view, messages.Pause(cast))

    @router.post("/{cast}/resume", responses=_DONE, summary="Go on with a paused cast")
    async def resume(cast: CastId) -> Response:
        return await _done(view, messages.Resume(cast))

    @router.post("/{cast}/cancel", responses=_DONE, summary="End a cast; returns when part files are gone")
    async def cancel(cast: CastId) -> Response:
        return await _done(view, messages.Cancel(cast))

    @router.post("/{cast}/retry", responses=_STARTED, summary="Send to those that did not get it")
    async def retry(cast: CastId, body: request_bodies.SomeRecipients) -> Response:
        return await _started(view, messages.Retry(cast, tuple(body.recipients)))

    @router.post("/{cast}/again", responses=_STARTED, summary="Send the same to all of its recipients again")
    async def again(cast: CastId) -> Response:
        return await _started(view, messages.SendAgain(cast))

    @router.put("/{cast}/limit", responses=_DONE, summary="Limit every hop of a cast")
    async def limit(cast: CastId, body: request_bodies.Limit) -> Response:
        return await _done(view, messages.SetLimit(body.rate(), cast))

    @router.post(
        "/{cast}/recipients",
        responses=documented(responses.AddedForm),
        summary="Have more nodes receive a cast",
    )
    async def add(cast: CastId, body: request_bodies.Recipients) -> Response:
        command = messages.AddRecipients(cast, tuple(body.recipients))
        report = await view.request(command, messages.PreflightReport)
        problems = {item.node: sentence(item.failure) for item in report.problems}
        return json_response(responses.AddedForm(report.recipients, problems))

    @router.post(
        "/{cast}/recipients/{node}/pause",
        responses=_DONE,
        summary="Stop what comes to one recipient; the others go on",
    )
    async def pause_one(cast: CastId, node: NodeName) -> Response:
        return await _done(view, messages.Pause(cast, (node,)))

    @router.post(
        "/{cast}/recipients/{node}/resume",
        responses=_DONE,
        summary="Go on with one paused recipient",
    )
    async def resume_one(cast: CastId, node: NodeName) -> Response:
        return await _done(view, messages.Resume(cast, (node,)))

    @router.delete("/{cast}/recipients/{node}", responses=_DONE, summary="End one delivery of a cast")
    async def drop(cast: CastId, node: NodeName) -> Response:
        return await _done(view, messages.DropRecipients(cast, (node,)))

    return router


def history_routes(view: EngineView) -> APIRouter:
    router = APIRouter(tags=["history"])

    @router.get("/api/history", responses=documented(responses.HistoryForm), summary="Casts that have ended")
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

    @router.get("/api/history/{cast}", responses=documented(ResultForm), summary="A past cast")
    async def past(cast: CastId) -> Response:
        return await _result(view, messages.GetPastCast(cast))

    @router.delete("/api/history/{cast}", responses=_DONE, summary="Forget a past cast")
    async def forget(cast: CastId) -> Response:
        return await _done(view, messages.ClearHistory((cast,)))

    @router.get(
        "/api/statistics", responses=documented(messages.StatisticsReport), summary="All casts in numbers"
    )
    async def statistics() -> Response:
        return await _reply(view, messages.GetStatistics(), messages.StatisticsReport)

    @router.get("/api/rates", responses=documented(messages.RateHistory), summary="The traffic of the past")
    async def rates(seconds: Annotated[float, Query(gt=0, le=86_400)] = 3600.0) -> Response:
        return await _reply(view, messages.GetRates(seconds), messages.RateHistory)

    return router


def schedule_routes(view: EngineView) -> APIRouter:
    router = APIRouter(prefix="/api/schedules", tags=["schedules"])

    @router.get("", responses=documented(ScheduleForm, many=True), summary="All schedules")
    async def schedules() -> Response:
        known = await view.request(messages.ListSchedules(), messages.SchedulesChanged)
        return json_response([schedule_form(info) for info in known.schedules])

    @router.post("", responses=documented(responses.ScheduleIdForm), summary="Keep a new schedule")
    async def add(body: request_bodies.NewSchedule) -> Response:
        added = await view.request(messages.AddSchedule(body.schedule()), messages.ScheduleAdded)
        return json_response(responses.ScheduleIdForm(added.schedule))

    @router.put("/{schedule}", responses=_DONE, summary="Change a schedule")
    async def change(schedule: ScheduleId, body: request_bodies.NewSchedule) -> Response:
        return await _done(view, messages.ChangeSchedule(body.schedule(schedule)))

    @router.delete("/{schedule}", responses=_DONE, summary="Remove a schedule")
    async def remove(schedule: ScheduleId) -> Response:
        return await _done(view, messages.RemoveSchedule(schedule))

    @router.post("/{schedule}/run", responses=_STARTED, summary="Run it now")
    async def run(schedule: ScheduleId) -> Response:
        return await _started(view, messages.RunSchedule(schedule))

    @router.put("/{schedule}/enabled", responses=_DONE, summary="Switch it on or off")
    async def enable(schedule: ScheduleId, body: request_bodies.Switch) -> Response:
        return await _done(view, messages.EnableSchedule(schedule, body.enabled))

    return router


def engine_routes(view: EngineView) -> APIRouter:
    router = APIRouter(tags=["engine"])

    @router.get("/api/settings", responses=documented(messages.EngineSettings), summary="The settings")
    async def settings() -> Response:
        kept = await view.request(messages.GetSettings(), messages.SettingsChanged)
        return json_response(message_to_json(kept.settings))

    @router.patch("/api/settings", responses=documented(messages.EngineSettings), summary="Change settings")
    async def change(body: request_bodies.Settings) -> Response:
        kept = await view.request(messages.GetSettings(), messages.SettingsChanged)
        wanted = body.change(kept.settings)
        await view.request(messages.ChangeSettings(wanted), messages.Done)
        return json_response(message_to_json(wanted))

    @router.put("/api/limit", responses=_DONE, summary="Limit what every node passes on, over all casts")
    async def limit(body: request_bodies.Limit) -> Response:
        return await _done(view, messages.SetLimit(body.rate()))

    @router.post(
        "/api/verify",
        responses=documented(messages.VerifyReport),
        summary="Read files back on every node and compare their hashes",
    )
    async def verify(body: request_bodies.VerificationBody) -> Response:
        job = secrets.token_hex(6)
        command = messages.Verify(job, body.cast or "", body.path or "", tuple(body.nodes))
        return await _reply(view, command, messages.VerifyReport)

    @router.get(
        "/api/doctor",
        responses=documented(responses.CheckForm, many=True),
        summary="Look at everything that casts need",
    )
    async def doctor() -> Response:
        found = await view.request(messages.Diagnose(secrets.token_hex(6)), messages.Diagnosis)
        return json_response([responses.check_form(check) for check in found.checks])

    @router.get(
        "/metrics",
        summary="The engine's numbers for Prometheus",
        responses={200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        return Response(await view.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router
