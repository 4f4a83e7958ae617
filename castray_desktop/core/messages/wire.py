"""What crosses the engine's socket: every message there is, and its bytes."""

from __future__ import annotations

import msgspec

from castray_desktop.core.messages.base import Message
from castray_desktop.core.messages.casts import CastCommand, CastEvent, CastReply
from castray_desktop.core.messages.cluster import ClusterCommand, ClusterEvent, ClusterReply
from castray_desktop.core.messages.control import ControlCommand, ControlEvent, ControlReply
from castray_desktop.core.messages.diagnosis import DiagnosisCommand, DiagnosisEvent, DiagnosisReply
from castray_desktop.core.messages.engine import EngineCommand, EngineEvent, EngineReply, Failed, Hello
from castray_desktop.core.messages.history import HistoryCommand, HistoryEvent, HistoryReply
from castray_desktop.core.messages.schedules import ScheduleCommand, ScheduleEvent, ScheduleReply
from castray_desktop.core.messages.settings import SettingsCommand, SettingsEvent, SettingsReply

PROTOCOL_VERSION = 1
MAX_FRAME_BYTES = 64 * 1024 * 1024


Command = (
    EngineCommand
    | ClusterCommand
    | CastCommand
    | ControlCommand
    | HistoryCommand
    | ScheduleCommand
    | SettingsCommand
    | DiagnosisCommand
)


Reply = (
    EngineReply
    | ClusterReply
    | CastReply
    | ControlReply
    | HistoryReply
    | ScheduleReply
    | SettingsReply
    | DiagnosisReply
)


class Request(Message, frozen=True):
    """A command with the client's number for it."""

    number: int
    command: Command


class Answer(Message, frozen=True):
    """The reply to the request of that number."""

    number: int
    reply: Reply


Event = (
    EngineEvent
    | ClusterEvent
    | CastEvent
    | ControlEvent
    | HistoryEvent
    | ScheduleEvent
    | SettingsEvent
    | DiagnosisEvent
)


ToEngine = Hello | Request
FromEngine = Answer | Failed | Event


_encoder = msgspec.msgpack.Encoder()
_to_engine = msgspec.msgpack.Decoder(ToEngine)
_from_engine = msgspec.msgpack.Decoder(FromEngine)


def encode(message: ToEngine | FromEngine) -> bytes:
    """The frame of a message, its length included.

    Raises ValueError when the body would be longer than a frame may be.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is too long")
    return len(body).to_bytes(4, "big") + body


def decode_to_engine(body: bytes) -> ToEngine:
    """A client's message. Raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    message: ToEngine = _to_engine.decode(body)
    return message


def decode_from_engine(body: bytes) -> FromEngine:
    """The engine's message. Raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    message: FromEngine = _from_engine.decode(body)
    return message
