"""Messages of clients, engine, drivers and agents; bodies of HTTP requests; what users write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError

from castray_desktop.core.casts.schedule_rules import check_schedule, next_run
from castray_desktop.core.content.file_names import ExcludePatterns, NamePatterns
from castray_desktop.core.content.quantities import parse_limit
from castray_desktop.core.failures.kinds import CastRayError
from castray_desktop.core.protocol import messages
from castray_desktop.core.protocol.nodes import agent_orders, agent_reports, driver_protocol, json_codec
from castray_desktop.workers.http_api import first_addresses, request_bodies
from castray_desktop.workers.schedules.schedule_manager import next_cron_time
from tests.fuzz.examples import classes_of, example, has_declared_types
from tests.fuzz.fuzz_target import FuzzTarget, Parse, json_sample
from tests.fuzz.mutation import InputFormat


def pure(parse: Callable[[bytes], object]) -> Callable[[Path, ExitStack], Parse]:
    """The preparation of a parser that needs none."""

    def prepare(_: Path, __: ExitStack) -> Parse:
        def run(data: bytes) -> None:
            parse(data)

        return run

    return prepare


# --- engine, driver, agents --------------------------------------------------------------------------


def _node_message(name: str, reads: str, union: Any) -> FuzzTarget:
    def parse(data: bytes) -> None:
        message = json_codec.from_json(data, union)
        assert has_declared_types(message, union), message
        assert json_codec.from_json(json_codec.to_json(message), union) == message

    def samples() -> Sequence[bytes]:
        return [json_codec.to_json(example(kind)) for kind in classes_of(union)]

    return FuzzTarget(name, reads, (ValueError,), samples, pure(parse), InputFormat.JSON)


AGENT_MESSAGES = agent_reports.AgentHello | agent_reports.AgentReport

# --- clients and engine ------------------------------------------------------------------------------


def _to_engine(data: bytes) -> None:
    frame = messages.encode(messages.decode_to_engine(data))
    assert messages.encode(messages.decode_to_engine(frame[4:])) == frame


def _from_engine(data: bytes) -> None:
    messages.encode(messages.decode_from_engine(data))


def _command_samples() -> Sequence[bytes]:
    commands = classes_of(messages.Command)
    requests = [messages.encode(messages.Request(1, example(kind)))[4:] for kind in commands]
    return [messages.encode(example(messages.Hello))[4:], *requests]


def _event_samples() -> Sequence[bytes]:
    return [messages.encode(example(kind))[4:] for kind in classes_of(messages.FromEngine)]


# --- HTTP --------------------------------------------------------------------------------------------

SCHEDULES = (
    first_addresses.FlatSchedule,
    request_bodies.ScheduleAtInterval,
    request_bodies.ScheduleByCron,
    request_bodies.ScheduleOnChange,
)
BODIES = (
    first_addresses.Transfer,
    first_addresses.FirstNewNode,
    first_addresses.FirstVerification,
    *SCHEDULES,
    request_bodies.NewCast,
    request_bodies.Switch,
    request_bodies.NewNode,
    request_bodies.Recipients,
    request_bodies.SomeRecipients,
    request_bodies.Limit,
    request_bodies.Settings,
    request_bodies.VerificationOfPath,
)


def _http_body(data: bytes) -> None:
    """As FastAPI reads a body, and as the endpoints go on with it. Each model is tried."""
    given = json.loads(data)
    read = 0
    for model in BODIES:
        try:
            body = model.model_validate(given)
        except ValidationError:
            continue
        read += 1
        if isinstance(body, SCHEDULES):
            schedule = body.schedule()
            check_schedule(schedule, next_cron_time)
            _sendable(messages.AddSchedule(schedule))
        elif isinstance(body, first_addresses.Transfer | request_bodies.NewCast):
            _sendable(messages.Send(body.request()))
        elif isinstance(body, request_bodies.Limit):
            assert body.rate() >= 0
        elif isinstance(body, request_bodies.Settings):
            body.change(messages.EngineSettings())
    if not read:
        raise ValueError("no body")


def _sendable(command: messages.Command) -> None:
    message = messages.Request(1, command)
    assert messages.decode_to_engine(messages.encode(message)[4:]) == message


def _body_samples() -> Sequence[bytes]:
    options = {
        "recipients": ["node_1", "all"],
        "sender_id": "laptop",
        "dest": "/data/{node}",
        "on_conflict": "overwrite",
        "links": "keep",
        "exclude": ["*.tmp", "cache/"],
        "limit": "10MB/s",
        "transport": "direct",
        "await_offline": True,
        "remove_extra": True,
        "hook": "touch done",
    }
    schedule = {"name": "nightly", "paths": ["/data/model"], "cluster": "local", "enabled": True}
    bodies: tuple[dict[str, Any], ...] = (
        {**options, "file_path": "/data/model.bin", "transfer_mode": "multicast"},
        {"recipients": "all", "file_paths": ["/a", "/b"], "transfer_mode": "broadcast", "limit": 1000},
        {**options, **schedule, "cron": "30 2 * * 1-5"},
        {**options, **schedule, "every": 60.5},
        {**options, **schedule, "quiet": 2},
        {"enabled": False},
        {"node_id": "node_9", "inbox": "/data/in", "on": "laptop"},
        {"recipients": ["node_1"]},
        {"limit": "64MiB/s"},
        {"limit": 0},
        {
            "limit": 5,
            "casts_at_once": 2,
            "go_on": True,
            "history_days": 30,
            "stay_awake": False,
            "demo_nodes": 3,
            "encrypt": "always",
        },
        {"cast": "0123456789ab", "nodes": ["all"]},
        {"path": "/data/{node}/x"},
    )
    return [json_sample(body) for body in bodies]


# --- what users write --------------------------------------------------------------------------------

_REQUEST = messages.SendRequest(("/data",), ("all",))


def _cron(data: bytes) -> None:
    schedule = messages.Schedule("", "name", _REQUEST, cron=data.decode("utf-8", "surrogateescape"))
    check_schedule(schedule, next_cron_time)
    if schedule.cron:
        found = next_run(schedule, 0.0, datetime(2026, 3, 29, tzinfo=UTC).timestamp(), UTC, next_cron_time)
        assert found > 0


def _patterns(data: bytes) -> None:
    """The last line is the path, the others are patterns."""
    *patterns, path = data.decode("utf-8", "surrogateescape").split("\n")
    half = len(patterns) // 2
    names = ExcludePatterns(NamePatterns(tuple(patterns[:half]), tuple(patterns[half:])))
    for folder in (False, True):
        names.excludes(path, folder)
    names.leaves_out(path)


def _limit(data: bytes) -> None:
    assert 0 <= parse_limit(data.decode("utf-8", "surrogateescape")) <= 2**63 - 1


TARGETS = (
    _node_message("agent-orders", "an engine's orders to an agent", agent_orders.Order),
    _node_message("order-replies", "an agent's answers to orders", agent_orders.OrderReply),
    _node_message("agent-reports", "an agent's hello and reports", AGENT_MESSAGES),
    _node_message("engine-to-driver", "the engine's messages to a driver", driver_protocol.ToDriver),
    _node_message("driver-to-engine", "a driver's messages to the engine", driver_protocol.FromDriver),
    FuzzTarget(
        "client-commands",
        "a client's messages to the engine",
        (msgspec.DecodeError, ValueError),
        _command_samples,
        pure(_to_engine),
        InputFormat.MSGPACK,
    ),
    FuzzTarget(
        "engine-events",
        "the engine's messages to a client",
        (msgspec.DecodeError, ValueError),
        _event_samples,
        pure(_from_engine),
        InputFormat.MSGPACK,
    ),
    FuzzTarget(
        "http-bodies",
        "bodies of HTTP requests",
        (ValueError, CastRayError, RecursionError),  # RecursionError by json.loads alone: FastAPI answers 400
        _body_samples,
        pure(_http_body),
        InputFormat.JSON,
    ),
    FuzzTarget(
        "cron",
        "cron expressions",
        (CastRayError,),
        lambda: [
            b"* * * * *",
            b"*/5 0-6,12 1,15,L * MON-FRI",
            b"30 2 29 2 *",
            b"0 0 1 JAN SUN#2",
            b"0 12 LW * *",
        ],
        pure(_cron),
    ),
    FuzzTarget(
        "exclude-patterns",
        "patterns of names to leave out",
        (),
        lambda: [
            b"*.tmp\ncache/\n/top/**/x[!a-z]?\nfolder/cache/file.tmp",
            b"**/node_modules\na/node_modules",
            b"[]-a]*\n]a",
        ],
        pure(_patterns),
    ),
    FuzzTarget(
        "rate-limits",
        "rates as text",
        (CastRayError,),
        lambda: [b"10MB/s", b"800kB/s", b"100Mbit/s", b"64MiB/s", b"off", b"1.5Gbps"],
        pure(_limit),
    ),
)

__all__ = ["TARGETS", "pure"]
