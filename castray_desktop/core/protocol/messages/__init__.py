"""The engine protocol: commands that clients send, replies and events that the engine returns.

Frames are a 4-byte big-endian length and a MessagePack body. A client opens with `Hello` and gets
`Welcome`, the complete state; from then on it sends a `Request` with a number of its own, which the
engine answers with one `Answer` of that number, and receives an event whenever something
changed. Sizes are bytes, rates bytes per second, durations seconds, times UTC as POSIX seconds.

Each module has the messages about one thing; all of them, and their encoding, can be imported from here.
"""

import msgspec

from castray_desktop.core.casts.transfer_options import *
from castray_desktop.core.protocol.messages.cast_messages import *
from castray_desktop.core.protocol.messages.cluster_messages import *
from castray_desktop.core.protocol.messages.engine_messages import *
from castray_desktop.core.protocol.messages.file_messages import *
from castray_desktop.core.protocol.messages.history_messages import *
from castray_desktop.core.protocol.messages.message_base import *
from castray_desktop.core.protocol.messages.schedule_messages import *

PROTOCOL_VERSION = 6
"""Raised with each change of a message: an engine of an older CastRay may still run, and is refused then."""

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

TOO_DEEP = "a message that is nested too deeply"
"""An unknown field may hold anything."""

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
    """Decode a client's message. Raises ValueError for anything else, as msgspec.DecodeError is."""
    try:
        message: ToEngine = _to_engine.decode(body)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    return message


def decode_from_engine(body: bytes) -> FromEngine:
    """Decode an engine's message. Raises ValueError for anything else, as msgspec.DecodeError is."""
    try:
        message: FromEngine = _from_engine.decode(body)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    return message
