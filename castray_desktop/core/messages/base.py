"""What every part of the engine protocol is made of."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of everything on the engine's socket; the class name is the tag."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the parts of messages."""
