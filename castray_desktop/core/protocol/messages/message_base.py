"""Base classes of all client messages and of their parts."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """Base of all messages on the engine's socket; the class name is the tag."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the parts of messages."""
