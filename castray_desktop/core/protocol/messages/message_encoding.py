"""All client messages, and their encoding as frames."""

from __future__ import annotations

import msgspec

from castray_desktop.core.protocol.messages.cast_messages import (
    CastCommand,
    CastEventMessage,
    CastReply,
    ControlCommand,
    ControlEvent,
    ControlReply,
)
from castray_desktop.core.protocol.messages.cluster_messages import ClusterCommand, ClusterEvent, ClusterReply
from castray_desktop.core.protocol.messages.engine_messages import (
    DiagnosisCommand,
    DiagnosisEvent,
    DiagnosisReply,
    EngineCommand,
    EngineEvent,
    EngineReply,
    Failed,
    Hello,
    SettingsCommand,
    SettingsEvent,
    SettingsReply,
)
from castray_desktop.core.protocol.messages.history_messages import HistoryCommand, HistoryEvent, HistoryReply
from castray_desktop.core.protocol.messages.message_base import Message
from castray_desktop.core.protocol.messages.schedule_messages import (
    ScheduleCommand,
    ScheduleEvent,
    ScheduleReply,
)

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
    | CastEventMessage
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
    """Encode a message as a frame with its length.

    Raises ValueError if the body is too long.
    """
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {len(body)} bytes is too long")
    return len(body).to_bytes(4, "big") + body


def decode_to_engine(body: bytes) -> ToEngine:
    """Decode a client's message. Raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    message: ToEngine = _to_engine.decode(body)
    return message


def decode_from_engine(body: bytes) -> FromEngine:
    """Decode an engine's message. Raises msgspec.DecodeError or msgspec.ValidationError for anything else."""
    message: FromEngine = _from_engine.decode(body)
    return message
