"""Endpoints and bodies that only the addresses from before v1 have; they stay as they were."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field, model_validator
from starlette.responses import Response

from castray_desktop.core.casts.json_views import CastForm, Form, cast_form, node_form
from castray_desktop.core.protocol import messages
from castray_desktop.workers.client.client_cache import ReconnectingClient
from castray_desktop.workers.http_api import responses
from castray_desktop.workers.http_api.api_versions import FIRST_ADDRESSES
from castray_desktop.workers.http_api.endpoints import Moment, PlainText, ScheduleId, ask, do, start, verify
from castray_desktop.workers.http_api.engine_view import find_statistics
from castray_desktop.workers.http_api.request_bodies import (
    AbsolutePath,
    Body,
    OptionsBody,
    PathOrUrl,
    Seconds,
    Switch,
    Text,
)
from castray_desktop.workers.http_api.responses import json_response


def _folded(value: object) -> object:
    """Words may be written in capitals."""
    return value.lower() if isinstance(value, str) else value


Mode = Annotated[Literal["unicast", "multicast", "broadcast", "udp"], BeforeValidator(_folded)]


class RecipientsAndOptions(OptionsBody):
    """Who gets the files, from where, and how."""

    recipients: list[Text] | Text = Field(default=[])
    """Names, addresses or Ray node ids; "all" is every node but the sender."""
    sender_id: Text | None = None  # without it this computer, or for addresses the fastest node

    def _recipients(self) -> tuple[str, ...]:
        named = self.recipients.split(",") if isinstance(self.recipients, str) else self.recipients
        return tuple(one.strip() for one in named if one.strip())


class Transfer(RecipientsAndOptions):
    """Files to send."""

    file_path: PathOrUrl | None = None  # absolute, on the sender; or the address of a file on a web server
    file_paths: list[PathOrUrl] | None = None
    transfer_mode: Mode | None = None  # has to fit the recipients; "udp": the transport

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.paths():
            raise ValueError("file_path or file_paths has to name something to send")
        mode, recipients = self.transfer_mode, self._recipients()
        if mode == "udp" and self.transport not in ("auto", "udp"):
            raise ValueError(f"transfer_mode UDP and transport {self.transport} are two ways: name one")
        if not recipients and mode != "broadcast":
            raise ValueError('recipients has to name somebody, or "all"')
        if mode == "unicast" and (len(recipients) != 1 or recipients == ("all",)):
            raise ValueError("unicast is to one recipient")
        if mode == "broadcast" and recipients not in ((), ("all",)):
            raise ValueError('broadcast is to all: leave recipients out, or name "all"')
        return self

    def paths(self) -> tuple[str, ...]:
        one = () if self.file_path is None else (self.file_path,)
        return (*one, *(self.file_paths or ()))

    def request(self) -> messages.SendRequest:
        """Raises CastRayError."""
        request = self.send_request(self.paths(), self._recipients() or ("all",), self.sender_id)
        if self.transfer_mode == "udp":
            return request.with_options(transport=messages.TransportOption.UDP)
        return request


class FlatSchedule(RecipientsAndOptions):
    """Files to send again and again: at an interval, by cron expression, or when they have changed."""

    name: Text = Field(min_length=1)
    paths: list[PathOrUrl] = Field(min_length=1)
    cluster: Text = ""  # as for --cluster; empty: the one in use
    every: Seconds | None = None  # from start to start
    cron: Text | None = None  # five fields, in local time
    quiet: Seconds | None = None  # without a change before it is sent
    enabled: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if sum(bool(when) for when in (self.every, self.cron, self.quiet)) != 1:
            raise ValueError("one of every, cron and quiet has to be given")
        if not self._recipients():
            raise ValueError('recipients has to name somebody, or "all"')
        return self

    def schedule(self, schedule: str = "") -> messages.Schedule:
        """Raises CastRayError."""
        return messages.Schedule(
            schedule=schedule,
            name=self.name,
            request=self.send_request(tuple(self.paths), self._recipients(), self.sender_id),
            cluster=self.cluster,
            every=self.every or 0.0,
            cron=self.cron or "",
            quiet=self.quiet or 0.0,
            enabled=self.enabled,
        )


class FirstNewNode(Body):
    """A node for the local cluster."""

    node_id: Text = Field(min_length=1)  # its name
    inbox: AbsolutePath | None = None
    on: Text | None = None


class FirstVerification(Body):
    """What is to be read back: what a cast delivered, or one path on every node."""

    cast: Text | None = None
    path: AbsolutePath | None = None
    nodes: list[Text] = Field(default=["all"])

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if bool(self.cast) == bool(self.path):
            raise ValueError("either cast or path has to be given")
        return self


class TransfersForm(Form, frozen=True):
    """`GET /api/file-transfers/status`."""

    active: tuple[CastForm, ...]
    statistics: messages.StatisticsReport | None  # null where the engine can't tell


class SwitchedForm(Form, frozen=True):
    """All schedules were switched on or off."""

    enabled: bool


class HistoryForm(Form, frozen=True):
    """Some of the ended casts that fit, the latest first, and how many fit."""

    casts: tuple[CastForm, ...]
    total: int


def first_routes(engine: ReconnectingClient) -> APIRouter:
    router = FIRST_ADDRESSES.router("first")

    @router.get("/file-transfers/status")
    async def transfers() -> Response:
        cache = engine.cache
        active = tuple(cast_form(cast, cache.deliveries(cast.cast)) for cast in cache.active)
        return json_response(TransfersForm(active, await find_statistics(engine)))

    @router.post("/file-transfers/manual")
    async def send(body: Transfer) -> Response:
        return await start(engine, FIRST_ADDRESSES, messages.Send(body.request()))

    @router.post("/file-transfers/check")
    async def check(body: Transfer) -> Response:
        return await ask(engine, messages.Preflight(body.request()), messages.PreflightReport)

    @router.post("/file-transfers/auto/toggle")
    async def toggle(body: Switch) -> Response:
        await engine.request(messages.EnableSchedule("", body.enabled), messages.Done)
        return json_response(SwitchedForm(body.enabled))

    @router.get("/nodes")
    async def nodes() -> Response:
        return json_response([node_form(node) for node in engine.cache.nodes.values()])

    @router.post("/nodes")
    async def add_node(body: FirstNewNode) -> Response:
        command = messages.AddNode(body.node_id, body.on or "", body.inbox or "")
        return await do(engine, FIRST_ADDRESSES, command)

    @router.get("/casts")
    async def casts() -> Response:
        cache = engine.cache
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
        page = await engine.request(messages.GetHistory(query), messages.HistoryPage)
        return json_response(HistoryForm(tuple(cast_form(cast) for cast in page.casts), page.total))

    @router.post("/schedules")
    async def add_schedule(body: FlatSchedule) -> Response:
        added = await engine.request(messages.AddSchedule(body.schedule()), messages.ScheduleAdded)
        return json_response(responses.ScheduleIdForm(added.schedule))

    @router.put("/schedules/{schedule}")
    async def change_schedule(schedule: ScheduleId, body: FlatSchedule) -> Response:
        return await do(engine, FIRST_ADDRESSES, messages.ChangeSchedule(body.schedule(schedule)))

    @router.post("/verify")
    async def read_back(body: FirstVerification) -> Response:
        return await verify(engine, body.nodes, cast=body.cast or "", path=body.path or "")

    return router
