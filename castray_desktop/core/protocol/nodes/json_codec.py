"""Messages of engine, driver and agents as JSON: the name of a frozen dataclass, and its fields.

Standard library only and valid on Python 3.9, like the messages (`agent_orders`, `agent_reports`,
`driver_protocol`).
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import typing
from typing import Any

MIN_NUMBER, MAX_NUMBER = -(1 << 63), (1 << 64) - 1
"""What MessagePack can say, which the engine writes. Some file systems claim to have 16 EiB."""


def to_json(message: Any) -> bytes:
    """A message as JSON: the name of its class and its fields."""
    return json.dumps(_named(message), default=_fields, separators=(",", ":")).encode()


def from_json(text: bytes, kind: Any) -> Any:
    """Decode a message of one of the classes in the union `kind`. Raises ValueError if it is none of them."""
    try:
        return _message(json.loads(text), kind)
    except (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not a message of this protocol: {error}") from error


@functools.cache
def _types(kind: Any) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return typing.get_type_hints(kind)


def _choices(kind: Any) -> list[Any]:
    """The classes of a union, without None; empty for other types."""
    if typing.get_origin(kind) in (tuple, dict):
        return []
    return [choice for choice in typing.get_args(kind) if choice is not type(None)]


def _named(message: Any) -> list[Any]:
    return [type(message).__name__, message]


def _fields(message: Any) -> dict[str, Any]:
    """The fields of a dataclass; a value of a union of several classes gets the name of its class."""
    values = {item.name: getattr(message, item.name) for item in dataclasses.fields(message)}
    for name, kind in _types(message.__class__).items():
        if values[name] is not None and len(_choices(kind)) > 1:
            values[name] = _named(values[name])
    return values


def _message(pair: Any, union: Any) -> Any:
    name, body = pair
    for candidate in _choices(union):
        if candidate.__name__ == name:
            return _value(body, candidate)
    raise ValueError(f"unknown message {name!r}")


def _value(value: Any, kind: Any) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        types = _types(kind)
        return kind(**{name: _value(item, types[name]) for name, item in value.items()})
    if choices := _choices(kind):
        if value is None and type(None) in typing.get_args(kind):
            return None
        return _value(value, choices[0]) if len(choices) == 1 else _message(value, kind)
    origin = typing.get_origin(kind)
    if origin is tuple:
        return tuple(_value(item, typing.get_args(kind)[0]) for item in _checked(value, list))
    if origin is dict:
        return {key: _value(item, typing.get_args(kind)[1]) for key, item in _checked(value, dict).items()}
    if issubclass(kind, enum.Enum):
        return kind(value)
    if kind is float and isinstance(value, int):
        value = float(_checked(value, int))
    return _checked(value, kind)


def _checked(value: Any, kind: type) -> Any:
    """The value, if it is of that type. The engine calculates with numbers, and passes them on: raises
    ValueError for those that are infinite, or too large for the formats that it writes.
    """
    given: type = type(value)  # not by isinstance: True is no number
    if given is not kind:
        raise ValueError(f"{given.__name__} where {kind.__name__} belongs")
    if (kind is float and not math.isfinite(value)) or (
        kind is int and not MIN_NUMBER <= value <= MAX_NUMBER
    ):
        raise ValueError("a number that is too large")
    return value
