"""The endpoints of the API, once for v1 and once for the addresses from before it."""

from __future__ import annotations

import functools
import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response

from castray_desktop.core.casts.json_views import (
    CastForm,
    CheckForm,
    FilesForm,
    NodeForm,
    ResultForm,
    ScheduleForm,
    cast_form,
    check_form,
    files_form,
    message_to_json,
    node_form,
    result_form,
    schedule_form,
)
from castray_desktop.core.failures.kinds import CastRayError, FailureKind
from castray_desktop.core.failures.sentences import sentence
from castray_desktop.core.protocol import messages
from castray_desktop.workers.client.client_cache import ReconnectingClient
from castray_desktop.workers.http_api import request_bodies, responses
from castray_desktop.workers.http_api.api_versions import ApiVersion, answers, changes
from castray_desktop.workers.http_api.engine_view import find_statistics, prometheus_text, status_form
from castray_desktop.workers.http_api.responses import json_response

CastId = Annotated[str, Path(max_length=64, description="A cast's id, or the beginning of it.")]
ScheduleId = Annotated[str, Path(max_length=64)]
NodeName = Annotated[str, Path(max_length=256)]
PlainText = Annotated[str, Query(max_length=1024)]
Moment = Annotated[float, Query(ge=0, le=1e11, allow_inf_nan=False, description="POSIX seconds.")]


async def do(engine: ReconnectingClient, version: ApiVersion, command: messages.Command) -> Response:
    """Carry out a command that only says that it is done."""
    await engine.request(command, messages.Done)
    return version.done()


async def start(engine: ReconnectingClient, version: ApiVersion, command: messages.Command) -> Response:
    """Carry out a command that starts a cast."""
    cast = (await engine.request(command, messages.Accepted)).cast
    return version.created(responses.StartedForm(cast), "casts", cast)


async def ask(
    engine: ReconnectingClient, command: messages.Command, expect: type[messages.Message]
) -> Response:
    """Carry out a command whose reply is the answer."""
    return json_response(message_to_json(await engine.request(command, expect)))


async def verify(engine: ReconnectingClient, nodes: list[str], *, cast: str = "", path: str = "") -> Response:
    """Read files back."""
    command = messages.Verify(secrets.token_hex(6), cast, path, tuple(nodes))
    return await ask(engine, command, messages.VerifyReport)


async def _result(
    engine: ReconnectingClient, version: ApiVersion, command: messages.GetResult | messages.GetPastCast
) -> Response:
    return json_response(version.resource(result_form(await engine.request(command, messages.CastResult))))


def node_routes(engine: ReconnectingClient, version: ApiVersion) -> APIRouter:
    router = version.router("nodes")

    @functools.lru_cache(maxsize=1)
    def status(cache_version: int, connected: bool) -> bytes:
        """The status as JSON, which is encoded again when one of these has changed."""
        return msgspec.json.encode(status_form(engine))

    @router.get("/status", **answers(responses.StatusForm), summary="The cluster, its nodes, and totals")
    async def get_status() -> Response:
        return Response(status(engine.cache.version, engine.connected), media_type="application/json")

    @router.get("/nodes/{node}", **answers(NodeForm, 404), summary="A node")
    async def get_node(node: NodeName) -> Response:
        info = engine.cache.nodes.get(node)
        if info is None:
            raise CastRayError(FailureKind.NODE_UNKNOWN, node=node, nodes=", ".join(engine.cache.nodes))
        return json_response(node_form(info))

    @router.delete("/nodes/{node}", **changes(None, 404, 409), summary="Remove a node that was added")
    async def remove_node(node: NodeName) -> Response:
        return await do(engine, version, messages.RemoveNode(node))

    @router.get(
        "/nodes/{node}/files",
        **answers(messages.FolderListing, 404, 409, 503),
        summary="The contents of a folder on a node",
    )
    async def list_node_files(node: NodeName, path: Annotated[str, Query(max_length=4096)] = "") -> Response:
        return await ask(engine, messages.Browse(node, path), messages.FolderListing)

    return router


