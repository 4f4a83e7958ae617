"""An example of any message class, with every field set."""

from __future__ import annotations

import enum
import functools
import types
import typing
from dataclasses import is_dataclass
from typing import Any

import msgspec


def classes_of(union: Any) -> tuple[Any, ...]:
    """The classes of a union, also of nested ones; the class itself if it is none."""
    if typing.get_origin(union) in (typing.Union, types.UnionType):
        return tuple(
            kind for one in typing.get_args(union) if one is not types.NoneType for kind in classes_of(one)
        )
    return (union,)


def example(kind: Any) -> Any:
    """A value of a type: the first class of a union, one element in each collection."""
    kind = classes_of(kind)[0]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return {example(arguments[0]): example(arguments[1])}
    if origin in (tuple, list, frozenset, set):
        fixed = [one for one in arguments if one is not ...]
        return origin(example(one) for one in fixed)
    if origin is typing.Literal:
        return arguments[0]
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return next(iter(kind))
    if is_dataclass(kind) or issubclass(kind, msgspec.Struct):
        hints = _hints(kind)
        return kind(**{name: example(hints[name]) for name in _fields(kind)})
    simple = {str: "text", int: 7, float: 1.5, bool: True, bytes: b"bytes", object: None}
    return simple[kind]


def has_declared_types(value: Any, kind: Any) -> bool:
    """Whether a message and everything in it have the types of their fields."""
    kinds = classes_of(kind)
    if value is None:
        return (len(kinds) == 1 and kinds[0] is types.NoneType) or kind is not kinds[0]
    return any(_is_one(value, one) for one in kinds)


def _is_one(value: Any, kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return isinstance(value, tuple) and all(has_declared_types(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            isinstance(key, str) and has_declared_types(item, arguments[1]) for key, item in value.items()
        )
    if is_dataclass(kind):
        hints = _hints(kind)
        return isinstance(value, typing.cast(type, kind)) and all(
            has_declared_types(getattr(value, name), hints[name]) for name in _fields(kind)
        )
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _fields(kind: Any) -> tuple[str, ...]:
    return tuple(kind.__struct_fields__ if hasattr(kind, "__struct_fields__") else kind.__dataclass_fields__)