def cast_routes(engine: ReconnectingClient, version: ApiVersion) -> APIRouter:
    router = version.router("casts")

    @router.get("/casts/{cast}", **answers(CastForm, 404), summary="A cast with its current state")
    async def get_cast(cast: CastId) -> Response:
        summary = engine.cache.find(cast)
        if summary is None:
            raise CastRayError(FailureKind.CAST_UNKNOWN, cast=cast)
        return json_response(version.resource(cast_form(summary, engine.cache.deliveries(summary.cast))))

    @router.get(
        "/casts/{cast}/result",
        **answers(ResultForm, 404, 503),
        summary="How a cast ended; waits until it has ended",
    )
    async def get_cast_result(cast: CastId) -> Response:
        return await _result(engine, version, messages.GetResult(cast))

    @router.get(
        "/casts/{cast}/files",
        **answers(FilesForm, 404, 409, 503),
        summary="What became of the files of a cast, also while it is running",
    )
    async def list_cast_files(
        cast: CastId,
        text: PlainText = "",
        state: Annotated[list[messages.FileState], Query(max_length=20)] = [],  # noqa: B006 - it is copied
        node: Annotated[list[Annotated[str, Query(max_length=256)]], Query(max_length=1000)] = [],  # noqa: B006
        offset: Annotated[int, Query(ge=0, le=2**31)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        query = messages.FileQuery(text, tuple(state), tuple(node), offset=offset, limit=limit)
        page = await engine.request(messages.GetFiles(cast, query), messages.FilesPage)
        return json_response(files_form(page))

    @router.post("/casts/{cast}/pause", **changes(None, 404, 409), summary="Pause a cast")
    async def pause_cast(cast: CastId) -> Response:
        return await do(engine, version, messages.Pause(cast))

    @router.post("/casts/{cast}/resume", **changes(None, 404, 409), summary="Resume a paused cast")
    async def resume_cast(cast: CastId) -> Response:
        return await do(engine, version, messages.Resume(cast))

    @router.post(
        "/casts/{cast}/cancel",
        **changes(None, 404, 409),
        summary="Cancel a cast; returns when its part files have been removed",
    )
    async def cancel_cast(cast: CastId) -> Response:
        return await do(engine, version, messages.Cancel(cast))

    @router.post(
        "/casts/{cast}/retry",
        **changes(responses.StartedForm, 404, 409, status=201, accepted=True),
        summary="Send to the recipients that did not get the files",
        description="A further attempt of the same cast is 202. It runs on the cluster of the cast, which is"
        " connected to if it is not in use. Where the cast still waits for recipients, a new one is created,"
        " which is 201.",
    )
    async def retry_cast(cast: CastId, body: request_bodies.SomeRecipients) -> Response:
        known = engine.cache.find(cast)
        command = messages.Retry(cast, tuple(body.recipients))
        retried = (await engine.request(command, messages.Accepted)).cast
        if retried.startswith(known.cast if known is not None else cast):
            return version.accepted(responses.StartedForm(retried))
        return version.created(responses.StartedForm(retried), "casts", retried)

    @router.post(
        "/casts/{cast}/again",
        **changes(responses.StartedForm, 404, 409, status=201),
        summary="Send the same files to the same recipients again",
    )
    async def send_cast_again(cast: CastId) -> Response:
        return await start(engine, version, messages.SendAgain(cast))

    @router.put("/casts/{cast}/limit", **changes(None, 404, 409), summary="Limit the speed of a cast")
    async def set_cast_limit(cast: CastId, body: request_bodies.Limit) -> Response:
        return await do(engine, version, messages.SetLimit(body.rate(), cast))

    @router.post(
        "/casts/{cast}/recipients",
        **changes(responses.AddedForm, 404, 409),
        summary="Add recipients to a running cast",
    )
    async def add_recipients(cast: CastId, body: request_bodies.Recipients) -> Response:
        command = messages.AddRecipients(cast, tuple(body.recipients))
        report = await engine.request(command, messages.PreflightReport)
        problems = {item.node: sentence(item.failure) for item in report.problems}
        return json_response(responses.AddedForm(report.recipients, problems))

    @router.post(
        "/casts/{cast}/recipients/{node}/pause",
        **changes(None, 404, 409),
        summary="Pause one recipient of a cast",
    )
    async def pause_recipient(cast: CastId, node: NodeName) -> Response:
        return await do(engine, version, messages.Pause(cast, (node,)))

    @router.post(
        "/casts/{cast}/recipients/{node}/resume",
        **changes(None, 404, 409),
        summary="Resume one paused recipient of a cast",
    )
    async def resume_recipient(cast: CastId, node: NodeName) -> Response:
        return await do(engine, version, messages.Resume(cast, (node,)))

    @router.delete(
        "/casts/{cast}/recipients/{node}",
        **changes(None, 404, 409),
        summary="Remove one recipient from a running cast",
    )
    async def remove_recipient(cast: CastId, node: NodeName) -> Response:
        return await do(engine, version, messages.DropRecipients(cast, (node,)))

    return router


def history_routes(engine: ReconnectingClient, version: ApiVersion) -> APIRouter:
    router = version.router("history")

    @router.get("/history/{cast}", **answers(ResultForm, 404, 503), summary="A past cast")
    async def get_past_cast(cast: CastId) -> Response:
        return await _result(engine, version, messages.GetPastCast(cast))

    @router.delete("/history/{cast}", **changes(None, 404), summary="Delete a past cast from the history")
    async def delete_past_cast(cast: CastId) -> Response:
        return await do(engine, version, messages.ClearHistory((cast,)))

    @router.get("/statistics", **answers(messages.StatisticsReport, 503), summary="Statistics of all casts")
    async def get_statistics() -> Response:
        return await ask(engine, messages.GetStatistics(), messages.StatisticsReport)

    @router.get("/rates", **answers(messages.RateHistory, 503), summary="The traffic of the past")
    async def get_rates(seconds: Annotated[float, Query(gt=0, le=86_400)] = 3600.0) -> Response:
        return await ask(engine, messages.GetRates(seconds), messages.RateHistory)

    return router


def schedule_routes(engine: ReconnectingClient, version: ApiVersion) -> APIRouter:
    router = version.router("schedules")

    async def known_schedules() -> tuple[messages.ScheduleInfo, ...]:
        return (await engine.request(messages.ListSchedules(), messages.SchedulesChanged)).schedules

    @router.get("/schedules", **answers(ScheduleForm, 503, many=True), summary="All schedules")
    async def list_schedules() -> Response:
        return json_response([version.resource(schedule_form(info)) for info in await known_schedules()])

    @router.get("/schedules/{schedule}", **answers(ScheduleForm, 404, 503), summary="A schedule")
    async def get_schedule(schedule: ScheduleId) -> Response:
        for info in await known_schedules():
            if info.schedule.schedule == schedule:
                return json_response(version.resource(schedule_form(info)))
        raise CastRayError(FailureKind.SCHEDULE_UNKNOWN, schedule=schedule)

    @router.delete("/schedules/{schedule}", **changes(None, 404), summary="Delete a schedule")
    async def delete_schedule(schedule: ScheduleId) -> Response:
        return await do(engine, version, messages.RemoveSchedule(schedule))

    @router.post(
        "/schedules/{schedule}/run",
        **changes(responses.StartedForm, 404, 409, status=201),
        summary="Run a schedule now",
    )
    async def run_schedule(schedule: ScheduleId) -> Response:
        return await start(engine, version, messages.RunSchedule(schedule))

    @router.put("/schedules/{schedule}/enabled", **changes(None, 404), summary="Enable or disable a schedule")
    async def set_schedule_enabled(schedule: ScheduleId, body: request_bodies.Switch) -> Response:
        return await do(engine, version, messages.EnableSchedule(schedule, body.enabled))

    return router


def engine_routes(engine: ReconnectingClient, version: ApiVersion) -> APIRouter:
    router = version.router("engine")

    @router.get("/settings", **answers(messages.EngineSettings, 503), summary="The settings")
    async def get_settings() -> Response:
        kept = await engine.request(messages.GetSettings(), messages.SettingsChanged)
        return json_response(message_to_json(kept.settings))

    @router.patch("/settings", **changes(messages.EngineSettings), summary="Change settings")
    async def change_settings(body: request_bodies.Settings) -> Response:
        kept = await engine.request(messages.GetSettings(), messages.SettingsChanged)
        wanted = body.change(kept.settings)
        await engine.request(messages.ChangeSettings(wanted), messages.Done)
        return json_response(message_to_json(wanted))

    @router.put("/limit", **changes(None), summary="Limit the speed of every node over all casts")
    async def set_limit(body: request_bodies.Limit) -> Response:
        return await do(engine, version, messages.SetLimit(body.rate()))

    @router.get(
        "/doctor",
        **answers(CheckForm, 503, many=True),
        summary="Diagnose problems and suggest fixes",
    )
    async def diagnose() -> Response:
        found = await engine.request(messages.Diagnose(secrets.token_hex(6)), messages.Diagnosis)
        return json_response([check_form(check) for check in found.checks])

    return router


def public_routes(engine: ReconnectingClient) -> APIRouter:
    """Addresses without a version."""
    router = APIRouter(tags=["engine"])

    @router.get(
        "/healthz",
        **_health_answers(),
        summary="Whether the API reaches the engine; needs no token",
        openapi_extra={"security": []},
    )
    async def get_health() -> Response:
        if engine.connected:
            return json_response(responses.HealthForm("ok"))
        return json_response(responses.HealthForm("no_engine"), 503)

    @router.get("/metrics", **_metrics_answers(), summary="The engine's numbers for Prometheus")
    async def get_metrics() -> Response:
        text = prometheus_text(engine.cache, engine.connected, await find_statistics(engine))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _health_answers() -> dict[str, Any]:
    described = answers(responses.HealthForm)
    healthy = described["responses"][200]
    del described["responses"][401]
    described["responses"][503] = {**healthy, "description": "The engine can't be reached."}
    return described


def _metrics_answers() -> dict[str, Any]:
    described = answers(None)
    described["responses"][200] = {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
    return described
